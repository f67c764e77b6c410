"""From readings to changes: the table of outcomes, what is kept, who is told, and what must never collide."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.alerts import Known
from gateway.directory import Directory, key_of
from gateway.escalation import People
from gateway.models import (
    SELF,
    Alert,
    AlertKey,
    Contact,
    Event,
    Integration,
    Message,
    Policy,
    PolicyStep,
    Reading,
    User,
)
from gateway.pipeline import NO_OPEN_ALERT, OLDER, Plan, Read, set_aside, unreadable_key
from gateway.recall import of_messages
from gateway.store.base import Changes, Transaction

NOW = 1_795_348_800_000
INTEGRATION = Integration(
    id="int_1", endpoint_id="end_1", name="shop", template="acme", policy_id="pol_1", created_at=0, updated_at=0
)
DIRECTORY = Directory(
    integrations={"end_1": [INTEGRATION]},
    people=People(
        policies={"pol_1": Policy(id="pol_1", name="p", steps=(PolicyStep(user_ids=("usr_1",)),), created_at=0)},
        users={
            "usr_1": User(
                id="usr_1",
                name="ann",
                contacts=(Contact(id="con_1", kind="webhook", address="https://a.example"),),
                created_at=0,
            )
        },
    ),
)


class Recalled:
    """Which keys a step asks the state for."""

    def __init__(self) -> None:
        self.keys: list[AlertKey] = []

    async def open_alerts(self, keys: Sequence[AlertKey]) -> dict[AlertKey, Alert]:
        self.keys += keys
        return {}


def keys_of(reads: Sequence[Read], directory: Directory | None = None) -> list[AlertKey]:
    """The keys that these messages are looked up by."""
    recalled = Recalled()
    with contextlib.suppress(StopIteration):
        of_messages(cast("Transaction", recalled), reads, directory or DIRECTORY, NOW).send(None)
    return recalled.keys


class World:
    """A store in a dict: what plans need to know of it, and what they did to it."""

    def __init__(self) -> None:
        self.open: dict[AlertKey, Alert] = {}
        self.next_id = 1
        self.messages = 0
        self.now = NOW

    def take(self, *reads: Read) -> Changes:
        """One plan for these, and its effect."""
        keys = keys_of(reads)
        known = Known(alerts={key: self.open[key] for key in keys if key in self.open})
        plan = Plan(known, self.next_id, DIRECTORY, self.now)
        for read in reads:
            plan.apply(read)
        changes = plan.finish()
        for alert in changes.alerts:
            self.next_id = max(self.next_id, alert.id + 1)
            assert alert.key in keys  # nothing is touched that was not asked for
            if alert.status == "closed":
                if alert.key in self.open and self.open[alert.key].id == alert.id:
                    del self.open[alert.key]
            else:
                self.open[alert.key] = alert
        return changes

    def read(self, *readings: Reading, run: int = 0, error: str | None = None, **message: Any) -> Read:
        """A message with these readings."""
        self.messages += 1
        made = Message(**{"id": self.messages, "endpoint_id": "end_1", "received_at": self.now, **message})
        integration = (
            INTEGRATION
            if made.endpoint_id == "end_1"
            else msgspec.structs.replace(INTEGRATION, endpoint_id=made.endpoint_id)
        )
        return Read(message=made, integration=integration, readings=readings, error=error, run=run)

    def say(self, *readings: Reading, **message: Any) -> Changes:
        """A message, on its own."""
        return self.take(self.read(*readings, **message))


def reading(
    action: Any, source_id: str = "x", *, severity: Any = None, dropped_by: str | None = None, **fields: Any
) -> Reading:
    """One event and what it does."""
    event = Event(**{"source_id": source_id, "source": "Acme", **fields})
    reason = "it is in no list" if action == "ignore" else None
    return Reading(
        action=action, reason=reason, event=event, severity=severity, dropped_by=dropped_by, trace=("because",)
    )


def outcomes(changes: Changes) -> list[tuple[str, str | None]]:
    """What became of each event."""
    return [(event.outcome, event.reason) for event in changes.events]


@pytest.fixture
def world() -> World:
    """Nothing is open."""
    return World()


# what does nothing


@pytest.mark.parametrize("action", ["close", "update"])
def test_without_an_open_alert_only_an_open_does_anything(world: World, action: str) -> None:
    changes = world.say(reading(action))
    assert outcomes(changes) == [("ignored", NO_OPEN_ALERT)]
    assert (changes.alerts, changes.timeline, changes.notifications) == ([], [], [])


@pytest.mark.parametrize("has_event", [True, False])
def test_what_is_ignored_keeps_its_reason_and_trace(world: World, *, has_event: bool) -> None:
    ignored = Reading(
        action="ignore", reason="a test", event=Event(source_id="x") if has_event else None, trace=("rule 1",)
    )
    changes = world.say(ignored)
    assert outcomes(changes) == [("ignored", "a test")]
    assert changes.events[0].trace[0] == "rule 1"
    assert changes.alerts == []


@pytest.mark.parametrize("action", ["open", "close", "update"])
def test_what_a_plugin_drops_is_filtered(world: World, action: str) -> None:
    world.say(reading("open"))
    changes = world.say(reading(action, dropped_by="acme: nightly"))
    assert outcomes(changes) == [("filtered", "acme: nightly")]
    assert changes.alerts == []


def test_a_message_of_a_deleted_integration_fails_with_the_reason(world: World) -> None:
    message = Message(id=1, endpoint_id="end_9", received_at=NOW)
    changes = world.take(Read(message=message, integration=None))
    assert outcomes(changes) == [("failed", "the integration was deleted")]
    assert changes.events[0].trace == ("not read: the integration was deleted",)
    assert changes.events[0].integration_id is None
    assert (changes.alerts, changes.notifications) == ([], [])


# the table


def test_open_opens_once_and_is_appended_after_that(world: World) -> None:
    first = world.say(reading("open", subject="disk", severity="critical"))
    assert outcomes(first) == [("opened", None)]
    (alert,) = first.alerts
    assert (alert.status, alert.severity, alert.count, alert.changes, alert.opened_at) == (
        "open",
        "critical",
        1,
        1,
        NOW,
    )
    assert [notification.kind for notification in first.notifications] == ["opened"]
    world.now += 1000
    again = world.say(reading("open", subject="disk, still"))
    assert outcomes(again) == [("appended", None)]
    assert again.notifications == []
    (alert,) = again.alerts
    assert (alert.id, alert.count, alert.changes, alert.subject, alert.updated_at) == (
        1,
        2,
        2,
        "disk, still",
        NOW + 1000,
    )
    assert [(change.seq, change.kind) for change in again.timeline] == [(2, "appended")]


def test_update_changes_an_open_alert_and_tells_nobody(world: World) -> None:
    world.say(reading("open", severity="critical", assignee="ann"))
    changes = world.say(reading("update", severity="info", assignee="bob"))
    assert outcomes(changes) == [("updated", None)]
    assert (changes.alerts[0].severity, changes.alerts[0].assignee, changes.alerts[0].count) == ("info", "bob", 1)
    assert changes.notifications == []


def test_close_closes_and_the_next_open_is_a_new_alert(world: World) -> None:
    opened = world.say(reading("open", subject="disk is full", severity="critical", source_status="down"))
    closed = world.say(
        reading("close", subject="disk is fine", severity="info", source_status="up", description="fine")
    )
    assert outcomes(closed) == [("closed", None)]
    (alert,) = closed.alerts
    assert (alert.status, alert.closed_at, alert.source_status) == ("closed", NOW, "up")
    assert (alert.subject, alert.description, alert.severity) == (
        "disk is full",
        None,
        "critical",
    )  # it says what was wrong
    assert closed.timeline[0].text == "disk is fine"
    assert [notification.kind for notification in closed.notifications] == ["closed"]
    assert closed.notifications[0].id != opened.notifications[0].id
    assert outcomes(world.say(reading("close"))) == [("ignored", NO_OPEN_ALERT)]
    assert world.say(reading("open")).alerts[0].id == 2


def test_what_a_later_event_does_not_say_is_kept(world: World) -> None:
    said: dict[str, Any] = {
        "subject": "s",
        "source_url": "https://a.example",
        "source_status": "down",
        "description": "d",
        "short_text": "t",
        "assignee": "ann",
        "topic": "db",
        "tags": ("a", "b"),
        "occurred_at": datetime(2026, 11, 22, tzinfo=UTC),
    }
    (before,) = world.say(reading("open", severity="error", **said)).alerts
    (after,) = world.say(reading("open")).alerts
    for name in ("subject", "source_url", "source_status", "description", "short_text", "assignee", "topic", "tags"):
        assert getattr(after, name) == getattr(before, name) == said[name]
    assert (after.severity, after.occurred_at) == ("error", before.occurred_at)
    (after,) = world.say(reading("update", tags=("c",))).alerts
    assert after.tags == ("c",)


def test_an_alert_without_a_subject_or_a_severity_has_something_to_show(world: World) -> None:
    (alert,) = world.say(reading("open", "disk-7", source_name="db")).alerts
    assert (alert.subject, alert.severity) == ("db: disk-7", "warning")
    (alert,) = world.say(reading("open", "x" * 60_000)).alerts
    assert len(alert.subject) == 1000


# older events


def at(minute: int) -> datetime:
    """A moment of the hour before."""
    return datetime(2026, 11, 22, 11, minute, tzinfo=UTC)


@pytest.mark.parametrize("action", ["open", "close", "update"])
def test_what_is_older_than_what_is_known_changes_nothing(world: World, action: str) -> None:
    world.say(reading("open", occurred_at=at(5)))
    changes = world.say(reading(action, subject="old", occurred_at=at(4)))
    assert outcomes(changes) == [("ignored", OLDER)]
    assert changes.events[0].alert_id == 1
    assert changes.alerts == []
    assert outcomes(world.say(reading(action, occurred_at=at(5)))) != [("ignored", OLDER)]


def test_an_event_without_a_time_is_believed(world: World) -> None:
    world.say(reading("open", occurred_at=at(5)))
    assert outcomes(world.say(reading("update"))) == [("updated", None)]
    assert outcomes(world.say(reading("close", occurred_at=at(5)))) == [("closed", None)]


@pytest.mark.parametrize("ahead", [timedelta(seconds=1), timedelta(minutes=30), timedelta(days=3650)])
def test_a_senders_clock_that_runs_ahead_does_not_shut_later_events_out(world: World, ahead: timedelta) -> None:
    now = datetime.fromtimestamp(NOW / 1000, UTC)
    (alert,) = world.say(reading("open", occurred_at=now + ahead)).alerts
    assert alert.occurred_at == NOW, "nothing occurs after it was received"
    world.now += 500
    (alert,) = world.say(reading("open", occurred_at=now + ahead)).alerts
    assert alert.occurred_at == NOW + 500
    assert outcomes(world.say(reading("close", occurred_at=at(59)))) == [("ignored", OLDER)]
    assert outcomes(world.say(reading("close", occurred_at=now + timedelta(milliseconds=500)))) == [("closed", None)]


# batches


def test_one_key_several_times_in_a_batch(world: World) -> None:
    batch = [reading(action) for action in ("open", "open", "close", "close", "open", "update")]
    changes = world.say(*batch)
    assert [event.outcome for event in changes.events] == [
        "opened",
        "appended",
        "closed",
        "ignored",
        "opened",
        "updated",
    ]
    assert [event.alert_id for event in changes.events] == [1, 1, 1, None, 2, 2]
    assert [event.position for event in changes.events] == list(range(6))
    assert [(alert.id, alert.status, alert.changes) for alert in changes.alerts] == [(1, "closed", 3), (2, "open", 2)]
    assert [(change.alert_id, change.seq) for change in changes.timeline] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert [(n.alert_id, n.kind) for n in changes.notifications] == [(1, "opened"), (1, "closed"), (2, "opened")]
    assert [n.alert.status for n in changes.notifications] == ["open", "closed", "open"]  # as each change left it


def test_a_batch_of_messages_is_the_same_as_one_after_the_other() -> None:
    together, apart = World(), World()
    messages = [[reading("open"), reading("open", "y")], [reading("close")], [reading("open"), reading("close", "y")]]
    one = together.take(*(together.read(*readings) for readings in messages))
    many = [apart.say(*readings) for readings in messages]
    assert one.events == [event for changes in many for event in changes.events]
    assert one.timeline == [change for changes in many for change in changes.timeline]
    assert one.notifications == [note for changes in many for note in changes.notifications]
    assert together.open == apart.open


# messages that cannot be read


def test_what_cannot_be_read_opens_one_alert_and_reading_closes_it(world: World) -> None:
    first = world.take(world.read(error="not JSON"))
    assert outcomes(first) == [("failed", "not JSON")]
    assert first.events[0].trace == ("read with template acme: not JSON",)
    (alert,) = first.alerts
    assert (alert.source, alert.subject, alert.severity) == (SELF, "shop: message could not be read", "error")
    assert "Message 1 is kept" in (alert.description or "")
    assert "not JSON" in (alert.description or "")
    assert first.events[0].alert_id == alert.id
    assert [note.kind for note in first.notifications] == ["opened"]

    again = world.take(world.read(error="no id"))
    assert again.notifications == []
    assert (again.alerts[0].id, again.alerts[0].count) == (alert.id, 2)
    assert "no id" in (again.alerts[0].description or "")

    read = world.say(reading("open"))
    assert outcomes(read) == [("opened", None)]
    closed = next(alert for alert in read.alerts if alert.source == SELF)
    assert (closed.status, closed.subject) == ("closed", "shop: message could not be read")
    assert [note.kind for note in read.notifications] == ["opened", "closed"]
    assert all(alert.source != SELF for alert in world.say(reading("open")).alerts)


def test_one_event_of_a_batch_that_cannot_be_read_fails_alone(world: World) -> None:
    broken = Reading(action="ignore", error="alerts[1]: no id")
    changes = world.say(reading("open", "a"), broken, reading("open", "b"))
    assert outcomes(changes) == [("opened", None), ("failed", "alerts[1]: no id"), ("opened", None)]
    assert [alert.source for alert in changes.alerts] == ["Acme", SELF, "Acme"]
    assert all(alert.status == "open" for alert in changes.alerts), "the message was not read as a whole"
    assert [alert.status for alert in world.say(reading("close", "a")).alerts] == ["closed", "closed"]


def test_an_event_that_a_clone_could_not_read_is_told_for_the_clone_until_it_reads_one() -> None:
    first = Integration(id="int_1", endpoint_id="e", name="first", template="acme", created_at=0, updated_at=0)
    clone = msgspec.structs.replace(first, id="int_2", name="clone", sequence=1)
    message = Message(id=1, endpoint_id="e", received_at=NOW)
    broken = Reading(action="ignore", error="no id", integration_id=clone.id)
    read = Read(message=message, integration=first, readings=[broken])
    directory = Directory(integrations={"e": [first, clone]})
    plan = Plan(Known(), 1, directory, NOW)
    plan.apply(read)
    (opened,) = plan.finish().alerts
    assert (opened.subject, opened.integration_id) == ("clone: message could not be read", "int_2")
    assert opened.key in keys_of([read], directory), "a second message would not find the alert, and open it again"
    for taker, status in ((first, "open"), (clone, "closed")):
        taken = msgspec.structs.replace(reading("open"), integration_id=taker.id)
        again = msgspec.structs.replace(read, readings=[taken])
        assert (opened.key in keys_of([again], directory)) is (taker is clone)
        plan = Plan(Known(alerts={opened.key: opened}), 2, directory, NOW)
        plan.apply(again)
        plan.finish()
        assert (plan.alerts.find(opened.key) is None) is (status == "closed")


def test_a_message_that_is_ignored_was_read_too(world: World) -> None:
    world.take(world.read(error="no id"))
    world.say(Reading(action="ignore", reason="a test"))
    assert world.open == {}


def test_unreadable_alerts_of_two_integrations_are_two() -> None:
    other = msgspec.structs.replace(INTEGRATION, id="int_2")
    assert unreadable_key(INTEGRATION) != unreadable_key(other)


# ids


def test_the_same_messages_give_the_same_ids() -> None:
    one, other = World(), World()
    for world in (one, other):
        world.say(reading("open"), reading("open", "y"))
    first, second = one.say(reading("close"), reading("close", "y")), other.say(reading("close"), reading("close", "y"))
    assert first == second
    assert len({note.id for note in first.notifications}) == 2


def test_a_close_after_the_clock_was_set_back_is_told_to_whom_the_opening_was(world: World) -> None:
    told = {note.contact for note in world.say(reading("open")).notifications if note.due_at <= world.now}
    world.now -= 10_000
    closed = world.say(reading("close"))
    assert told
    assert {note.contact for note in closed.notifications} == told
    assert closed.alerts[0].updated_at == world.now + 10_000, "it does not go back"


def test_a_replay_is_a_run_of_its_own(world: World) -> None:
    world.say(reading("open"))
    changes = world.take(world.read(reading("open"), run=1))
    assert (changes.events[0].run, changes.events[0].outcome) == (1, "appended")
    assert changes.timeline[-1].actor == "shop, replayed"
    taken = world.take(world.read(msgspec.structs.replace(reading("open"), acknowledged=True), run=2))
    assert taken.alerts[-1].assignee == "shop", "it is no person who replays it"


TEXTS = st.text("ab:|/\\*%_.\0 ", min_size=0, max_size=4)


@given(TEXTS, TEXTS, TEXTS.filter(bool), TEXTS, TEXTS, TEXTS.filter(bool))
def test_two_keys_are_the_same_only_where_all_parts_are(a: str, b: str, c: str, d: str, e: str, f: str) -> None:
    one = key_of("end", Event(source=a, source_name=b, source_id=c))
    other = key_of("end", Event(source=d, source_name=e, source_id=f))
    assert (one == other) is ((a, b, c) == (d, e, f))


@pytest.mark.parametrize("identity", ["*", ".*", "%", "_", "?", "x%", "X", " x", "x\u200b", "1 OR 1=1"])
def test_an_id_is_verbatim_and_closes_nothing_else(world: World, identity: str) -> None:
    world.say(reading("open", "x"), reading("open", "xy"))
    assert outcomes(world.say(reading("close", identity))) == [("ignored", NO_OPEN_ALERT)]


def test_another_endpoint_is_another_alert(world: World) -> None:
    world.say(reading("open"))
    assert outcomes(world.say(reading("close"), endpoint_id="end_2")) == [("ignored", NO_OPEN_ALERT)]
    assert outcomes(world.say(reading("open"), endpoint_id="end_2")) == [("opened", None)]


def test_no_source_name_and_an_empty_one_are_the_same(world: World) -> None:
    world.say(reading("open", source_name=None))
    assert outcomes(world.say(reading("close", source_name=""))) == [("closed", None)]


def test_what_is_set_aside_keeps_whose_it_is() -> None:
    deferred = set_aside(Message(id=7, endpoint_id="end_1", received_at=0), tries=1, reason="hung")
    assert (deferred.message_id, deferred.endpoint_id, deferred.run, deferred.tries) == (7, "end_1", 0, 1)


# laws


@settings(max_examples=200)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["open", "close", "update", "ignore"]),
                st.sampled_from("xyz"),
                st.none() | st.integers(0, 9),
            ),
            max_size=4,
        )
        | st.none(),
        max_size=12,
    )
)
def test_laws_of_every_history(history: Sequence[Sequence[tuple[str, str, int | None]] | None]) -> None:
    world = World()
    changes: list[Changes] = []
    for events in history:
        if events is None:
            changes.append(world.take(world.read(error="no")))
        else:
            made = [
                reading(action, key, occurred_at=None if when is None else at(when)) for action, key, when in events
            ]
            changes.append(world.say(*made))
    notes = [note for one in changes for note in one.notifications]
    assert len({note.id for note in notes}) == len(notes)  # one idempotency key each
    timeline = [change for one in changes for change in one.timeline]
    by_alert: dict[int, list[str]] = {}
    for change in timeline:
        seen = by_alert.setdefault(change.alert_id, [])
        seen.append(change.kind)
        assert change.seq == len(seen)
    for alert_id, kinds in by_alert.items():
        assert kinds[0] == "opened"
        assert kinds.count("opened") == 1
        assert "closed" not in kinds[:-1]  # nothing comes after the close
        told = [note.kind for note in notes if note.alert_id == alert_id]
        assert told == [kind for kind in kinds if kind in ("opened", "closed")]
    for events, one in zip(history, changes, strict=True):
        assert len(one.events) == (1 if events is None else len(events))  # each event has its outcome
        for record in one.events:
            assert record.reason or record.outcome not in ("ignored", "failed")
    still_open = {alert_id for alert_id, kinds in by_alert.items() if kinds[-1] != "closed"}
    assert {alert.id for alert in world.open.values()} == still_open
