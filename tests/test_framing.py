"""
What may come over a connection: broken, hostile, slow, in pieces. Raw bytes against the parser front.

Each gets its status, nothing that is not whole is stored, and the log holds no traceback.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import time
from collections.abc import Iterator

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway.errors import StoreBusyError
from gateway.handshakes import Handshake
from tests.fronts import QUICK, Installation, Running, Template, responses, serving, told

CAP = 64 << 10


async def echo(request: Request) -> PlainTextResponse:
    """A page that reads a body, as the REST API's do."""
    return PlainTextResponse(b"%d" % len(await request.body()))


async def impatient(_: Request) -> PlainTextResponse:
    return PlainTextResponse(b"no need to read")


ROUTES = [Route("/echo", echo, methods=["POST"]), Route("/impatient", impatient, methods=["POST"])]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serving("parser", Installation(), routes=ROUTES, max_body=CAP) as server:
        yield server


@pytest.fixture
def path(running: Running) -> str:
    house = running.house
    house.state.rows, house.state.used = [], []
    house.journal.drafts.clear()
    house.journal.refusing = house.journal.failing = None
    house.journal.release()
    return house.add("web")


@pytest.fixture(autouse=True)
def no_traceback(path: str, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert "Traceback" not in told(caplog)
    assert path.split("/")[2] not in told(caplog)


def head(
    path: str, *lines: str, method: str = "POST", version: str = "HTTP/1.1", host: str | None = "gateway.test"
) -> bytes:
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"{method} {path} {version}", *hosts, *lines, "", ""]).encode("latin-1")


def statuses(raw: bytes) -> list[int]:
    return [response.status for response in responses(raw)]


# How a request is framed

