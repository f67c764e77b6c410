"""
A dry run: what messages would do with settings that are not saved, on a copy in memory. Nothing is stored, nobody is told.

`now` takes messages as a replay would: one after the other, at this moment, against the alerts that are open. `since` takes
all messages of a time as they came, with the clock of then, against the alerts that were open when it began; silence and the
ends of maintenance windows count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.advanced import advanced_of
from gateway.directory import Directory
from gateway.history import changes_of, history_since
from gateway.models import Change, EventRecord, Integration, Message, Notification
from gateway.pipeline import Plan, Read
from gateway.reader import Job, Reply
from gateway.recall import of_messages
from gateway.stage import Stage
from gateway.store.base import Changes, Journal, State

PAGE = 500
MOST_MESSAGES = 100_000
_CHANGING = ("opened", "appended", "updated", "closed")
_NOTICED = ("told: ", "group: ", "delay: ", "texts: ")
"""How the lines of an explanation begin that say what a person notices."""

Reads = Callable[[Job], Reply]


class Effect(msgspec.Struct, kw_only=True):
    """What became of one event; what its alert's timeline says of it, where it changed one."""

    event: EventRecord
    change: Change | None = None

    def noticed(self) -> tuple[object, ...]:
        """What a person notices of it, without instants and ids, which are others each time that it is worked out."""
        lines = self.event.trace if self.event.outcome in _CHANGING else ()
        said = [line for line in lines if line.startswith(_NOTICED)]
        said = [re.sub(r"^group: alert \d+ |people are told at \S+", "", line) for line in said]
        change = self.change and (self.change.text, self.change.severity)
        return self.event.action, self.event.outcome, self.event.reason, change, said


class Rehearsed(msgspec.Struct, kw_only=True):
    """
    What one message would do, and who would be told when.

    `before` is what it did when it was last read; None where it never was.
    """

    message: Message
    effects: list[Effect]
    notifications: list[Notification]
    before: list[Effect] | None = None

    @property
    def differs(self) -> bool:
        """Whether anything that a person would notice is otherwise than before."""
        before = self.before
        return before is not None and [one.noticed() for one in self.effects] != [one.noticed() for one in before]


def with_integration(directory: Directory, changed: Integration) -> Directory:
    """The directory with one integration as it would be."""
    integrations = {
        endpoint_id: [changed if one.id == changed.id else one for one in them]
        for endpoint_id, them in directory.integrations.items()
    }
    advanced = {**directory.advanced, changed.id: advanced_of(changed.settings)}
    return msgspec.structs.replace(directory, integrations=integrations, advanced=advanced)


async def now(state: State, messages: Sequence[Message], directory: Directory, read: Reads, at: int) -> list[Rehearsed]:
    """
    What these messages would do if they were read now, in order.

    Who would be told later of what one of them opens, and not after all since another closes it, is left out.
    """
    runs = await _runs(state, messages)
    changes = await changes_of(state, [event for events in runs.values() for event in events])
    reads = [_read(message, directory, read) for message in messages]
    async with state.transaction() as transaction:
        known = await of_messages(transaction, reads, directory, at)
        plan = Plan(known, await transaction.next_alert_id(), directory, at)
    found = []
    for one in reads:
        events, lines, told = (len(part) for part in _parts(plan.changes))
        plan.apply(one)
        done = Changes(
            events=plan.changes.events[events:],
            timeline=plan.changes.timeline[lines:],
            notifications=plan.changes.notifications[told:],
        )
        found.append(_rehearsed(one.message, done, runs.get(one.message.id), changes))
    withdrawn = set(plan.finish().withdrawn)
    for rehearsed in found:
        rehearsed.notifications = [
            told
            for told in rehearsed.notifications
            if told.kind != "opened" or told.due_at <= at or told.alert_id not in withdrawn
        ]
    return found


