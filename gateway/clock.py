"""
The only place that asks what time it is.

Instants are whole milliseconds since 1970-01-01 UTC; at the edges (CLI, API, notifications) they are ISO 8601 text.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What tells the time; tests pass one that they move by hand."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: int = 1_750_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""
        return self._now / 1000

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._now += round(seconds * 1000)


def iso(instant: int | None) -> str | None:
    """ISO 8601 in UTC with milliseconds, `2026-11-22T02:37:33.120Z`; None stays None."""
    if instant is None:
        return None
    moment = datetime.fromtimestamp(instant / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def instant(moment: datetime) -> int:
    """Milliseconds since 1970 of a datetime; one without a zone is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


_SPAN = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*(ms|s|m|h|d|w)|0")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def span(text: str) -> int | None:
    """Milliseconds of a span of time, `90s`, `1.5h`, `7d`, `0`; None where it is none."""
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None:
        return None
    return round(float(match[1]) * _UNITS[match[2]]) if match[1] else 0


def in_words(milliseconds: int) -> str:
    """A span of time in the largest unit that is whole: `90 s`, `10 min`, `2 h`."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if milliseconds >= size and milliseconds % size == 0:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds} ms"
