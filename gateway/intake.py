"""One message on its short way through the parser front, and answers as bytes."""

from __future__ import annotations

import logging
from typing import ClassVar, Protocol, cast

from gateway.errors import StoreError
from gateway.ingest import Admission, Answer, Ingest
from gateway.store.base import Receipt

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
