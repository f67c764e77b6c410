"""Hours of the week and maintenance windows: local time stays local time when the clocks are changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import SettingsError
from gateway.hours import (
    DAYS,
    Hours,
    Window,
    active_until,
    check_hours,
    check_window,
    check_zone,
    first_times,
    is_past,
    next_start,
    said,
    weekday,
    within,
    within_any,
)

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
MINUTE = 60_000


def at(text: str, zone: str = "UTC", *, second: bool = False) -> int:
    """An instant by local time; of an hour that comes twice the first, or the second."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=int(second))
    return round(moment.timestamp() * 1000)


def hours(zone: str = "UTC", **fields: Any) -> Hours:
    return Hours(zone=zone, **{"from_" if key == "start" else key: value for key, value in fields.items()})


def window(starts: str, ends: str, zone: str = "UTC", **fields: Any) -> Window:
    return Window(
        **{
            "id": "win_1",
            "integration_id": "int_1",
            "name": "patching",
            "starts": starts,
            "ends": ends,
            "zone": zone,
            "created_at": 0,
            **fields,
        }
    )


# hours


@pytest.mark.parametrize(
    "text, holds",
    [
        ("2026-11-25T08:59", False),
        ("2026-11-25T09:00", True),
        ("2026-11-25T16:59:59.999", True),
        ("2026-11-25T17:00", False),
        ("2026-11-28T12:00", False),  # a Saturday
    ],
)
def test_office_hours_begin_with_their_minute_and_end_before_theirs(text: str, *, holds: bool) -> None:
    office = hours(BERLIN, days=("mon", "tue", "wed", "thu", "fri"), start="09:00", to="17:00")
    assert within(office, at(text, BERLIN)) is holds


@pytest.mark.parametrize(
    "text, holds",
    [
        ("2026-11-27T21:59", False),
        ("2026-11-27T22:00", True),
        ("2026-11-28T05:59", True),  # Saturday morning belongs to Friday's night
        ("2026-11-28T06:00", False),
        ("2026-11-28T22:00", False),
        ("2026-11-27T05:00", False),  # and Friday morning to Thursday's
    ],
)
def test_overnight_hours_belong_to_the_day_on_which_they_begin(text: str, *, holds: bool) -> None:
    assert within(hours(days=("fri",), start="22:00", to="06:00"), at(text)) is holds


@pytest.mark.parametrize("to", ["24:00", "00:00"])
def test_hours_until_midnight_end_there(to: str) -> None:
    evening = hours(start="18:00", to=to)
    assert within(evening, at("2026-11-25T23:59:59"))
    assert not within(evening, at("2026-11-26T00:00"))


def test_the_whole_day_is_the_days_own_in_its_zone() -> None:
    sunday = hours(NEW_YORK, days=("sun",))
    assert not within(sunday, at("2026-11-22T04:59"))
    assert within(sunday, at("2026-11-22T05:00"))
    assert within(sunday, at("2026-11-23T04:59"))
    assert not within(sunday, at("2026-11-23T05:00"))


# Berlin goes from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25; New York on 03-08 and 11-01.


@pytest.mark.parametrize("zone, day", [(BERLIN, "2026-03-29"), (NEW_YORK, "2026-03-08")])
def test_hours_that_a_change_of_clocks_leaves_out_are_the_ones_after(zone: str, day: str) -> None:
    early = hours(zone, start="02:15", to="02:45")
    assert not within(early, at(f"{day}T03:14", zone))
    assert within(early, at(f"{day}T03:15", zone))
    assert not within(early, at(f"{day}T03:45", zone))
    assert next_start([early], at(f"{day}T01:00", zone)) == at(f"{day}T03:15", zone)


@pytest.mark.parametrize("zone, day", [(BERLIN, "2026-10-25"), (NEW_YORK, "2026-11-01")])
def test_of_hours_that_come_twice_the_first_are_meant(zone: str, day: str) -> None:
    hour = 1 if zone == NEW_YORK else 2
    once = hours(zone, start=f"0{hour}:15", to=f"0{hour}:45")
    inside = f"{day}T0{hour}:30"
    assert within(once, at(inside, zone))
    assert not within(once, at(inside, zone, second=True))
    assert next_start([once], at(inside, zone, second=True)) > at(f"{day}T12:00", zone)


