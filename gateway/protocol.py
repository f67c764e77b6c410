"""
The parser front: limits for every request, and the short way for messages.

A subclass of uvicorn's protocol. It answers `POST /POSTAlert/…` straight from the HTTP parser's calls, without the scope,
task and event that an ASGI app costs, and hands all else to the app. What the parser lets through and HTTP forbids is
refused here, and so is what is too large or too slow: one sweep looks at all connections, no request has a timer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, ClassVar, Literal, cast

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway import ingest as rules
from gateway.endpoints import PREFIX
from gateway.errors import StoreError
from gateway.ingest import Admission, Answer, Ingest, refusal
from gateway.store.base import Draft, Journal, Receipt

Phase = Literal["new", "head", "body", "busy", "idle", "over"]

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%\[\]:-]+")
_METHOD = re.compile(rb"[A-Z]{1,24} ")
_HOP_BY_HOP = frozenset({b"upgrade", b"http2-settings", b"connection"})
_STATUS = {
    200: b"200 OK",
    400: b"400 Bad Request",
    401: b"401 Unauthorized",
    404: b"404 Not Found",
    405: b"405 Method Not Allowed",
    408: b"408 Request Timeout",
    413: b"413 Content Too Large",
    414: b"414 URI Too Long",
    415: b"415 Unsupported Media Type",
    417: b"417 Expectation Failed",
    431: b"431 Request Header Fields Too Large",
    503: b"503 Service Unavailable",
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNKNOWN_METHOD = refusal(405, "method_not_allowed", "this method is not known here", head=b"allow: GET, HEAD, POST\r\n")
_FULL = refusal(503, "busy", "there are too many connections", "send it again", b"retry-after: 5\r\n")
_log = logging.getLogger("gateway.protocol")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much. Times are seconds, counted from the first byte of a request."""

    head: float = 10.0
    body: float = 15.0
    idle: float = 5.0
    linger: float = 2.0
    """How long what a refused sender still sends is taken in, so that it gets to read the answer."""
    drain: float = 1.0
    """How long a connection may still begin a request after the server was told to stop."""
    sweep: float = 0.5
    connections: int = 2000


