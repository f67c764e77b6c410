"""Acme Cold Rooms: the alarms of a unit are bits of a number, and another number says which of them changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from gateway import Event, Ignored, Request

ALARMS = {
    0: ("Temperature too high", "alarm"),
    1: ("Temperature too low", "alarm"),
    2: ("Door open", "warning"),
    3: ("Running on battery", "warning"),
}
BITS = 16
"""The bits without a name are for later models, and are alarms."""

Id = Annotated[str, msgspec.Meta(pattern=r"\S")]


class Unit(msgspec.Struct, frozen=True):
    """A cold room."""

    id: Id
    name: str | None = None
    site: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller posts."""

    event: str
    unit: Unit
    alarms: int
    changed: int
    time: int | None = None
    temperature: float | None = None
    page: str | None = None


def read(request: Request) -> Iterable[Event | Ignored]:
    """An event for each alarm that began or ended."""
    report = request.decode(Report)
    if report.event == "test":
        return [Ignored("test message")]
    changed = [bit for bit in range(BITS) if report.changed >> bit & 1]
    return [_event(report, bit) for bit in changed] or [Ignored("no alarm changed")]


def _event(report: Report, bit: int) -> Event:
    unit = report.unit
    alarm, severity = ALARMS.get(bit, (f"Alarm {bit}", "alarm"))
    return Event(
        source_id=f"{unit.id}:{bit}",
        source_name=unit.site,
        source_url=report.page,
        source_status="raised" if report.alarms >> bit & 1 else "cleared",
        source_severity=severity,
        subject=f"{alarm} in {unit.name or unit.id}",
        description=None if report.temperature is None else f"{report.temperature:g} °C",
        tags=(f"unit:{unit.id}",),
        occurred_at=_moment(report.time),
    )


def _moment(seconds: int | None) -> datetime | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None
