"""
Hours of the week and maintenance windows: whether an instant lies in them, and when they begin next.

They are kept in local time of a named zone, so that nine o'clock stays nine o'clock when the clocks are changed. An hour that
a change of clocks leaves out is taken as the one after it; of one that comes twice, the first is meant.
"""

from __future__ import annotations

import contextlib
import re
import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Literal, get_args

import msgspec

from gateway.errors import SettingsError

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Repeat = Literal["once", "daily", "weekly", "monthly"]
DAYS: tuple[Day, ...] = get_args(Day)
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_MOMENT = "%Y-%m-%dT%H:%M"
_DAY_MINUTES = 24 * 60
_DAYS_AHEAD = 16  # a week, and another where a change of clocks leaves nothing of the hours in the first
_MOST_DAYS = {"daily": 1, "weekly": 7, "monthly": 28, "once": 366}
"""How many days a window of each kind may last: it ends before it begins again."""


class Hours(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"from_": "from"}
):
    """Hours of the week. Where `from` is later than `to` they go on after midnight, into the next day."""

    zone: str
    """The time zone that they are meant in: `Europe/Berlin`, `UTC`."""
    days: tuple[Day, ...] = DAYS
    """The days on which they begin; all where it is left out."""
    from_: str = "00:00"
    """When they begin, `HH:MM`."""
    to: str = "24:00"
    """When they end, `HH:MM`; that minute is not theirs."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """
    A maintenance window of an integration: as long as it lasts, no new alerts are opened.

    `starts` and `ends` are those of the first, in local time, `2026-11-25T22:00`. `days` are a weekly one's; it comes on the
    first of them from then on (`first_times`). With `reopen`, what is still a problem when it ends opens an alert then. One
    that repeats does not come on a day on which a change of clocks leaves nothing of it.
    """

    id: str
    integration_id: str
    name: str
    starts: str
    ends: str
    zone: str
    repeat: Repeat = "once"
    days: tuple[Day, ...] = ()
    reopen: bool = False
    created_at: int


def check_zone(name: str) -> None:
    """Raise SettingsError where there is no such time zone."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"there is no time zone {name!r}; write Europe/Berlin, America/New_York or UTC"
        raise SettingsError(msg) from None


def check_hours(hours: Hours) -> None:
    """Raise SettingsError where they are none: no such zone, no time of day, no day, nothing between `from` and `to`."""
    check_zone(hours.zone)
    for key, text in (("from", hours.from_), ("to", hours.to)):
        if not _TIME.fullmatch(text) or (key == "from" and text == "24:00"):
            msg = f"`{key}` is {text!r}; write a time of day, 09:00 or 17:30"
            raise SettingsError(msg)
    if not hours.days:
        msg = f"`days` is empty; name some of {', '.join(DAYS)}, or leave it out for all"
        raise SettingsError(msg)
    if hours.from_ == hours.to:
        msg = f"`from` and `to` are both {hours.to}; leave both out for the whole day"
        raise SettingsError(msg)


def within(hours: Hours, now: int) -> bool:
    """Whether an instant lies in these hours."""
    today = _local(now, hours.zone).date()
    return any(begins <= now < ends for begins, ends in _occurrences(hours, today - timedelta(days=1), 2))


def within_any(many: Sequence[Hours], now: int) -> Hours | None:
    """The first of these hours in which an instant lies."""
    return next((hours for hours in many if within(hours, now)), None)


def next_start(many: Sequence[Hours], now: int) -> int:
    """When the next of these hours begin; `now` where it lies in some, or where there are none."""
    if not many or within_any(many, now):
        return now
    starts = []
    for hours in many:
        occurrences = _occurrences(hours, _local(now, hours.zone).date(), _DAYS_AHEAD)
        starts += [next(begins for begins, _ in occurrences if begins > now)]
    return min(starts)


def _occurrences(hours: Hours, first: date, count: int) -> Iterator[tuple[int, int]]:
    """When these hours begin and end that begin on one of `count` days; a change of clocks may leave nothing of them."""
    start, end = _minutes(hours.from_), _minutes(hours.to)
    for day in (first + timedelta(days=ahead) for ahead in range(count)):
        if DAYS[day.weekday()] in hours.days:
            begins = _instant(day, start, hours.zone)
            ends = _instant(day, end if start < end else end + _DAY_MINUTES, hours.zone)
            if begins < ends:
                yield begins, ends


