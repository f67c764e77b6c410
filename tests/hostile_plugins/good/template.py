"""Reads what it is given, and harms nobody."""

from __future__ import annotations

from collections.abc import Iterable

from gateway import Event, Request


def read(request: Request) -> Iterable[Event]:
    """One event."""
    yield Event(source_id=request.data["id"], source_status=request.data["status"], subject=request.data.get("text"))
