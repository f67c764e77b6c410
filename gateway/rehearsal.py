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
from gateway.comparison import CHANGING, Effect, Rehearsed
from gateway.directory import Directory
from gateway.history import changes_of, history_since
from gateway.models import Change, EventRecord, Integration, Message, Reading
from gateway.pipeline import Plan, Read
from gateway.reader import Job, Reply
from gateway.recall import of_messages
from gateway.stage import Stage
from gateway.store.base import Changes, Journal, State

PAGE = 500
MOST_MESSAGES = 100_000
Reads = Callable[[Job], Reply]


def with_integration(directory: Directory, changed: Integration) -> Directory:
    """The directory with one integration as it would be."""
    integrations = {
        endpoint_id: [changed if one.id == changed.id else one for one in them]
        for endpoint_id, them in directory.integrations.items()
    }
    advanced = {**directory.advanced, changed.id: advanced_of(changed.settings)}
    return msgspec.structs.replace(directory, integrations=integrations, advanced=advanced)


async def now(
    state: State, messages: Sequence[Message], saved: Directory, directory: Directory, read: Reads, at: int
) -> list[Rehearsed]:
    """
    What these messages would do if they were read now, in order; `saved` is the configuration as it is.

    Who would be told later of what one of them opens, and not after all since another closes it, is left out.
    """
    runs = await _runs(state, messages)
    changes = await changes_of(state, [event for events in runs.values() for event in events])
    past = _Past(runs, changes, saved, [_read(message, saved, read) for message in messages])
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
        found.append(past.beside(one, done))
    withdrawn = set(plan.finish().withdrawn)
    for rehearsed in found:
        rehearsed.notifications = [
            told
            for told in rehearsed.notifications
            if told.kind != "opened" or told.due_at <= at or told.alert_id not in withdrawn
        ]
    return found


async def since(
    state: State,
    journal: Journal,
    endpoint_id: str,
    start: int,
    saved: Directory,
    directory: Directory,
    read: Reads,
    at: int,
) -> list[Rehearsed]:
    """
    What the messages of an endpoint that were received from `start` to `at` would have done.

    `saved` is the configuration as it is.
    """
    messages = await _received(journal, endpoint_id, start, at)
    history = await history_since(state, endpoint_id, directory, start)
    # One pass with the settings as they are, then one with the others: a reader compiles them anew where they change.
    reads = [_read(message, saved, read) for message in messages]
    past = _Past(await _runs(state, messages), history.changes, saved, reads)
    async with state.transaction() as transaction:
        stage = Stage(history, directory, await transaction.next_alert_id())
    earlier = await journal.get([number for number in history.opened_by if number not in {one.id for one in messages}])
    due = [(message.received_at, message) for message in messages]
    due += [(_in_window(message, directory) or history.opened_by[message.id], message) for message in earlier]
    found = []
    for instant, message in sorted(due, key=lambda one: (one[0], one[1].id)):
        one = _read(message, directory, read)
        done = await stage.take(one, instant)
        if message.received_at >= start:
            found.append(past.beside(one, done))
    return found


def _in_window(message: Message, directory: Directory) -> int | None:
    """When a message was received, if that was in a maintenance window: what it says opens at the end of that."""
    integrations = directory.integrations.get(message.endpoint_id, ())
    inside = any(directory.window_at(integration, message.received_at) for integration in integrations)
    return message.received_at if inside else None


def _parts(changes: Changes) -> tuple[Sequence[object], ...]:
    return changes.events, changes.timeline, changes.notifications


class _Past:
    """
    What became of messages when they were last read, by their ids, and the changes that they made to alerts.

    `reads` is what the saved settings read from them now.
    """

    def __init__(
        self,
        runs: Mapping[int, Sequence[EventRecord]],
        changes: Mapping[tuple[int, int], Sequence[Change]],
        saved: Directory,
        reads: Sequence[Read],
    ) -> None:
        self._runs, self._changes = runs, changes
        self._readings = {read.message.id: read.readings for read in reads}
        self._names = {one.id: one.name for them in saved.integrations.values() for one in them}

    def beside(self, read: Read, done: Changes) -> Rehearsed:
        """What a message would do, with what it did."""
        message = read.message
        new: dict[tuple[int, int], list[Change]] = {}
        for change in done.timeline:
            if change.message_id is not None:
                new.setdefault((change.message_id, change.alert_id), []).append(change)
        before = self._runs.get(message.id)
        readings = self._readings.get(message.id, ())
        return Rehearsed(
            message=message,
            effects=_effects(done.events, new, read.readings, self._names),
            notifications=done.notifications,
            before=None if before is None else _effects(before, self._changes, readings, self._names),
        )


def _effects(
    events: Sequence[EventRecord],
    changes: Mapping[tuple[int, int], Sequence[Change]],
    readings: Sequence[Reading],
    names: Mapping[str, str],
) -> list[Effect]:
    """Events with the changes that they made: of those that a message made to an alert, the last are of its last reading."""
    left: dict[tuple[int, int], list[Change]] = {}
    effects = []
    for event in reversed(events):
        key = event.message_id, event.alert_id or 0
        made = left.setdefault(key, list(changes.get(key, ())))
        changed = event.outcome in CHANGING
        of = event.integration_id
        effect = Effect(
            event=event,
            integration=None if of is None else names.get(of, of),
            reading=readings[event.position] if event.position < len(readings) else None,
            change=made.pop() if changed and made else None,
        )
        effects.append(effect)
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
