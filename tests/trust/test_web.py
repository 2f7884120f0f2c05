"""The guarded client against a real server: only where it may go, no more than it takes, no longer than it waits."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.trust.web_site import Site, ok, redirect, site
from trust.errors import AddressRefused, FetchFailed
from trust.web import GuardedClient

HERE = ["127.0.0.1/32"]
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


@pytest.fixture
async def stranger() -> AsyncIterator[Site]:
    async with site() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    guarded = GuardedClient(HERE, timeout_s=5, max_bytes=100_000, resolve=names({}))
    yield guarded
    await guarded.aclose()


def names(table: dict[str, list[list[str]]]) -> Resolver:
    """Answers each name's look-ups in turn, the last one for ever; a name that is not in the table is 127.0.0.1."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        answers = table.get(host, [["127.0.0.1"]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    return resolve


async def test_a_stranger_is_called_by_name(stranger: Site, client: GuardedClient) -> None:
    """The Host header carries the name while the connection goes to the checked address; bodies arrive whole."""
    stranger.answers["/card"] = ok(b'{"name":"x"}', "Content-Type: application/json")
    reply = await client.get(f"http://agent.example:{stranger.port}/card", {"X-Note": "1"})
    assert (reply.status, reply.json(), reply.headers["content-type"]) == (200, {"name": "x"}, "application/json")
    head = stranger.asked[0].lower()
    assert f"host: agent.example:{stranger.port}\r\n" in head and "x-note: 1" in head
    await client.post(f"http://agent.example:{stranger.port}/push", json={"a": 1})
    assert stranger.asked[1].startswith("POST /push") and stranger.asked[1].endswith('{"a":1}')


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:{}/",
        "http://[::1]:{}/",
        "http://[::ffff:127.0.0.1]:{}/",
        "http://0.0.0.0:{}/",
        "http://10.0.0.1:{}/",
    ],
)
async def test_an_address_inside_is_refused_before_connecting(stranger: Site, client: GuardedClient, url: str) -> None:
    """Literals that lead inside are refused by get, post, check and transport, and no connection is made."""
    url = url.format(stranger.port)
    async with httpx.AsyncClient(transport=client.transport()) as raw:
        for call in (client.get(url), client.post(url, json={}), client.check(url), raw.get(url)):
            with pytest.raises(AddressRefused):
                await call
    assert stranger.connections == 0


async def test_the_default_client_does_not_reach_loopback(stranger: Site) -> None:
    """With nothing allowed, the system's own resolver leads `localhost` nowhere."""
    client = GuardedClient()
    for host in ("localhost", "127.0.0.1"):
        with pytest.raises(AddressRefused):
            await client.get(f"http://{host}:{stranger.port}/")
    await client.aclose()
    assert stranger.connections == 0


async def test_one_address_inside_refuses_all(stranger: Site) -> None:
    """A name with a public and a private address is refused: a second look-up may choose the private one."""
    client = GuardedClient(HERE, resolve=names({"mixed.example": [["127.0.0.1", "127.0.0.2"]]}))
    with pytest.raises(AddressRefused) as refusal:
        await client.get(f"http://mixed.example:{stranger.port}/")
    assert "127.0.0.2" not in str(refusal.value), "what a name leads to inside is not told"
    await client.aclose()
    assert stranger.connections == 0