def said(hours: Hours) -> str:
    """Hours in words: `mon, tue 09:00-17:00 Europe/Berlin`."""
    days = "every day" if set(hours.days) == set(DAYS) else ", ".join(day for day in DAYS if day in hours.days)
    return f"{days} {hours.from_}-{hours.to} {hours.zone}"


def check_window(window: Window) -> None:
    """Raise SettingsError where it is none: no such zone or time, an end before the start, too long to begin again."""
    check_zone(window.zone)
    for key, text in (("the start", window.starts), ("the end", window.ends)):
        if _moment(text) is None:
            msg = f"{key} of a window is {text!r}; write a local time, 2026-11-25T22:00"
            raise SettingsError(msg)
    start, end = _bounds(window)
    if end <= start:
        msg = f"the window ends at {window.ends}, before it starts at {window.starts}"
        raise SettingsError(msg)
    if end - start > timedelta(days=_MOST_DAYS[window.repeat]):
        most = _MOST_DAYS[window.repeat]
        msg = f"a {window.repeat} window lasts at most {most} day{'s' if most > 1 else ''}; this one is longer"
        raise SettingsError(msg)
    if window.repeat == "once" and _instant_of(end, window.zone) <= _instant_of(start, window.zone):
        msg = (
            f"the window from {window.starts} to {window.ends} never comes: clocks in {window.zone} are changed then, and "
            "leave that hour out; write times before or after it"
        )
        raise SettingsError(msg)
    if bool(window.days) and window.repeat != "weekly":
        msg = f"days are those of a weekly window; this one is {window.repeat}"
        raise SettingsError(msg)


def first_times(window: Window) -> tuple[str, str]:
    """When a window starts and ends the first time, in local time: a weekly one on the first of its days from `starts` on."""
    start, end = _bounds(window)
    if window.repeat == "weekly" and window.days:
        ahead = min((DAYS.index(day) - start.weekday()) % 7 for day in window.days)
        with contextlib.suppress(OverflowError):  # the last days there are
            start, end = start + timedelta(days=ahead), end + timedelta(days=ahead)
    return _written(start), _written(end)


def active_until(window: Window, now: int) -> int | None:
    """When the window ends in which an instant lies; None where it lies in none."""
    start, end = _bounds(window)
    for day in _starts_around(window, now):
        begins = _instant_of(datetime.combine(day, start.time()), window.zone)
        ends = _instant_of(datetime.combine(day, start.time()) + (end - start), window.zone)
        if begins <= now < ends:
            return ends
    return None


def is_past(window: Window, now: int) -> bool:
    """Whether a window is over and does not come again."""
    return window.repeat == "once" and _instant_of(_bounds(window)[1], window.zone) <= now


def _starts_around(window: Window, now: int) -> list[date]:
    """The days on which a window begins that might still last."""
    start, end = _bounds(window)
    if window.repeat == "once":
        return [start.date()]
    today = _local(now, window.zone).date()
    days = (today - timedelta(days=back) for back in range((end - start).days + 2))
    return [day for day in days if day >= start.date() and _recurs(window, start.date(), day)]


def _recurs(window: Window, first: date, day: date) -> bool:
    if window.repeat == "daily":
        return True
    if window.repeat == "weekly":
        return DAYS[day.weekday()] in (window.days or (DAYS[first.weekday()],))
    last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return day.day == min(first.day, last.day)  # the 31st is the last day of a shorter month


def _bounds(window: Window) -> tuple[datetime, datetime]:
    start, end = _moment(window.starts), _moment(window.ends)
    if start is None or end is None:
        msg = f"the window {window.name!r} has no times that can be read"
        raise SettingsError(msg)
    return start, end


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _MOMENT)  # noqa: DTZ007 - the zone stands beside it
    except ValueError:
        return None


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="minutes")


def _local(now: int, zone: str) -> datetime:
    return datetime.fromtimestamp(now / 1000, zoneinfo.ZoneInfo(zone))


def _instant(day: date, minutes: int, zone: str) -> int:
    return _instant_of(datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes), zone)


def _instant_of(local: datetime, zone: str) -> int:
    return round(local.replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp() * 1000)


def _minutes(text: str) -> int:
    return _DAY_MINUTES if text == "24:00" else int(text[:2]) * 60 + int(text[3:])


def weekday(text: str) -> Day | None:
    """A day of the week by its name or the beginning of it: `mon`, `Monday`; None where it is none."""
    wanted = text.strip().lower()
    return next(
        (day for day, name in zip(DAYS, _NAMES, strict=True) if wanted[:3] == day and name.startswith(wanted)), None
    )