BROKEN = {
    "length and chunked": (["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "chunked and length": (["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\n"),
    "chunked twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
    "xchunked": (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
    "chunked, identity": (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
    "identity": (["Transfer-Encoding: identity"], b""),
    "gzip, chunked": (["Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n"),
    "space before the colon": (["Transfer-Encoding : chunked"], b"0\r\n\r\n"),
    "two equal lengths": (["Content-Length: 2", "Content-Length: 2"], b"{}"),
    "two lengths": (["Content-Length: 2", "Content-Length: 3"], b"{}x"),
    "length list": (["Content-Length: 2, 2"], b"{}"),
    "length +2": (["Content-Length: +2"], b"{}"),
    "length -1": (["Content-Length: -1"], b"{}"),
    "length 0x2": (["Content-Length: 0x2"], b"{}"),
    "no length": (["Content-Length:"], b"{}"),
    "chunk size ZZ": (["Transfer-Encoding: chunked"], b"ZZ\r\n{}\r\n0\r\n\r\n"),
    "chunk size of 17 digits": (["Transfer-Encoding: chunked"], b"F" * 17 + b"\r\n{}"),
    "chunk with bare LF": (["Transfer-Encoding: chunked"], b"2\n{}\n0\n\n"),
    "chunk without its end": (["Transfer-Encoding: chunked"], b"2\r\n{}XX0\r\n\r\n"),
    "bare CR": (["X: a\rY: b", "Content-Length: 2"], b"{}"),
    "bare LF": (["X: a\nY: b", "Content-Length: 2"], b"{}"),
    "folded header": (["X: a\r\n b", "Content-Length: 2"], b"{}"),
    "NUL in a header": (["X: a\0b", "Content-Length: 2"], b"{}"),
    "space in a name": (["X y: a", "Content-Length: 2"], b"{}"),
    "empty name": ([": a", "Content-Length: 2"], b"{}"),
    "two hosts": (["Host: gateway.test", "Content-Length: 2"], b"{}"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_framing_is_400_and_the_end(running: Running, path: str, case: str) -> None:
    lines, body = BROKEN[case]
    (answer,) = responses(running.raw(head(path, *lines) + body + head("/healthz", method="GET")))
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert running.drafts == []


@pytest.mark.parametrize("host", [None, "", "user@gateway.test", "gateway.test/path", "a b", "gateway.test\t\x0b"])
def test_a_host_that_is_none_is_400(running: Running, path: str, host: str | None) -> None:
    assert statuses(running.raw(head(path, "Content-Length: 2", host=host) + b"{}")) == [400]


@pytest.mark.parametrize(
    "host", ["gateway.test:8080", "127.0.0.1", "[::1]:8080", "xn--bcher-kva.example", "under_score"]
)
def test_a_host_that_is_one_is_fine(running: Running, path: str, host: str) -> None:
    assert statuses(running.raw(head(path, "Content-Length: 2", "Connection: close", host=host) + b"{}")) == [200]


@pytest.mark.parametrize("version", ["HTTP/9.9", "HTTP/2.0", "HTTP/0.9", "HTTP/1.10", "HTTP/1", "http/1.1"])
def test_another_version_is_400(running: Running, path: str, version: str) -> None:
    assert statuses(running.raw(head(path, "Content-Length: 2", version=version) + b"{}")) == [400]


@pytest.mark.parametrize(
    "start",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\r\n\r\n",
        b"\0\0\0\0",
        b"{}\r\n\r\n",
        "GET /größe HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    ],
)
def test_what_is_not_http_1_is_400(running: Running, start: bytes) -> None:
    assert statuses(running.raw(start)) == [400]


@pytest.mark.parametrize("target", ["http://gateway.test{path}", "gateway.test:443", "*", "//gateway.test{path}"])
def test_a_target_in_another_form_is_refused(running: Running, path: str, target: str) -> None:
    answer = statuses(running.raw(head(target.format(path=path), "Content-Length: 2", "Connection: close") + b"{}"))
    assert answer in ([400], [404])
    assert running.drafts == []


@pytest.mark.parametrize("method", ["CONNECT", "FOO", "BREW", "TRACE"])
def test_an_unknown_method_is_405(running: Running, path: str, method: str) -> None:
    target = "gateway.test:443" if method == "CONNECT" else path
    (answer,) = responses(running.raw(head(target, "X-Secret: canary", "Connection: close", method=method)))
    assert answer.status == 405
    assert b"canary" not in answer.body


def test_a_length_beyond_all_numbers_is_413(running: Running, path: str) -> None:
    assert statuses(running.raw(head(path, "Content-Length: 99999999999999999999999"))) == [413]
    assert statuses(running.raw(head("/echo", "Content-Length: 999999999999999999"))) == [413]


def test_413_comes_before_the_body_and_can_be_read(running: Running, path: str) -> None:
    """Megabytes are on their way already; were the connection reset, the sender would never see why."""
    for target in (path, "/echo"):
        assert statuses(running.raw(head(target, f"Content-Length: {8 << 20}"), b"x" * (2 << 20))) == [413]
    assert running.drafts == []


def test_chunks_over_the_limit_are_413(running: Running, path: str) -> None:
    body = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    for target in (path, "/echo"):
        assert statuses(running.raw(head(target, "Transfer-Encoding: chunked"), body * 17)) == [413]
    assert running.drafts == []


def test_framing_without_content_is_bounded(running: Running, path: str) -> None:
    extension = b"1;" + b"x" * 1_000_000 + b"\r\n{\r\n"
    assert statuses(running.raw(head(path, "Transfer-Encoding: chunked"), extension, extension)) == [413]
    chunks = b"1\r\nx\r\n" * 10_000
    assert statuses(running.raw(head(path, "Transfer-Encoding: chunked"), *[chunks] * 8)) == [413]


def test_small_chunks_and_trailers_are_fine(running: Running, path: str) -> None:
    body = b"1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-Real-IP: 1.2.3.4\r\nX-Alert-Token: t\r\n\r\n"
    assert statuses(running.raw(head(path, "Transfer-Encoding: chunked", "Connection: close") + body)) == [200]
    assert running.drafts[0].body == b"{}"
    assert b"1.2.3.4" not in running.drafts[0].headers


def test_a_body_shorter_than_it_says_is_not_stored(running: Running, path: str) -> None:
    before = running.ingest.counts.disconnected
    assert statuses(running.raw(head(path, "Content-Length: 10") + b"{}", finish=True)) == [400]
    assert running.drafts == []
    assert running.ingest.counts.disconnected == before + 1


def test_what_follows_a_body_is_not_part_of_it(running: Running, path: str) -> None:
    assert statuses(running.raw(head(path, "Content-Length: 2") + b"{}garbage\r\n\r\n")) == [200, 400]
    assert [draft.body for draft in running.drafts] == [b"{}"]


def test_a_request_inside_a_body_stays_there(running: Running, path: str) -> None:
    inner = head("/healthz", method="GET")
    raw = running.raw(head(path, f"Content-Length: {len(inner)}", "Connection: close") + inner)
    assert statuses(raw) == [200]
    assert running.drafts[0].body == inner


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.03])
def test_an_offered_upgrade_does_not_cost_the_body(
    running: Running, path: str, upgrade: str, chunked: bool, pause: float
) -> None:
    """The JDK's HttpClient offers h2c with each request; the parser alone would report an empty body."""
    lines = ["Connection: Upgrade, HTTP2-Settings, close", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAAQ"]
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 8"
    body = b'3\r\n{"a\r\n5\r\n": 1}\r\n0\r\n\r\n' if chunked else b'{"a": 1}'
    assert statuses(running.raw(head(path, *lines, framing), body[:5], body[5:], pause=pause)) == [200]
    assert running.drafts[0].body == b'{"a": 1}'


def test_many_offered_upgrades_are_each_passed_over(running: Running, path: str) -> None:
    message = head(path, "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2") + b"{}"
    last = head(path, "Connection: close", "Content-Length: 2") + b"{}"
    assert statuses(running.raw(message * 20 + last)) == [200] * 21
    assert [draft.body for draft in running.drafts] == [b"{}"] * 21


def test_an_upgrade_elsewhere_is_passed_over(running: Running) -> None:
    lines = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"]
    raw = running.raw(head("/healthz", *lines, method="GET") + head("/healthz", "Connection: close", method="GET"))
    assert statuses(raw) == [200, 200]


def test_100_continue_is_said_before_the_body_and_not_after_a_refusal(running: Running, path: str) -> None:
    with running.connect() as connection:
        connection.sendall(head(path, "Content-Length: 2", "Expect: 100-continue", "Connection: close"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    raw = running.raw(head(path, f"Content-Length: {CAP + 1}", "Expect: 100-continue"))
    assert raw.startswith(b"HTTP/1.1 413 ")
    assert statuses(running.raw(head("/healthz", "Expect: 200-ok", method="GET"))) == [417]


def test_http_1_0_without_a_length_has_no_body(running: Running, path: str) -> None:
    assert statuses(running.raw(head(path, version="HTTP/1.0", host=None))) == [200]
    assert statuses(running.raw(head(path, "Transfer-Encoding: chunked", version="HTTP/1.0") + b"0\r\n\r\n")) == [400]


def test_head_has_no_body(running: Running, path: str) -> None:
    raw = running.raw(head(path, method="HEAD"))
    assert raw.startswith(b"HTTP/1.1 405 ")
    assert raw.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("target", ["{path}", "/healthz"])
@pytest.mark.parametrize("pause", [0.0, 0.02])
def test_large_heads_are_refused_wherever_they_are_cut(running: Running, path: str, target: str, pause: float) -> None:
    target = target.format(path=path)
    lines = [f"X-{at}: " + "y" * 90 for at in range(1000)]
    pieces = head(target, *lines)
    cut = [pieces[at : at + 20_000] for at in range(0, len(pieces), 20_000)]
    assert statuses(running.raw(*cut, pause=pause)) == [431]
    assert statuses(running.raw(head(target, "X: " + "y" * 100_000))) == [431]
    assert statuses(running.raw(head(target + "?" + "y" * 100_000))) == [414]
    assert running.drafts == []


def test_a_head_in_single_bytes_is_fine(running: Running, path: str) -> None:
    data = head(path, "Content-Length: 2", "Connection: close") + b"{}"
    assert statuses(running.raw(*[data[at : at + 1] for at in range(len(data))])) == [200]


# Pipelining


def test_a_hundred_pipelined_messages_are_answered_in_order(running: Running, path: str) -> None:
    data = b"".join(head(path, "Content-Length: 3") + b"%03d" % at for at in range(99))
    answers = responses(running.raw(data + head(path, "Content-Length: 3", "Connection: close") + b"099"))
    assert [answer.json["message_id"] for answer in answers] == [str(at) for at in range(1, 101)]
    assert [draft.body for draft in running.drafts] == [b"%03d" % at for at in range(100)]


def test_messages_and_pages_pipelined_keep_their_order(running: Running, path: str) -> None:
    message, page = head(path, "Content-Length: 2") + b"{}", head("/healthz", method="GET")
    last = head("/nothing", "Connection: close", method="GET")
    assert statuses(running.raw(message + page + message + page + message + last)) == [200] * 5 + [404]
    assert len(running.drafts) == 3


@pytest.mark.parametrize(
    "second, expected", [(b"garbage\r\n\r\n", 400), (b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400)]
)
def test_what_is_refused_behind_a_message_is_answered_after_it(
    running: Running, path: str, second: bytes, expected: int
) -> None:
    running.house.journal.holding = True
    with running.connect() as connection:
        connection.sendall(head(path, "Content-Length: 2") + b"{}" + second)
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        running.house.journal.release()
        connection.settimeout(5)
        raw = b"".join(iter(lambda: connection.recv(4096), b""))
    assert statuses(raw) == [200, expected]


def test_a_second_connection_close_message_is_not_taken(running: Running, path: str) -> None:
    message = head(path, "Content-Length: 2", "Connection: close") + b"{}"
    assert statuses(running.raw(message + message)) == [200]
    assert len(running.drafts) == 1


def test_a_connection_serves_many_messages(running: Running, path: str) -> None:
    with running.connect() as connection:
        for at in range(1, 20):
            connection.sendall(head(path, "Content-Length: 2") + b"{}")
            (answer,) = responses(connection.recv(4096))
            assert answer.json == {"message_id": str(at)}
        connection.sendall(head(path, method="GET"))
        assert statuses(connection.recv(4096)) == [405]
        connection.sendall(head("/nothing", method="GET"))
        assert statuses(connection.recv(4096)) == [404]
        connection.sendall(head(path, "Content-Length: 2") + b"{}")
        assert statuses(connection.recv(4096)) == [200]


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_answered_or_ended_and_never_hangs(running: Running, path: str, seed: int) -> None:
    """Good requests with a few bytes changed, cut anywhere: each answer is whole, and the log stays free of tracebacks."""
    chance = random.Random(seed)
    good = [
        head(path, "Content-Length: 2") + b"{}",
        head(path, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        head(path, "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2") + b"{}",
        head(path, "Expect: 100-continue", "Content-Length: 2") + b"{}",
        head("/echo", "Content-Length: 2") + b"{}",
        head("/nothing", method="GET"),
    ]
    for _ in range(60):
        data = bytearray(b"".join(chance.choices(good, k=3)))
        for _ in range(chance.choice([0, 1, 1, 2, 4])):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choices(b"\r\n :0aF\0,;\xff", k=chance.randrange(3))
        cut = chance.randrange(len(data))
        for answer in responses(running.raw(bytes(data[:cut]), bytes(data[cut:]), finish=True)):
            assert answer.status in (200, 400, 404, 405, 413, 414, 417, 431)


# G8: slow, gone, too many


def test_a_head_that_trickles_is_408(running: Running, path: str) -> None:
    assert statuses(running.raw(head(path)[:-4], b"\r\nX", b": y", pause=0.1)) == [408]


@pytest.mark.parametrize("target", ["{path}", "/echo"])
def test_a_body_that_trickles_is_408(running: Running, path: str, target: str) -> None:
    pieces = [head(target.format(path=path), "Content-Length: 100"), *[b"x"] * 5]
    assert statuses(running.raw(*pieces, pause=0.1)) == [408]
    assert running.drafts == []


def test_a_connection_that_says_nothing_is_closed(running: Running, path: str) -> None:
    assert running.raw() == b""
    with running.connect() as connection:
        connection.sendall(head(path, "Content-Length: 2") + b"{}")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert connection.recv(4096) == b""


def test_a_sender_that_closes_its_side_still_gets_its_answer(running: Running, path: str) -> None:
    assert statuses(running.raw(head(path, "Content-Length: 2") + b"{}", finish=True)) == [200]
    assert statuses(running.raw(head("/echo", "Content-Length: 2") + b"{}", finish=True)) == [200]


@pytest.mark.parametrize("target", ["{path}", "/echo"])
def test_a_sender_that_goes_away_mid_body_is_counted_once(running: Running, path: str, target: str) -> None:
    before = running.ingest.counts.disconnected
    with running.connect() as connection:
        connection.sendall(head(target.format(path=path), "Content-Length: 10") + b"{}")
        time.sleep(0.05)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close sends a reset
    _until(lambda: running.ingest.counts.disconnected == before + 1)
    assert running.drafts == []


def test_a_sender_that_goes_away_before_its_answer_is_stored_all_the_same(running: Running, path: str) -> None:
    running.house.journal.holding = True
    with running.connect() as connection:
        connection.sendall(head(path, "Content-Length: 2") + b"{}")
        _until(lambda: len(running.drafts) == 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    time.sleep(0.05)
    running.house.journal.release()
    assert running.post(path).json == {"message_id": "2"}


def test_a_page_that_does_not_read_the_body_keeps_the_connection_in_step(running: Running) -> None:
    data = head("/impatient", "Content-Length: 5") + b"GET /"
    assert statuses(running.raw(data + head("/healthz", "Connection: close", method="GET"))) == [200, 200]


def test_pipelined_requests_have_an_end(running: Running) -> None:
    """What one connection asks for without waiting is kept in memory: not without end."""
    got = statuses(running.raw(head("/healthz", method="GET") * 1000))
    assert set(got[:-1]) == {200}
    assert 100 < len(got) < 300
    assert got[-1] == 503


def test_a_sender_that_does_not_read_its_answers_is_not_read_and_then_cut_off(running: Running) -> None:
    sent = 0
    with running.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(2)
        with contextlib.suppress(OSError):  # it blocks, or is cut off, whichever comes first
            while sent < 200 << 20:
                connection.sendall(head("/POSTAlert/a/b", method="PUT") * 1000)
                sent += 50_000
        _until(lambda: not running.server.server_state.connections)
    assert sent < 64 << 20, "the sender is slowed down by what it does not read"


def test_too_many_connections_are_503() -> None:
    house = Installation()
    path = house.add("web")
    limits = msgspec.structs.replace(QUICK, connections=3, head=5.0, linger=0.1)
    with serving("parser", house, limits=limits) as server:
        held = [server.connect() for _ in range(3)]
        time.sleep(0.05)
        raw = server.raw()
        assert statuses(raw) == [503]
        assert responses(raw)[0].headers["retry-after"] == "5"
        for connection in held:
            connection.close()
        _until(lambda: not server.server.server_state.connections)
        assert server.post(path).status == 200


def test_open_idle_connections_do_not_stop_the_others(running: Running, path: str) -> None:
    held = [running.connect() for _ in range(200)]
    assert running.post(path).status == 200
    for connection in held:
        connection.close()


# Stopping


def test_stopping_finishes_what_is_under_way() -> None:
    house = Installation()
    path = house.add("web")
    with serving("parser", house) as server, server.connect() as busy, server.connect() as fresh:
        house.journal.holding = True
        busy.sendall(head(path, "Content-Length: 2") + b"{}")
        _until(lambda: len(house.journal.drafts) == 1)
        server.server.stop()
        time.sleep(0.25)  # the server looks every 100 ms
        fresh.sendall(head(path, "Content-Length: 2") + b"[]")  # was connected before: it is served
        _until(lambda: len(house.journal.drafts) == 2)
        house.journal.release()
        for connection in (busy, fresh):
            raw = b"".join(iter(lambda: connection.recv(4096), b""))  # noqa: B023  called at once
            (answer,) = responses(raw)
            assert (answer.status, answer.headers["connection"]) == (200, "close")


# Bugs of ours


def test_a_bug_costs_a_second_try_and_not_the_message(
    running: Running, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        msg = "a bug"
        raise ValueError(msg)

    for name in ("begin", "finish", "accepted"):
        with monkeypatch.context() as patch:
            patch.setattr(running.ingest, name, broken)
            assert running.post(path).status == 503
    assert running.post(path).status == 200
    caplog.clear()


def test_a_full_store_does_not_end_the_connection(running: Running, path: str) -> None:
    running.house.journal.refusing = StoreBusyError("full")
    with running.connect() as connection:
        for _ in range(3):
            connection.sendall(head(path, "Content-Length: 2") + b"{}")
            assert statuses(connection.recv(4096)) == [503]


def test_a_handshake_is_answered_on_a_connection_that_goes_on(running: Running, path: str) -> None:
    graph = running.house.add("graph", Template(handshakes=[Handshake(echo="query.validationToken", method="any")]))
    with running.connect() as connection:
        for method in ("POST", "GET"):
            connection.sendall(head(graph + "?validationToken=abc", "Content-Length: 0", method=method))
            (answer,) = responses(connection.recv(4096))
            assert answer.body == b"abc"
        connection.sendall(head(path, "Content-Length: 2") + b"{}")
        assert statuses(connection.recv(4096)) == [200]


def _until(condition: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)
