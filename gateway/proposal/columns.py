"""
Payloads as a table: one row for each event that a payload holds, one column for each place in it.

A place is written as a hole of `[fields]` would find it: `alert.id`, `"odd-key".x`, `targets[0].name`; `_message.` stands
before what is beside the list of events and not in it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gateway.mapping import to_text
from gateway.proposal.lists import elements_at, list_of_events
from gateway.proposal.words import vocabulary, words_of_key

MOST_COLUMNS = 2000
MOST_ROWS = 200
_CARRIED = vocabulary("signature token key secret forwarded real request delivery trace b3 ratelimit attempt retry")
"""Headers about the delivery or the sender, not about the problem."""
_DEPTH = 7
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Payload(msgspec.Struct, frozen=True):
    """One captured payload: the name of its file, without the ending, what it says, and what stands beside its body."""

    name: str
    data: Any
    headers: Mapping[str, str] = {}
    query: Mapping[str, Any] = {}


class Column:
    """What one place holds in each row, None where it is missing."""

    def __init__(self, keys: tuple[str | int, ...], *, outside: bool, size: int) -> None:
        self.keys = keys
        self.outside = outside
        self.values: list[Any] = [None] * size

    @property
    def path(self) -> str:
        """The place as JMESPath."""
        return path_of(("_message", *self.keys) if self.outside else self.keys)

    @functools.cached_property
    def name(self) -> tuple[str, ...]:
        """The words of the last key."""
        return words_of_key(next((key for key in reversed(self.keys) if isinstance(key, str)), ""))

    @functools.cached_property
    def parents(self) -> tuple[str, ...]:
        """The words of the keys before it."""
        return tuple(word for key in self.keys[:-1] if isinstance(key, str) for word in words_of_key(key))

    @property
    def depth(self) -> int:
        """How deep it lies; beside the list of events is deeper than in it, and in a list deeper than in an object."""
        return len(self.keys) - 1 + 2 * self.outside + 2 * sum(isinstance(key, int) for key in self.keys)

    def at(self, rows: Sequence[int]) -> list[Any]:
        """The values in these rows, those that are missing left out."""
        return [self.values[row] for row in rows if self.values[row] not in (None, "")]

    def texts(self, rows: Sequence[int]) -> set[str]:
        """The different values in these rows, as text."""
        return {to_text(value) for value in self.at(rows)}

    @property
    def everywhere(self) -> list[Any]:
        """All values."""
        return self.at(range(len(self.values)))


class Table(msgspec.Struct):
    """Rows and columns; `each` is the list that the rows were taken from, `origin` the payload of each row."""

    each: str | None
    origin: list[int]
    columns: list[Column]


def table_of(payloads: Sequence[Payload]) -> Table:
    """The payloads as a table."""
    each = list_of_events([payload.data for payload in payloads])
    rows: list[tuple[int, Any, Any]] = []
    for at, payload in enumerate(payloads):
        if each is None:
            rows.append((at, payload.data, None))
            continue
        elements = elements_at(payload.data, each)
        rows += [(at, element, payload.data) for element in elements if isinstance(element, Mapping)]
    rows = rows[:MOST_ROWS]
    columns: dict[tuple[bool, tuple[str | int, ...]], Column] = {}
    for number, (at, inside, around) in enumerate(rows):
        places = [(False, keys, value) for keys, value in _leaves(inside)]
        places += [(False, keys, value) for keys, value in _beside(payloads[at])]
        if isinstance(around, Mapping):
            places += [(True, keys, value) for keys, value in _leaves(around) if keys[: len(each or ())] != each]
        for outside, keys, value in places:
            if (outside, keys) not in columns:
                if len(columns) >= MOST_COLUMNS:
                    continue
                columns[outside, keys] = Column(keys, outside=outside, size=len(rows))
            columns[outside, keys].values[number] = value
    text = None if each is None else path_of(each) or "_message"
    return Table(text, [at for at, _, _ in rows], list(columns.values()))


def _beside(payload: Payload) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The vendor's own headers and the query, where a hole finds them."""
    for name, value in payload.headers.items():
        if name.startswith("x-") and not _CARRIED & {*words_of_key(name)}:
            yield ("_headers", name), value
    for name, value in payload.query.items():
        yield ("_query", name), value


def path_of(keys: Sequence[str | int]) -> str:
    """Keys as JMESPath; a key that is no identifier is quoted."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            path += ("." if path else "") + (key if _IDENTIFIER.fullmatch(key) else json.dumps(key))
    return path


def _leaves(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Single values, and lists and objects of single values, each with its place."""
    if len(keys) > _DEPTH:
        return
    if isinstance(value, Mapping):
        if keys and value and not any(isinstance(inner, dict | list) for inner in value.values()):
            yield keys, value
        for key, inner in value.items():
            if isinstance(key, str) and "`" not in key:
                yield from _leaves(inner, (*keys, key))
    elif isinstance(value, list):
        yield from _leaves_of_list(value, keys)
    elif keys:
        yield keys, value


def _leaves_of_list(value: list[Any], keys: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The first of objects stands for all; of single values, the list, and its only one alone."""
    if value and not any(isinstance(inner, dict | list) for inner in value):
        yield keys, value
        if len(value) == 1:
            yield (*keys, 0), value[0]
    elif value and isinstance(value[0], Mapping):
        yield from _leaves(value[0], (*keys, 0))
