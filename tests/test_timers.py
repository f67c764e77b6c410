"""What is due by itself, with the real store: silence, and the ends of maintenance windows; also over a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.actions import close_alert
from gateway.clock import ManualClock
from gateway.directory import directory_of
from gateway.hours import Hours, Window
from gateway.models import (
    SELF,
    Alert,
    Contact,
    Endpoint,
    Event,
    Integration,
    Message,
    Override,
    Policy,
    PolicyStep,
    Reading,
    User,
)
from gateway.pipeline import Plan, Read
from gateway.recall import of_messages
from gateway.store.base import Changes
from gateway.store.sqlite import SqliteState
from gateway.timers import MOST, carry_out

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
START = round(NOON.timestamp() * 1000)
MINUTE = 60_000


class Gateway:
    """A gateway with its store, which can be stopped and started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.clock = ManualClock(START)
        self.state = SqliteState.open(data, clock=self.clock)
        self.messages = 0

    async def add(self, **settings: Any) -> Integration:
        """An integration whose policy tells ann at once, and bob after five minutes."""
        for name in ("ann", "bob"):
            contact = Contact(id=f"con_{name}", kind="webhook", address=f"https://{name}.example")
            await self.state.add_user(User(id=f"usr_{name}", name=name, contacts=(contact,), created_at=0))
        steps = (PolicyStep(user_ids=("usr_ann",)), PolicyStep(user_ids=("usr_bob",), after=300))
        await self.state.add_policy(Policy(id="pol_1", name="on call", steps=steps, created_at=0))
        self.integration = Integration(
            id="int_1", endpoint_id="end_1", name="shop", template="acme", policy_id="pol_1", settings=settings,
            created_at=0, updated_at=0,
        )  # fmt: skip
        endpoint = Endpoint(id="end_1", name="e", token_hash=b"1", token_hint="", created_at=0)
        await self.state.add_integration(self.integration, endpoint)
        return self.integration

    async def window(self, number: str, minutes: int, length: int, *, reopen: bool = True) -> None:
        """A maintenance window, so many minutes after noon."""
        starts = NOON + timedelta(minutes=minutes)
        await self.state.add_window(
            Window(
                id=number, integration_id="int_1", name=number, zone="UTC", reopen=reopen, created_at=0,
                starts=f"{starts:%Y-%m-%dT%H:%M}", ends=f"{starts + timedelta(minutes=length):%Y-%m-%dT%H:%M}",
            )
        )  # fmt: skip

    async def say(self, action: Any, *source_ids: str, subject: str | None = None, **fields: Any) -> Changes:
        """One message with an event for each id."""
        self.messages += 1
        made = [
            Reading(action=action, event=Event(source_id=number, source="Acme", subject=subject), **fields)
            for number in source_ids or ("x",)
        ]
        message = Message(id=self.messages, endpoint_id="end_1", received_at=self.clock.now())
        read = Read(message=message, integration=self.integration, readings=made)
        directory = await directory_of(self.state)
        async with self.state.transaction() as transaction:
            known = await of_messages(transaction, [read], directory, self.clock.now())
            plan = Plan(known, await transaction.next_alert_id(), directory, self.clock.now())
            plan.apply(read)
            changes = plan.finish()
            await transaction.write(changes)
        return changes

    async def pass_minutes(self, minutes: float, *, restart: bool = False) -> bool:
        """Let time pass and do what is due; whether anybody is to be told."""
        self.clock.advance(minutes * 60)
        if restart:
            await self.state.close()
            self.state = SqliteState.open(self.data, clock=self.clock)
        now = self.clock.now()
        return await carry_out(self.state, await directory_of(self.state), now, until=now)

    async def alerts(self) -> list[Alert]:
        """All alerts, oldest first."""
        return (await self.state.alerts(limit=10_000))[::-1]

    async def heard(self) -> list[tuple[int, str, str, float]]:
        """What people hear, or may still hear: alert, kind, user, minutes after noon."""
        notes = (await self.state.notifications(limit=10_000))[::-1]
        return [
            (note.alert_id, note.kind, note.user, (note.due_at - START) / MINUTE)
            for note in notes
            if note.status != "withdrawn"
        ]


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(tmp_path)
    yield gateway
    await gateway.state.close()


