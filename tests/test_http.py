from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway import http
from gateway.errors import BlockedTargetError, DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from gateway.http import BODY_LIMIT, Client, port_refusal, read_url, refusal

pytestmark = pytest.mark.anyio

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

both_loops = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ],
)


class Sink:
    """A real server on the loopback that does what its script says, and remembers what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?key=s3cret"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(reader, writer)
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def sink(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Sink]:
    it = Sink(script)
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(it.serve(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(length)


def answering(*answers: bytes) -> Script:
    """Read requests and give these answers in turn, on as many connections as come."""
    left = list(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            await request(reader)
            writer.write(left.pop(0))
            await writer.drain()

    return script


@contextlib.asynccontextmanager
async def client(
    *,
    allow_private: bool = True,
    deadline: float = 5.0,
    resolve: http.Resolve | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    it = Client(allow_private=allow_private, deadline=deadline, resolve=resolve, tls=tls)
    try:
        yield it
    finally:
        await it.close()
        await asyncio.sleep(0)  # transports close in the next turn of the loop


# Which addresses


PUBLIC = ["8.8.8.8", "93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "172.32.0.1"]
PUBLIC += [
    "100.128.0.1",
    "11.0.0.1",
    "169.253.0.1",
    "223.255.255.255",
    "192.0.1.1",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]
PRIVATE = ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "127.0.0.1"]
PRIVATE += ["127.255.255.255", "127.1.2.3", "100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fd12:3456::1"]
PRIVATE += ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::192.168.1.1"]
NEVER = ["0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "169.254.170.2", "168.63.129.16", "100.100.100.200"]
NEVER += ["192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"]
NEVER += ["203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::2", "::127.0.0.1"]
NEVER += ["::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1::7f00:1"]
NEVER += ["100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1"]
NEVER += ["2002:7f00:1::", "2002:0808:0808::1", "3fff::1", "5f00::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1"]
NEVER += ["ff02::1", "ff0e::1", "fd00:ec2::254", "fd20:ce::254", "4000::1", "8000::1", "not an address", "127.1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(address) is None
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_where_the_operator_says_so(address: str) -> None:
    assert "GATEWAY_ALLOW_PRIVATE_TARGETS" in (refusal(address) or "")
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(address: str) -> None:
    assert refusal(address)
    assert refusal(address, allow_private=True)


def spellings(address: str) -> list[str]:
    """How one IPv4 address can be written in a URL."""
    a, b, c, d = (int(part) for part in address.split("."))
    number = (a << 24) | (b << 16) | (c << 8) | d
    wide = str.maketrans("0123456789.", "０１２３４５６７８９．")
    return [
        address,
        f"{address}.",
        str(number),
        hex(number),
        hex(number).upper(),
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"0{number:o}",
        f"{a}.{(b << 16) | (c << 8) | d}",
        f"{a}.{b}.{(c << 8) | d}",
        f"{a:03}.{b:03}.{c:03}.{d:03}",
        f"{a:#x}.{b}.0{c:o}.{d}",
        address.translate(wide),
        address.replace(".", "。"),
        "".join(f"%{ord(character):02x}" for character in address),
        f"[::ffff:{address}]",
        f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[0:0:0:0:0:ffff:{number >> 16:04x}:{number & 0xFFFF:04x}]",
        f"[::{address}]",
        f"[64:ff9b::{address}]",
        f"[64:ff9b:1::{number >> 16:x}:{number & 0xFFFF:x}]",
        f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]",
        f"[2001:0:4136:e378:8000:63bf:{number >> 16 ^ 0xFFFF:x}:{number & 0xFFFF ^ 0xFFFF:x}]",
        f"[fe80::{number >> 16:x}:{number & 0xFFFF:x}%25eth0]",
    ]


async def numeric(host: str) -> list[str]:
    """What the system's resolver makes of a number, without asking a name server."""
    found = socket.getaddrinfo(host.rstrip("."), None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(info[4][0]) for info in found]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.1.10", "169.254.169.254", "100.100.100.200"])
