"""Says that it happened now: a replay would say something else."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

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
            occurred_at=datetime.now(UTC),
        )
    ]
