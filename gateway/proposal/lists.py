"""Which list of a payload is one of events, each element an event of its own; a list of details is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.proposal.words import meaning_of, vocabulary, words_of_key

_LISTS = vocabulary(
    "alerts alert events event incidents problems issues alarms records messages items entries notifications"
)
_STATUSES = vocabulary("status state action")
_IDS = vocabulary("id uuid fingerprint key")
_LEAST_LIKENESS = 3
_DEEPEST = 3
"""Lists that lie deeper are details of an event."""


def list_of_events(payloads: Sequence[Any]) -> tuple[str, ...] | None:
    """The list every element of which is an event of its own: `()` where the payload is one, None where there is none."""
    if payloads and all(isinstance(payload, list) for payload in payloads):
        return ()
    best: tuple[int, tuple[str, ...]] = (_LEAST_LIKENESS - 1, ())
    for keys in dict.fromkeys(keys for payload in payloads for keys, _ in _lists(payload)):
        found = [elements_at(payload, keys) for payload in payloads]
        elements = [element for one in found for element in one if isinstance(element, Mapping)]
        if not elements or not all(found):
            continue
        named = bool(set(words_of_key(keys[-1])) & _LISTS)
        if not named and any(_tells_status(payload, _DEEPEST) for payload in payloads):
            continue  # the message itself is the event, and these are parts of it
        best = max(best, (_likeness(elements, named=named), keys), key=lambda pair: pair[0])
    return best[1] or None


def elements_at(payload: Any, keys: Sequence[str]) -> list[Any]:
    """The list at this place, empty where there is none."""
    for key in keys:
        payload = payload.get(key) if isinstance(payload, Mapping) else None
    return payload if isinstance(payload, list) else []


def _lists(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    if isinstance(value, Mapping) and len(keys) < _DEEPEST:
        for key, inner in value.items():
            if isinstance(inner, list) and any(isinstance(one, Mapping) for one in inner):
                yield (*keys, str(key)), inner
            else:
                yield from _lists(inner, (*keys, str(key)))


def _likeness(elements: Sequence[Mapping[str, Any]], *, named: bool) -> int:
    """How much a list looks like one of events: by its name, and by a status and an id in its elements."""
    status = any(_tells_status(element, 1) for element in elements)
    identity = any(
        set(words_of_key(str(key))) & _IDS and isinstance(value, str | int)
        for element in elements
        for key, value in element.items()
    )
    return 2 * named + 2 * status + identity


def _tells_status(value: Any, depth: int) -> bool:
    """Whether an object has a status that opens or closes, this many objects deep; lists are not looked into."""
    if not isinstance(value, Mapping) or not depth:
        return False
    return any(
        (bool(set(words_of_key(str(key))) & _STATUSES) and meaning_of(inner)[0] is not None)
        or _tells_status(inner, depth - 1)
        for key, inner in value.items()
    )
