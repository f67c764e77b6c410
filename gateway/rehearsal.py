"""
A dry run: what messages would do with settings that are not saved, on a copy in memory. Nothing is stored, nobody is told.

`now` takes messages as a replay would: one after the other, at this moment, against the alerts that are open. `since` takes
all messages of a time as they came, with the clock of then, against the alerts that were open when it began; silence and the
ends of maintenance windows count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.advanced import advanced_of
from gateway.alerts import Alerts
from gateway.directory import Directory
from gateway.models import Alert, AlertKey, EventRecord, Integration, Message, Notification, Suppressed
from gateway.pipeline import Plan, Read
from gateway.reader import Job, Reply
from gateway.recall import of_alerts, of_messages, of_windows
from gateway.store.base import Changes, Journal, State, Transaction

PAGE = 500
MOST_MESSAGES = 100_000
MOST_ALERTS = 100_000

Reads = Callable[[Job], Reply]


class Rehearsed(msgspec.Struct, kw_only=True):
    """What one message would do, and who would be told when. `before` is what it did when it was last read."""

    message: Message
    events: list[EventRecord]
    notifications: list[Notification]
    before: list[EventRecord] = []

    @property
    def differs(self) -> bool:
        """Whether anything that a person would notice is otherwise than before."""
        return [_told(event) for event in self.events] != [_told(event) for event in self.before]


def with_integration(directory: Directory, changed: Integration) -> Directory:
    """The directory with one integration as it would be."""
    integrations = {
        endpoint_id: [changed if one.id == changed.id else one for one in them]
        for endpoint_id, them in directory.integrations.items()
    }
    advanced = {**directory.advanced, changed.id: advanced_of(changed.settings)}
    return msgspec.structs.replace(directory, integrations=integrations, advanced=advanced)


async def now(state: State, messages: Sequence[Message], directory: Directory, read: Reads, at: int) -> list[Rehearsed]:
    """What these messages would do if they were read now, in order."""
    runs = await _before(state, messages)
    reads = [_read(message, directory, read) for message in messages]
    async with state.transaction() as transaction:
        known = await of_messages(transaction, reads, directory, at)
        plan = Plan(known, await transaction.next_alert_id(), directory, at)
    found = []
    for one in reads:
        events, told = len(plan.changes.events), len(plan.changes.notifications)
        plan.apply(one)
        found.append(
            Rehearsed(
                message=one.message,
                events=plan.changes.events[events:],
                notifications=plan.changes.notifications[told:],
                before=runs.get(one.message.id, []),
            )
        )
    return found


async def since(
    state: State, journal: Journal, endpoint_id: str, start: int, directory: Directory, read: Reads, at: int
) -> list[Rehearsed]:
    """What the messages of an endpoint that were received since `start` would have done; `at` is now."""
    messages = await _received_since(journal, endpoint_id, start)
    before = await _before(state, messages)
    stage = Stage(await _open_at(state, endpoint_id, directory, start), directory)
    found = []
    for message in messages:
        await stage.pass_time(message.received_at)
        changes = await stage.take(_read(message, directory, read), message.received_at)
        found.append(
            Rehearsed(
                message=message,
                events=changes.events,
                notifications=changes.notifications,
                before=before.get(message.id, []),
            )
        )
    await stage.pass_time(at)
    return found


class Stage:
    """The alerts of one endpoint in memory, as a store would have them: the part of `Transaction` that decisions ask."""

    def __init__(self, alerts: Sequence[Alert], directory: Directory) -> None:
        self._alerts = {alert.id: alert for alert in alerts}
        self._open = {alert.key: alert for alert in alerts}
        self._next_id = max(self._alerts, default=0) + 1
        self._directory = directory
        self._openings: dict[AlertKey, list[int]] = {}
        self._suppressed: dict[AlertKey, Suppressed] = {}

    async def take(self, read: Read, at: int) -> Changes:
        """What one message changes at that instant."""
        plan = Plan(
            await of_messages(self._transaction, [read], self._directory, at), self._next_id, self._directory, at
        )
        plan.apply(read)
        return self._write(plan.finish())

    async def pass_time(self, until: int) -> list[Changes]:
        """Do what would have been due by then; what it changed."""
        done = []
        silent = await self.silent(until, MOST_ALERTS)
        if silent:
            alerts = Alerts(await of_alerts(self._transaction, silent), self._next_id, self._directory, until)
            for alert in silent:
                integration = self._directory.integration(alert.endpoint_id, alert.integration_id)
                alerts.close_silent(alert, integration)
            done.append(self._write(alerts.finish()))
        over = await self.suppressed(until, MOST_ALERTS)
        if over:
            known = await of_windows(self._transaction, over, self._directory, until)
            plan = Plan(known, self._next_id, self._directory, until)
            for suppressed in over:
                plan.end_window(suppressed)
            done.append(self._write(plan.finish()))
        return done

    @property
    def _transaction(self) -> Transaction:
        return self  # type: ignore[return-value]  # it answers what decisions ask of one, and writes nowhere

    def _write(self, changes: Changes) -> Changes:
        for alert in changes.alerts:
            self._next_id = max(self._next_id, alert.id + 1)
            self._alerts[alert.id] = alert
            if alert.status != "closed":
                self._open[alert.key] = alert
            elif self._open.get(alert.key, alert).id == alert.id:
                self._open.pop(alert.key, None)
        for key, instant in changes.openings:
            self._openings.setdefault(key, []).append(instant)
        self._suppressed |= {one.key: one for one in changes.suppressed}
        for key in changes.unsuppressed:
            self._suppressed.pop(key, None)
        return changes

    async def open_alerts(self, keys: Sequence[AlertKey]) -> dict[AlertKey, Alert]:
        """The open alert of each key that has one."""
        return {key: self._open[key] for key in keys if key in self._open}

    async def group_leader(self, integration_id: str, group_key: str, *, after: int) -> Alert | None:
        """The newest open leader of a group."""
        leaders = [
            alert
            for alert in self._open.values()
            if (alert.integration_id, alert.group_key, alert.leader_id) == (integration_id, group_key, None)
            and alert.opened_at > after
        ]
        return max(leaders, key=lambda alert: alert.id, default=None)

    async def group_members(self, leader_id: int) -> list[Alert]:
        """The open members of a group."""
        members = [alert for alert in self._open.values() if alert.leader_id == leader_id]
        return sorted(members, key=lambda alert: alert.id)

    async def openings(self, key: AlertKey, *, after: int) -> list[int]:
        """When alerts of a key were opened."""
        return [instant for instant in self._openings.get(key, []) if instant > after]

    async def silent(self, until: int, limit: int) -> list[Alert]:
        """Alerts whose silence has lasted long enough."""
        due = [alert for alert in self._open.values() if alert.close_at is not None and alert.close_at <= until]
        return sorted(due, key=lambda alert: (alert.close_at or 0, alert.id))[:limit]

    async def suppressed(self, until: int, limit: int) -> list[Suppressed]:
        """What came in maintenance windows that have ended."""
        return [one for one in self._suppressed.values() if one.until <= until][:limit]


def _read(message: Message, directory: Directory, read: Reads) -> Read:
    integrations = directory.integrations.get(message.endpoint_id, ())
    if not integrations:
        return Read(message=message, integration=None)
    first, *others = integrations
    job = Job(message, first, tuple(one for one in others if one.enabled), message.endpoint_id in directory.fan_out)
    reply = read(job)
    return Read(message=message, integration=first, readings=reply.readings, error=reply.error)


async def _before(state: State, messages: Sequence[Message]) -> Mapping[int, list[EventRecord]]:
    """What messages did when they were last read."""
    found: dict[int, list[EventRecord]] = {}
    for start in range(0, len(messages), PAGE):
        for record in await state.events([message.id for message in messages[start : start + PAGE]]):
            known = found.setdefault(record.message_id, [])
            if known and known[0].run < record.run:
                known.clear()
            known.append(record)
    return found


async def _received_since(journal: Journal, endpoint_id: str, start: int) -> list[Message]:
    found: list[Message] = []
    before: int | None = None
    while len(found) < MOST_MESSAGES:
        page = await journal.newest(PAGE, before=before, endpoint_id=endpoint_id)
        found += [message for message in page if message.received_at >= start]
        if len(page) < PAGE or page[-1].received_at < start:
            break
        before = page[-1].id
    return found[::-1]


async def _open_at(state: State, endpoint_id: str, directory: Directory, start: int) -> list[Alert]:
    """The alerts of an endpoint that were open at an instant, as far as is still known of them."""
    found: dict[int, Alert] = {}
    for integration in directory.integrations.get(endpoint_id, ()):
        for alert in await state.alerts(integration_id=integration.id, limit=MOST_ALERTS):
            if alert.opened_at < start and (alert.closed_at is None or alert.closed_at >= start):
                found[alert.id] = msgspec.structs.replace(
                    alert, status="open", closed_at=None, openings=(), close_at=None
                )
    return list(found.values())


def _told(event: EventRecord) -> tuple[object, ...]:
    """What a person notices of an event: what became of it, why not more, and who is told when."""
    said = tuple(line for line in event.trace if line.startswith(("told: ", "group: ", "severity ", "texts: ")))
    return event.action, event.outcome, event.reason, said
