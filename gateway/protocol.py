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
from typing import Any, Literal, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from gateway import ingest as rules
from gateway.connections import Watch
from gateway.endpoints import PREFIX
from gateway.fetching import Fetching
from gateway.framing import framing_flaw, head_without_upgrade
from gateway.ingest import Admission, Answer, Ingest, refusal
from gateway.intake import Intake, wire
from gateway.store.base import Journal

Phase = Literal["new", "head", "body", "busy", "idle", "over"]

_METHOD = re.compile(rb"[A-Z]{1,24} ")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNKNOWN_METHOD = refusal(
    405, "method_not_allowed", "this method is not known here", head=b"allow: GET, HEAD, POST\r\n"
)
_FULL = refusal(503, "busy", "there are too many connections", "send it again", b"retry-after: 5\r\n")
_log = logging.getLogger("gateway.protocol")


class Front(HttpToolsProtocol):
    """
    One connection. `ingest`, `journal`, `fetching` and `watch` are shared by all; `functools.partial` gives them to uvicorn.

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
        fetching: Fetching,
        watch: Watch,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = False  # whatever the logger's settings: a path holds a token
        self.ingest, self.journal, self.fetching, self.watch = ingest, journal, fetching, watch
        self.phase: Phase = "new"
        self.since = 0.0  # when the phase began; for head and body, when the request did
        self.received = 0  # bytes of this request, without those that came together with its first one
        self.size = 0  # bytes of the body of this request, where the app gets it
        self.active: object = None
        self.intake: Intake | None = None  # the request that is arriving, where it goes the short way
        self.draining = False
        self.half_closed = False
        self.stuck_since: float | None = None  # since when the other side has not read its answers
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

    def pause_writing(self) -> None:
        """Read nothing more of a sender that does not read its answers."""
        super().pause_writing()
        self.stuck_since = self.loop.time()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        """Go on with a sender that reads again."""
        super().resume_writing()
        self.stuck_since = None
        self._read_on()

    def _read_on(self) -> None:
        if not self.pipeline and not self.flow.write_paused:
            self.flow.resume_reading()

    def swept(self, now: float) -> None:
        """End what took too long; called every now and then."""
        limits, waited = self.watch.limits, now - self.since
        if self.stuck_since is not None and now - self.stuck_since > limits.idle:
            self.transport.abort()
        elif self.phase in ("head", "body"):
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
                data = head_without_upgrade(self.parser, self.url, self.headers) + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            except httptools.HttpParserError as error:
                self._malformed(error, data)
                return
            else:
                return

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
        flaw = framing_flaw(url, headers, fields, version)
        if b"expect" in fields and version == "1.1":
            self.expect_100_continue = True
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

    def _hand_over(self, fields: dict[bytes, bytes]) -> None:
        """
        Give the request to the app, as uvicorn does.

        So go pipelined messages too: uvicorn's queue has them wait for the answer before.
        """
        flaw = rules.head_flaw(self.url, self.headers)
        if len(self.pipeline) >= self.watch.limits.pipelined:
            flaw = rules.TOO_MANY
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
            intake.store()

    # the answers

    def answered(self, intake: Intake, answer: Answer) -> None:
        """Send the answer to a message, and go on to what is pipelined behind it."""
        intake.response_complete = True
        if intake.disconnected or self.transport.is_closing():
            return
        if intake.keep_alive and not self.draining:
            self.transport.write(wire(answer))
        else:
            self.transport.write(wire(answer, close=True))
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
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.farewell is not None:
            self._stop(self.farewell)
        elif self.half_closed:
            self._close()
        else:
            self._rest()
        self._read_on()

    def _answer_head(self, answer: Answer, fields: dict[bytes, bytes], *, keep_alive: bool) -> None:
        """Answer a request for what its head says; keep the connection only where no body follows."""
        if self.parser.get_method() == b"HEAD":
            self.transport.write(wire(answer, close=True, body=False))
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
            self.transport.write(wire(answer, close=True))
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