async def since(
    state: State, journal: Journal, endpoint_id: str, start: int, directory: Directory, read: Reads, at: int
) -> list[Rehearsed]:
    """What the messages of an endpoint that were received from `start` to `at` would have done."""
    messages = await _received(journal, endpoint_id, start, at)
    runs = await _runs(state, messages)
    history = await history_since(state, endpoint_id, directory, start)
    async with state.transaction() as transaction:
        stage = Stage(history, directory, await transaction.next_alert_id())
    earlier = await journal.get([number for number in history.opened_by if number not in {one.id for one in messages}])
    due = [(message.received_at, message) for message in messages]
    due += [(_in_window(message, directory) or history.opened_by[message.id], message) for message in earlier]
    found = []
    for instant, message in sorted(due, key=lambda one: (one[0], one[1].id)):
        done = await stage.take(_read(message, directory, read), instant)
        if message.received_at >= start:
            found.append(_rehearsed(message, done, runs.get(message.id), history.changes))
    return found


def _in_window(message: Message, directory: Directory) -> int | None:
    """When a message was received, if that was in a maintenance window: what it says opens at the end of that."""
    integrations = directory.integrations.get(message.endpoint_id, ())
    inside = any(directory.window_at(integration, message.received_at) for integration in integrations)
    return message.received_at if inside else None


def _parts(changes: Changes) -> tuple[Sequence[object], ...]:
    return changes.events, changes.timeline, changes.notifications


def _rehearsed(
    message: Message,
    done: Changes,
    before: Sequence[EventRecord] | None,
    changes: Mapping[tuple[int, int], Sequence[Change]],
) -> Rehearsed:
    new: dict[tuple[int, int], list[Change]] = {}
    for change in done.timeline:
        if change.message_id is not None:
            new.setdefault((change.message_id, change.alert_id), []).append(change)
    return Rehearsed(
        message=message,
        effects=_effects(done.events, new),
        notifications=done.notifications,
        before=None if before is None else _effects(before, changes),
    )


def _effects(events: Sequence[EventRecord], changes: Mapping[tuple[int, int], Sequence[Change]]) -> list[Effect]:
    """Events with the changes that they made: of those that a message made to an alert, the last are of its last reading."""
    left = {key: list(of) for key, of in changes.items() if any(event.message_id == key[0] for event in events)}
    effects = []
    for event in reversed(events):
        made = left.get((event.message_id, event.alert_id or 0), [])
        changed = event.outcome in _CHANGING
        effects.append(Effect(event=event, change=made.pop() if changed and made else None))
    return effects[::-1]


def _read(message: Message, directory: Directory, read: Reads) -> Read:
    integrations = directory.integrations.get(message.endpoint_id, ())
    if not integrations:
        return Read(message=message, integration=None)
    first, *others = integrations
    job = Job(message, first, tuple(one for one in others if one.enabled), message.endpoint_id in directory.fan_out)
    reply = read(job)
    return Read(message=message, integration=first, readings=reply.readings, error=reply.error)


async def _runs(state: State, messages: Sequence[Message]) -> Mapping[int, list[EventRecord]]:
    """What became of messages when they were last read."""
    found: dict[int, list[EventRecord]] = {}
    for start in range(0, len(messages), PAGE):
        for record in await state.events([message.id for message in messages[start : start + PAGE]]):
            known = found.setdefault(record.message_id, [])
            if known and known[0].run < record.run:
                known.clear()
            known.append(record)
    return found


async def _received(journal: Journal, endpoint_id: str, start: int, until: int) -> list[Message]:
    """The messages of that time, oldest first; of too many the newest."""
    found: list[Message] = []
    before: int | None = None
    while len(found) < MOST_MESSAGES:
        page = await journal.newest(PAGE, before=before, endpoint_id=endpoint_id)
        found += [message for message in page if start <= message.received_at <= until]
        if len(page) < PAGE or page[-1].received_at < start:
            break
        before = page[-1].id
    return found[::-1]
