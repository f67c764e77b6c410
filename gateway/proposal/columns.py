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
from gateway.proposal.words import meaning_of, vocabulary, words_of

MOST_COLUMNS = 2000
MOST_ROWS = 200
_DEPTH = 7
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LISTS = vocabulary(
    "alerts alert events event incidents problems issues alarms records messages items entries notifications"
)
_LEAST_LIKENESS = 3


class Payload(msgspec.Struct, frozen=True):
    """One captured payload: the name of its file, without the ending, and what it says."""

    name: str
    data: Any


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
        return words_of(next((key for key in reversed(self.keys) if isinstance(key, str)), ""))

    @functools.cached_property
    def parents(self) -> tuple[str, ...]:
        """The words of the keys before it."""
        return tuple(word for key in self.keys[:-1] if isinstance(key, str) for word in words_of(key))

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
    each = _list_of_events(payloads)
    rows: list[tuple[int, Any, Any]] = []
    for at, payload in enumerate(payloads):
        if each is None:
            rows.append((at, payload.data, None))
            continue
        elements = _found(payload.data, each)
        rows += [(at, element, payload.data) for element in elements if isinstance(element, Mapping)]
    rows = rows[:MOST_ROWS]
    columns: dict[tuple[bool, tuple[str | int, ...]], Column] = {}
    for number, (_, inside, around) in enumerate(rows):
        places = [(False, keys, value) for keys, value in _leaves(inside)]
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
        if value and not any(isinstance(inner, dict | list) for inner in value):
            yield keys, value
        elif value and isinstance(value[0], Mapping):
            yield from _leaves(value[0], (*keys, 0))
    elif keys:
        yield keys, value


def _list_of_events(payloads: Sequence[Payload]) -> tuple[str, ...] | None:
    """The list every element of which is an event of its own: `()` where the payload is one, None where there is none."""
    if payloads and all(isinstance(payload.data, list) for payload in payloads):
        return ()
    best: tuple[int, tuple[str, ...]] = (_LEAST_LIKENESS - 1, ())
    for keys in dict.fromkeys(keys for payload in payloads for keys, _ in _lists(payload.data)):
        found = [_found(payload.data, keys) for payload in payloads]
        elements = [element for one in found for element in one if isinstance(element, Mapping)]
        if elements and all(found):
            best = max(best, (_likeness(keys, elements), keys), key=lambda pair: pair[0])
    return best[1] or None


def _lists(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    if isinstance(value, Mapping) and len(keys) < 3:  # noqa: PLR2004  # deeper lists are details of an event
        for key, inner in value.items():
            if isinstance(inner, list) and any(isinstance(one, Mapping) for one in inner):
                yield (*keys, str(key)), inner
            else:
                yield from _lists(inner, (*keys, str(key)))


def _found(value: Any, keys: Sequence[str]) -> list[Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, list) else []


def _likeness(keys: tuple[str, ...], elements: Sequence[Mapping[str, Any]]) -> int:
    """How much a list looks like one of events: by its name, and by a status and an id in its elements."""
    named = bool(set(words_of(keys[-1])) & _LISTS)
    status = identity = False
    for element in elements:
        for key, value in element.items():
            words = set(words_of(str(key)))
            status |= bool(words & {"status", "state", "action"}) and meaning_of(value)[0] is not None
            identity |= bool(words & {"id", "uuid", "fingerprint", "key"}) and isinstance(value, str | int)
    return 2 * named + 2 * status + identity