RESTART = pytest.mark.parametrize("restart", [False, True])


async def test_with_nothing_due_nothing_is_done(gateway: Gateway) -> None:
    await gateway.add()
    await gateway.say("open")
    assert not await gateway.pass_minutes(10_000)
    assert await gateway.state.next_timer() is None


# silence


@RESTART
async def test_silence_closes_and_tells_whose_time_had_come(gateway: Gateway, *, restart: bool) -> None:
    await gateway.add(close_after="2m")
    await gateway.say("open")
    assert await gateway.state.next_timer() == START + 2 * MINUTE
    assert not await gateway.pass_minutes(1.99)
    assert (await gateway.alerts())[0].status == "open"
    assert await gateway.pass_minutes(0.01, restart=restart)
    (alert,) = await gateway.alerts()
    assert (alert.status, alert.closed_at, alert.close_at) == ("closed", START + 2 * MINUTE, None)
    assert await gateway.heard() == [(1, "opened", "ann", 0), (1, "closed", "ann", 2)]
    line = (await gateway.state.timeline(1))[-1]
    assert (line.kind, line.actor, line.text) == ("closed", SELF, "closed: nothing was heard of it for 2 min")
    assert await gateway.state.next_timer() is None
    assert not await gateway.pass_minutes(100)


async def test_each_word_puts_silence_off(gateway: Gateway) -> None:
    await gateway.add(close_after="10m")
    for action in ("open", "open", "update"):
        await gateway.say(action)
        assert not await gateway.pass_minutes(9)
    assert await gateway.state.next_timer() == START + 28 * MINUTE
    await gateway.say("close")
    assert await gateway.state.next_timer() is None


async def test_silence_of_an_alert_that_nobody_was_told_of_tells_nobody(gateway: Gateway) -> None:
    await gateway.add(close_after="10m", delay={"wait": "1h"})
    await gateway.say("open")
    assert not await gateway.pass_minutes(10)
    assert (await gateway.alerts())[0].status == "closed"
    assert await gateway.heard() == []


async def test_silence_is_heard_of_a_deleted_integration_and_told_to_nobody(gateway: Gateway) -> None:
    await gateway.add(close_after="2m")
    await gateway.say("open")
    await gateway.state.delete_integration("int_1")
    assert not await gateway.pass_minutes(2)
    (alert,) = await gateway.alerts()
    assert alert.status == "closed"
    assert (await gateway.state.timeline(1))[-1].text == "closed: nothing was heard of it"
    assert await gateway.heard() == [(1, "opened", "ann", 0)]


async def test_only_what_was_due_until_then_is_done(gateway: Gateway) -> None:
    """While messages wait in the journal, silence counts up to the oldest of them."""
    await gateway.add(close_after="10m")
    await gateway.say("open", "a")
    gateway.clock.advance(60)
    await gateway.say("open", "b")
    gateway.clock.advance(3600)
    directory = await directory_of(gateway.state)
    await carry_out(gateway.state, directory, gateway.clock.now(), until=START + 10 * MINUTE)
    assert [alert.status for alert in await gateway.alerts()] == ["closed", "open"]
    assert (await gateway.alerts())[0].closed_at == gateway.clock.now()


async def test_a_group_that_falls_silent_is_told_of_its_leader_alone(gateway: Gateway) -> None:
    await gateway.add(close_after="1h", group={"within": "15m"})
    await gateway.say("open", "a", "b", "c", group_key="g")
    assert await gateway.pass_minutes(60)
    assert {alert.status for alert in await gateway.alerts()} == {"closed"}
    assert {note[0] for note in await gateway.heard()} == {1}