@pytest.mark.parametrize("zone, day", [(BERLIN, "2026-10-25"), (BERLIN, "2026-03-29"), (NEW_YORK, "2026-11-01")])
def test_nine_oclock_stays_nine_oclock_when_the_clocks_are_changed(zone: str, day: str) -> None:
    office = hours(zone, start="09:00", to="17:00")
    night = hours(zone, start="22:00", to="06:00")
    for one, start, end in ((office, "09:00", "17:00"), (night, "22:00", "23:59")):
        assert next_start([one], at(f"{day}T08:00", zone)) == at(f"{day}T{start}", zone)
        assert within(one, at(f"{day}T{end}", zone) - 1)
    assert within(night, at(f"{day}T05:59", zone))
    assert not within(night, at(f"{day}T06:00", zone))


def test_hours_of_which_a_change_of_clocks_leaves_nothing_come_the_week_after() -> None:
    gone = hours(BERLIN, days=("sun",), start="02:30", to="03:00")
    assert next_start([gone], at("2026-03-23T00:00", BERLIN)) == at("2026-04-05T02:30", BERLIN)


def test_the_next_start_is_now_within_them_and_without_any() -> None:
    now = at("2026-11-25T10:00")
    assert next_start([], now) == now
    assert next_start([hours(start="09:00", to="17:00")], now) == now
    assert next_start([hours(start="09:00", to="10:00"), hours(start="10:00", to="11:00")], now) == now


@pytest.mark.parametrize("day", DAYS)
def test_the_next_start_is_at_most_a_week_ahead(day: Any) -> None:
    weekly = hours(NEW_YORK, days=(day,), start="09:00", to="10:00")
    now = at("2026-11-25T10:00", NEW_YORK)  # a Wednesday, when its hour is just over
    start = next_start([weekly], now)
    assert now < start <= now + 7 * 86_400_000
    local = datetime.fromtimestamp(start / 1000, ZoneInfo(NEW_YORK))
    assert (DAYS[local.weekday()], local.hour, local.minute) == (day, 9, 0)


def test_the_earliest_of_several_hours_decides_across_zones() -> None:
    many = [hours(NEW_YORK, start="09:00", to="17:00"), hours("Asia/Tokyo", start="09:00", to="17:00")]
    assert next_start(many, at("2026-11-25T23:00")) == at("2026-11-26T00:00")  # nine in Tokyo
    assert within_any(many, at("2026-11-25T15:00")) is many[0]
    assert within_any(many, at("2026-11-25T09:00")) is None


TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
HOURS = st.builds(
    hours,
    st.sampled_from([BERLIN, NEW_YORK, "UTC", "America/Santiago", "Australia/Lord_Howe"]),
    days=st.sets(st.sampled_from(DAYS), min_size=1).map(tuple),
    start=TIMES,
    to=TIMES | st.just("24:00"),
).filter(lambda made: made.from_ != made.to)
CHANGES = [
    "2026-03-29T00:00", "2026-10-24T22:00", "2026-03-08T05:00", "2026-11-01T04:00",
    "2026-04-05T01:00", "2026-09-06T02:00", "2026-04-04T14:00", "2026-10-03T14:00",
]  # fmt: skip  # when those zones change their clocks, or an hour or two before


@settings(max_examples=150, deadline=None)
@given(st.lists(HOURS, min_size=1, max_size=2), st.sampled_from(CHANGES), st.integers(-1500, 300))
def test_the_next_start_is_the_first_minute_within(many: Sequence[Hours], change: str, minutes: int) -> None:
    now = at(change) + minutes * MINUTE
    start = next_start(many, now)
    assert start >= now
    assert within_any(many, start)
    for minute in range(now, min(start, now + 2000 * MINUTE), MINUTE):
        assert within_any(many, minute) is None
    assert start == now or within_any(many, start - 1) is None


