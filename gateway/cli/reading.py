"""What a request would do, worked out as the gateway would and without one: the work behind `try`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

import msgspec

from gateway import body as bodies
from gateway.advanced import texts_made
from gateway.config import Settings
from gateway.errors import GatewayError, UnreadableError
from gateway.models import Event, Integration, Message, Reading
from gateway.plugins import Plugins
from gateway.reader import Job, Readings, Reply, answer
from gateway.rulebook import Rulebook
from gateway.template import FieldTexts
from gateway.tidying import clean

Headers = Sequence[tuple[str, str]]
_FIELDS = msgspec.structs.fields(Event)
_ORDER = (
    "source", "source_name", "source_id", "source_url", "source_status", "source_severity", "subject", "description",
    "short_text", "assignee", "topic", "occurred_at", "tags",
)  # fmt: skip


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a request would do: its readings, or why it cannot be read.

    `book` is None where there is no template; `has_code` says that it reads with more than a table.
    """

    template: str
    readings: Sequence[Reading] = ()
    error: str | None = None
    book: Rulebook | None = None
    has_code: bool = False


class TooLongError(BaseException):
    """Reading took too long. No `Exception`, so that no template takes it for one of its own."""


class Bench:
    """
    Tries requests, with one compiled rulebook for each template.

    `own` are settings of an integration, over those of whatever template is tried.
    """

    def __init__(self, plugins: Plugins, settings: Settings, own: Mapping[str, Any]) -> None:
        self._plugins = plugins
        self._settings = settings
        self._own = dict(own)
        self._readings = Readings(plugins, settings.max_decoded)
        self._integrations: dict[str, Integration] = {}

    def request(self, template: str, body: bytes, headers: Headers, query: str) -> Tried:
        """What this request would do; whatever is wrong with it, or with the template, is in the answer."""
        if len(body) > self._settings.max_body:
            most = self._settings.max_body
            error = f"the body has {len(body)} bytes and would be refused with 413: GATEWAY_MAX_BODY is {most}"
            return Tried(template=template, error=error)
        lines = [name.encode() + b": " + _bytes(value) for name, value in headers]
        message = Message(
            id=0, endpoint_id="try", received_at=0, query=query.encode(), headers=b"\r\n".join(lines), body=body
        )
        integration = self._integration(template)
        try:
            with _deadline(self._settings.read_deadline):
                book = self._readings.rulebook(integration)
                greeting = self._greeting(book, message)
                if greeting is not None:
                    return Tried(template=template, readings=[greeting], book=book)
            reply = self.reply(Job(message, integration))
        except TooLongError:
            return Tried(template=template, error=_too_long(self._settings.read_deadline))
        except GatewayError as error:
            return Tried(template=template, error=str(error))
        has_code = self._plugins.template(template).has_code
        return Tried(template=template, readings=reply.readings, error=reply.error, book=book, has_code=has_code)

    def reply(self, job: Job) -> Reply:
        """What is read in a job, within the time that a template has; whatever is wrong is in the reply."""
        try:
            with _deadline(self._settings.read_deadline):
                return answer(self._read, job)
        except TooLongError:
            return Reply(job.message.id, error=_too_long(self._settings.read_deadline))

    def _read(self, job: Job) -> list[Reading]:
        try:
            return self._readings.read(job)
        except TooLongError:  # `answer` takes it for something that the template raised
            raise UnreadableError(_too_long(self._settings.read_deadline)) from None

    def _integration(self, template: str) -> Integration:
        known = self._integrations.get(template)
        if known is None:
            known = Integration(
                id=template,
                endpoint_id="try",
                name=template,
                template=template,
                settings=self._own,
                created_at=0,
                updated_at=0,
            )
            if template in self._plugins.cards:  # others are not kept: their number has no end
                self._integrations[template] = known
        return known

    def _greeting(self, book: Rulebook, message: Message) -> Reading | None:
        """A handshake is answered where it is accepted, and never stored."""
        if not book.file.handshakes:
            return None
        pairs = bodies.parse_headers(message.headers)
        try:
            body = bodies.decode_body(pairs, message.body, self._settings.max_decoded, payload_field="payload")
        except UnreadableError:
            body = None
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        view = {"body": body, "query": bodies.parse_query(message.query), "headers": named}
        for handshake in book.file.handshakes:
            reply = handshake.reply("POST", lambda: view)
            if reply is not None:
                said = f"the sender asks whether the URL is ours, and is answered {reply[1][:200].decode('utf-8', 'replace')!r}"
                return Reading(action="ignore", reason="handshake: answered, not stored", trace=(said,))
        return None


def event_shape(reading: Reading) -> dict[str, Any]:
    """A reading as `try` prints it."""
    event, reason = reading.event, reading.reason or reading.error
    if reading.dropped_by is not None:
        reason = f"filtered by {reading.dropped_by}"
    if reason is not None and not isinstance(reason, str):  # a template wrote it
        msg = f"the reason of an Ignored is a {type(reason).__name__}, not text"
        raise UnreadableError(msg)
    shape: dict[str, Any] = {
        "action": reading.action if reading.dropped_by is None else "ignore",
        "reason": None if reason is None else clean(reason),
        "source": None,
        "source_name": None,
        "source_id": None,
        "source_url": None,
        "source_status": None,
        "severity": None,
        "subject": None,
        "description": None,
        "tags": [],
    }
    if event is not None:
        for name in ("source", "source_name", "source_id", "source_url", "source_status", "subject", "description"):
            shape[name] = getattr(event, name)
        shape["tags"] = list(event.tags)
        if shape["action"] != "ignore":
            shape["severity"] = reading.severity or reading.default_severity
    return shape


def fields_of(reading: Reading, tried: Tried, own: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Field by field: what was found, and the expression that it came from."""
    if reading.event is None or tried.book is None:
        return []
    file, texts = tried.book.file, _texts_of(own)
    rows = []
    for name in _ORDER:
        if texts_made(name) in reading.trace:
            made = f"{' '.join(own['texts'][name].split())} in [texts] of this integration's settings"
            rows.append({"field": name, "value": getattr(reading.event, name), "from": made})
            continue
        value = getattr(reading.event, name)
        source = texts.get(name)
        origin = "this integration's settings" if source is not None else ""
        if source is None and not tried.has_code:
            source = getattr(file.fields, name)
        if source is None and value in (None, ()):
            continue
        if source is None:
            origin = "template.py" if tried.has_code and value != file.name else "the template's name"
        written = ", ".join(source) if isinstance(source, list) else source
        said = " in ".join(part for part in (written, origin) if part)
        rows.append({"field": name, "value": list(value) if isinstance(value, tuple) else value, "from": said})
    return rows


def _texts_of(own: Mapping[str, Any]) -> dict[str, Any]:
    texts: dict[str, Any] = msgspec.to_builtins(msgspec.convert(own.get("fields", {}), FieldTexts))
    return texts


def _bytes(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def _too_long(seconds: float) -> str:
    return f"reading it took over {seconds:g} s, and the gateway would stop it (GATEWAY_READ_DEADLINE)"


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Interrupt Python code that takes longer, where signals can: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def too_long(_signal: int, _frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
