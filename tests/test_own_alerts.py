"""The gateway's alerts about itself: when they open and close, who is told, and that nobody is told of them twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.actions import close_alert
from gateway.clock import ManualClock
from gateway.directory import directory_of
from gateway.models import SELF, Alert, Contact, Policy, PolicyStep, User
from gateway.own_alerts import LATE, look_after
from gateway.store.sqlite import SqliteJournal, SqliteState
from tests.running import Sink, running, until
from tests.store_conformance import NOW, alert, append, delivered, draft, notification, write

BACKLOG, UNSENT, DEAD = "Messages are read late", "Notifications are sent late", "Notifications could not be delivered"


class House:
    """A store, and the looks that the worker takes."""

    def __init__(self, data: Path) -> None:
        self.clock = ManualClock(NOW)
        self.state = SqliteState.open(data, clock=self.clock)
        self.journal = SqliteJournal.open(data, clock=self.clock)
        self.told = 0

    async def staff(self) -> None:
        """Ann, and the policy that tells her."""
        contact = Contact(id="con_ann", kind="webhook", address="https://ann.example")
        await self.state.add_user(User(id="usr_ann", name="ann", contacts=(contact,), created_at=0))
        steps = (PolicyStep(user_ids=("usr_ann",)),)
        await self.state.add_policy(Policy(id="pol_1", name="operators", steps=steps, created_at=0))

    async def look(self, after: int = 0, policy: str = "operators") -> list[tuple[str, str]]:
        """Let time pass, take a look; subject and status of the gateway's own alerts, oldest first."""
        self.clock.advance(after / 1000)
        directory = await directory_of(self.state, policy)
        self.told += await look_after(self.journal, self.state, directory, self.clock.now())
        mine = [one.id for one in await self.state.notifications(status="pending") if one.alert.source == SELF]
        await delivered(self.state, *mine)
        return [(one.subject, one.status) for one in await self.alerts()]

    async def close(self) -> None:
        """Ann closes the newest of them."""
        await close_alert(self.state, self.clock, (await self.alerts())[-1].id, actor="ann")

    async def alerts(self) -> list[Alert]:
        return (await self.state.alerts(integration_id=SELF))[::-1]

    async def dead(self, *numbers: str) -> None:
        """Notifications that are given up, a second before the next look."""
        for number in numbers:
            given_up = notification(number, status="dead", finished_at=self.clock.now())
            await write(self.state, alerts=[alert(900, status="closed")], notifications=[given_up])
        self.clock.advance(1)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.staff()
    yield house
    await house.journal.close()
    await house.state.close()


pytestmark = pytest.mark.anyio


async def test_all_is_well(house: House) -> None:
    assert await house.look() == []
    await append(house.journal, draft())
    await write(house.state, cursor=1, notifications=[notification("n1", due_at=NOW + LATE)], alerts=[alert()])
    assert await house.look(LATE) == []


async def test_messages_that_wait_open_one_alert_which_closes_once_they_are_read(house: House) -> None:
    await append(house.journal, draft(), draft())
    assert await house.look(LATE) == []
    assert await house.look(1) == [(BACKLOG, "open")]
    for _ in range(3):
        assert await house.look(5000) == [(BACKLOG, "open")]
    (opened,) = await house.alerts()
    assert opened.severity == "critical"
    assert opened.description is not None
    assert opened.description.startswith("2 messages wait to be read, the oldest since 2025-06-15T15:06:40")
    assert (opened.count, opened.changes) == (1, 1), "it does not grow at each look"
    await write(house.state, cursor=2)
    assert await house.look() == [(BACKLOG, "closed")]
    assert await house.look(LATE) == [(BACKLOG, "closed")]
    assert [(one.kind, one.user) for one in await house.state.notifications()] == [("closed", "ann"), ("opened", "ann")]
    assert house.told == 2
    first, last = await house.state.timeline(1)
    assert (first.actor, first.text) == (SELF, f"{BACKLOG}; told: policy operators")
    assert (last.actor, last.text) == (SELF, "over, after 15 s")