def test_hours_in_words() -> None:
    assert said(hours(days=("tue", "mon"), start="09:00", to="17:00")) == "mon, tue 09:00-17:00 UTC"
    assert said(hours(BERLIN)) == "every day 00:00-24:00 Europe/Berlin"


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"zone": "Berlin"}, "no time zone 'Berlin'; write Europe/Berlin, America/New_York or UTC"),
        ({"zone": ""}, "no time zone ''"),
        ({"zone": "../etc/passwd"}, "no time zone"),
        ({"zone": "/etc/passwd"}, "no time zone"),
        ({"zone": "Europe"}, "no time zone"),
        ({"zone": "a\0b"}, "no time zone"),
        ({"zone": "x" * 5000}, "no time zone"),
        ({"start": "9:00"}, "`from` is '9:00'; write a time of day, 09:00 or 17:30"),
        ({"start": "24:00"}, "`from` is '24:00'"),
        ({"to": "25:00"}, "`to` is '25:00'; write a time of day"),
        ({"to": "12:60"}, "`to` is '12:60'"),
        ({"to": "12:00\n"}, "`to` is"),
        ({"to": "-1:00"}, "`to` is"),
        ({"days": ()}, "`days` is empty; name some of mon, tue, wed, thu, fri, sat, sun, or leave it out for all"),
        ({"start": "09:00", "to": "09:00"}, "`from` and `to` are both 09:00; leave both out for the whole day"),
    ],
)
def test_hours_that_are_none_say_what_to_write(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check_hours(hours(**fields))
    assert words in str(refused.value)


def test_hours_that_are_good_pass() -> None:
    for one in (hours(), hours(start="22:00", to="06:00"), hours(start="00:00", to="00:01"), hours(to="23:59")):
        check_hours(one)
    check_zone("Pacific/Kiritimati")


# windows


def test_a_window_lasts_from_its_start_to_before_its_end() -> None:
    one = window("2026-11-25T22:00", "2026-11-26T02:00", BERLIN)
    start, end = at("2026-11-25T22:00", BERLIN), at("2026-11-26T02:00", BERLIN)
    assert active_until(one, start - 1) is None
    assert active_until(one, start) == active_until(one, end - 1) == end
    assert active_until(one, end) is None
    assert active_until(one, start + 86_400_000) is None


@pytest.mark.parametrize("repeat", ["daily", "weekly", "monthly"])
def test_what_comes_again_did_not_come_before_its_first_start(repeat: Any) -> None:
    one = window("2026-11-25T22:00", "2026-11-26T02:00", repeat=repeat)
    for days in (1, 7, 30, 31):
        assert active_until(one, at("2026-11-25T23:00") - days * 86_400_000) is None
    assert active_until(one, at("2026-11-25T23:00")) == at("2026-11-26T02:00")


def test_a_daily_window_over_midnight_comes_every_day() -> None:
    one = window("2026-11-25T22:00", "2026-11-26T02:00", repeat="daily")
    assert active_until(one, at("2026-12-31T23:30")) == at("2027-01-01T02:00")
    assert active_until(one, at("2027-01-01T01:30")) == at("2027-01-01T02:00")
    assert active_until(one, at("2027-01-01T02:00")) is None


def test_a_daily_window_of_a_whole_day_lasts_on_and_on() -> None:
    one = window("2026-11-25T12:00", "2026-11-26T12:00", BERLIN, repeat="daily")
    check_window(one)
    for day in range(400):
        now = at("2026-11-25T12:00", BERLIN) + day * 86_400_000
        until = active_until(one, now)
        assert until is not None
        assert now < until <= now + 25 * 3_600_000


@pytest.mark.parametrize(
    "days, text, until",
    [
        ((), "2026-12-02T23:00", "2026-12-03T02:00"),  # the day of its first start: a Wednesday
        ((), "2026-12-03T23:00", None),
        (("sat", "sun"), "2026-11-29T01:00", "2026-11-29T02:00"),
        (("sat", "sun"), "2026-11-30T01:00", "2026-11-30T02:00"),
        (("sat", "sun"), "2026-12-02T23:00", None),
    ],
)
def test_a_weekly_window_comes_on_its_days(days: Any, text: str, until: str | None) -> None:
    one = window("2026-11-25T22:00", "2026-11-26T02:00", repeat="weekly", days=days)
    assert active_until(one, at(text)) == (None if until is None else at(until))


def test_a_weekly_window_of_a_week_is_never_over() -> None:
    one = window("2026-11-25T22:00", "2026-12-02T22:00", repeat="weekly")
    check_window(one)
    assert active_until(one, at("2027-03-02T22:00")) == at("2027-03-03T22:00")
    assert active_until(one, at("2027-03-03T22:00")) == at("2027-03-10T22:00")


@pytest.mark.parametrize(
    "start, inside, outside",
    [
        ("2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30", "2028-02-29"], ["2026-02-27", "2026-03-30"]),
        ("2026-01-30", ["2026-02-28", "2026-03-30", "2028-02-29"], ["2026-03-31", "2026-03-01"]),
        ("2026-01-15", ["2026-02-15", "2027-01-15"], ["2026-02-14", "2026-02-28"]),
        ("2026-02-28", ["2026-03-28"], ["2026-03-31"]),
    ],
)
def test_the_31st_is_the_last_day_of_a_shorter_month(start: str, inside: list[str], outside: list[str]) -> None:
    one = window(f"{start}T22:00", f"{start}T23:00", repeat="monthly")
    for day in inside:
        assert active_until(one, at(f"{day}T22:30")) == at(f"{day}T23:00")
    for day in outside:
        assert active_until(one, at(f"{day}T22:30")) is None