@RESTART
async def test_a_leader_that_falls_silent_is_followed_by_its_oldest_member(gateway: Gateway, *, restart: bool) -> None:
    await gateway.add(close_after="1h", group={"within": "15m"})
    await gateway.say("open", "a", "b", "c", group_key="g")
    await gateway.pass_minutes(30)
    await gateway.say("update", "b", "c")
    assert await gateway.pass_minutes(30, restart=restart)
    assert [(alert.status, alert.leader_id) for alert in await gateway.alerts()] == [
        ("closed", None), ("open", None), ("open", 2),
    ]  # fmt: skip
    assert (await gateway.heard())[-2:] == [(2, "opened", "ann", 62), (2, "opened", "bob", 67)]
    await gateway.state.close()
    gateway.state = SqliteState.open(gateway.data, clock=gateway.clock)
    await close_alert(gateway.state, gateway.clock, 2, actor="ann")
    assert (await gateway.heard())[-2:] == [(3, "opened", "ann", 62), (3, "opened", "bob", 67)]


async def test_more_than_are_done_at_once_are_done_in_turn(gateway: Gateway) -> None:
    await gateway.add(close_after="1h")
    await gateway.window("w", 10, 20)
    await gateway.say("open", *(f"early {number}" for number in range(MOST + 3)))
    gateway.clock.advance(600)
    await gateway.say("open", *(f"held back {number}" for number in range(MOST + 2)))
    await gateway.pass_minutes(50)
    assert await gateway.state.next_timer() is not None
    assert await gateway.state.next_timer() <= gateway.clock.now()  # type: ignore[operator]  # it is not None
    await gateway.pass_minutes(0)
    found = [alert.status for alert in await gateway.alerts()]
    assert (found.count("closed"), found.count("open")) == (MOST + 3, MOST + 2)
    assert await gateway.state.next_timer() == gateway.clock.now() + 60 * MINUTE


# maintenance windows


@RESTART
async def test_the_end_of_a_window_opens_what_was_not_closed_in_it(gateway: Gateway, *, restart: bool) -> None:
    await gateway.add()
    await gateway.window("w", 0, 60)
    await gateway.say("open", "a", "b", "c", severity="critical")
    await gateway.say("close", "b")
    await gateway.say("open", "a", severity="info")
    assert await gateway.state.next_timer() == START + 60 * MINUTE
    assert not await gateway.pass_minutes(59.9)
    assert await gateway.alerts() == []
    assert await gateway.pass_minutes(0.1, restart=restart)
    assert [(alert.source_id, alert.severity) for alert in await gateway.alerts()] == [("c", "critical"), ("a", "info")]
    (line,) = await gateway.state.timeline(1)
    assert (line.actor, line.message_id) == ("shop, at the end of a maintenance window", 1)
    assert (await gateway.heard())[0] == (1, "opened", "ann", 60)
    assert not await gateway.pass_minutes(1, restart=restart), "once"
    await gateway.say("close", "a")
    assert len(await gateway.alerts()) == 2


async def test_what_opens_at_the_end_of_a_window_says_on_its_timeline_who_is_told_and_when(gateway: Gateway) -> None:
    await gateway.add(delay={"alerts": 2}, group={"within": "15m"})
    await gateway.window("w", 0, 60)
    await gateway.say("open", "a", "b", group_key="g", subject="disk is full")
    await gateway.state.delete_window("w", gateway.clock.now())
    await gateway.pass_minutes(0)
    assert [(await gateway.state.timeline(number))[0].text for number in (1, 2)] == [
        "disk is full; told: policy on call; delay: people are told at opening event 2; this is the first",
        "disk is full; group: alert 1 of the same source_name opened within 15 min; this one is told as part of it",
    ]
    await gateway.state.add_policy(
        Policy(id="pol_9", name="n" * 3000, steps=(PolicyStep(user_ids=("usr_bob",)),), created_at=0)
    )
    await gateway.window("v", 0, 60)
    await gateway.say("open", "c", overrides=(Override(policy="n" * 3000, hours=(Hours(zone="UTC"),)),))
    await gateway.pass_minutes(60)
    text = (await gateway.state.timeline(3))[0].text
    assert text is not None
    assert len(text) == 2001