async def test_a_name_that_rebinds_is_checked_at_each_connection() -> None:
    """Allowed when handed in, inside when called: refused, and what was checked is what is connected to."""
    async with site("127.0.0.2") as secret, site("127.0.0.1", secret.port) as public:
        moved = {"rebind.example": [["127.0.0.1"], ["127.0.0.2"]], "once.example": [["127.0.0.1"], ["127.0.0.2"]]}
        client = GuardedClient(HERE, resolve=names(moved))
        await client.check(f"http://rebind.example:{public.port}/")
        with pytest.raises(AddressRefused):
            await client.get(f"http://rebind.example:{public.port}/")
        assert (await client.get(f"http://once.example:{public.port}/")).status == 200
        await client.aclose()
        assert (public.connections, secret.connections) == (1, 0)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{}/",
        "http://inside.example:{}/",
        "//127.0.0.2:{}/",
        "http://2130706434:{}/",
        "http://[::ffff:127.0.0.2]:{}/",
        "file:///etc/passwd",
        "http://user@127.0.0.1:{}/",
        "http://169.254.169.254/latest/meta-data",
    ],
)
async def test_a_redirect_inside_is_refused(location: str) -> None:
    """Each hop is checked like the first, followed by us or by httpx over the transport."""
    async with site("127.0.0.2") as secret, site("127.0.0.1", secret.port) as public:
        public.answers["/"] = redirect(location.format(secret.port))
        client = GuardedClient(HERE, resolve=names({"inside.example": [["127.0.0.2"]]}))
        with pytest.raises(AddressRefused):
            await client.get(f"http://a.example:{public.port}/")
        async with httpx.AsyncClient(transport=client.transport(), follow_redirects=True) as raw:
            with pytest.raises((AddressRefused, httpx.UnsupportedProtocol)):
                await raw.get(f"http://a.example:{public.port}/")
        await client.aclose()
        assert secret.connections == 0


async def test_three_redirects_are_followed_and_no_more(stranger: Site, client: GuardedClient) -> None:
    """A chain of three ends at its answer, a loop ends in a refusal."""
    for step in range(3):
        stranger.answers[f"/{step}"] = redirect(f"/{step + 1}")
    stranger.answers["/loop"] = redirect("/loop")
    base = f"http://a.example:{stranger.port}"
    reply = await client.get(f"{base}/0")
    assert (reply.status, reply.url) == (200, f"{base}/3")
    with pytest.raises(FetchFailed, match="redirects"):
        await client.get(f"{base}/loop")
    stranger.answers["/bad"] = redirect("http://a:port/")
    with pytest.raises(FetchFailed, match="no URL"):
        await client.get(f"{base}/bad")


async def test_headers_for_one_host_do_not_go_to_another(stranger: Site, client: GuardedClient) -> None:
    """A redirect within the origin keeps the caller's headers; one to another origin gets none of them."""
    async with site() as other:
        stranger.answers["/near"] = redirect("/here")
        stranger.answers["/far"] = redirect(f"http://b.example:{other.port}/there")
        headers = {"Authorization": "Bearer secret"}
        await client.get(f"http://a.example:{stranger.port}/near", headers)
        await client.get(f"http://a.example:{stranger.port}/far", headers)
        assert "secret" in stranger.asked[1] and "secret" in stranger.asked[2]
        assert len(other.asked) == 1 and "secret" not in other.asked[0]


async def test_a_post_does_not_follow_a_redirect(stranger: Site, client: GuardedClient) -> None:
    """What is pushed goes to the URL that was given, and nowhere else."""
    stranger.answers["/"] = redirect("/elsewhere", "307 Temporary Redirect")
    assert (await client.post(f"http://a.example:{stranger.port}/", json={})).status == 307
    assert len(stranger.asked) == 1


async def test_an_answer_too_large_is_cut_off(stranger: Site, client: GuardedClient) -> None:
    """One byte over the limit is refused; the limit itself is taken."""
    stranger.answers["/fits"] = ok(b"x" * 100_000)
    stranger.answers["/over"] = ok(b"x" * 100_001)
    stranger.answers["/endless"] = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000
    base = f"http://a.example:{stranger.port}"
    assert len((await client.get(f"{base}/fits")).body) == 100_000
    for path in ("/over", "/endless"):
        with pytest.raises(FetchFailed, match="more than 100000 bytes"):
            await client.get(base + path)


