"""One message on its short way through the parser front, and answers as bytes."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar, Protocol, cast

from gateway.errands import Errand
from gateway.errors import StoreError
from gateway.fetching import Fetching
from gateway.ingest import Admission, Answer, Ingest
from gateway.store.base import Draft, Journal, Receipt

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
_log = logging.getLogger("gateway.intake")


class Owner(Protocol):
    """The front that a message came in by."""

    ingest: Ingest
    journal: Journal
    fetching: Fetching
    loop: asyncio.AbstractEventLoop
    tasks: set[asyncio.Task[None]]

    def answered(self, intake: Intake, answer: Answer) -> None:
        """Send the answer."""


class _Never:
    """Stands where uvicorn keeps the event that wakes an app."""

    def set(self) -> None:
        """Nobody waits."""


class Intake:
    """One message on its short way. It stands where uvicorn keeps its cycle; the public attributes are what that reads."""

    __slots__ = ("admission", "body", "disconnected", "front", "keep_alive", "more_body", "response_complete", "size")
    message_event: ClassVar[_Never] = _Never()

    def __init__(self, front: Owner, admission: Admission | None, keep_alive: bool) -> None:  # noqa: FBT001 - hot path
        self.front = front
        self.admission = admission
        self.keep_alive = keep_alive
        self.body: bytes | bytearray = b""
        self.size = 0
        self.disconnected = False
        self.response_complete = False
        self.more_body = True

    def store(self) -> None:
        """Have the message stored, or answer it; after an errand, where that takes one."""
        front = self.front
        body, self.body = bytes(self.body), b""
        try:
            verdict = front.ingest.finish(cast("Admission", self.admission), body)
            if type(verdict) is Draft:
                front.journal.append(verdict, self.done)
                return
            if type(verdict) is Errand:
                task = front.loop.create_task(self._store_later(body, verdict))
                front.tasks.add(task)  # a server that stops waits for these
                task.add_done_callback(front.tasks.discard)
                return
            answer = cast("Answer", verdict)
        except Exception as error:  # noqa: BLE001  a bug of ours costs the sender a second try, not the message
            answer = self._excuse(error)
        front.answered(self, answer)

    async def _store_later(self, body: bytes, errand: Errand) -> None:
        """
        Have the message stored once the errand is done.

        Also where the sender has gone away meanwhile: what was fetched for it is done, and a second copy is known.
        """
        front = self.front
        try:
            verdict = await front.fetching.judged(cast("Admission", self.admission), body, errand)
            if isinstance(verdict, Draft):
                front.journal.append(verdict, self.done)
                return
            answer = verdict
        except Exception as error:  # noqa: BLE001  as above
            answer = self._excuse(error)
        front.answered(self, answer)

    def _excuse(self, error: Exception) -> Answer:
        if isinstance(error, StoreError):
            return self.front.ingest.busy(error)
        _log.error("a message could not be taken; the sender is told to come again", exc_info=error)
        return self.front.ingest.try_later()

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


def wire(answer: Answer, *, close: bool = False, body: bool = True) -> bytes:
    """An answer as it goes out; with `close` the connection ends with it, without `body` it is one to HEAD."""
    shape = _CLOSING if close else _KEEPING
    return shape % (_STATUS[answer.status], answer.head, len(answer.body), answer.body if body else b"")
