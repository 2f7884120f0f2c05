"""Which forms of URL and which addresses are a stranger's to name."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidInput
from trust.addresses import AddressRules, is_public, literal, parse_url
from trust.errors import AddressRefused

REFUSED_FORMS = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "unix:///run/docker.sock",
    "javascript:alert(1)",
    "data:text/plain,x",
    "//example.com/",
    "example.com",
    "/relative",
    "",
    "http://",
    "http:///path",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com:22/",
    "http://example.com:25/",
    "http://example.com:0/",
    "http://example.com:6667/",
    "http://example.com:99999/",
    "http://example.com:-1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0X7F.0.0.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://127.0.0.01/",
    "http://127.0.0.1./",
    "http://256.0.0.1/",
    "http://1.2.3.4.5/",
    "http://example.0x1/",
    "http://１２７.0.0.1/",
    "http://example.com./",
    "http://localhost./",
    "http://.example.com/",
    "http://exa mple.com/",
    "http://exam\nple.com/",
    "http://example.com\r\nHost: x/",
    "http://example.com%00.evil.example/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[v1.x]/",
    "http://[::1/",
    "http://" + "a" * 300 + ".example/",
    "http://example.com/" + "a" * 2_048,
]

TAKEN_FORMS = [
    "http://example.com/",
    "https://EXAMPLE.com:443/a?b#c",
    "https://example.com:8402",
    "https://bücher.example/",
    "https://a_b.example/",
    "http://93.184.215.14/",
    "http://[2606:4700::1111]:8080/",
    "https://example.com/@user:8080?u=http://127.0.0.1",
]

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:7f00:1",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "172.32.0.1",
    "2606:4700::1111",
    "2a00::1",
]


@pytest.mark.parametrize("url", REFUSED_FORMS)
def test_a_url_in_an_odd_form_is_refused_before_any_look_up(url: str) -> None:
    """Other schemes, userinfo, ports of other protocols, odd IPv4 notations, a dot at the end, unreadable text."""
    with pytest.raises(AddressRefused, match="ADDRESS_REFUSED"):
        parse_url(url)


@pytest.mark.parametrize("url", TAKEN_FORMS)
def test_a_plain_url_is_taken(url: str) -> None:
    """Names, international names, IPv4 and IPv6 literals, with or without a port."""
    assert parse_url(url).host


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_an_address_inside_is_not_public(text: str) -> None:
    """Private, loopback, link-local, carrier's, metadata, documentation, multicast, and IPv4 carried inside IPv6."""
    assert not AddressRules().allows(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_allowed(text: str) -> None:
    """The neighbours of what is refused are reached."""
    assert AddressRules().allows(ipaddress.ip_address(text))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_nothing_that_python_calls_private_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Our table is at least as strict as the standard library's, which follows IANA's registries too."""
    if is_public(address):
        assert not (address.is_private or address.is_loopback or address.is_link_local)
        assert not (address.is_multicast or address.is_reserved or address.is_unspecified)


def test_an_ideographic_dot_is_read_as_a_dot() -> None:
    """What international names make of a host is what is judged: it hides no loopback address."""
    address = literal(parse_url("http://127。0。0。1/").raw_host.decode())
    assert address is not None and not is_public(address)


def test_allow_nets_are_the_only_exception() -> None:
    """A network that the operator names is allowed, to the address: its neighbour and its mapped form are not."""
    rules = AddressRules(["127.0.0.1/32", "fd00::/8"])
    assert rules.allows(ipaddress.ip_address("127.0.0.1")) and rules.allows(ipaddress.ip_address("fd12::1"))
    for text in ("127.0.0.2", "::ffff:127.0.0.1", "::1", "10.0.0.1"):
        assert not rules.allows(ipaddress.ip_address(text))
    for wrong in ("127.0.0.1/8", "localhost", "127.0.0.1/33", ""):
        with pytest.raises(InvalidInput):
            AddressRules([wrong])


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_a_url_is_its_only_spelling(address: ipaddress.IPv4Address) -> None:
    """Whatever four numbers a URL carries, they are read as that address or refused, never as a name to look up."""
    octets = str(address).split(".")
    assert literal(parse_url(f"http://{address}/").host) == address
    for odd in (str(int(address)), hex(int(address)), f"0{octets[0]}." + ".".join(octets[1:]), ".".join(octets[:3])):
        with pytest.raises(AddressRefused):
            parse_url(f"http://{odd}/")