async def test_a_compressed_answer_is_unpacked_within_the_limit(stranger: Site, client: GuardedClient) -> None:
    """Gzip is taken; a bomb is refused at the limit, and so are lies about the encoding and encodings not asked for."""
    bomb = gzip.compress(bytes(50_000_000))
    text = b"hello " * 1_000
    # 30,000 empty blocks and an end: more comes in than is taken, although nothing comes out.
    empty_blocks = gzip.compress(b"")[:10] + b"\x00\x00\x00\xff\xff" * 30_000 + b"\x01\x00\x00\xff\xff" + bytes(8)
    packed = gzip.compress(text)
    stranger.answers |= {
        "/good": ok(packed, "Content-Encoding: gzip"),
        "/bomb": ok(bomb, "Content-Encoding: gzip"),
        "/lie": ok(text, "Content-Encoding: gzip"),
        "/cut": ok(packed[:-9], "Content-Encoding: gzip"),
        "/more": ok(packed + text, "Content-Encoding: gzip"),
        "/twice": ok(gzip.compress(packed), "Content-Encoding: gzip, gzip"),
        "/brotli": ok(text, "Content-Encoding: br"),
        "/blocks": ok(empty_blocks, "Content-Encoding: gzip"),
        "/empty": ok(b"", "Content-Encoding: gzip"),
    }
    base = f"http://a.example:{stranger.port}"
    assert len(bomb) < 100_000
    assert (await client.get(f"{base}/good")).body == text
    assert (await client.get(f"{base}/empty")).body == b""
    for path in ("/bomb", "/lie", "/cut", "/more", "/twice", "/brotli", "/blocks"):
        with pytest.raises(FetchFailed):
            await client.get(base + path)
    assert "accept-encoding: gzip\r\n" in stranger.asked[0].lower()
    async with httpx.AsyncClient(transport=client.transport(max_bytes=100_000)) as raw:
        assert (await raw.get(f"{base}/good")).text == text.decode()
        with pytest.raises(FetchFailed):
            await raw.get(f"{base}/bomb")


async def test_a_bomb_never_stands_in_memory(stranger: Site, client: GuardedClient) -> None:
    """Unpacking goes by pieces of 64 KiB: the limit is noticed within one piece, whatever the chunk would become."""
    from trust.gunzip import Gunzip

    bomb = gzip.compress(bytes(50_000_000))
    assert max(len(piece) for piece in Gunzip().feed(bomb)) <= 65_536


async def test_a_silent_or_cut_answer_ends_in_time(stranger: Site) -> None:
    """A server that stalls in head or body, lies, breaks off or is not there: FetchFailed, never httpx's own error."""
    client = GuardedClient(HERE, timeout_s=0.3, resolve=names({"gone.example": [[]]}))
    stranger.answers |= {
        "/head": b"HTTP/1.1 200",
        "/body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx",
        "/junk": b"SSH-2.0-OpenSSH\r\n\r\n",
    }
    stranger.stalls |= {"/head", "/body"}
    base = f"http://a.example:{stranger.port}"
    async with site() as closed:
        pass
    for url in (
        f"{base}/head",
        f"{base}/body",
        f"{base}/junk",
        f"http://a.example:{closed.port}/",
        "http://gone.example/",
    ):
        with pytest.raises(FetchFailed, match="FETCH_FAILED"):
            await client.get(url)
    await client.aclose()


async def test_a_look_up_that_hangs_ends_in_time() -> None:
    """A stranger's name server cannot hold a caller past the deadline."""

    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    client = GuardedClient(timeout_s=0.1, resolve=never)
    for call in (client.get("http://a.example/"), client.check("http://a.example/")):
        with pytest.raises(FetchFailed):
            await call
    await client.aclose()


