"""Makes a text of whatever it finds, of nothing too."""

from __future__ import annotations

from collections.abc import Iterable

from gateway import Event, Request, UnreadableError


def read(request: Request) -> Iterable[Event]:
    """The event."""
    if not isinstance(request.data, dict):
        msg = "the message is no object"
        raise UnreadableError(msg)
    get = request.data.get
    state, priority, title = (str(get(key)) for key in ("state", "priority", "title"))
    yield Event(source_id=str(get("id")), source_status=state, source_severity=priority, subject=title)
