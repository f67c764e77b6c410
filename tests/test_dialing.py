from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway import dialing
from gateway.dialing import WIRE_LIMIT, Stream, TooLongError
from gateway.errors import BlockedTargetError, DeliveryError, PermanentDeliveryError, TemporaryDeliveryError
from tests.sinks import OK, answering, both_loops, client, sink

pytestmark = pytest.mark.anyio

# Which addresses


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

    monkeypatch.setattr(dialing.Guard, "_dial", dial)
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
            _, stream = await asyncio.get_running_loop().create_connection(dialing.Stream, "127.0.0.1", target.port)
            return stream

        monkeypatch.setattr(dialing.Guard, "_dial", dial)
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


@both_loops
async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with client() as it:
            with pytest.raises(TemporaryDeliveryError, match="cannot connect"):
                await it.post(f"http://127.0.0.1:{unused.getsockname()[1]}/", content=b"", headers={})


# What a connection reads


@both_loops
async def test_others_have_their_turn_however_much_comes_at_once() -> None:
    """Chunks of one byte are the most work for a byte that there is: they are parsed a little at a time."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    stream = Stream()
    stream.data_received(b"1\r\nx\r\n" * 100_000)
    pieces: list[tuple[int, int]] = []
    running = asyncio.create_task(others())
    await asyncio.sleep(0)
    while sum(size for size, _ in pieces) < WIRE_LIMIT:
        pieces.append((len(await stream.read(1 << 20)), turns))
    with pytest.raises(TooLongError):
        await stream.read(1 << 20)
    running.cancel()
    assert max(size for size, _ in pieces) <= WIRE_LIMIT // 16
    assert all(before < after for (_, before), (_, after) in itertools.pairwise(pieces))


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
    monkeypatch.setattr(dialing, "_RESOLVE_DEADLINE", 0.1)
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
