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
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from gateway import ingest as rules
from gateway.endpoints import PREFIX
from gateway.errors import StoreError
from gateway.ingest import Admission, Answer, Ingest, refusal
from gateway.store.base import Draft, Journal, Receipt

Phase = Literal["new", "head", "body", "busy", "idle", "over"]

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%\[\]:-]+")
_METHOD = re.compile(rb"[A-Z]{1,24} ")
_UPGRADE = (b"upgrade", b"http2-settings", b"connection")
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
_KEEPING = b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b"
_CLOSING = b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n%b"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNKNOWN_METHOD = refusal(
    405, "method_not_allowed", "this method is not known here", head=b"allow: GET, HEAD, POST\r\n"
)
_FULL = refusal(503, "busy", "there are too many connections", "send it again", b"retry-after: 5\r\n")
_log = logging.getLogger("gateway.protocol")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much. Times are seconds, counted from the first byte of a request."""

    head: float = 10.0
    body: float = 15.0
    idle: float = 5.0
    linger: float = 2.0
    """How long what a refused sender still sends is taken in, so that it gets to read the answer."""
    drain: float = 0.5
    """How long a connection may still begin a request after the server was told to stop."""
    sweep: float = 0.25
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

    __slots__ = ("admission", "body", "disconnected", "front", "keep_alive", "more_body", "response_complete", "size")
    message_event: ClassVar[_Never] = _Never()

    def __init__(self, front: Front, admission: Admission | None, keep_alive: bool) -> None:  # noqa: FBT001 - hot path
        self.front = front
        self.admission = admission
        self.keep_alive = keep_alive
        self.body: bytes | bytearray = b""
        self.size = 0
        self.disconnected = False
        self.response_complete = False
        self.more_body = True

    def done(self, outcome: Receipt | StoreError) -> None:
        """What the journal says."""
        ingest = self.front.ingest
        try:
            if type(outcome) is Receipt:
                answer = ingest.accepted(outcome, self.size)
            else:
                answer = ingest.busy(cast("StoreError", outcome))
        except Exception:  # noqa: BLE001  the other senders of the same commit must get theirs
            _log.exception("an answer could not be made; the sender is told to come again")
            answer = ingest.try_later()
        self.front.answered(self, answer)


class Front(HttpToolsProtocol):
    """
    One connection. `ingest`, `journal` and `watch` are shared by all; `functools.partial` gives them to uvicorn.

    `phase` says where the connection is: new (no byte yet), head, body, busy (the request is here, its answer is not),
    idle, over (the last answer is given; what still comes is thrown away). `active` is the request that is being answered;
    there may be pipelined ones behind it.
    """

    def __init__(
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
        self.access_log = False  # whatever the logger's settings: a path holds a token
        self.ingest, self.journal, self.watch = ingest, journal, watch
        self.phase: Phase = "new"
        self.since = 0.0  # when the phase began; for head and body, when the request did
        self.received = 0  # bytes of this request, without those that came together with its first one
        self.size = 0  # bytes of the body of this request, where the app gets it
        self.active: object = None
        self.intake: Intake | None = None  # the request that is arriving, where it goes the short way
        self.draining = False
        self.half_closed = False
        self.farewell: Answer | None = None

    # the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it where there are too many."""
        # Not uvicorn's, which asks for both addresses: a sixth of what a message on a connection of its own costs.
        self.connections.add(self)
        self.transport, self.flow = transport, FlowControl(transport)
        self.since = self.loop.time()
        self.watch.over(self.connections, self.loop)
        open_now, most = len(self.connections), self.watch.limits.connections
        if open_now > most:
            self.ingest.counts.connections_refused += 1
            if open_now > 2 * most:  # those that linger count too
                transport.abort()
            else:
                self._stop(_FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a request that is not complete; nothing of it was stored."""
        if self.phase == "head" or (self.phase == "body" and self.active is not None):
            self.ingest.counts.disconnected += 1
        self.phase = "over"
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let a sender that has said all, and closed its side, still read the answer."""
        self.half_closed = True
        if self.phase in ("head", "body"):
            self.ingest.counts.disconnected += 1
            self._stop(rules.BAD_REQUEST)
        return self.active is not None and self.phase != "over"

    def shutdown(self) -> None:
        """Stop after the request that is under way, or that comes within the drain time."""
        self.draining = True
        if self.cycle is not None:
            self.cycle.keep_alive = False
        if self.phase in ("new", "idle"):
            self.since = self.loop.time()

    def swept(self, now: float) -> None:
        """End what took too long; called every now and then."""
        limits, waited = self.watch.limits, now - self.since
        if self.phase in ("head", "body"):
            if waited > (limits.head if self.phase == "head" else limits.body):
                self._refuse(rules.TIMED_OUT)
        elif self.phase in ("new", "idle"):
            patience = limits.head if self.phase == "new" else limits.idle
            if waited > (limits.drain if self.draining else patience):
                self._close()
        elif self.phase == "over" and waited > limits.linger:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self.phase == "over" or self.farewell is not None:
            return  # refused already; it is taken in so that the sender gets to read the answer
        self.received += len(data)
        self._feed(data)
        if self.phase == "head":
            size = max(self.received, sum(len(name) + len(value) for name, value in self.headers))
            if size > rules.MAX_HEADER_BYTES + rules.MAX_TARGET:
                self._refuse(rules.TOO_LONG if len(self.url) > rules.MAX_TARGET else rules.HEAD_TOO_LARGE)
        elif self.phase == "body" and self.received > 4 * self.ingest.max_body + (64 << 10):
            self._refuse(self.ingest.too_large)  # all of it framing: chunk extensions, or chunks of a byte each

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self.phase == "over" or self.farewell is not None:
                    return
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._malformed(error, data)
                return
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """
        The head that was read, as if nobody had asked for another protocol, for a new parser; HTTP allows to ignore that.

        The old one takes what follows such a head for the other protocol, and would report an empty body.
        """
        lines = [b"%b: %b" % pair for pair in self.headers if pair[0] not in _UPGRADE]
        options = b",".join(value for name, value in self.headers if name == b"connection").split(b",")
        kept = [option.strip() for option in options if option.strip().lower() not in (*_UPGRADE, b"")]
        if kept:
            lines.append(b"connection: " + b", ".join(kept))
        version = self.parser.get_http_version().encode()
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([first, *lines, b"", b""])

    def _malformed(self, error: httptools.HttpParserError, data: bytes) -> None:
        cause = error.__context__
        if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(cause, httptools.HttpParserError):
            _log.error("a request could not be taken; the sender is told to come again", exc_info=cause)
            self._stop(self.ingest.try_later())
        elif "Content-Length overflow" in str(error):
            self._refuse(self.ingest.too_large)
        elif isinstance(error, httptools.HttpParserInvalidMethodError) and self.active is None and _METHOD.match(data):
            self._refuse(_UNKNOWN_METHOD)
        else:
            self._refuse(rules.BAD_REQUEST)

    # the parser's calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self.phase == "over":
            return
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self.phase = "head"
        self.since = self.loop.time()
        self.received = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer, which comes after the body, is no header and signs nothing."""
        if self.phase == "head":
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Judge the head, and send the request one of its two ways."""
        if self.phase == "over" or self.farewell is not None:
            return
        parser, headers, url = self.parser, self.headers, self.url
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                self._refuse(_UNKNOWN_METHOD)
            return
        fields, version = dict(headers), parser.get_http_version()
        flaw = self._flaw(fields, version)
        if flaw is not None:
            self._refuse(flaw)
        elif url.startswith(PREFIX) and self.active is None:
            verdict = self.ingest.begin(parser.get_method(), url, headers, fields)
            keep_alive = version == "1.1" and parser.should_keep_alive()
            if type(verdict) is not Admission:
                self._answer_head(cast("Answer", verdict), fields, keep_alive=keep_alive)
                return
            self.phase = "body"
            self.active = self.intake = intake = Intake(self, verdict, keep_alive)
            self.cycle = cast("RequestResponseCycle", intake)
            if self.expect_100_continue:
                self.transport.write(_CONTINUE)
        else:
            self._hand_over(fields)

    def _flaw(self, fields: dict[bytes, bytes], version: str) -> Answer | None:
        """What the parser lets through and HTTP does not."""
        headers = self.headers
        if version not in ("1.1", "1.0") or self.url[:1] != b"/":
            return rules.BAD_REQUEST
        host = fields.get(b"host")
        if (host is None and version == "1.1") or (host is not None and not _HOST.fullmatch(host.rstrip(b" \t"))):
            return rules.BAD_REQUEST
        if len(fields) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
            return rules.BAD_REQUEST
        if b"transfer-encoding" in fields:
            coding = fields[b"transfer-encoding"].strip(b" \t").lower()
            if version == "1.0" or coding != b"chunked":
                return rules.BAD_REQUEST
        if b"expect" in fields and version == "1.1":
            if fields[b"expect"].strip(b" \t").lower() != b"100-continue":
                return rules.UNMET_EXPECTATION
            self.expect_100_continue = True
        return None

    def _hand_over(self, fields: dict[bytes, bytes]) -> None:
        """
        Give the request to the app, as uvicorn does.

        So go pipelined messages too: uvicorn's queue has them wait for the answer before.
        """
        flaw = rules.head_flaw(self.url, self.headers)
        if flaw is None and (rules.content_length(fields) or 0) > self.ingest.max_body:
            flaw = self.ingest.too_large
        if flaw is not None:
            self._refuse(flaw)
            return
        if self.scheme is None:
            self.server, self.client = get_local_addr(self.transport), get_remote_addr(self.transport)
            self.scheme = "https" if is_ssl(self.transport) else "http"
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope
        self.url, self.headers, self.expect_100_continue = url, headers, expect
        self.scope["headers"] = headers
        self.phase, self.intake, self.size = "body", None, 0
        super().on_headers_complete()
        if self.draining:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.active = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self.phase != "body":
            return
        intake = self.intake
        if intake is None:
            self.size += len(body)
            if self.size > self.ingest.max_body:
                self._refuse(self.ingest.too_large)
            else:
                super().on_body(body)
            return
        intake.size += len(body)
        if intake.size > self.ingest.max_body:
            self._refuse(self.ingest.too_large)
        elif not intake.body:
            intake.body = body
        elif type(intake.body) is bytearray:
            intake.body += body
        else:
            intake.body = bytearray(intake.body) + body

    def on_message_complete(self) -> None:
        """Have the message stored."""
        if self.phase != "body":
            return
        self.phase = "busy"
        intake = self.intake
        if intake is None:
            super().on_message_complete()
            if self.cycle.response_complete:
                self._rest()
        elif intake.response_complete:  # answered by its head alone
            self._rest()
        else:
            self._store(intake)

    def _store(self, intake: Intake) -> None:
        body, intake.body = intake.body, b""
        try:
            verdict = self.ingest.finish(cast("Admission", intake.admission), bytes(body))
            if type(verdict) is Draft:
                self.journal.append(verdict, intake.done)
                return
            answer = cast("Answer", verdict)
        except StoreError as error:
            answer = self.ingest.busy(error)
        except Exception:  # noqa: BLE001  a bug of ours costs the sender a second try, not the message
            _log.exception("a message could not be taken; the sender is told to come again")
            answer = self.ingest.try_later()
        self.answered(intake, answer)

    # the answers

    def answered(self, intake: Intake, answer: Answer) -> None:
        """Send the answer to a message, and go on to what is pipelined behind it."""
        intake.response_complete = True
        if intake.disconnected or self.transport.is_closing():
            return
        if intake.keep_alive and not self.draining:
            self.transport.write(_KEEPING % (_STATUS[answer.status], answer.head, len(answer.body), answer.body))
        else:
            self.transport.write(_CLOSING % (_STATUS[answer.status], answer.head, len(answer.body), answer.body))
            self._close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Go on to what is pipelined, or rest. Unlike uvicorn's, this arms no timer: the sweep sees idle connections."""
        self.server_state.total_requests += 1
        self.active = None
        if self.transport.is_closing():
            if self.phase != "over":
                self._over()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.farewell is not None:
            self._stop(self.farewell)
        elif self.half_closed:
            self._close()
        else:
            self._rest()

    def _answer_head(self, answer: Answer, fields: dict[bytes, bytes], *, keep_alive: bool) -> None:
        """Answer a request for what its head says; keep the connection only where no body follows."""
        if self.parser.get_method() == b"HEAD":
            self.transport.write(_CLOSING[:-2] % (_STATUS[answer.status], answer.head, len(answer.body)))
            self._stop(None)
        elif rules.content_length(fields) or b"transfer-encoding" in fields or not keep_alive:
            self._stop(answer)
        else:
            self.phase = "body"
            self.active = self.intake = intake = Intake(self, None, keep_alive)
            self.cycle = cast("RequestResponseCycle", intake)
            self.answered(intake, answer)

    def _refuse(self, answer: Answer) -> None:
        self.ingest.counts.refuse(answer.status)
        self._stop(answer)

    def _stop(self, answer: Answer | None) -> None:
        """
        Take nothing more: give a last answer, where one can be given, and close once the sender had time to read it.

        Closing at once would reset the connection under an answer on its way, since there may be unread input.
        """
        if self.phase == "over" or self.transport.is_closing():
            return
        cycle = self.cycle
        if self.phase == "body" and not cycle.response_complete:  # the request at fault
            if cycle is self.active:
                self.active = None
                cycle.disconnected = True
                cycle.message_event.set()
                if getattr(cycle, "response_started", False):
                    answer = None
            else:
                self.pipeline.popleft()
        elif self.phase == "body":
            answer = None  # its answer is given; the body went on
        if self.active is not None:
            self.phase, self.farewell = "busy", answer  # those before it are answered first
            return
        if answer is not None:
            self.transport.write(_CLOSING % (_STATUS[answer.status], answer.head, len(answer.body), answer.body))
        if self.half_closed or not self.transport.can_write_eof():
            self._close()
        else:
            self._over()
            self.flow.resume_reading()
            self.transport.write_eof()

    def _close(self) -> None:
        self._over()
        self.transport.close()

    def _over(self) -> None:
        self.phase = "over"
        self.since = self.loop.time()

    def _rest(self) -> None:
        if self.phase == "busy":
            self.phase = "idle"
            self.since = self.loop.time()
