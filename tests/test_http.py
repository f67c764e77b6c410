from __future__ import annotations

import asyncio
import gzip
import socket
import struct

import pytest

from gateway import http
from gateway.errors import PermanentDeliveryError, TemporaryDeliveryError
from gateway.http import BODY_LIMIT
from tests.sinks import OK, Script, answering, both_loops, client, request, sink

pytestmark = pytest.mark.anyio

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


@both_loops
async def test_what_is_got() -> None:
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(
                OK if len(heads) < 3 else b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
            )
            await writer.drain()

    async with sink(script) as target, client() as it:
        answers = [await it.get(target.url) for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"ok"), (200, b"ok"), (302, b"")]
    assert target.connections == 1
    assert heads[0].decode().lower().split("\r\n")[:-2] == [
        "get /hook?key=s3cret http/1.1",
        f"host: 127.0.0.1:{target.port}",
        "accept-encoding: identity",
    ]


async def test_nothing_is_got_from_where_nothing_may_go() -> None:
    async with sink(answering(OK)) as target, client(allow_private=False) as it:
        with pytest.raises(PermanentDeliveryError, match="this machine"):
            await it.get(target.url)
        assert target.connections == 0


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
        async with asyncio.timeout(20):
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
        async with asyncio.timeout(20):
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
            async with asyncio.timeout(20):
                await it.post(target.url, content=b"x" * 20_000_000 if script is hang else b"", headers={})


async def test_a_target_that_hangs_does_not_hold_up_another() -> None:
    async with sink(hang) as sick, sink(answering(*[OK] * 50)) as well, client(deadline=60) as it:
        waiting = [asyncio.create_task(it.post(sick.url, content=b"", headers={})) for _ in range(50)]
        await asyncio.sleep(0.05)
        for _ in range(50):
            assert (await it.post(well.url, content=b"", headers={})).status == 200
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