def test_a_monthly_window_goes_on_into_the_next_month() -> None:
    one = window("2026-01-31T22:00", "2026-02-02T06:00", repeat="monthly")
    assert active_until(one, at("2026-05-01T12:00")) == at("2026-05-02T06:00")  # since April 30
    assert active_until(one, at("2026-05-02T06:00")) is None


@pytest.mark.parametrize(
    "day, length",
    [("2026-03-28", 3), ("2026-10-24", 5), ("2026-11-24", 4)],
)
def test_a_window_over_a_change_of_clocks_keeps_its_local_times(day: str, length: int) -> None:
    one = window("2026-01-01T23:00", "2026-01-02T03:00", BERLIN, repeat="daily")
    start = at(f"{day}T23:00", BERLIN)
    assert active_until(one, start - 1) is None
    assert active_until(one, start) == start + length * 3_600_000
    assert active_until(one, start + length * 3_600_000) is None


def test_only_what_comes_once_is_ever_past() -> None:
    end = at("2026-11-26T02:00")
    once = window("2026-11-25T22:00", "2026-11-26T02:00")
    assert not is_past(once, end - 1)
    assert is_past(once, end)
    for repeat in ("daily", "weekly", "monthly"):
        assert not is_past(window(once.starts, once.ends, repeat=repeat), end + 10**12)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"zone": "Mars"}, "no time zone 'Mars'; write Europe/Berlin"),
        ({"starts": "tomorrow"}, "the start of a window is 'tomorrow'; write a local time, 2026-11-25T22:00"),
        ({"ends": "2026-11-25 23:00"}, "the end of a window is"),
        ({"ends": "2026-11-31T23:00"}, "the end of a window is"),
        ({"ends": "2026-11-25T21:00"}, "ends at 2026-11-25T21:00, before it starts at 2026-11-25T22:00"),
        ({"ends": "2026-11-25T22:00"}, "before it starts"),
        ({"ends": "2027-11-27T22:00"}, "a once window lasts at most 366 days; this one is longer"),
        ({"ends": "2026-11-26T22:01", "repeat": "daily"}, "a daily window lasts at most 1 day; this one is longer"),
        ({"ends": "2026-12-02T22:01", "repeat": "weekly"}, "a weekly window lasts at most 7 days"),
        ({"ends": "2026-12-23T22:01", "repeat": "monthly"}, "a monthly window lasts at most 28 days"),
        ({"days": ("mon",)}, "days are those of a weekly window; this one is once"),
        (
            {"starts": "2027-03-28T02:30", "ends": "2027-03-28T03:00", "zone": BERLIN},
            "never comes: clocks in Europe/Berlin are changed then, and leave that hour out; write times before or after",
        ),
        ({"days": ("mon",), "repeat": "monthly"}, "this one is monthly"),
    ],
)
def test_a_window_that_is_none_says_what_to_write(changes: dict[str, Any], words: str) -> None:
    good = {"starts": "2026-11-25T22:00", "ends": "2026-11-25T23:00"}
    check_window(window(**good))
    with pytest.raises(SettingsError) as refused:
        check_window(window(**{**good, **changes}))
    assert words in str(refused.value)


