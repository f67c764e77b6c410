"""
The samples of a template: payloads, what is expected of each, and where each comes from.

    samples/disk_firing.json              the body, as application/json (.xml, .form and .txt in the same way)
    samples/disk_firing.http              a whole request, where headers, query or the form of the body matter
    samples/disk_firing.expected.json     {"events": [{"action", "reason", "source", …}]}
    samples/provenance.toml               for each sample: kind, url, date, note
"""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.config import nearest
from gateway.errors import TemplateError
from gateway.models import Message, Reading
from gateway.reader import request_of
from gateway.rulebook import Rulebook
from gateway.template import Request, TemplateFolder

MEDIA_TYPES = {
    ".json": b"application/json",
    ".xml": b"application/xml",
    ".form": b"application/x-www-form-urlencoded",
    ".txt": b"text/plain; charset=utf-8",
}
EXPECTED = ".expected.json"
PROVENANCE = "provenance.toml"
RECEIVED_AT = 1_795_348_800_000
"""When every sample is taken to have come: a template must not depend on it."""
_MAX_DECODED = 4 << 20


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as a vendor sends it. `headers` is lines `name: value` joined by CRLF, as the journal keeps them."""

    path: Path
    headers: bytes = b""
    query: bytes = b""
    body: bytes = b""

    @property
    def case(self) -> str:
        """What the sample shows, `disk_firing`."""
        return self.path.stem

    @property
    def expected_path(self) -> Path:
        """Where the events lie that are expected of it."""
        return self.path.with_name(self.case + EXPECTED)

    @property
    def message(self) -> Message:
        """The sample as a stored message."""
        return Message(
            id=1,
            endpoint_id="sample",
            received_at=RECEIVED_AT,
            query=self.query,
            headers=self.headers,
            body=self.body,
        )

    def request(self, book: Rulebook) -> Request:
        """The sample as its template sees it; raises UnreadableError where the template does not accept the body."""
        return request_of(self.message, book, _MAX_DECODED)

    def expected(self) -> list[dict[str, Any]]:
        """The events that are expected of it; raises TemplateError that says what is wrong with the file."""
        path = self.expected_path
        try:
            content = json.loads(path.read_bytes())
        except OSError as error:
            msg = f"{path}: {error.strerror}"
            raise TemplateError(msg) from None
        except ValueError as error:
            msg = f"{path}: not JSON: {error}"
            raise TemplateError(msg) from None
        events = content.get("events") if isinstance(content, dict) else None
        if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
            msg = f'{path}: it is not {{"events": [{{…}}]}}'
            raise TemplateError(msg)
        return events


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Where a sample comes from.

    `documented`: in the vendor's own pages. `captured`: seen on the wire, or in public. `adapted`: put together from parts
    of either. `url` is the page, `date` when it was read there.
    """

    kind: Literal["documented", "captured", "adapted"]
    url: str
    date: dt.date
    note: str = ""


def read_sample(path: Path) -> Sample:
    """One sample file; raises TemplateError that names it."""
    content = path.read_bytes()
    if path.suffix == ".http":
        return _from_http(path, content)
    media_type = MEDIA_TYPES.get(path.suffix)
    if media_type is None:
        msg = f"{path}: a sample ends in .http, {', '.join(MEDIA_TYPES)}"
        raise TemplateError(msg)
    return Sample(path=path, headers=b"content-type: " + media_type, body=content)


def _from_http(path: Path, content: bytes) -> Sample:
    """
    A request line, headers, an empty line, the body; lines end in LF or CRLF.

    `Content-Length` says where the body ends. Without it a last line break is the editor's and no part of the body.
    """
    head, gap, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    if b"\r\n\r\n" in content:  # the body's own line breaks stay as they are
        body = content.partition(b"\r\n\r\n")[2]
    first, *lines = head.split(b"\n")
    words = first.split(b" ")
    if not gap or len(words) != 3 or words[0] not in (b"POST", b"PUT", b"GET") or not words[2].startswith(b"HTTP/"):  # noqa: PLR2004  # method, target, version
        msg = f"{path}: it does not begin with `POST / HTTP/1.1`, headers and an empty line"
        raise TemplateError(msg)
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            msg = f"{path}: {line.decode('utf-8', 'replace')!r} is no header"
            raise TemplateError(msg)
        headers[name.strip().lower()] = value.strip()
    length = headers.pop(b"content-length", None)
    if length is not None and length.isdigit() and int(length) <= len(body):
        body = body[: int(length)]
    elif length is not None:
        msg = f"{path}: Content-Length is {length.decode('latin-1')}, and the body has {len(body)} bytes"
        raise TemplateError(msg)
    else:
        body = body.removesuffix(b"\n").removesuffix(b"\r")
    return Sample(
        path=path,
        headers=b"\r\n".join(name + b": " + value for name, value in headers.items()),
        query=words[1].partition(b"?")[2],
        body=body,
    )


def read_samples(template: TemplateFolder) -> list[Sample]:
    """All samples of a template, by name."""
    return [read_sample(path) for path in template.samples()]


def read_provenance(template: TemplateFolder) -> dict[str, Provenance]:
    """provenance.toml, by the name of the sample's file; raises TemplateError that names what is wrong."""
    path = template.path / "samples" / PROVENANCE
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f'{path}: {error.strerror}; it has a table ["NAME.json"] with kind, url and date for each sample'
        raise TemplateError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: not TOML: {error}"
        raise TemplateError(msg) from None
    found: dict[str, Provenance] = {}
    keys = [field.name for field in msgspec.structs.fields(Provenance)]
    for name, table in tables.items():
        for key in table if isinstance(table, dict) else ():
            if key not in keys:
                msg = f'{path}: unknown key "{key}" in ["{name}"]{nearest(key, keys)}'
                raise TemplateError(msg)
        try:
            found[name] = msgspec.convert(table, Provenance)
        except msgspec.ValidationError as error:
            msg = f'{path}: ["{name}"]: {error}'
            raise TemplateError(msg) from None
    return found


def expected_of(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """What an expected file says of these readings."""
    return [_expected(reading) for reading in readings]


def _expected(reading: Reading) -> dict[str, Any]:
    event = reading.event
    return {
        "action": reading.action,
        "reason": reading.reason or reading.error,
        "source": event and event.source,
        "source_name": event and event.source_name,
        "source_id": event and event.source_id,
        "source_url": event and event.source_url,
        "source_status": event and event.source_status,
        "severity": None if reading.action == "ignore" else reading.severity or reading.default_severity,
        "subject": event and event.subject,
        "description": event and event.description,
        "tags": list(event.tags) if event else [],
    }


def written(readings: Sequence[Reading]) -> str:
    """The content of an expected file."""
    return json.dumps({"events": expected_of(readings)}, indent=2, ensure_ascii=False) + "\n"