async def test_what_is_better_and_not_well_neither_opens_nor_closes_one(house: House) -> None:
    await append(house.journal, draft())
    await house.look(LATE + 1)
    later = msgspec.structs.replace(draft(), received_at=house.clock.now() - LATE * 2 // 3)
    await append(house.journal, later)
    await write(house.state, cursor=1)
    assert await house.look() == [(BACKLOG, "open")]
    await house.close()
    assert await house.look() == [(BACKLOG, "closed")]
    assert await house.look(LATE) == [(BACKLOG, "closed"), (BACKLOG, "open")], (
        "what goes on is not over for being closed"
    )


async def test_notifications_that_are_due_and_not_sent(house: House) -> None:
    waits = notification("n1", due_at=NOW + 1)
    behind = notification("n2", seq=2, kind="closed", due_at=NOW)
    await write(house.state, alerts=[alert()], notifications=[waits, behind])
    assert await house.look(LATE) == []
    assert await house.look(2) == [(UNSENT, "open")]
    (given_out,) = await house.state.claim(
        house.clock.now(), limit=1, per_target=1, lease_until=house.clock.now() + LATE
    )
    retried = msgspec.structs.replace(given_out, attempts=1, due_at=house.clock.now() + 900_000)
    await house.state.settle([(None, retried)])
    assert (await house.look())[0] == (UNSENT, "closed"), (
        "one that waits for its next try is not late, nor what waits for it"
    )


async def test_dead_letters_are_told_of_until_none_is_left(house: House) -> None:
    await house.dead("n1")
    assert await house.look() == [(DEAD, "open")]
    assert await house.look(5000) == [(DEAD, "open")]
    await house.dead("n2", "n3")
    assert await house.look(5000) == [(DEAD, "open")]
    (one,) = await house.alerts()
    assert (one.severity, one.count) == ("error", 2)
    assert (one.description or "").startswith("3 were given up.")
    assert await house.state.retry(["n1", "n2", "n3"], house.clock.now()) == 3
    assert await house.look(5000) == [(DEAD, "closed")]
    await house.dead("n4")
    assert await house.look(5000) == [(DEAD, "closed"), (DEAD, "open")]


async def test_dead_letters_that_somebody_has_closed_the_alert_of_are_not_told_of_again(house: House) -> None:
    await house.dead("n1")
    await house.look()
    house.clock.advance(5)
    await house.close()
    assert await house.look(5000) == [(DEAD, "closed")]
    await house.dead("n2")
    assert await house.look(5000) == [(DEAD, "closed"), (DEAD, "open")]
    told = [one.kind for one in await house.state.notifications() if one.alert.source == SELF]
    assert told == ["opened", "closed", "opened"]


@pytest.mark.parametrize("policy", ["", "nobody's"])
async def test_without_a_policy_nobody_is_told_and_they_are_listed(
    house: House, policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    await house.dead("n1")
    assert await house.look(policy=policy) == [(DEAD, "open")]
    assert house.told == 0
    assert ('GATEWAY_OWN_POLICY: there is no policy "nobody\'s"' in caplog.text) == bool(policy)


def test_a_gateway_that_runs_tells_of_its_dead_letters(tmp_path: Path) -> None:
    sink = Sink()
    with running(tmp_path / "data", attempts="1", own_policy="operators") as gateway:
        made: dict[str, Any] = gateway.cli(
            "users", "add", "ann", "--contact", "webhook:http://127.0.0.1:9/nobody-listens"
        )
        assert made["name"] == "ann"
        gateway.cli("policies", "add", "on call", "--user", "ann")
        gateway.cli("users", "add", "bob", "--contact", f"webhook:{sink.url}/bob")
        gateway.cli("policies", "add", "operators", "--user", "bob")
        url = gateway.cli("integrations", "add", "custom", "--name", "shop", "--policy", "on call")["endpoint_url"]
        gateway.post(url, {"source_id": "x", "status": "open", "subject": "The shop is down"})
        until(lambda: len(sink.arrivals) == 1, gateway)
        told = msgspec.json.decode(sink.arrivals[0].body)["data"]["alert"]
        assert (told["source"], told["integration"], told["subject"]) == (SELF, SELF, DEAD)
        own, shop = gateway.cli("alerts", "list")
        assert (own["integration"], shop["integration"]) == (SELF, "shop")
        gateway.cli("alerts", "close", own["id"])
        until(lambda: len(sink.arrivals) == 2, gateway)
    sink.close()
