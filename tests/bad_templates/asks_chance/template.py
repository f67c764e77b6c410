"""Throws a coin."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

from gateway import Event, Request


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
            topic=str(random.random()),
        )
    ]
