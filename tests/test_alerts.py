"""What happens to alerts over time: delays, groups, who took them, silence, fan-out; and that nobody hears half of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.advanced import Advanced, advanced_of
from gateway.alerts import Alerts, Cause
from gateway.directory import Directory
from gateway.escalation import People
from gateway.hours import Window
from gateway.models import (
    SELF,
    Alert,
    AlertKey,
    Change,
    Contact,
    Event,
    Integration,
    Message,
    Notification,
    Override,
    Policy,
    PolicyStep,
    Reading,
    Suppressed,
    User,
)
from gateway.pipeline import Plan, Read
from gateway.recall import of_alerts, of_messages
from gateway.store.base import Changes, State, Transaction
from gateway.timers import carry_out

T = TypeVar("T")
NOON = round(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]  # it is a T
    msg = "it waits for something"
    raise AssertionError(msg)


def user(name: str) -> User:
    contact = Contact(id=f"con_{name}", kind="webhook", address=f"https://{name}.example")
    return User(id=f"usr_{name}", name=name, contacts=(contact,), created_at=0)


LADDER = Policy(
    id="pol_1",
    name="on call",
    steps=(PolicyStep(user_ids=("usr_ann",)), PolicyStep(user_ids=("usr_bob",), after=300)),
    created_at=0,
)
NIGHT = msgspec.structs.replace(LADDER, id="pol_2", name="night", steps=LADDER.steps[1:])
DAY = msgspec.structs.replace(LADDER, id="pol_3", name="day")
PEOPLE = People(
    policies={one.id: one for one in (LADDER, NIGHT, DAY)},
    users={f"usr_{name}": user(name) for name in ("ann", "bob")},
)
SHOP = Integration(
    id="int_1", endpoint_id="end_1", name="shop", template="acme", policy_id="pol_1", created_at=0, updated_at=0
)
CLONE = msgspec.structs.replace(SHOP, id="int_2", name="clone", sequence=1)


class Memory:
    """A store in dicts, as far as decisions ask of one; it keeps what was written."""

    def __init__(self) -> None:
        self.alerts: dict[int, Alert] = {}
        self.written: list[Changes] = []
        self._openings: dict[AlertKey, list[int]] = {}
        self._suppressed: dict[AlertKey, Suppressed] = {}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Memory]:
        yield self

    async def write(self, changes: Changes) -> None:
        assert len({alert.id for alert in changes.alerts}) == len(changes.alerts)
        assert not {one.key for one in changes.suppressed} & set(changes.unsuppressed), "it depends on the order"
        self.written.append(changes)
        self.alerts |= {alert.id: alert for alert in changes.alerts}
        assert len({alert.key for alert in self._open()}) == len(self._open()), "a key has two open alerts"
        for key, instant in changes.openings:
            self._openings.setdefault(key, []).append(instant)
        self._suppressed |= {one.key: one for one in changes.suppressed}
        for key in changes.unsuppressed:
            self._suppressed.pop(key, None)

    def _open(self) -> list[Alert]:
        return [alert for alert in self.alerts.values() if alert.status != "closed"]

    async def next_alert_id(self) -> int:
        return max(self.alerts, default=0) + 1

    async def open_alerts(self, keys: Sequence[AlertKey]) -> dict[AlertKey, Alert]:
        return {alert.key: alert for alert in self._open() if alert.key in keys}

    async def group_leaders(self, integration_id: str, group_key: str, *, after: int) -> list[Alert]:
        wanted = (integration_id, group_key, None)
        return [
            a for a in self._open() if (a.integration_id, a.group_key, a.leader_id) == wanted and a.opened_at > after
        ]

    async def group_members(self, leader_id: int) -> list[Alert]:
        return [alert for alert in self._open() if alert.leader_id == leader_id]

    async def openings(self, key: AlertKey, *, after: int) -> list[int]:
        return [instant for instant in self._openings.get(key, []) if instant > after]

    async def silent(self, now: int, limit: int) -> list[Alert]:
        return [alert for alert in self._open() if alert.close_at is not None and alert.close_at <= now][:limit]

    async def suppressed(self, now: int, limit: int) -> list[Suppressed]:
        found = [one for one in self._suppressed.values() if one.until <= now]
        return sorted(found, key=lambda one: (one.until, one.message_id))[:limit]


class Gateway:
    """Alerts in memory, what was said of them and who was told, with a clock that is moved by hand."""

    def __init__(
        self, /, *, integrations: Sequence[Integration] = (SHOP,), fan_out: bool = False, windows: Sequence[Window] = (),
        people: People = PEOPLE, **advanced: Any,
    ) -> None:  # fmt: skip
        self.now = NOON
        self.messages = 0
        self.directory = Directory(
            integrations={"end_1": integrations},
            people=people,
            advanced=dict.fromkeys([one.id for one in integrations], advanced_of(advanced)),
            windows={"int_1": windows} if windows else {},
            fan_out=frozenset(["end_1"] if fan_out else []),
        )
        self.store = Memory()
        self.told: list[Notification] = []
        self.timeline: list[Change] = []
        self._seen = 0

    def configure(self, **advanced: Any) -> None:
        """Change the Advanced Settings of all integrations."""
        for number in self.directory.advanced:
            self.directory.advanced[number] = advanced_of(advanced)  # type: ignore[index]  # it is a dict here

    def say(self, *readings: Reading) -> Changes:
        """One message."""
        return self.take(self.read(*readings))

    def read(self, *readings: Reading) -> Read:
        """A message that says this."""
        self.messages += 1
        message = Message(id=self.messages, endpoint_id="end_1", received_at=self.now)
        return Read(message=message, integration=SHOP, readings=readings)

    def take(self, *reads: Read) -> Changes:
        """A batch of messages."""
        known = done(of_messages(cast("Transaction", self.store), reads, self.directory, self.now))
        plan = Plan(known, done(self.store.next_alert_id()), self.directory, self.now)
        for read in reads:
            plan.apply(read)
        changes = plan.finish()
        done(self.store.write(changes))
        self._settle()
        return changes

    def pass_minutes(self, minutes: float) -> None:
        """Let time pass, and do what is due by then."""
        self.now += round(minutes * MINUTE)
        done(carry_out(cast("State", self.store), self.directory, self.now, until=self.now))
        self._settle()

    def act(self, action: str, number: int) -> None:
        """Have a person close or assign an alert."""
        alert = self.alert(number)
        known = done(of_alerts(cast("Transaction", self.store), [alert], self.directory, self.now))
        alerts = Alerts(known, done(self.store.next_alert_id()), self.directory, self.now)
        integration = self.directory.integration("end_1", alert.integration_id)
        cause = Cause(actor="ann", integration=integration)
        if action == "close":
            alerts.close(alert, cause, text=None)
        else:
            alerts.assign(alert, cause, to="ann")
        done(self.store.write(alerts.finish()))
        self._settle()

    def alert(self, number: int) -> Alert:
        """One alert as it is now."""
        return self.store.alerts[number]

    @property
    def alerts(self) -> list[Alert]:
        """All alerts, oldest first."""
        return list(self.store.alerts.values())

    def _settle(self) -> None:
        """What a store does with notifications."""
        for changes in self.store.written[self._seen :]:
            assert changes.at == self.now
            self.told += changes.notifications
            self.timeline += changes.timeline
            gone = set(changes.withdrawn)
            self.told = [
                msgspec.structs.replace(note, status="withdrawn")
                if note.alert_id in gone and note.kind == "opened" and note.due_at > changes.at
                else note
                for note in self.told
            ]
        self._seen = len(self.store.written)

    def heard(self, *, every: bool = False) -> list[tuple[int, str, str, int]]:
        """What people hear, or may still hear: alert, kind, user, minutes after noon."""
        return [
            (note.alert_id, note.kind, note.user, (note.due_at - NOON) // MINUTE)
            for note in self.told
            if every or note.status != "withdrawn"
        ]


def reading(action: Any, source_id: str = "x", **fields: Any) -> Reading:
    """One event, with fields of the reading and of the event."""
    own = {name: fields.pop(name) for name in Reading.__struct_fields__ if name in fields}
    made = Event(**{"source_id": source_id, "source": "Acme", "source_name": "eu", **fields})
    return Reading(action=action, event=made, **own)


def opened(source_id: str = "x", group: str | None = "g", **fields: Any) -> Reading:
    return reading("open", source_id, group_key=group, **fields)


def closed(source_id: str = "x", **fields: Any) -> Reading:
    return reading("close", source_id, **fields)


def trace(changes: Changes) -> str:
    return "\n".join(line for record in changes.events for line in record.trace)


# delays


def test_without_a_delay_the_policy_begins_at_once_and_a_close_tells_whose_time_had_come() -> None:
    gateway = Gateway()
    gateway.say(opened())
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "opened", "bob", 5)]
    gateway.pass_minutes(3)
    gateway.say(closed())
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "closed", "ann", 3)]


def test_an_alert_that_is_closed_in_the_message_that_opens_it_reaches_no_later_step() -> None:
    gateway = Gateway()
    gateway.say(opened(), closed())
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "closed", "ann", 0)]


def test_an_alert_that_closes_while_it_is_delayed_tells_nobody() -> None:
    gateway = Gateway(delay={"wait": "10m"})
    changes = gateway.say(opened())
    assert "it must be open for 10 min; people are told at 2026-11-25T12:10:00.000Z" in trace(changes)
    assert gateway.heard() == [(1, "opened", "ann", 10), (1, "opened", "bob", 15)]
    gateway.pass_minutes(9)
    gateway.say(closed())
    assert gateway.heard() == []
    gateway.say(opened())
    gateway.pass_minutes(10)
    gateway.say(closed())
    assert gateway.heard() == [(2, "opened", "ann", 19), (2, "closed", "ann", 19)]


def test_people_are_told_at_the_event_that_makes_it_enough() -> None:
    gateway = Gateway(delay={"alerts": 3})
    assert "people are told at opening event 3; this is the first" in trace(gateway.say(opened()))
    assert "this is number 2" in trace(gateway.say(opened()))
    assert (gateway.heard(every=True), gateway.alert(1).told_at) == ([], None)
    gateway.pass_minutes(7)
    assert "this is opening event 3, so people are told" in trace(gateway.say(opened()))
    assert gateway.heard() == [(1, "opened", "ann", 7), (1, "opened", "bob", 12)]
    assert gateway.told[0].seq == 3
    for _ in range(7):
        gateway.say(opened())
    assert len(gateway.told) == 2
    assert gateway.alert(1).count == 10


def test_an_alert_that_never_came_often_enough_closes_in_silence() -> None:
    gateway = Gateway(delay={"alerts": 3})
    gateway.say(opened(), opened(), reading("update"), closed())
    assert gateway.heard(every=True) == []
    assert gateway.alert(1).status == "closed"


def test_events_count_within_a_time_only() -> None:
    gateway = Gateway(delay={"alerts": 3, "within": "10m"})
    for _ in range(6):
        gateway.say(opened())
        gateway.pass_minutes(6)
    assert gateway.heard(every=True) == []
    gateway.say(opened(), opened())
    assert gateway.heard() == [(1, "opened", "ann", 36), (1, "opened", "bob", 41)]


def test_people_are_told_again_of_so_many_more_events_as_at_a_close() -> None:
    gateway = Gateway(delay={"alerts": 2, "repeat": True})
    gateway.say(opened(), opened())
    gateway.say(opened(), opened())
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "opened", "bob", 5), (1, "appended", "ann", 0)]
    gateway.pass_minutes(5)
    gateway.say(opened(), opened(), opened())
    assert gateway.heard()[3:] == [(1, "appended", "ann", 5), (1, "appended", "bob", 5)]
    gateway.act("assign", 1)
    gateway.say(opened(), opened(), opened())
    assert len(gateway.told) == 5


def test_outside_of_support_hours_people_are_told_when_they_begin() -> None:
    gateway = Gateway(delay={"until": {"zone": "UTC", "from": "14:00", "to": "15:00"}})
    gateway.say(opened())
    assert gateway.heard() == [(1, "opened", "ann", 120), (1, "opened", "bob", 125)]
    gateway.pass_minutes(60)
    gateway.say(closed())
    assert gateway.heard() == []
    gateway.pass_minutes(90)
    gateway.say(opened())
    assert gateway.heard()[0] == (2, "opened", "ann", 150)


def test_what_flaps_is_told_once_it_stays_open() -> None:
    gateway = Gateway(delay={"flapping": {"opens": 3, "within": "15m"}})
    for _ in range(2):
        gateway.say(opened())
        gateway.pass_minutes(1)
        gateway.say(closed())
    before = gateway.heard()
    assert [kind for _, kind, _, _ in before] == ["opened", "closed"] * 2
    assert "it flaps (opened 3 times within 15 min)" in trace(gateway.say(opened()))
    gateway.pass_minutes(1)
    gateway.say(closed())
    assert gateway.heard() == before
    gateway.say(opened())
    assert gateway.heard()[4:] == [(4, "opened", "ann", 18), (4, "opened", "bob", 23)]
    gateway.pass_minutes(16)
    gateway.say(closed())
    assert gateway.heard()[4:] == [(4, "opened", "ann", 18), (4, "closed", "ann", 19)]
    gateway.pass_minutes(20)
    gateway.say(opened())
    assert gateway.heard()[6] == (5, "opened", "ann", 39)


def test_what_flaps_within_one_message_flaps() -> None:
    gateway = Gateway(delay={"flapping": {"opens": 3, "within": "15m"}})
    gateway.say(opened(), closed(), opened(), closed())
    gateway.say(opened())
    assert gateway.heard()[-2:] == [(3, "opened", "ann", 15), (3, "opened", "bob", 20)]


def test_what_flaps_must_stay_open_also_where_its_events_are_counted() -> None:
    gateway = Gateway(delay={"alerts": 2, "flapping": {"opens": 3, "within": "15m"}})
    for _ in range(2):
        gateway.say(opened(), closed())
        gateway.pass_minutes(10)
    gateway.say(opened(), closed())
    gateway.say(opened())
    gateway.pass_minutes(10)
    gateway.say(opened())
    assert gateway.heard() == [(4, "opened", "ann", 35), (4, "opened", "bob", 40)]


def test_an_alert_that_was_delayed_is_told_at_the_next_event_where_the_delay_is_taken_away() -> None:
    gateway = Gateway(delay={"alerts": 5})
    gateway.say(opened(), opened())
    gateway.configure()
    gateway.say(opened())
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "opened", "bob", 5)]


# who took it


def test_what_is_acknowledged_when_it_opens_is_assigned_and_tells_nobody() -> None:
    gateway = Gateway()
    changes = gateway.say(opened(acknowledged=True))
    assert "acknowledged already" in trace(changes)
    alert = gateway.alert(1)
    assert (alert.status, alert.assignee, alert.told_at) == ("assigned", "shop", None)
    gateway.say(opened(acknowledged=True), opened("y", acknowledged=True, assignee="cat"), closed())
    assert gateway.alert(2).assignee == "cat"
    assert gateway.heard(every=True) == []


@pytest.mark.parametrize("action", ["open", "update"])
def test_an_acknowledgement_of_an_open_alert_ends_the_policy(action: str) -> None:
    gateway = Gateway()
    gateway.say(opened())
    gateway.pass_minutes(2)
    changes = gateway.say(reading(action, acknowledged=True, assignee="cat"))
    assert changes.withdrawn == [1]
    assert (gateway.alert(1).status, gateway.alert(1).assignee) == ("assigned", "cat")
    assert [change.kind for change in gateway.timeline] == ["opened", "assigned"]
    assert changes.events[0].outcome == ("appended" if action == "open" else "updated")
    gateway.say(reading(action, acknowledged=True, assignee="dan"))
    assert [change.kind for change in gateway.timeline][2:] == ["appended" if action == "open" else "updated"]
    gateway.pass_minutes(60)
    gateway.say(closed())
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "closed", "ann", 62)], "bob never heard that it began"


@pytest.mark.parametrize("delay", [{"wait": "10m"}, {"alerts": 3}])
def test_what_is_taken_while_it_is_delayed_tells_nobody_ever(delay: dict[str, Any]) -> None:
    gateway = Gateway(delay=delay)
    gateway.say(opened(), opened())
    gateway.act("assign", 1)
    gateway.say(opened(), opened(), opened())
    gateway.pass_minutes(60)
    gateway.say(closed())
    assert gateway.heard() == []


def test_the_event_that_makes_it_enough_tells_nobody_where_it_says_that_somebody_has_it() -> None:
    gateway = Gateway(delay={"alerts": 3})
    gateway.say(opened(), opened(), opened(acknowledged=True), opened(), closed())
    assert gateway.heard(every=True) == []


def test_who_takes_it_over_from_somebody_changes_nobody_told() -> None:
    gateway = Gateway()
    gateway.say(opened())
    gateway.pass_minutes(2)
    gateway.act("assign", 1)
    gateway.pass_minutes(10)
    gateway.act("assign", 1)
    gateway.act("close", 1)
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "closed", "ann", 12)]


def test_a_policy_that_is_changed_while_an_alert_is_open_tells_nobody_of_it_after_its_close() -> None:
    gateway = Gateway()
    gateway.say(opened())
    gateway.directory.people = msgspec.structs.replace(
        PEOPLE, policies={"pol_1": msgspec.structs.replace(LADDER, steps=LADDER.steps[:1])}
    )
    gateway.pass_minutes(1)
    gateway.say(closed())
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "closed", "ann", 1)]


# groups

GROUP: dict[str, Any] = {"group": {"within": "15m"}}


def test_what_opens_soon_after_another_of_its_group_is_told_as_part_of_it() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"))
    changes = gateway.say(opened("b"), opened("c", group="other"))
    assert "group: alert 1 of the same source_name opened within 15 min; this one is told as part of it" in trace(
        changes
    )
    gateway.pass_minutes(15)
    gateway.say(opened("d"))
    assert [(alert.leader_id, alert.told_at is None) for alert in gateway.alerts] == [
        (None, False), (1, True), (None, False), (None, False),
    ]  # fmt: skip
    gateway.say(opened("e"))
    assert gateway.alert(5).leader_id == 4
    assert {alert for alert, _, _, _ in gateway.heard(every=True)} == {1, 3, 4}


def test_a_member_that_closes_tells_nobody() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"), opened("b"))
    gateway.pass_minutes(30)
    gateway.say(opened("b"), closed("b"))
    assert {alert for alert, _, _, _ in gateway.heard(every=True)} == {1}


def test_when_the_leader_closes_people_are_told_of_the_oldest_that_is_open() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"), opened("b"), opened("c"), opened("d"))
    gateway.say(closed("b"))
    gateway.pass_minutes(7)
    gateway.say(closed("a"))
    assert gateway.heard()[-4:-2] == [(1, "closed", "ann", 7), (1, "closed", "bob", 7)]
    assert gateway.heard()[-2:] == [(3, "opened", "ann", 9), (3, "opened", "bob", 14)]
    assert (gateway.alert(3).leader_id, gateway.alert(4).leader_id) == (None, 3)
    line = gateway.timeline[-1]
    assert (line.alert_id, line.kind, line.actor) == (3, "updated", SELF)
    assert line.text == (
        "alert 1, which it was told as part of, is closed; delay: it must stay open for 2 min; people are told at "
        "2026-11-25T12:09:00.000Z, unless it is closed or taken before"
    )
    gateway.pass_minutes(2)
    gateway.act("close", 3)
    assert gateway.heard()[-3:] == [(3, "closed", "ann", 9), (4, "opened", "ann", 11), (4, "opened", "bob", 16)]
    gateway.say(closed("d"))
    assert gateway.alert(4).status == "closed"


@pytest.mark.parametrize("order", ["abcd", "dcba", "bacd"])
def test_a_group_that_recovers_message_by_message_does_not_tell_of_each(order: str) -> None:
    gateway = Gateway(**GROUP)
    gateway.say(*map(opened, "abcd"))
    gateway.pass_minutes(1)
    for name in order:
        gateway.say(closed(name))
        gateway.pass_minutes(1.9)
    assert {alert for alert, _, _, _ in gateway.heard()} == {1}


@pytest.mark.parametrize("order", ["abcd", "dcba", "bacd"])
def test_a_message_that_closes_the_whole_group_does_not_tell_of_each(order: str) -> None:
    gateway = Gateway(**GROUP)
    gateway.say(*map(opened, "abcd"))
    gateway.pass_minutes(1)
    gateway.say(*map(closed, order))
    assert gateway.heard() == [(1, "opened", "ann", 0), (1, "closed", "ann", 1)]
    assert {alert.status for alert in gateway.alerts} == {"closed"}


def test_a_group_that_falls_silent_does_not_tell_of_each() -> None:
    gateway = Gateway(**GROUP, close_after="1h")
    gateway.say(*map(opened, "abc"))
    gateway.pass_minutes(60)
    assert {alert.status for alert in gateway.alerts} == {"closed"}
    assert {alert for alert, _, _, _ in gateway.heard()} == {1}


def test_what_is_told_to_others_than_its_leader_is_told_by_itself_and_leads() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a", severity="info"))
    night = (Override(policy="night"),)
    changes = gateway.say(opened("b", severity="info", overrides=night))
    assert changes.events[0].trace[:-1] == (
        "group: alert 1 of the same source_name is told to policy on call, so this one is told by itself",
        "told: policy night",
    )
    gateway.say(opened("c", overrides=night, severity="info"), opened("d", severity="info"))
    assert [alert.leader_id for alert in gateway.alerts] == [None, None, 2, 1]
    assert [note for note in gateway.heard() if note[0] == 2] == [(2, "opened", "bob", 5)]


def test_what_is_worse_than_its_leader_is_told_by_itself_and_leads() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a", severity="warning"))
    changes = gateway.say(opened("b", severity="critical"))
    assert changes.events[0].trace[:-1] == (
        "group: alert 1 of the same source_name is warning, and this one is critical, so it is told by itself",
        "told: policy on call",
    )
    gateway.say(opened("c", severity="critical"), opened("d", severity="info"))
    assert [alert.leader_id for alert in gateway.alerts] == [None, None, 2, 2]
    gateway.say(closed("c"), opened("e", severity="error"), closed("b"))
    assert [alert.leader_id for alert in gateway.alerts] == [None, None, 2, 5, None], "the heir is the worst of them"


def test_what_is_told_as_part_of_another_or_to_nobody_is_not_said_to_be_told() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"))
    assert "told:" not in trace(gateway.say(opened("b")))
    assert "told:" not in trace(gateway.say(opened("c", acknowledged=True)))
    assert "told: policy on call" in trace(gateway.say(opened("d", group=None)))


def test_members_in_the_same_message_as_their_leader() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"), opened("b"), closed("a"), opened("c"), opened("d"), closed("b"))
    assert [(alert.status, alert.leader_id) for alert in gateway.alerts] == [
        ("closed", None), ("closed", 1), ("open", None), ("open", 3),
    ]  # fmt: skip
    assert {alert for alert, _, _, _ in gateway.heard()} == {1, 3}


def test_whoever_joins_after_the_leader_closed_joins_its_heir() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"))
    gateway.pass_minutes(10)
    gateway.say(opened("b"))
    gateway.say(closed("a"))
    gateway.pass_minutes(10)
    gateway.say(opened("c"))
    assert gateway.alert(3).leader_id == 2, "the group is as old as its new leader"
    gateway.pass_minutes(5)
    gateway.say(opened("d"))
    assert gateway.alert(4).leader_id is None


@pytest.mark.parametrize("together", [True, False])
def test_an_old_groups_heir_does_not_take_over_from_a_newer_leader(*, together: bool) -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"), opened("b"))
    gateway.pass_minutes(15)
    gateway.say(opened("c"))
    gateway.pass_minutes(14)
    if together:
        gateway.take(
            gateway.read(closed("a"), opened("x", group="h")), gateway.read(reading("update", "c"), opened("d"))
        )
    else:
        gateway.say(closed("a"), opened("x", group="h"))
        gateway.say(opened("d"))
    assert gateway.alert(2).leader_id is None
    assert gateway.alert(5).leader_id == 3


def test_a_leader_that_was_taken_keeps_its_members_quiet_until_it_closes() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"))
    gateway.act("assign", 1)
    gateway.say(opened("b"))
    assert gateway.alert(2).leader_id == 1
    assert {alert for alert, _, _, _ in gateway.heard(every=True)} == {1}
    gateway.say(closed("a"))
    assert gateway.heard()[-2:] == [(2, "opened", "ann", 2), (2, "opened", "bob", 7)]


def test_the_heir_is_the_oldest_that_nobody_took() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"), opened("b"), opened("c"), opened("d"))
    gateway.act("assign", 2)
    gateway.say(closed("a"))
    assert [alert.leader_id for alert in gateway.alerts] == [None, 3, None, 3]
    assert gateway.heard()[-2:] == [(3, "opened", "ann", 2), (3, "opened", "bob", 7)]


def test_where_all_members_were_taken_the_heir_is_told_to_nobody() -> None:
    gateway = Gateway(**GROUP)
    gateway.say(opened("a"), opened("b"), opened("c"))
    for number in (2, 3):
        gateway.act("assign", number)
    gateway.say(closed("a"))
    assert [alert.leader_id for alert in gateway.alerts] == [None, None, 2]
    assert gateway.timeline[-1].text == (
        "alert 1, which it was told as part of, is closed; it is assigned, and nobody is told"
    )
    gateway.say(closed("b"), closed("c"))
    assert {alert for alert, _, _, _ in gateway.heard(every=True)} == {1}


@pytest.mark.parametrize(
    "delay, at",
    [
        ({"wait": "10m"}, 13),
        ({"until": {"zone": "UTC", "from": "14:00", "to": "15:00"}}, 120),
        ({"wait": "1m"}, 7),
    ],
)
def test_the_heir_waits_as_any_other_alert(delay: dict[str, Any], at: int) -> None:
    gateway = Gateway(**GROUP, delay=delay)
    gateway.say(opened("a"))
    gateway.pass_minutes(3)
    gateway.say(opened("b"))
    gateway.pass_minutes(2)
    gateway.say(closed("a"))
    assert [note for note in gateway.heard() if note[0] == 2] == [
        (2, "opened", "ann", at),
        (2, "opened", "bob", at + 5),
    ]


@pytest.mark.parametrize("delay", [{"wait": "10m"}, {"alerts": 2}])
def test_a_leader_that_was_closed_before_anybody_was_told_is_said_to_be(delay: dict[str, Any]) -> None:
    gateway = Gateway(**GROUP, delay=delay)
    gateway.say(opened("a"), opened("b"), closed("a"))
    words = str(gateway.timeline[-1].text).split("; ")
    assert words[:1] == ["alert 1, which it was to be told as part of, was closed before anybody was told"]
    assert words[1].startswith("delay: ")


def test_the_heir_counts_its_events_as_any_other_alert() -> None:
    gateway = Gateway(**GROUP, delay={"alerts": 3})
    gateway.say(opened("a"), opened("a"), opened("a"), opened("b"), opened("b"))
    gateway.say(closed("a"))
    assert {note[0] for note in gateway.heard()} == {1}
    gateway.say(opened("b"))
    assert gateway.heard()[-2:] == [(2, "opened", "ann", 0), (2, "opened", "bob", 5)]


def test_what_cannot_be_read_is_no_part_of_a_group_and_waits_for_nothing() -> None:
    gateway = Gateway(**GROUP, delay={"wait": "10m", "alerts": 3}, close_after="1h")
    gateway.say(opened("a"))
    gateway.say(Reading(action="ignore", error="no id"))
    alert = gateway.alert(2)
    assert (alert.source, alert.told_at, alert.group_key) == (SELF, NOON, None)
    gateway.pass_minutes(600)
    assert gateway.alert(1).status == "closed"
    assert gateway.alert(2).status == "open", "it closes when the integration is read again, and not before"
    gateway.say(opened("z"))
    assert gateway.alert(2).status == "closed"


# silence


def test_silence_counts_from_the_last_word() -> None:
    gateway = Gateway(close_after="1h")
    gateway.say(opened())
    for action in ("open", "update", "update"):
        gateway.pass_minutes(50)
        gateway.say(reading(action))
        assert gateway.alert(1).close_at == gateway.now + 60 * MINUTE
    gateway.act("assign", 1)
    gateway.pass_minutes(59)
    assert gateway.alert(1).status == "assigned"
    gateway.pass_minutes(1)
    alert = gateway.alert(1)
    assert (alert.status, alert.closed_at, alert.close_at) == ("closed", gateway.now, None)
    line = gateway.timeline[-1]
    assert (line.kind, line.actor, line.text) == ("closed", SELF, "closed: nothing was heard of it for 1 h")
    assert gateway.heard()[-1] == (1, "closed", "bob", 210)


def test_the_words_for_silence_do_not_depend_on_the_moment_that_it_was_noticed() -> None:
    gateway = Gateway(close_after="90m")
    gateway.say(opened())
    gateway.pass_minutes(90.01234)
    assert gateway.timeline[-1].text == "closed: nothing was heard of it for 90 min"


def test_without_close_after_nothing_closes_by_itself() -> None:
    gateway = Gateway()
    gateway.say(opened())
    gateway.pass_minutes(100_000)
    assert gateway.alert(1).status == "open"
    gateway.configure(close_after="1h")
    gateway.say(reading("update"))
    gateway.configure()
    gateway.say(reading("update"))
    gateway.pass_minutes(61)
    assert gateway.alert(1).status == "open"


# what is kept


def test_custom_fields_are_merged_and_the_severity_is_kept() -> None:
    gateway = Gateway()
    gateway.say(opened(severity="critical", custom={"team": "core", "env": "prod"}))
    gateway.say(reading("update", custom={"env": "test", "zone": "a"}), opened())
    alert = gateway.alert(1)
    assert alert.custom == {"team": "core", "env": "test", "zone": "a"}
    assert alert.severity == "critical"
    gateway.say(reading("update", severity="info"), closed(custom={"team": "none"}, severity="error"))
    assert (gateway.alert(1).severity, gateway.alert(1).custom["team"]) == ("info", "core")


def test_a_new_alert_takes_the_default_severity_where_none_is_said() -> None:
    gateway = Gateway()
    gateway.say(opened(default_severity="info"))
    assert gateway.alert(1).severity == "info"


# fan-out


def taken_by(integration: Integration, made: Reading) -> Reading:
    return msgspec.structs.replace(made, integration_id=integration.id)


def both(made: Reading) -> list[Reading]:
    return [taken_by(integration, made) for integration in (SHOP, CLONE)]


def test_where_events_fan_out_each_integration_has_its_own_alert() -> None:
    gateway = Gateway(integrations=(SHOP, CLONE), fan_out=True)
    gateway.say(*both(opened()))
    assert [(alert.integration_id, alert.scope) for alert in gateway.alerts] == [("int_1", "int_1"), ("int_2", "int_2")]
    gateway.say(taken_by(CLONE, closed()))
    assert [alert.status for alert in gateway.alerts] == ["open", "closed"]
    gateway.say(*both(opened()))
    assert [alert.count for alert in gateway.alerts] == [2, 1, 1]
    gateway.say(*both(closed()))
    assert {alert.status for alert in gateway.alerts} == {"closed"}


@pytest.mark.parametrize("left", [(SHOP, CLONE), (SHOP,)])
def test_what_opened_while_events_fanned_out_is_found_when_they_no_longer_do(left: Sequence[Integration]) -> None:
    gateway = Gateway(integrations=(SHOP, CLONE), fan_out=True)
    gateway.say(taken_by(SHOP, opened()))
    gateway.directory.fan_out = frozenset()
    gateway.directory.integrations = {"end_1": left}
    changes = gateway.say(taken_by(SHOP, opened()))
    assert [event.outcome for event in changes.events] == ["appended"]
    gateway.say(taken_by(SHOP, closed()))
    assert [alert.status for alert in gateway.alerts] == ["closed"]


def test_what_opened_before_events_fanned_out_is_found() -> None:
    gateway = Gateway(integrations=(SHOP, CLONE))
    gateway.say(taken_by(SHOP, opened()))
    gateway.directory.fan_out = frozenset(["end_1"])
    gateway.say(taken_by(SHOP, closed()))
    assert [alert.status for alert in gateway.alerts] == ["closed"]
    gateway.say(*both(opened()))
    assert [alert.scope for alert in gateway.alerts] == ["", "int_1", "int_2"]


# maintenance windows


def window(minutes: int, length: int, **fields: Any) -> Window:
    start = datetime(2026, 11, 25, 12) + timedelta(minutes=minutes)  # noqa: DTZ001 - the zone stands beside it
    return Window(
        **{
            "id": f"win_{minutes}",
            "integration_id": "int_1",
            "name": f"w{minutes}",
            "starts": f"{start:%Y-%m-%dT%H:%M}",
            "ends": f"{start + timedelta(minutes=length):%Y-%m-%dT%H:%M}",
            "zone": "UTC",
            "reopen": True,
            "created_at": 0,
            **fields,
        }
    )


def test_in_a_window_nothing_opens_and_what_is_open_goes_on() -> None:
    gateway = Gateway(windows=[window(5, 60)])
    gateway.say(opened("a"))
    gateway.pass_minutes(10)
    changes = gateway.say(opened("a"), opened("b"), closed("a"))
    assert [(event.outcome, event.reason) for event in changes.events] == [
        ("appended", None), ("suppressed", "maintenance window w5"), ("closed", None),
    ]  # fmt: skip
    assert "the window w5 lasts until 2026-11-25T13:05:00.000Z; it opens then if it is not closed before" in trace(
        changes
    )


def test_that_a_message_cannot_be_read_is_told_in_a_window_too() -> None:
    gateway = Gateway(windows=[window(0, 60)])
    gateway.say(Reading(action="ignore", error="no id"))
    assert (gateway.alert(1).source, gateway.heard()[0]) == (SELF, (1, "opened", "ann", 0))


@pytest.mark.parametrize("reopen", [True, False])
def test_what_is_still_a_problem_when_a_window_ends_opens_where_that_is_wanted(*, reopen: bool) -> None:
    gateway = Gateway(windows=[window(0, 60, reopen=reopen)])
    gateway.say(opened("a", severity="critical", subject="first"), opened("b"), opened("c"))
    gateway.say(opened("a", subject="second"), closed("b"))
    gateway.pass_minutes(59)
    assert gateway.alerts == []
    gateway.pass_minutes(1)
    assert [(alert.source_id, alert.subject) for alert in gateway.alerts] == (
        [("c", "eu: c"), ("a", "second")] if reopen else []
    )
    if reopen:
        assert gateway.heard()[0] == (1, "opened", "ann", 60)
        assert gateway.timeline[0].actor == "shop, at the end of a maintenance window"


@pytest.mark.parametrize(
    "actions, outcome",
    [("open close open", 1), ("open close", 0), ("close open", 1), ("open close open close", 0), ("open update", 1)],
)
@pytest.mark.parametrize("together", [True, False])
def test_the_last_word_of_a_window_decides(actions: str, outcome: int, *, together: bool) -> None:
    gateway = Gateway(windows=[window(0, 60)])
    readings = [reading(action) for action in actions.split()]
    for part in [readings] if together else [[one] for one in readings]:
        gateway.say(*part)
    gateway.pass_minutes(60)
    assert len(gateway.alerts) == outcome


@pytest.mark.parametrize("actions", ["close", "open close", "open"])
def test_what_is_heard_after_a_window_and_before_its_end_was_noticed_counts(actions: str) -> None:
    gateway = Gateway(windows=[window(0, 60)])
    gateway.say(opened())
    gateway.now += 61 * MINUTE
    for action in actions.split():
        gateway.say(reading(action))
    before = list(gateway.alerts)
    gateway.pass_minutes(1)
    assert gateway.alerts == before, "nothing opens that is closed, or twice"


def test_another_window_that_lasts_keeps_it_back() -> None:
    windows = [window(0, 60)]
    gateway = Gateway(windows=windows)
    gateway.say(opened())
    windows.append(window(50, 60, reopen=False))
    gateway.pass_minutes(60)
    assert gateway.alerts == []
    gateway.pass_minutes(50)
    assert [alert.opened_at for alert in gateway.alerts] == [gateway.now]


def test_what_opens_at_the_end_of_a_window_is_as_old_as_it_was() -> None:
    gateway = Gateway(windows=[window(0, 60)])
    when = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
    gateway.say(opened(occurred_at=when))
    gateway.pass_minutes(60)
    changes = gateway.say(closed(occurred_at=when - timedelta(minutes=1)))
    assert [event.outcome for event in changes.events] == ["ignored"]
    assert gateway.alert(1).status == "open"


@pytest.mark.parametrize("before", [True, False])
def test_a_window_over_a_switch_of_fan_out_opens_nothing_twice(*, before: bool) -> None:
    gateway = Gateway(integrations=(SHOP, CLONE), fan_out=before, windows=[window(0, 60)])
    gateway.say(taken_by(SHOP, opened()), taken_by(SHOP, opened("y")))
    gateway.directory.fan_out = frozenset([] if before else ["end_1"])
    gateway.now += 61 * MINUTE
    gateway.say(taken_by(SHOP, opened()), taken_by(SHOP, closed("y")))
    gateway.pass_minutes(1)
    assert [(alert.source_id, alert.scope) for alert in gateway.alerts] == [("x", "" if before else "int_1")]


# laws

ADVANCED = st.fixed_dictionaries(
    {
        "delay": st.sampled_from(
            [
                {},
                {"wait": "3m"},
                {"alerts": 2},
                {"alerts": 2, "within": "4m", "repeat": True},
                {"alerts": 3, "wait": "2m"},
                {"until": {"zone": "UTC", "from": "12:08", "to": "12:30"}},
                {"flapping": {"opens": 2, "within": "5m"}, "alerts": 2},
                {"flapping": {"opens": 2, "within": "5m"}},
            ]
        ),
    },
    optional={"group": st.just({"within": "6m"}), "close_after": st.sampled_from(["4m", "30m"])},
)
EVENTS = st.builds(
    reading,
    st.sampled_from(["open", "open", "open", "update", "close", "close"]),
    st.sampled_from("abcd"),
    group_key=st.sampled_from(["g", "h"]),
    acknowledged=st.sampled_from([False, False, False, True]),
    overrides=st.sampled_from([(), (), (Override(policy="day"),)]),
    severity=st.sampled_from(["warning", "warning", "critical"]),
)
STEPS = st.lists(
    st.lists(EVENTS, min_size=1, max_size=4)
    | st.sampled_from([0.5, 1, 3, 7])
    | st.tuples(st.sampled_from(["close", "assign"]), st.integers(1, 8)),
    max_size=25,
)
WINDOWS = st.lists(
    st.builds(window, st.integers(0, 20), st.integers(1, 15), reopen=st.booleans()),
    max_size=2,
    unique_by=lambda one: one.id,
)


@settings(max_examples=400, deadline=None)
@given(ADVANCED, STEPS, WINDOWS)
def test_whatever_happens_people_hear_of_each_alert_once_and_whole(
    advanced: dict[str, Any], steps: Sequence[Any], windows: Sequence[Window]
) -> None:
    gateway = Gateway(windows=windows, **advanced)
    for step in steps:
        if isinstance(step, list):
            gateway.say(*step)
        elif isinstance(step, tuple):
            action, number = step
            if number in gateway.store.alerts and gateway.alert(number).status != "closed":
                gateway.act(action, number)
        else:
            gateway.pass_minutes(step)
        check(gateway, advanced_of(advanced))


def check(gateway: Gateway, advanced: Advanced) -> None:
    """The laws of every moment."""
    ids = [note.id for note in gateway.told]
    assert len(set(ids)) == len(ids), "the same change is told twice to a contact"
    for alert in gateway.alerts:
        notes = [note for note in gateway.told if note.alert_id == alert.id]
        began = {note.contact.id: note.due_at for note in notes if note.kind == "opened" and note.status != "withdrawn"}
        assert len(began) == sum(note.kind == "opened" and note.status != "withdrawn" for note in notes)
        ended = [note.contact.id for note in notes if note.kind == "closed"]
        if alert.status == "closed":
            assert alert.closed_at is not None
            assert alert.close_at is None
            assert all(due_at <= alert.closed_at for due_at in began.values()), "an opening is told after the close"
            assert sorted(ended) == sorted(began), "who heard that it began hears that it is over, and nobody else"
            continue
        assert ended == []
        if alert.leader_id is not None:
            leader = gateway.alert(alert.leader_id)
            assert (leader.status != "closed", leader.leader_id) == (True, None), "a group without a leader"
            assert leader.routing.policy_id == alert.routing.policy_id, "its leader is told to others"
            assert notes == []
        if alert.told_at is None:
            counted = advanced.delay.alerts > 1
            assert alert.leader_id is not None or alert.status == "assigned" or counted
            assert notes == []
        elif alert.status == "open":
            assert set(began) == {"con_ann", "con_bob"}
            assert began["con_ann"] == alert.told_at
            assert not advanced.delay.support_hours or alert.told_at >= NOON + 8 * MINUTE


@settings(max_examples=200, deadline=None)
@given(ADVANCED, st.lists(st.lists(EVENTS, min_size=1, max_size=2), max_size=8))
def test_a_batch_does_what_its_messages_do_one_after_the_other(
    advanced: dict[str, Any], messages: Sequence[Sequence[Reading]]
) -> None:
    together, apart = Gateway(**advanced), Gateway(**advanced)
    for gateway in (together, apart):
        gateway.say(opened("a"), opened("b"), opened("d", group="h"))
        gateway.pass_minutes(2)
    for readings in messages:
        apart.say(*readings)
    together.take(*(together.read(*readings) for readings in messages))
    assert together.alerts == apart.alerts
    assert together.timeline == apart.timeline
    assert together.told == apart.told