async def test_no_spelling_of_an_address_gets_past_the_guard(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[str] = []

    async def dial(self: object, address: str, port: int) -> object:
        dialled.append(address)
        raise OSError

    monkeypatch.setattr(http._Guard, "_dial", dial)
    async with client(allow_private=False, resolve=numeric) as it:
        for spelling in spellings(address):
            for port in ("", ":443", ":8080"):
                with pytest.raises(DeliveryError) as raised:
                    await it.post(f"http://{spelling}{port}/", content=b"", headers={})
                assert isinstance(raised.value, PermanentDeliveryError) or "resolved" in str(raised.value), spelling
    assert dialled == []


async def test_every_address_of_a_name_is_looked_at() -> None:
    async def resolve(host: str) -> list[str]:
        return ["93.184.216.34", "2606:4700::1111", "10.0.0.7"]

    async with client(allow_private=False, resolve=resolve) as it:
        with pytest.raises(BlockedTargetError, match=r"hooks\.example\.com: 10\.0\.0\.7 is a private address"):
            await it.post("https://hooks.example.com/", content=b"", headers={})


async def test_a_name_that_changes_its_answer_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: what is dialled is the address that was looked at, and the next connection looks again."""
    answers = [["93.184.216.34"], ["127.0.0.1"]]
    dialled: list[str] = []

    async def resolve(host: str) -> list[str]:
        return answers.pop(0)

    async with sink(answering(OK.replace(b"Content", b"Connection: close\r\nContent"), OK)) as target:

        async def dial(self: object, address: str, port: int) -> object:
            dialled.append(address)
            _, stream = await asyncio.get_running_loop().create_connection(http._Stream, "127.0.0.1", target.port)
            return stream

        monkeypatch.setattr(http._Guard, "_dial", dial)
        async with client(allow_private=False, resolve=resolve) as it:
            assert (await it.post("http://rebind.example/", content=b"{}", headers={})).status == 200
            with pytest.raises(BlockedTargetError):
                await it.post("http://rebind.example/", content=b"{}", headers={})
    assert dialled == ["93.184.216.34"]
    assert answers == []


async def test_the_next_address_is_dialled_where_one_refuses() -> None:
    async with sink(answering(OK)) as target:

        async def resolve(host: str) -> list[str]:
            return ["127.0.0.2", "127.0.0.1"]  # nobody listens at the first

        async with client(resolve=resolve) as it:
            url = f"http://two.example:{target.port}/"
            assert (await it.post(url, content=b"", headers={})).status == 200


# Which URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/x",
        "//hooks.example.com/x",
        "ftp://example.com/",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "gopher://example.com/",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://:@example.com/",
        "http://@example.com/",
        "http://example.com\\@10.0.0.1/",
        "http://example.com\t/",
        "http://exam\nple.com/",
        "http://example.com/\r\nX: y",
        "http://example.com/ x",
        "http://exa mple.com/",
        "http://example.com\u200b/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:x/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://a%2eb/",
        "http://ex\u00adample.com/",
        "http://①②⑦.0.0.1/",
        "http://example.com/" + "x" * 2048,
    ],
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(PermanentDeliveryError) as raised:
        read_url(url)
    assert "pass@" not in str(raised.value)


def test_what_is_read_from_a_url() -> None:
    target = read_url("HTTPS://Bücher.example/töpfe?q=ö#part")
    assert (target.scheme, target.host, target.port) == ("https", "xn--bcher-kva.example", 443)
    assert target.path == b"/t%C3%B6pfe?q=%C3%B6"
    assert target.origin == "https://xn--bcher-kva.example:443"
    assert read_url("http://[2606:4700::1111]:8080/").origin == "http://[2606:4700::1111]:8080"


@pytest.mark.parametrize("port", [1, 22, 25, 53, 110, 389, 445, 587, 1023])
def test_low_ports_are_for_operators_who_allow_private_targets(port: int) -> None:
    assert port_refusal(port)
    assert port_refusal(port, allow_private=True) is None


@pytest.mark.parametrize("port", [80, 443, 1024, 8080, 8443, 65535])
def test_ports_of_webhooks(port: int) -> None:
    assert port_refusal(port) is None


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_no_ports(port: int) -> None:
    assert port_refusal(port, allow_private=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[::1]/", "http://localhost/", "https://a.localhost./"])
def test_what_is_refused_before_anything_is_looked_up(url: str) -> None:
    with pytest.raises(BlockedTargetError, match="GATEWAY_ALLOW_PRIVATE_TARGETS"):
        Client().check(url)
    Client(allow_private=True).check(url)


# What is sent


@both_loops
async def test_what_is_sent_and_what_comes_back() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(b"HTTP/1.1 202 Fine\r\nX-One: 1\r\nX-ONE: 2\r\nX-Odd: \xe9\r\nContent-Length: 4\r\n\r\nbody")
        await writer.drain()

    async with sink(script) as target, client() as it:
        answer = await it.post(target.url, content=b"x" * 300_000, headers={"webhook-id": "ntf_1"})
    head, body = seen[0]
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /hook?key=s3cret http/1.1"
    assert set(lines[1:-2]) == {
        f"host: 127.0.0.1:{target.port}",
        "content-length: 300000",
        "accept-encoding: identity",
        "webhook-id: ntf_1",
    }
    assert body == b"x" * 300_000
    assert (answer.status, answer.body, answer.cut) == (202, b"body", False)
    assert answer.headers == {"x-one": "1", "x-odd": "é", "content-length": "4"}


@pytest.mark.parametrize(
    "name, value",
    [
        ("Host", "evil.example"),
        ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "upgrade"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "é"),
        ("x\r\ny", "a"),
        ("", "a"),
        ("a b", "c"),
    ],
)
async def test_headers_that_are_not_sent(name: str, value: str) -> None:
    async with client() as it:
        with pytest.raises(PermanentDeliveryError, match="cannot be sent"):
            await it.post("http://127.0.0.1:9/", content=b"", headers={name: value})


@both_loops
async def test_a_connection_is_used_again() -> None:
    async with sink(answering(*[OK] * 10)) as target, client() as it:
        for _ in range(10):
            assert (await it.post(target.url, content=b"{}", headers={})).body == b"ok"
        assert target.connections == 1


@both_loops
async def test_a_connection_that_was_closed_meanwhile_is_not() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with sink(script) as target, client() as it:
        for _ in range(3):
            assert (await it.post(target.url, content=b"{}", headers={})).status == 200
            await asyncio.sleep(0.02)
        assert target.connections == 3


async def test_pools_that_are_not_used_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_IDLE_SECONDS", 0.02)
    async with sink(answering(OK)) as one, sink(answering(OK)) as other, client() as it:
        await it.post(one.url, content=b"", headers={})
        await asyncio.sleep(0.05)
        await it.post(other.url, content=b"", headers={})
        assert [key[2] for key in it._pools] == [other.port]


async def test_cookies_are_not_kept_and_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append((await request(reader))[0])
            writer.write(OK.replace(b"OK\r\n", b"OK\r\nSet-Cookie: a=b\r\n"))

    async with sink(answering()) as proxy, sink(script) as target, client() as it:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for _ in range(2):
            assert (await it.post(target.url, content=b"", headers={})).status == 200
        assert proxy.connections == 0
    assert not any(b"cookie" in head.lower() for head in heads)


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "", "/again", "file:///etc/passwd"])
async def test_redirects_are_not_followed(location: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    async with sink(answering(answer, OK)) as target, client() as it:
        assert (await it.post(target.url, content=b"", headers={})).status == 302
        assert target.connections == 1


# Hostile answers


async def flood(writer: asyncio.StreamWriter, piece: bytes, limit: int = 10 << 30) -> None:
    sent = 0
    while sent < limit:
        writer.write(piece)
        await writer.drain()
        sent += len(piece)


def after(head: bytes, piece: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(head)
        await flood(writer, piece)

    return script


@both_loops
@pytest.mark.parametrize(
    "script",
    [
        after(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 65536),
        after(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
        after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10000),
        after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"y" * 60000 + b"\r\nx\r\n"),
    ],
    ids=["10 GB", "no length", "endless chunks", "tiny chunks", "chunk extensions"],
)
async def test_a_body_is_cut(script: Script) -> None:
    async with sink(script) as target, client() as it:
        async with asyncio.timeout(3):
            answer = await it.post(target.url, content=b"", headers={})
    assert answer.status == 200
    assert answer.cut
    assert len(answer.body) <= BODY_LIMIT


async def test_a_gzip_bomb_stays_shut() -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with sink(answering(head + bomb)) as target, client() as it:
        answer = await it.post(target.url, content=b"", headers={})
    assert answer.body == bomb[:BODY_LIMIT]


def once(answer: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return script


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    await asyncio.sleep(0.02)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@both_loops
@pytest.mark.parametrize(
    "script",
    [
        reset,
        once(b""),
        once(b"\x00\x01\x02\xff" * 100),
        once(b"SSH-2.0-OpenSSH_9.2\r\n"),
        once(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
        once(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        once(b"HTTP/1.1 2000 OK\r\n\r\n"),
        once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        once(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n"),
        after(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 100),
        after(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000),
        after(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    ],
    ids=[
        "reset",
        "silence",
        "garbage",
        "another protocol",
        "half a body",
        "length x",
        "status 2000",
        "bad chunk",
        "long headers",
        "endless headers",
        "an endless header",
        "a flood of 1xx",
    ],
)
async def test_no_whole_answer(script: Script) -> None:
    async with sink(script) as target, client() as it:
        async with asyncio.timeout(3):
            with pytest.raises(TemporaryDeliveryError) as raised:
                await it.post(target.url, content=b"", headers={})
        assert str(raised.value).startswith(f"http://127.0.0.1:{target.port}: ")
        assert "s3cret" not in str(raised.value)


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
    await asyncio.sleep(60)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request(reader)
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


@both_loops
@pytest.mark.parametrize("script", [hang, half, drip])
async def test_an_answer_that_takes_too_long(script: Script) -> None:
    async with sink(script) as target, client(deadline=0.3) as it:
        with pytest.raises(TemporaryDeliveryError, match=r"no whole answer within 0\.3 seconds"):
            async with asyncio.timeout(2):
                await it.post(target.url, content=b"x" * 20_000_000 if script is hang else b"", headers={})


@both_loops
async def test_a_hostile_answer_does_not_stall_the_loop() -> None:
    """Chunks of one byte are the most work for a byte that there is."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - before)

    script = after(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10000)
    async with sink(script) as target, client() as it:
        watching = asyncio.create_task(watch())
        await it.post(target.url, content=b"", headers={})
        watching.cancel()
    assert longest < 0.4


@both_loops
async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with client() as it:
            with pytest.raises(TemporaryDeliveryError, match="cannot connect"):
                await it.post(f"http://127.0.0.1:{unused.getsockname()[1]}/", content=b"", headers={})


async def test_a_target_that_hangs_does_not_hold_up_another() -> None:
    async with sink(hang) as sick, sink(answering(*[OK] * 50)) as well, client(deadline=1) as it:
        waiting = [asyncio.create_task(it.post(sick.url, content=b"", headers={})) for _ in range(50)]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(0.8):
            for _ in range(50):
                assert (await it.post(well.url, content=b"", headers={})).status == 200
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, TemporaryDeliveryError) for result in results)


