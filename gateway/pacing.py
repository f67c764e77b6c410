"""
When people are told of an alert that opened: a pure decision from `[delay]`, and a sentence that says why.

All that is given must be met: so many opening events, so long open, within support hours; and what flaps must stay open.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.advanced import MAX_COUNT, Delay
from gateway.clock import in_words, iso
from gateway.hours import next_start
from gateway.hours import said as hours_said

MOST_OPENINGS = MAX_COUNT + 1
"""The first, from which a wait is counted, and as many as a delay may ask for."""


def at_opening(delay: Delay, now: int, earlier: Sequence[int]) -> tuple[int | None, str | None]:
    """
    When people are told of an alert that opens now: an instant, or None until more events come; and why not at once.

    `earlier` are the instants at which the same alert was opened before, this time not among them.
    """
    if delay.alerts > 1:
        return None, f"delay: people are told at opening event {delay.alerts}{_within(delay)}; this is the first"
    return _once_open(delay, now, now, (*earlier, now))


def at_event(
    delay: Delay, now: int, opened_at: int, events: Sequence[int], opened: Sequence[int] = (), *, not_before: int = 0
) -> tuple[int | None, str | None]:
    """
    The same for an alert that is open already, and of which nobody was told yet.

    `events` are its opening events, `opened` when it was opened, this time among them. Nobody is told before `not_before`.
    """
    counted = [at for at in events if not delay.within_ms or at > now - delay.within_ms]
    if len(counted) < delay.alerts:
        return (
            None,
            f"delay: people are told at opening event {delay.alerts}{_within(delay)}; this is number {len(counted)}",
        )
    return _once_open(delay, now, opened_at, opened, not_before)


def is_repeated(delay: Delay, count: int) -> bool:
    """Whether people are told again at this opening event, the `count`-th of the alert."""
    return delay.repeat and count > delay.alerts and count % delay.alerts == 0


def remembered(delay: Delay, openings: Sequence[int], now: int) -> tuple[int, ...]:
    """The instants of opening events that a delay still needs, with this one."""
    if delay.alerts <= 1:
        return ()
    return (*openings[:1], *openings[1:][-(MOST_OPENINGS - 2) :], now) if openings else (now,)


def _once_open(
    delay: Delay, now: int, opened_at: int, opened: Sequence[int], not_before: int = 0
) -> tuple[int | None, str | None]:
    """When it has been open for long enough, and within support hours."""
    told_at, why = max(now, not_before), []
    if told_at > now:
        why.append(f"it must stay open for {in_words(told_at - now)}")
    if opened_at + delay.wait_ms > now:
        told_at = max(told_at, opened_at + delay.wait_ms)
        why.append(f"it must be open for {in_words(delay.wait_ms)}")
    flapping = delay.flapping
    if flapping is not None and opened_at + flapping.within_ms > now:
        often = sum(opened_at - flapping.within_ms < at <= opened_at for at in opened)
        if often >= flapping.opens:
            told_at = max(told_at, opened_at + flapping.within_ms)
            times = f"opened {often} times within {in_words(flapping.within_ms)}"
            why.append(f"it flaps ({times}), so it must stay open that long")
    return _in_hours(delay, now, told_at, why)


def _in_hours(delay: Delay, now: int, told_at: int, why: list[str]) -> tuple[int, str | None]:
    in_hours = next_start(delay.support_hours, told_at)
    if in_hours > told_at:
        why.append(f"support hours are {' or '.join(map(hours_said, delay.support_hours))}")
    if in_hours <= now:
        return now, None
    return (
        in_hours,
        f"delay: {' and '.join(why)}; people are told at {iso(in_hours)}, unless it is closed or taken before",
    )


def _within(delay: Delay) -> str:
    return f" within {in_words(delay.within_ms)}" if delay.within_ms else ""
