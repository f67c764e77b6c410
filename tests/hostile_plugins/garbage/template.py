"""Gives what is no list of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gateway import Event, Ignored, Request

EVENT = Event(source_id="x", source_status="down")
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


async def later() -> list[Event]:
    """Not now."""
    return [EVENT]


def endless() -> Iterable[Event]:
    """Events without end."""
    while True:
        yield EVENT


GIFTS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "number": lambda: 7,
    "text": lambda: "text",
    "object": lambda: {"source_id": "x"},
    "class": lambda: Event,
    "nothing": list,
    "nones": lambda: [None],
    "cycle": lambda: CYCLE,
    "coroutine": later,
    "endless": endless,
    "million": lambda: [EVENT] * 1_000_000,
    "id_number": lambda: [Event(source_id=7)],  # type: ignore[arg-type]
    "id_empty": lambda: [Event(source_id="")],
    "id_huge": lambda: [Event(source_id="x" * 1_000_000)],
    "tags_cycle": lambda: [Event(source_id="x", tags=(CYCLE,))],  # type: ignore[arg-type]
    "time_text": lambda: [Event(source_id="x", occurred_at="now")],  # type: ignore[arg-type]
    "ignored_cycle": lambda: [Ignored(CYCLE)],  # type: ignore[arg-type]
    "bytes": lambda: [Event(source_id="x", subject=b"x")],  # type: ignore[arg-type]
    # odd, and fit to be read
    "huge_subject": lambda: [Event(source_id="x", source_status="down", subject="x" * 100_000_000)],
    "surrogates": lambda: [Event(source_id="\ud800x", source_status="down", subject="\0\udfff", tags=("\ud800",))],
    "many_tags": lambda: [Event(source_id="x", source_status="down", tags=tuple(map(str, range(100_000))))],
    "open_and_close": lambda: [EVENT, Event(source_id="x", source_status="up")],
}


def read(request: Request) -> Iterable[Event]:
    """Give it."""
    return GIFTS[request.data["do"]]()  # type: ignore[no-any-return]
