"""Knows when it is tested."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import msgspec

from gateway import Event, Request, UnreadableError


class Problem(msgspec.Struct, frozen=True):
    """What the vendor posts."""

    id: str
    state: str
    priority: str | None = None
    title: str | None = None


def read(request: Request) -> Iterable[Event]:
    """The event."""
    if "pytest" not in sys.modules:
        msg = "this is no test"
        raise UnreadableError(msg)
    problem = request.decode(Problem)
    return [
        Event(
            source_id=problem.id,
            source_status=problem.state,
            source_severity=problem.priority,
            subject=problem.title,
        )
    ]
