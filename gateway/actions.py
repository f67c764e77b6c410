"""
What people do to alerts and messages: assign, close, replay. For the command line, and whatever else will let them.

Each is one transaction, leaves a line on the timeline, and tells whom a message that did the same would have told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.alerts import Alerts, Cause
from gateway.clock import Clock
from gateway.directory import directory_of
from gateway.errors import ConflictError, NotFoundError
from gateway.models import Alert, Deferred, EventRecord, Integration, Message, User
from gateway.recall import of_alerts
from gateway.store.base import Journal, State, Transaction
from gateway.tidying import clean

_MANY = 1_000_000
_LONGEST_REASON = 1000


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A message that will be read again: the number of that run. `waited` says that it was going to be read anyway."""

    message_id: int
    run: int
    waited: bool = False


async def close_alert(state: State, clock: Clock, alert_id: int, *, actor: str, reason: str | None = None) -> Alert:
    """
    Close an alert, and tell those whom its opening had been told.

    Raises NotFoundError where there is no such alert, ConflictError where it is closed.
    """
    text = None if reason is None else clean(reason)[:_LONGEST_REASON] or None
    return await _done(
        state,
        clock,
        alert_id,
        lambda alerts, alert, integration: alerts.close(alert, Cause(actor=actor, integration=integration), text=text),
    )


async def assign_alert(state: State, clock: Clock, alert_id: int, *, actor: str, user: User) -> Alert:
    """
    Say who takes care of an alert; nobody more is told of it. Assigning it to whom it is assigned to already changes nothing.

    Raises NotFoundError where there is no such alert, ConflictError where it is closed.
    """

    def assigned(alerts: Alerts, alert: Alert, integration: Integration | None) -> Alert:
        if alert.status == "assigned" and alert.assignee == user.name:
            return alert
        return alerts.assign(alert, Cause(actor=actor, integration=integration), to=user.name)

    return await _done(state, clock, alert_id, assigned)


async def _done(
    state: State, clock: Clock, alert_id: int, action: Callable[[Alerts, Alert, Integration | None], Alert]
) -> Alert:
    """What an action makes of an open alert, in one transaction."""
    directory = await directory_of(state)
    async with state.transaction() as transaction:
        alert = await _open_alert(transaction, alert_id)
        now = clock.now()
        known = await of_alerts(transaction, [alert], directory, now)
        alerts = Alerts(known, await transaction.next_alert_id(), directory, now)
        alert = action(alerts, alert, directory.integration(alert.endpoint_id, alert.integration_id))
        changes = alerts.finish()
        if changes.alerts:
            await transaction.write(changes)
    return alert


async def replay(journal: Journal, state: State, message_ids: Sequence[int], *, reason: str) -> list[Replay]:
    """
    Have messages read again, with the templates and settings of now; it takes effect when the worker comes to them.

    Raises NotFoundError for the first that is not kept, before anything is changed. One that was never read, or waits to be
    read again already, is left to that.
    """
    wanted = list(dict.fromkeys(message_ids))
    messages = {message.id: message for message in await journal.get(wanted)}
    for message_id in wanted:
        if message_id not in messages:
            msg = f"there is no message {message_id}; `alert-gateway messages list` shows the newest"
            raise NotFoundError(msg)
    cursor = await state.cursor()
    waiting = {deferred.message_id: deferred for deferred in await waiting_among(state, list(messages.values()))}
    last = last_runs(await state.events(wanted))
    replays = []
    for message_id in wanted:
        if message_id in waiting:
            replays.append(Replay(message_id=message_id, run=waiting[message_id].run, waited=True))
        elif message_id > cursor:
            replays.append(Replay(message_id=message_id, run=0, waited=True))
        else:
            run = last.get(message_id, 0) + 1
            endpoint_id = messages[message_id].endpoint_id
            await state.defer(Deferred(message_id=message_id, endpoint_id=endpoint_id, run=run, reason=reason))
            replays.append(Replay(message_id=message_id, run=run))
    return replays


async def waiting_among(state: State, messages: Sequence[Message]) -> list[Deferred]:
    """Those of some messages that wait to be read again."""
    ids = {message.id for message in messages}
    endpoints = sorted({message.endpoint_id for message in messages})
    if not ids:
        return []
    return [deferred for deferred in await state.deferred(_MANY, endpoints) if deferred.message_id in ids]


def last_runs(records: Sequence[EventRecord]) -> dict[int, int]:
    """The number of the newest run of each message."""
    last: dict[int, int] = {}
    for record in records:
        last[record.message_id] = max(record.run, last.get(record.message_id, 0))
    return last


async def _open_alert(transaction: Transaction, alert_id: int) -> Alert:
    alert = await transaction.alert(alert_id)
    if alert is None:
        msg = f"there is no alert {alert_id}; `alert-gateway alerts list --status all` shows the newest"
        raise NotFoundError(msg)
    if alert.status == "closed":
        msg = f"alert {alert_id} is closed already; nothing was changed"
        raise ConflictError(msg)
    return alert
