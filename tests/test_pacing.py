"""When people are told: all that a delay asks for must be met, and the sentence says what is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.advanced import MAX_COUNT, Delay, Flapping
from gateway.hours import Hours
from gateway.pacing import at_event, at_opening, is_repeated, remembered

MINUTE = 60_000
HOUR = 60 * MINUTE
NOW = round(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp() * 1000)  # a Wednesday
OFFICE = Hours(zone="UTC", from_="09:00", to="17:00")
MORNING = Hours(zone="UTC", from_="06:00", to="08:00")
FLAPPING = Flapping(opens=3, within="15m")


@pytest.mark.parametrize(
    "delay, earlier, minutes, words",
    [
        (Delay(), (), 0, ()),
        (Delay(wait="10m"), (), 10, ("it must be open for 10 min", "told at 2026-11-25T12:10:00.000Z")),
        (Delay(until=OFFICE), (), 0, ()),
        (Delay(until=MORNING), (), 18 * 60, ("support hours are every day 06:00-08:00 UTC",)),
        (Delay(until=[MORNING, OFFICE]), (), 0, ()),
        (Delay(wait="6h", until=OFFICE), (), 21 * 60, ("open for 6 h and support hours are",)),
        (Delay(wait="6h", until=[MORNING, OFFICE]), (), 18 * 60, ("09:00-17:00 UTC", " or ")),
        (Delay(flapping=FLAPPING), (), 0, ()),
        (Delay(flapping=FLAPPING), (1,), 0, ()),
        (Delay(flapping=FLAPPING), (1, 14), 15, ("it flaps (opened 3 times within 15 min)",)),
        (Delay(flapping=FLAPPING), (1, 15), 0, ()),  # that one is too long ago
        (Delay(flapping=FLAPPING, wait="20m"), (1, 2), 20, ("open for 20 min and it flaps",)),
        (Delay(flapping=FLAPPING, wait="5m"), (1, 2), 15, ("open for 5 min and it flaps",)),
    ],
)
def test_an_opening_is_told_once_all_is_met(
    delay: Delay, earlier: Sequence[int], minutes: int, words: Sequence[str]
) -> None:
    told_at, why = at_opening(delay, NOW, [NOW - minutes * MINUTE for minutes in earlier])
    assert told_at == NOW + minutes * MINUTE
    assert (why is None) is (minutes == 0)
    for part in words:
        assert part in (why or "")
    assert why is None or why.endswith("unless it is closed or taken before")


def test_where_events_are_counted_the_first_tells_nobody() -> None:
    told_at, why = at_opening(Delay(alerts=3, within="10m", wait="1h"), NOW, ())
    assert told_at is None
    assert why == "delay: people are told at opening event 3 within 10 min; this is the first"


@pytest.mark.parametrize(
    "delay, events, minutes",
    [
        (Delay(alerts=3), (60, 0), None),
        (Delay(alerts=3), (600, 60, 0), 0),
        (Delay(alerts=3, within="10m"), (60, 5, 0), None),
        (Delay(alerts=3, within="10m"), (10, 5, 0), None),  # ten minutes ago is not within ten minutes
        (Delay(alerts=3, within="10m"), (9, 5, 0), 0),
        (Delay(alerts=2, wait="10m"), (4, 0), 6),
        (Delay(alerts=2, wait="10m"), (11, 0), 0),
        (Delay(alerts=2, until=MORNING), (1, 0), 18 * 60),
        (Delay(), (5, 0), 0),  # it was counted when it opened, and is no longer
        (Delay(wait="10m"), (4, 0), 6),
    ],
)
def test_a_later_event_is_told_once_all_is_met(delay: Delay, events: Sequence[int], minutes: int | None) -> None:
    instants = [NOW - ago * MINUTE for ago in events]
    told_at, why = at_event(delay, NOW, instants[0], instants)
    assert told_at == (None if minutes is None else NOW + minutes * MINUTE)
    assert (why is None) is (minutes == 0)
    if minutes is None:
        assert "people are told at opening event 3" in (why or "")


@pytest.mark.parametrize(
    "opened, minutes",
    [
        ((30, 25, 2), 0),
        ((10, 5, 2), 13),
        ((2,), 0),
        ((16, 10, 2), 13),
        ((17, 10, 2), 0),
        ((45, 40, 16), 0),  # it has stayed open long enough
        ((22, 18, 14), 1),
    ],
)
def test_what_flaps_must_stay_open_however_its_events_are_counted(opened: Sequence[int], minutes: int) -> None:
    delay = Delay(alerts=2, flapping=FLAPPING)
    instants = [NOW - ago * MINUTE for ago in opened]
    told_at, why = at_event(delay, NOW, instants[-1], (instants[-1], NOW), instants)
    assert told_at == NOW + minutes * MINUTE
    assert ("it flaps" in (why or "")) is bool(minutes)


@pytest.mark.parametrize(
    "alerts, repeat, told",
    [(3, True, [6, 9]), (2, True, [4, 6, 8, 10]), (3, False, []), (10, True, []), (1, False, [])],
)
def test_people_are_told_again_of_so_many_more(alerts: int, told: list[int], *, repeat: bool) -> None:
    delay = Delay(alerts=alerts, repeat=repeat)
    assert [count for count in range(1, 11) if is_repeated(delay, count)] == told


def test_nothing_is_remembered_where_nothing_is_counted() -> None:
    assert remembered(Delay(wait="10m"), (1, 2), 3) == ()
    assert remembered(Delay(alerts=2), (), 3) == (3,)


def test_the_most_that_may_be_asked_for_is_reached_however_long_ago_the_first_was() -> None:
    delay, kept = Delay(alerts=MAX_COUNT, within="10m"), remembered(Delay(alerts=MAX_COUNT), (), NOW)
    now = NOW + HOUR
    for number in range(1, MAX_COUNT + 1):
        kept = remembered(delay, kept, now + number)
        told_at, _ = at_event(delay, now + number, NOW, kept)
        assert told_at == (None if number < MAX_COUNT else now + number)


@given(
    st.integers(2, MAX_COUNT),
    st.sampled_from(["0", "1m", "10m"]),
    st.lists(st.sampled_from([0, 1, 500, 20_000, 59_999, 60_000, 10 * MINUTE]), max_size=300),
)
def test_what_is_remembered_is_enough_to_count(alerts: int, within: str, gaps: list[int]) -> None:
    delay = Delay(alerts=alerts, within=within)
    now, every, kept = NOW, [NOW], remembered(delay, (), NOW)
    for gap in gaps:
        now += gap
        every.append(now)
        kept = remembered(delay, kept, now)
        assert len(kept) <= MAX_COUNT + 1
        assert kept[0] == NOW
        counted = [at for at in every if not delay.within_ms or at > now - delay.within_ms]
        told_at, _ = at_event(delay, now, NOW, kept)
        assert told_at == (now if len(counted) >= alerts else None)


@given(st.data())
def test_nobody_is_told_before_now_nor_outside_of_support_hours(data: Any) -> None:
    delay = Delay(
        wait=data.draw(st.sampled_from(["0", "7m", "26h"])),
        until=data.draw(st.sampled_from([[], OFFICE, [OFFICE, MORNING]])),
        flapping=data.draw(st.none() | st.just(FLAPPING)),
    )
    now = NOW + data.draw(st.integers(0, 7 * 24 * HOUR))
    earlier = [now - ago for ago in data.draw(st.lists(st.integers(0, 20 * MINUTE), max_size=4))]
    told_at, why = at_opening(delay, now, earlier)
    assert told_at is not None
    assert told_at >= now + delay.wait_ms
    assert (why is None) == (told_at == now)
    assert at_event(delay, now, now, (now,), (*earlier, now)) == (told_at, why)
    local = datetime.fromtimestamp(told_at / 1000, UTC)
    assert not delay.support_hours or 9 <= local.hour < 17 or (len(delay.support_hours) == 2 and 6 <= local.hour < 8)