class Watch:
    """The sweep over the connections of one server; it sleeps while there are none."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connections: set[Any] = set()
        self._timer: asyncio.TimerHandle | None = None

    def over(self, connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
        """See to it that these connections are swept."""
        if self._timer is None:
            self._connections = connections
            self._timer = loop.call_later(self.limits.sweep, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for connection in list(self._connections):
            if isinstance(connection, Front):
                connection.swept(now)
        if self._connections:
            self.over(self._connections, loop)


class _Never:
    """Stands where uvicorn keeps the event that wakes an app."""

    def set(self) -> None:
        """Nobody waits."""


class Intake:
    """One message on its short way. It stands where uvicorn keeps its cycle; the public attributes are what that reads."""

    __slots__ = ("admission", "body", "disconnected", "front", "keep_alive", "more_body", "response_complete")
    message_event: ClassVar[_Never] = _Never()

    def __init__(self, front: Front, admission: Admission, keep_alive: bool) -> None:  # noqa: FBT001 - built per message
        self.front = front
        self.admission = admission
        self.keep_alive = keep_alive
        self.body: bytes | bytearray = b""
        self.disconnected = False
        self.response_complete = False
        self.more_body = True

    def done(self, outcome: Receipt | StoreError) -> None:
        """What the journal says."""
        ingest = self.front.ingest
        try:
            if type(outcome) is Receipt:
                answer = ingest.accepted(outcome, len(self.body))
            else:
                answer = ingest.busy(cast("StoreError", outcome))
        except Exception:
            _log.exception("an answer could not be made; the sender is told to come again")
            answer = ingest.busy(StoreError("internal error"))
        self.front.answered(self, answer)


class Front(HttpToolsProtocol):
    """One connection. `ingest`, `journal` and `watch` are shared by all; `functools.partial` gives them to uvicorn."""

    def __init__(  # noqa: PLR0913 - the first four are uvicorn's
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        ingest: Ingest,
        journal: Journal,
        watch: Watch,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.ingest, self.journal, self.watch = ingest, journal, watch
        self.phase: Phase = "new"
        self.since = 0.0  # when the phase began; of "body", when the request did
        self.received = 0  # bytes since the request began, as they came
        self.draining = False
        self.upgrading = False

    # the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self.watch.over(self.connections, self.loop)
        if len(self.connections) > self.watch.limits.connections:
            self.ingest.counts.connections_refused += 1
            self._refuse(_FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a request that was not complete; nothing of it was stored."""
        if self.phase in ("head", "body"):
            self.ingest.counts.disconnected += 1
        self.phase = "over"
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let a sender that has said all, and closed its side, still read the answer."""
        if self.phase in ("head", "body"):
            self.ingest.counts.disconnected += 1
            self._refuse(rules.BAD_REQUEST)
        if self.phase == "busy" and self.cycle is not None:
            self.cycle.keep_alive = False
            return True
        return False

    def shutdown(self) -> None:
        """Stop after the request that is under way, or that comes within the drain time."""
        self.draining = True
        if self.phase == "over":
            self.transport.close()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        self.since = max(self.since, self.loop.time()) if self.phase in ("new", "idle") else self.since

    def swept(self, now: float) -> None:
        """Close what took too long; called every now and then."""
        limits, waited = self.watch.limits, now - self.since
        if self.phase in ("head", "body"):
            if waited > (limits.head if self.phase == "head" else limits.body):
                self._refuse(rules.TIMED_OUT)
        elif self.phase in ("new", "idle"):
            patience = limits.head if self.phase == "new" else limits.idle
            if waited > (limits.drain if self.draining else patience):
                self._end(now)
        elif self.phase == "over" and waited > limits.linger:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self.phase == "over":
            return  # refused already: taken in so that the sender reads the answer, see Limits.linger
        self.received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._malformed(error, data)
        if self.phase == "head":
            if self.received > rules.MAX_HEADER_BYTES + rules.MAX_TARGET:
                self._refuse(rules.TOO_LONG if len(self.url) > rules.MAX_TARGET else rules.HEAD_TOO_LARGE)
        elif self.phase == "body" and self.received > 4 * self.ingest.max_body + (64 << 10):
            self._refuse(self.ingest.too_large)  # chunk extensions, or chunks of a byte each

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """
        Go on as if nobody had asked for another protocol, which HTTP allows.

        The parser takes what follows such a head for that protocol and would report an empty body.
        """
        lines = [b"%b: %b" % pair for pair in self.headers if pair[0] not in _HOP_BY_HOP]
        options = b", ".join(value for name, value in self.headers if name == b"connection").split(b",")
        kept = b",".join(option for option in options if option.strip().lower() not in _HOP_BY_HOP)
        head = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.upgrading = False
        began = self.since
        fresh = head + b"\r\n".join([*lines, b"connection: " + kept, b"", b""])
        try:
            self.parser.feed_data(fresh + rest)
        except httptools.HttpParserError as error:
            self._malformed(error, rest)
        if self.phase in ("head", "body"):
            self.since = began

    def _malformed(self, error: httptools.HttpParserError, data: bytes) -> None:
        if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
            _log.error("a request could not be taken", exc_info=error.__context__)
        if self.phase == "over":
            return
        answer = rules.BAD_REQUEST
        if "Content-Length overflow" in str(error):
            answer = self.ingest.too_large
        elif isinstance(error, httptools.HttpParserInvalidMethodError) and _METHOD.match(data):
            answer = _UNKNOWN_METHOD
        elif isinstance(error, httptools.HttpParserInvalidURLError) and len(self.url) > rules.MAX_TARGET:
            answer = rules.TOO_LONG
        self._refuse(answer)

    # the parser's calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        if self.phase == "over":
            return
        self.phase = "head"
        self.since = self.loop.time()
        self.received = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Judge the head, and send the request one of its two ways."""
        if self.phase == "over":
            return
        parser = self.parser
        if parser.should_upgrade():
            self.upgrading = True
            if parser.get_method() == b"CONNECT":
                self._refuse(_UNKNOWN_METHOD)
            return
        headers = self.headers
        fields = dict(headers)
        version = parser.get_http_version()
        flaw = self._flaw(fields, version)
        if flaw is not None:
            self._refuse(flaw)
            return
        self.phase = "body"
        # What the sender pipelines behind a request that is not answered yet must wait its turn: uvicorn's queue does that.
        free = self.cycle is None or self.cycle.response_complete
        if free and self.url.startswith(PREFIX):
            verdict = self.ingest.begin(parser.get_method(), self.url, headers, fields)
            if type(verdict) is Answer:
                self._answer_head(verdict, fields, version)
                return
            keep_alive = version == "1.1" and parser.should_keep_alive()
            self.cycle = cast("RequestResponseCycle", Intake(self, cast("Admission", verdict), keep_alive))
            if self.expect_100_continue:
                self.transport.write(_CONTINUE)
            return
        began, received = self.since, self.received
        super().on_message_begin_scope(headers) if False else self._make_scope()
        super().on_headers_complete()
        self.since, self.received = began, received

    def _make_scope(self) -> None:
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expect
        self.scope["headers"] = headers

    def _flaw(self, fields: dict[bytes, bytes], version: str) -> Answer | None:
        """What the parser lets through and we do not."""
        headers, url = self.headers, self.url
        if len(url) > rules.MAX_TARGET:
            return rules.TOO_LONG
        if len(headers) > rules.MAX_HEADERS:
            return rules.HEAD_TOO_LARGE
        host = fields.get(b"host")
        if host is None:
            if version != "1.0":
                return rules.BAD_REQUEST
        elif not _HOST.fullmatch(host):
            return rules.BAD_REQUEST
        if len(fields) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
            return rules.BAD_REQUEST
        if version not in ("1.1", "1.0") or url[:1] != b"/":
            return rules.BAD_REQUEST
        if b"transfer-encoding" in fields and (version == "1.0" or fields[b"transfer-encoding"].lower() != b"chunked"):
            return rules.BAD_REQUEST
        if b"expect" in fields and version != "1.0":
            if fields[b"expect"].lower() != b"100-continue":
                return rules.UNMET_EXPECTATION
            self.expect_100_continue = True
        # Not as a number: a length of many digits is too large whatever they are.
        length = fields.get(b"content-length", b"").strip().lstrip(b"0")
        if len(length) > 18 or (length and int(length) > self.ingest.max_body):  # noqa: PLR2004 - as in `Ingest.begin`
            return self.ingest.too_large
        return None

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        cycle = self.cycle
        if self.phase == "over" or self.upgrading:
            return
        if type(cycle) is not Intake:
            if not cycle.response_complete and len(cycle.body) + len(body) > self.ingest.max_body:
                self._refuse(self.ingest.too_large)
                return
            super().on_body(body)
        elif cycle.body:
            if type(cycle.body) is bytes:
                cycle.body = bytearray(cycle.body)
            cycle.body += body
            if len(cycle.body) > self.ingest.max_body:
                self._refuse(self.ingest.too_large)
        else:
            cycle.body = body
            if len(body) > self.ingest.max_body:
                self._refuse(self.ingest.too_large)

    def on_message_complete(self) -> None:
        """Have the message stored."""
        if self.phase == "over" or self.upgrading:
            return
        cycle = self.cycle
        if type(cycle) is not Intake:
            self.phase = "busy"
            super().on_message_complete()
            if cycle.response_complete:
                self._rest()
            return
        self.phase = "busy"
        body = cycle.body
        if type(body) is bytearray:
            body = cycle.body = bytes(body)
        verdict = self.ingest.finish(cycle.admission, cast("bytes", body))
        if type(verdict) is not Draft:
            self.answered(cycle, cast("Answer", verdict))
            return
        try:
            self.journal.append(verdict, cycle.done)
        except StoreError as error:
            self.answered(cycle, self.ingest.busy(error))

    # answers

    def answered(self, cycle: Intake, answer: Answer) -> None:
        """Send the answer to a message, and go on to what is pipelined behind it."""
        cycle.response_complete = True
        if cycle.disconnected or self.phase == "over":
            return
        if cycle.keep_alive and not self.draining:
            self.transport.write(
                b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b"
                % (_STATUS[answer.status], answer.head, len(answer.body), answer.body)
            )
        else:
            self.transport.write(_closing(answer))
            self._hang_up()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on to what is pipelined, or rest. Unlike uvicorn's, this arms no timer: the sweep sees idle connections."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self.phase == "over":
            self._rest_over()
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._rest()

    def _rest(self) -> None:
        if self.phase == "busy":
            self.phase = "idle"
            self.since = self.loop.time()

    def _rest_over(self) -> None:
        if self.phase != "over":
            self.phase = "over"
            self.since = self.loop.time()

    def _answer_head(self, answer: Answer, fields: dict[bytes, bytes], version: str) -> None:
        """Answer a request whose body nobody wants: keep the connection only where there is none."""
        without_body = b"transfer-encoding" not in fields and fields.get(b"content-length", b"0").strip(b"0 ") == b""
        if not without_body or version != "1.1" or not self.parser.should_keep_alive():
            self._refuse(answer)
            return
        cycle = Intake(self, cast("Admission", None), keep_alive=True)
        self.cycle = cast("RequestResponseCycle", cycle)
        self.upgrading = True
        self.answered(cycle, answer)

    def _refuse(self, answer: Answer) -> None:
        """Answer at once, take no more, close soon."""
        if self.phase == "over":
            return
        cycle = self.cycle
        waiting = cycle is not None and not cycle.response_complete
        self.phase = "over"
        self.since = self.loop.time()
        self.ingest.counts.refuse(answer.status)
        self.transport.write(_closing(answer))
        self._hang_up()

    def _hang_up(self) -> None:
        pass

    def _end(self, now: float) -> None:
        pass


def _closing(answer: Answer) -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        _STATUS[answer.status], answer.head, len(answer.body), answer.body,
    )  # fmt: skip