async def test_a_window_without_that_choice_opens_nothing(gateway: Gateway) -> None:
    await gateway.add()
    await gateway.window("w", 0, 60, reopen=False)
    changes = await gateway.say("open")
    assert [event.outcome for event in changes.events] == ["suppressed"]
    assert await gateway.state.next_timer() is None
    assert not await gateway.pass_minutes(60)
    assert await gateway.alerts() == []


async def test_another_window_that_lasts_keeps_it_back(gateway: Gateway) -> None:
    await gateway.add()
    await gateway.window("w", 0, 60)
    await gateway.say("open")
    await gateway.window("longer", 30, 60)
    assert not await gateway.pass_minutes(60)
    assert await gateway.state.next_timer() == START + 90 * MINUTE
    assert await gateway.pass_minutes(30)
    assert (await gateway.alerts())[0].opened_at == START + 90 * MINUTE


async def test_what_opened_right_after_a_window_is_not_opened_twice(gateway: Gateway) -> None:
    await gateway.add()
    await gateway.window("w", 0, 60)
    await gateway.say("open")
    gateway.clock.advance(3600)
    await gateway.say("open")
    assert not await gateway.pass_minutes(1)
    assert len(await gateway.alerts()) == 1
    assert await gateway.state.next_timer() is None


@pytest.mark.parametrize("actions", [["close"], ["open", "close"]])
async def test_what_closed_right_after_a_window_does_not_open_again(gateway: Gateway, actions: list[str]) -> None:
    await gateway.add()
    await gateway.window("w", 0, 60)
    await gateway.say("open")
    gateway.clock.advance(3600)
    for action in actions:
        await gateway.say(action)
    await gateway.pass_minutes(1)
    assert [alert.status for alert in await gateway.alerts()] == ["closed"] * (len(actions) - 1)


async def test_a_window_that_is_deleted_ends_at_once(gateway: Gateway) -> None:
    await gateway.add()
    await gateway.window("w", 0, 60)
    await gateway.say("open")
    gateway.clock.advance(60)
    await gateway.state.delete_window("w", gateway.clock.now())
    assert await gateway.pass_minutes(0)
    assert (await gateway.alerts())[0].opened_at == START + MINUTE


async def test_what_a_deleted_integration_kept_back_is_let_go(gateway: Gateway) -> None:
    await gateway.add()
    await gateway.window("w", 0, 60)
    await gateway.say("open")
    await gateway.state.delete_integration("int_1")
    assert not await gateway.pass_minutes(60)
    assert await gateway.alerts() == []
    assert await gateway.state.next_timer() is None


async def test_what_opens_at_the_end_of_a_window_is_delayed_grouped_and_falls_silent_as_any_other(
    gateway: Gateway,
) -> None:
    await gateway.add(delay={"wait": "10m"}, group={"within": "15m"}, close_after="1h")
    await gateway.window("w", 0, 60)
    await gateway.say("open", "a", "b", group_key="g")
    await gateway.pass_minutes(60)
    assert [(alert.leader_id, alert.told_at) for alert in await gateway.alerts()] == [
        (None, START + 70 * MINUTE), (1, None),
    ]  # fmt: skip
    assert await gateway.heard() == [(1, "opened", "ann", 70), (1, "opened", "bob", 75)]
    assert await gateway.state.next_timer() == START + 120 * MINUTE


# restarts


async def test_what_is_delayed_stays_delayed_over_a_restart(gateway: Gateway) -> None:
    await gateway.add(delay={"alerts": 3, "within": "10m", "flapping": {"opens": 3, "within": "30m"}})
    for _ in range(2):
        await gateway.say("open")
        await gateway.say("close")
        await gateway.pass_minutes(1, restart=True)
    await gateway.say("open")
    for _ in range(2):
        await gateway.pass_minutes(2, restart=True)
        assert await gateway.heard() == []
        await gateway.say("open")
    assert await gateway.heard() == [(3, "opened", "ann", 32), (3, "opened", "bob", 37)]
    await gateway.pass_minutes(1, restart=True)
    await gateway.say("close")
    assert await gateway.heard() == []