# Names


async def test_names_are_looked_up_once_and_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def getaddrinfo(host: str, port: None, **kwargs: object) -> list[object]:
        asked.append(host)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return [(2, 1, 6, "", ("10.0.0.1", 0)), (2, 1, 6, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(http, "_RESOLVE_DEADLINE", 0.1)
    async with client(allow_private=False) as it:
        for _ in range(2):
            with pytest.raises(TemporaryDeliveryError, match=r"slow\.example cannot be resolved: no answer within"):
                await it.post("http://slow.example/", content=b"", headers={})
        assert asked == ["slow.example"]
        release.set()
        with pytest.raises(BlockedTargetError):
            await it.post("http://slow.example/", content=b"", headers={})
        await asyncio.sleep(0.05)
    assert set(asked) == {"slow.example"}


async def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: None, **kwargs: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with client() as it:
        with pytest.raises(
            TemporaryDeliveryError, match=r"no-such\.example cannot be resolved: Name or service not known"
        ):
            await it.post("http://no-such.example/", content=b"", headers={})


# TLS


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


async def on_loopback(host: str) -> list[str]:
    return ["127.0.0.1"]


@both_loops
async def test_tls_is_verified_for_the_name_in_the_url(tmp_path: Path) -> None:
    path = certificate(tmp_path, "hooks.example")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    names: list[str] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cafile=str(path))
    async with sink(answering(OK, OK), tls=server) as target:
        url = f"https://hooks.example:{target.port}/"
        async with client(resolve=on_loopback, tls=trusting) as it:
            for _ in range(2):
                assert (await it.post(url, content=b"x" * 200_000, headers={})).body == b"ok"
            assert target.connections == 1
            with pytest.raises(TemporaryDeliveryError, match="no TLS connection: Hostname mismatch"):
                await it.post(url.replace("hooks", "other"), content=b"", headers={})
        async with client(resolve=on_loopback) as it:
            with pytest.raises(TemporaryDeliveryError, match="no TLS connection: self-signed certificate"):
                await it.post(url, content=b"", headers={})
            assert it._tls is not None
            assert it._tls.minimum_version >= ssl.TLSVersion.TLSv1_2
        async with client() as it:
            with pytest.raises(TemporaryDeliveryError):
                await it.post(target.url, content=b"", headers={})
    assert names[0] == "hooks.example"


async def test_tls_with_somebody_who_does_not_speak_it() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with sink(script) as target, client() as it:
        with pytest.raises(TemporaryDeliveryError, match="no TLS connection"):
            await it.post(f"https://127.0.0.1:{target.port}/", content=b"", headers={})
