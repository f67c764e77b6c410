"""Counts: what it says depends on what it read before."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import msgspec

from gateway import Event, Request

MESSAGES = count(1)


class Problem(msgspec.Struct, frozen=True):
    """What the vendor posts."""

    id: str
    state: str
    priority: str | None = None
    title: str | None = None


def read(request: Request) -> Iterable[Event]:
    """The event."""
    problem = request.decode(Problem)
    return [
        Event(
            source_id=problem.id,
            source_status=problem.state,
            source_severity=problem.priority,
            subject=problem.title,
            short_text=f"message {next(MESSAGES)}",
        )
    ]