async def test_a_stream_arrives_as_it_is_sent_and_ends_at_its_limits(stranger: Site, client: GuardedClient) -> None:
    """Through the transport an event is read while the answer is still open; size and time bound the whole stream."""
    stranger.answers["/events"] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
    stranger.stalls.add("/events")
    url = f"http://a.example:{stranger.port}/events"
    async with httpx.AsyncClient(transport=client.transport(total_s=2)) as raw:
        async with raw.stream("GET", url) as response:
            lines = response.aiter_lines()
            assert await anext(lines) == "data: 1"
            with pytest.raises(FetchFailed, match="too long"):
                async for _ in lines:
                    pass
    async with httpx.AsyncClient(transport=client.transport(max_bytes=4)) as raw:
        with pytest.raises(FetchFailed, match="more than 4 bytes"):
            await raw.get(url)


async def test_on_the_transport_wire_errors_are_httpx_errors(client: GuardedClient) -> None:
    """Other people's clients on the transport see the errors that they know."""
    async with site() as closed:
        pass
    async with httpx.AsyncClient(transport=client.transport()) as raw:
        with pytest.raises(httpx.ConnectError):
            await raw.get(f"http://a.example:{closed.port}/")


async def test_the_next_allowed_address_is_tried(stranger: Site) -> None:
    """A host with two allowed addresses is reached by the one that answers."""
    client = GuardedClient(["127.0.0.0/24"], resolve=names({"two.example": [["127.0.0.9", "127.0.0.1"]]}))
    assert (await client.get(f"http://two.example:{stranger.port}/")).status == 200
    await client.aclose()


async def test_a_caller_cannot_rename_the_host(stranger: Site, client: GuardedClient) -> None:
    """The Host header is the checked URL's, whatever headers or extensions say."""
    await client.get(f"http://a.example:{stranger.port}/", {"Host": "inside.example"})
    assert "inside.example" not in stranger.asked[0] and "a.example" in stranger.asked[0]


async def test_proxies_of_the_environment_are_ignored(stranger: Site) -> None:
    """A process whose environment names a proxy still connects by itself: through one, the check would mean nothing."""
    import os
    import subprocess
    import sys

    async with site() as proxy:
        script = (
            "import asyncio, sys\nfrom trust.web import GuardedClient\n"
            "client = GuardedClient(['127.0.0.1/32'])\n"
            "print(asyncio.run(client.get(sys.argv[1])).body.decode())"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            f"http://127.0.0.1:{stranger.port}/",
            env={
                **os.environ,
                "http_proxy": f"http://127.0.0.1:{proxy.port}",
                "ALL_PROXY": f"http://127.0.0.1:{proxy.port}",
                "no_proxy": "",
            },
            stdout=subprocess.PIPE,
        )
        told, _ = await process.communicate()
        assert told.decode().strip() == "hello"
        assert (stranger.connections, proxy.connections) == (1, 0)


def certificate(folder: Path, *hosts: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate for these hosts, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
    ]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + signed.public_bytes(Encoding.PEM))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    trusting = ssl.create_default_context(cadata=signed.public_bytes(Encoding.PEM).decode())
    return server, trusting


async def test_tls_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    """The pinned address does not weaken TLS: SNI is the URL's host, and a certificate for another name is refused."""
    server_tls, trusting = certificate(tmp_path, "a.example")
    asked_names: list[str | None] = []
    server_tls.sni_callback = lambda connection, name, context: asked_names.append(name)
    async with site(tls=server_tls) as secure:
        client = GuardedClient(HERE, resolve=names({}), tls=trusting)
        assert (await client.get(f"https://a.example:{secure.port}/")).status == 200
        for host in ("b.example", "127.0.0.1"):
            with pytest.raises(FetchFailed):
                await client.get(f"https://{host}:{secure.port}/")
        assert asked_names[:2] == ["a.example", "b.example"]
        async with httpx.AsyncClient(transport=client.transport()) as raw:
            with pytest.raises(httpx.ConnectError):
                await raw.get(f"https://b.example:{secure.port}/", extensions={"sni_hostname": "a.example"})
        secure.answers["/down"] = redirect("http://a.example/")
        with pytest.raises(FetchFailed, match="from https to http"):
            await client.get(f"https://a.example:{secure.port}/down")
        await client.aclose()
