"""
`try --jsonl`: a line in, a line out, whatever stands in it.

A line is `{"template", "body" or "body_base64", "headers", "query"}`. A body that is no text is taken as JSON, byte for
byte. What is wrong with a line is in the line that answers it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import sys
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import urlencode

import msgspec

from gateway.cli.reading import Bench, Headers, TooLongError, Tried, event_shape
from gateway.errors import UnreadableError
from gateway.mapping import to_text
from gateway.template import describe
from gateway.tidying import clean

MAX_LINE = 64 << 20
_NOTHING = msgspec.Raw(b"")
_NAMED = re.compile(rb'"template"\s*:\s*"([a-z0-9-]{1,100})"')


class Line(msgspec.Struct, frozen=True):
    """A line as it is read."""

    template: str | None = None
    body: msgspec.Raw = _NOTHING
    body_base64: str | None = None
    headers: Any = None
    query: Any = None


class _Head(msgspec.Struct, frozen=True):
    template: str | None = None


_decode = msgspec.json.Decoder(Line).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_encode = msgspec.json.Encoder().encode


def answer_lines(bench: Bench, source: IO[bytes], target: IO[bytes], *, template: str | None = None) -> None:
    """Answer each line of `source` in `target` at once; `template` is for lines that name none."""
    # What a template prints must not end up between the answers.
    with contextlib.redirect_stdout(sys.stderr):
        for line in lines_of(source):
            target.write(answer_line(bench, line, template) + b"\n")
            target.flush()


def lines_of(source: IO[bytes]) -> Iterator[bytes | None]:
    """The lines without their ends; None for one that is longer than `MAX_LINE`."""
    while line := source.readline(MAX_LINE):
        if len(line) < MAX_LINE or line.endswith(b"\n"):
            yield line.rstrip(b"\r\n")
            continue
        while line and not line.endswith(b"\n"):
            line = source.readline(MAX_LINE)
        yield None


def answer_line(bench: Bench, line: bytes | None, template: str | None = None) -> bytes:
    """The answer to one line."""
    if line is None:
        return _answer(Tried(template="", error=f"the line is over {MAX_LINE} bytes"))
    try:
        asked = _decode(line)
        template = asked.template if asked.template is not None else template
        if template is None:
            return _answer(Tried(template="", error='the line names no "template"'))
        tried = bench.request(template, _body(asked), _headers(asked.headers), _query(asked.query))
    except UnreadableError as error:
        tried = Tried(template=template or "", error=str(error))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        tried = Tried(template=_template_of(line, template), error=f"the line cannot be read: {error}")
    except TooLongError:
        tried = Tried(template=template or "", error="reading it took too long")
    except Exception as error:  # noqa: BLE001 - one line must not end the others
        tried = Tried(template=template or "", error=describe(error))
    return _answer(tried)


def _answer(tried: Tried) -> bytes:
    name, error = clean(tried.template) or None, tried.error
    if error is None:
        try:
            events = [event_shape(reading) for reading in tried.readings]
            return _encode({"template": name, "events": events, "error": None})
        except (UnreadableError, msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as wrong:
            error = f"what the template gave is no event: {describe(wrong)}"
    return _encode({"template": name, "events": [], "error": clean(error)})


def _template_of(line: bytes, template: str | None) -> str:
    """The template that a line names, as far as that can be told."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
        return _decode_head(line).template or template or ""
    named = _NAMED.search(line[:4096])
    return named[1].decode() if named else template or ""


def _body(asked: Line) -> bytes:
    raw = bytes(asked.body)
    if raw == b"null" and asked.body_base64 is not None:
        raw = b""
    if raw and asked.body_base64 is not None:
        msg = 'the line has both "body" and "body_base64"'
        raise UnreadableError(msg)
    if asked.body_base64 is not None:
        try:
            return base64.b64decode(asked.body_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            msg = f'"body_base64" is not base64: {error}'
            raise UnreadableError(msg) from None
    if not raw:
        msg = 'the line has neither "body" nor "body_base64"'
        raise UnreadableError(msg)
    return _decode_text(raw).encode() if raw.startswith(b'"') else raw


def _headers(given: Any) -> Headers:
    if given is None:
        return ()
    pairs = given.items() if isinstance(given, dict) else given
    if not isinstance(given, dict | list) or not all(_is_pair(pair) for pair in pairs):
        msg = '"headers" is not an object of names and values'
        raise UnreadableError(msg)
    headers = [(to_text(name), to_text(value)) for name, value in pairs]
    for name, value in headers:
        if not name.isascii() or not name or any(char in name + value for char in "\r\n\0") or ":" in name:
            msg = f"{name[:100]!r} cannot be sent as a header"
            raise UnreadableError(msg)
    return headers


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2  # noqa: PLR2004 - name and value


def _query(given: Any) -> str:
    if given is None:
        return ""
    if isinstance(given, dict):
        return urlencode(
            {name: value if isinstance(value, list) else to_text(value) for name, value in given.items()}, doseq=True
        )
    if not isinstance(given, str):
        msg = '"query" is neither text, as in a URL, nor an object of names and values'
        raise UnreadableError(msg)
    return given.removeprefix("?")