@pytest.mark.parametrize("zone", ["UTC", BERLIN, NEW_YORK])
@pytest.mark.parametrize(
    "starts, ends",
    [("0001-01-01T00:00", "0001-01-01T01:00"), ("9999-12-31T22:00", "9999-12-31T23:59")],
)
def test_the_first_and_the_last_day_there_are_do_no_harm(zone: str, starts: str, ends: str) -> None:
    now = at("2026-11-25T22:00")
    for repeat in ("once", "daily", "weekly", "monthly"):
        one = window(starts, ends, zone, repeat=repeat)
        check_window(one)
        until = active_until(one, now)
        assert until is None or until > now
        assert is_past(one, now) is (repeat == "once" and starts < "2000")


def test_a_window_that_repeats_does_not_come_where_clocks_leave_nothing_of_it() -> None:
    one = window("2027-03-27T02:30", "2027-03-27T03:00", BERLIN, repeat="daily")
    check_window(one)
    found = [active_until(one, at("2027-03-27T00:00") + minute * MINUTE) for minute in range(3 * 24 * 60)]
    ends = [at(f"2027-03-{day}T03:00", BERLIN) for day in (27, 29)]
    assert sorted({until for until in found if until is not None}) == ends


@pytest.mark.parametrize(
    "days, starts, ends",
    [
        ((), "2026-12-01T22:00", "2026-12-02T02:00"),  # a Tuesday
        (("tue",), "2026-12-01T22:00", "2026-12-02T02:00"),
        (("mon",), "2026-12-07T22:00", "2026-12-08T02:00"),
        (("mon", "fri"), "2026-12-04T22:00", "2026-12-05T02:00"),
    ],
)
def test_a_weekly_window_comes_first_on_the_first_of_its_days(days: Any, starts: str, ends: str) -> None:
    one = window("2026-12-01T22:00", "2026-12-02T02:00", repeat="weekly", days=days)
    assert first_times(one) == (starts, ends)
    assert active_until(one, at(starts) - 1) is None
    assert active_until(one, at(starts)) == at(ends)
    last = window("9999-12-31T22:00", "9999-12-31T23:00", repeat="weekly", days=("mon",))
    assert first_times(last) == ("9999-12-31T22:00", "9999-12-31T23:00")


REPEATS = st.sampled_from(["once", "daily", "weekly", "monthly"])


@settings(max_examples=100)
@given(REPEATS, st.integers(0, 60 * 24 * 60), st.integers(1, 24 * 60), st.integers(-3000, 90 * 24 * 60))
def test_what_lasts_until_an_instant_lasts_up_to_it(repeat: Any, start: int, length: int, minutes: int) -> None:
    first = datetime(2026, 3, 1) + timedelta(minutes=start)  # noqa: DTZ001 - the zone stands beside it
    ends = first + timedelta(minutes=length)
    one = window(f"{first:%Y-%m-%dT%H:%M}", f"{ends:%Y-%m-%dT%H:%M}", BERLIN, repeat=repeat)
    check_window(one)
    now = at("2026-03-01T00:00") + minutes * MINUTE
    until = active_until(one, now)
    if until is not None:
        assert now < until <= now + (length + 60) * MINUTE
        assert active_until(one, until - 1) is not None


@pytest.mark.parametrize(
    "text, day",
    [("mon", "mon"), ("Monday", "mon"), (" TUES ", "tue"), ("su", None), ("", None), ("monkey", None), ("xyz", None)],
)
def test_days_by_their_name_or_the_beginning_of_it(text: str, day: str | None) -> None:
    assert weekday(text) == day
