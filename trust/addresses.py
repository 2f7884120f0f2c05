"""Which URLs of strangers may be called: the form of the URL, and each address that its host leads to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import httpx

from ledger.errors import InvalidInput
from trust.errors import AddressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LONGEST_URL = 2_048
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*", re.ASCII
)
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII)
# The ports over 1023 that browsers refuse too, since other protocols than HTTP listen there (WHATWG Fetch, bad port).
_BAD_PORTS = {
    1719,
    1720,
    1723,
    2049,
    3659,
    4045,
    4190,
    5060,
    5061,
    6000,
    6566,
    6665,
    6666,
    6667,
    6668,
    6669,
    6679,
    6697,
    10080,
}

# IANA's special-purpose IPv4 registry, multicast, and one public address that answers inside a cloud's machines only.
_NOT_PUBLIC_4 = [
    ipaddress.IPv4Network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
]
# In IPv6 only global unicast is public, less what carries an IPv4 address inside (Teredo, 6to4) or is no host's.
# Mapped addresses, NAT64 and ULA are outside global unicast.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = [
    ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
_ISATAP = 0x5EFE


def parse_url(text: str) -> httpx.URL:
    """The URL, in a form that may be called. Raises AddressRefused."""
    if len(text) > _LONGEST_URL:
        raise AddressRefused(f"the URL is longer than {_LONGEST_URL} characters")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise AddressRefused("the URL cannot be read") from None
    check_form(url)
    return url


def check_form(url: httpx.URL) -> None:
    """Raises AddressRefused for other schemes, userinfo, ports of other protocols, and hosts in unusual notations.

    Checked on the parsed URL that is connected to, so that no second parser can see another host in it.
    """
    if url.scheme not in ("http", "https"):
        raise AddressRefused("the URL must be http or https")
    if url.userinfo:
        raise AddressRefused("the URL must not carry a user name or password")
    if url.port is not None and not _may_be_http(url.port):
        raise AddressRefused(f"port {url.port} is not one for HTTP")
    host = url.raw_host.decode("ascii")
    if ":" in host:
        if "%" in host:
            raise AddressRefused("an address must not name an interface of ours")
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise AddressRefused("the host is no IPv6 address") from None
    elif _NUMBER.fullmatch(host.rpartition(".")[2]) and not _is_plain_ipv4(host):
        # 2130706433, 0x7f.1 and 0177.0.0.1 are 127.0.0.1 to some resolvers and a name to others.
        raise AddressRefused("an IPv4 address must be written as four decimal numbers")
    elif not _NAME.fullmatch(host):
        raise AddressRefused("the host is not a plain name or address, without a dot at its end")


def literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class AddressRules:
    """Public addresses, and those in the operator's `allow_nets`. Raises InvalidInput for what is not CIDR."""

    def __init__(self, allow_nets: Sequence[str] = ()) -> None:
        try:
            self._allowed: list[Network] = [ipaddress.ip_network(net) for net in allow_nets]
        except ValueError as problem:
            raise InvalidInput("allow_nets", f"must be networks in CIDR form ({problem})") from None

    def allows(self, address: Address) -> bool:
        return any(address in net for net in self._allowed) or is_public(address)


def is_public(address: Address) -> bool:
    """Whether the address is a host's on the public internet, and carries no other address inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in net for net in _NOT_PUBLIC_4)
    if address not in _GLOBAL_UNICAST or any(address in net for net in _NOT_PUBLIC_6):
        return False
    # ISATAP: an interface id of [02]00:5efe followed by an IPv4 address, under any prefix.
    return (int(address) >> 32) & 0xFDFF_FFFF != _ISATAP


def _may_be_http(port: int) -> bool:
    return port in (80, 443) or (1024 <= port <= 65535 and port not in _BAD_PORTS)


def _is_plain_ipv4(host: str) -> bool:
    try:
        return str(ipaddress.IPv4Address(host)) == host
    except ValueError:
        return False
