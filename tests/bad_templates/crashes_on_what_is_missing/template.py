"""Takes it for granted that every key is there."""

from __future__ import annotations

from collections.abc import Iterable

from gateway import Event, Request


def read(request: Request) -> Iterable[Event]:
    """The event."""
    data = request.data
    yield Event(
        source_id=data["id"], source_status=data["state"], source_severity=data["priority"], subject=data["title"]
    )
