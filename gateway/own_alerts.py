"""
The alerts that the gateway opens about itself: messages and notifications that wait too long, and dead letters.

That a message could not be read is told by the pipeline. All of them have the Source `Alert Gateway`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.alerts import Alerts, Cause
from gateway.clock import in_words, iso
from gateway.directory import Directory
from gateway.models import SELF, Alert, AlertKey, Event, Integration, Reading, Severity
from gateway.recall import of_alerts
from gateway.store.base import Journal, State

LATE = 60_000
"""How long (ms) a message, or a notification that is due, may wait before people are told."""
_MOST = 100


class Concern(msgspec.Struct, frozen=True, kw_only=True):
    """
    One thing that may be wrong with the gateway, and whether it is now.

    `since` is when it began or got worse, None where nothing is wrong. `over` says that an alert of it closes: what is better,
    but not well yet, neither opens nor closes one.
    """

    source_id: str
    subject: str
    severity: Severity
    since: int | None = None
    over: bool = True
    description: str = ""
    lasting: bool = True
    """Whether it opens again where somebody closed the alert; else only what came since does."""


async def backlog_of(journal: Journal, cursor: int) -> tuple[int, int | None]:
    """How many messages after the cursor wait to be read, and when the oldest was received; None where none does."""
    behind = max(0, await journal.head() - cursor)
    waiting = await journal.read(cursor, 1) if behind else []
    return behind, waiting[0].received_at if waiting else None


async def concerns_of(journal: Journal, state: State, now: int) -> list[Concern]:
    """What may be wrong, each with whether it is."""
    counts = await state.counts()
    behind, oldest = await backlog_of(journal, counts.cursor)
    backlog = f"{behind} messages wait to be read, the oldest since {{}}. The log of the worker says what holds it up."
    unsent = "The oldest has been due since {}. The log of the delivery process says what holds it up."
    dead = counts.notifications.get("dead", 0)
    letters = await state.notifications(status="dead", limit=_MOST) if dead else []
    return [
        _waiting("backlog", "Messages are read late", oldest, now, backlog),
        _waiting("late notifications", "Notifications are sent late", await state.next_due(), now, unsent),
        Concern(
            source_id="dead letters",
            subject="Notifications could not be delivered",
            severity="error",
            since=max((letter.finished_at or letter.created_at for letter in letters), default=None),
            over=not dead,
            description=f"{dead} were given up. `alert-gateway notifications list --status dead` says why; "
            "`alert-gateway notifications retry --all-dead` sends them again.",
            lasting=False,
        ),
    ]


def _waiting(source_id: str, subject: str, oldest: int | None, now: int, text: str) -> Concern:
    waits = 0 if oldest is None else now - oldest
    return Concern(
        source_id=source_id,
        subject=subject,
        severity="critical",
        since=oldest if waits > LATE else None,
        over=waits < LATE // 2,
        description=text.format(iso(oldest)),
    )


async def look_after(journal: Journal, state: State, directory: Directory, now: int) -> bool:
    """Open and close the gateway's own alerts; whether anybody is to be told of it."""
    mine = directory.integration(SELF, SELF)
    concerns = await concerns_of(journal, state, now)
    known = await state.alerts(integration_id=SELF, limit=_MOST)
    if mine is None or not any(_changes(concern, known) for concern in concerns):
        return False
    async with state.transaction() as transaction:
        found = await transaction.open_alerts([_key(concern) for concern in concerns])
        alerts = Alerts(
            await of_alerts(transaction, list(found.values()), directory, now),
            await transaction.next_alert_id(),
            directory,
            now,
        )
        for concern in concerns:
            if _changes(concern, known):
                _tell(alerts, concern, mine, now)
        changes = alerts.finish()
        await transaction.write(changes)
    return bool(changes.notifications)


def _changes(concern: Concern, known: Sequence[Alert]) -> bool:
    """Whether an alert of it opens, closes, or has something added; `known` are the newest, open or not, newest first."""
    last = next((alert for alert in known if alert.source_id == concern.source_id), None)
    open_now = last is not None and last.status != "closed"
    if concern.over:
        return open_now
    if concern.since is None or (open_now and concern.lasting):
        return False
    return last is None or concern.lasting or concern.since >= last.updated_at


def _tell(alerts: Alerts, concern: Concern, mine: Integration, now: int) -> None:
    alert = alerts.find(_key(concern))
    cause = Cause(actor=SELF, integration=mine)
    if concern.over:
        if alert is not None:
            alerts.close(alert, cause, text=f"over, after {in_words(now - alert.opened_at)}")
        return
    event = Event(source_id=concern.source_id, source=SELF, subject=concern.subject, description=concern.description)
    reading = Reading(action="open", event=event, severity=concern.severity)
    if alert is None:
        alerts.opened(_key(concern), reading, event, mine, cause, None, None)
    else:
        alerts.changed(alert, "appended", reading, event, mine, cause, None, [])


def _key(concern: Concern) -> AlertKey:
    return AlertKey(SELF, SELF, "", concern.source_id)
