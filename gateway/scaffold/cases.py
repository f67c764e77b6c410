"""Captured payloads as samples: named by what they open and close, in pairs, each with what the proposal reads out of it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.body import parse_headers, parse_query
from gateway.errors import GatewayError
from gateway.models import Message, Reading
from gateway.proposal import Payload, Proposal
from gateway.proposal.words import MEANINGS, vocabulary, words_of
from gateway.reader import request_of
from gateway.rulebook import Rulebook
from gateway.template import convert

_GENERIC = vocabulary(
    "payload payloads webhook sample samples capture captured json body request example message the a of"
)
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie", "x-alert-token")
_MAX_DECODED = 4 << 20
_SUFFIXES = {"open": "_firing", "close": "_resolved"}


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """A captured request: the `name` of its file and its ending, headers as the journal keeps them, query and body."""

    name: str
    suffix: str
    content: bytes
    headers: bytes
    query: bytes
    body: bytes
    data: Any
    expected_of: Callable[[Reading], dict[str, Any]]
    """How an expected file says a reading."""

    @property
    def payload(self) -> Payload:
        """What a proposal is made from: the body as it reads, and the headers and the query as a hole finds them."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in parse_headers(self.headers)}
        return Payload(self.name, self.data, headers, parse_query(self.query))


class Case(msgspec.Struct, kw_only=True):
    """A sample to be: its name, its file, where it came from, and the expected file, None where it cannot be read yet."""

    name: str
    file: str
    source: str
    role: str | None
    content: bytes
    expected: bytes | None = None
    error: str | None = None


def cases_of(toml: str, proposal: Proposal | None, captures: Sequence[Capture]) -> list[Case]:
    """A case for each capture, in the same order."""
    book, why = _book(toml)
    readings = [_read(book, capture) for capture in captures]
    hints = list(proposal.roles) if proposal is not None else []
    hints += [None] * (len(captures) - len(hints))
    roles = [_role(one) or hint for (one, _), hint in zip(readings, hints, strict=True)]
    names = _names(captures, roles, [_ids(one) for one, _ in readings])
    return [
        Case(
            name=name,
            file=name + capture.suffix,
            source=capture.name + capture.suffix,
            role=role,
            content=_content(capture),
            expected=_expected(capture, one),
            error=why or error,
        )
        for capture, name, role, (one, error) in zip(captures, names, roles, readings, strict=True)
    ]


def _book(toml: str) -> tuple[Rulebook | None, str | None]:
    try:
        return Rulebook(convert(tomllib.loads(toml), "template.toml")), None
    except GatewayError as error:
        return None, str(error)


def _read(book: Rulebook | None, capture: Capture) -> tuple[list[Reading] | None, str | None]:
    if book is None:
        return None, None
    message = Message(
        id=1, endpoint_id="sample", received_at=0, query=capture.query, headers=capture.headers, body=capture.body
    )
    try:
        return book.readings(request_of(message, book, _MAX_DECODED)), None
    except GatewayError as error:
        return None, str(error)


def _role(readings: Sequence[Reading] | None) -> str | None:
    actions = {reading.action for reading in readings or ()}
    return next((action for action in ("open", "close") if action in actions), None)


def _ids(readings: Sequence[Reading] | None) -> frozenset[tuple[Any, ...]]:
    events = [reading.event for reading in readings or () if reading.event is not None and reading.action != "ignore"]
    return frozenset((event.source, event.source_name, event.source_id) for event in events)


def _names(
    captures: Sequence[Capture], roles: Sequence[str | None], ids: Sequence[frozenset[tuple[Any, ...]]]
) -> list[str]:
    """A recovery is called like the problem that it closes; where none is known, like the next one that has no recovery."""
    names: dict[int, str] = {}
    for at, (capture, role) in enumerate(zip(captures, roles, strict=True)):
        if role != "close":
            names[at] = _free(_stem(capture.name, role), _SUFFIXES.get(role or "", ""), names.values())
    waiting = [at for at, role in enumerate(roles) if role == "open"]
    for at in [at for at, role in enumerate(roles) if role == "close"]:
        partner = next((one for one in waiting if ids[one] & ids[at]), waiting[0] if waiting else None)
        if partner is not None:
            waiting.remove(partner)
            names[at] = names[partner].removesuffix("_firing") + "_resolved"
        else:
            names[at] = _free(_stem(captures[at].name, "close"), "_resolved", names.values())
    return [names[at] for at in range(len(captures))]


def _stem(name: str, role: str | None) -> str:
    told = frozenset().union(*(MEANINGS[meaning] for meaning in MEANINGS)) if role else frozenset()
    words = [word for word in words_of(name) if word not in told and word not in _GENERIC and word.isascii()]
    return "_".join(words)[:40].strip("_") or ("problem" if role else "other")


def _free(stem: str, suffix: str, taken: Any) -> str:
    name, number = stem + suffix, 2
    while name in taken:
        name, number = f"{stem}_{number}{suffix}", number + 1
    return name


def _content(capture: Capture) -> bytes:
    if capture.suffix == ".json":
        try:
            return msgspec.json.format(capture.content.strip(), indent=2) + b"\n"
        except msgspec.DecodeError:
            return capture.content
    if capture.suffix == ".http":
        names = "|".join(_SECRET_HEADERS).encode()
        head, gap, body = capture.content.partition(b"\r\n\r\n" if b"\r\n\r\n" in capture.content else b"\n\n")
        return re.sub(rb"(?im)^(" + names + rb"):[^\r\n]*", rb"\1: example", head) + gap + body
    return capture.content


def _expected(capture: Capture, readings: Sequence[Reading] | None) -> bytes | None:
    if readings is None:
        return None
    events = [capture.expected_of(reading) for reading in readings]
    return (json.dumps({"events": events}, indent=2, ensure_ascii=False) + "\n").encode()
