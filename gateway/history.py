"""
What was, for a dry run: the alerts of an endpoint as they were at an instant, and what people did to them since.

Worked out from alerts and their timelines, which keep what is needed of it; when a problem occurred by its sender's clock is
kept only as it was last, and is taken as not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from gateway.advanced import Delay
from gateway.directory import Directory
from gateway.models import SELF, Alert, AlertKey, Change, EventRecord
from gateway.pacing import MOST_OPENINGS
from gateway.store.base import State

MOST_ALERTS = 100_000
_HEARD = ("opened", "appended", "updated", "assigned")


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody closed the alert of a key, or took it."""

    at: int
    key: AlertKey
    kind: Literal["closed", "assigned"]


class History(msgspec.Struct, kw_only=True):
    """
    All of it. `alerts` are those that were open, `deeds` in order, `openings` when alerts of a key were opened before.

    `changes` are those that each message made to each alert, by the ids of both. `opened_by` are messages that opened alerts
    since, and when: some came before, in a maintenance window that ended since, or were replayed.
    """

    alerts: Sequence[Alert] = ()
    deeds: Sequence[Deed] = ()
    openings: Mapping[AlertKey, list[int]] = {}
    changes: Mapping[tuple[int, int], list[Change]] = {}
    opened_by: Mapping[int, int] = {}


async def history_since(state: State, endpoint_id: str, directory: Directory, start: int) -> History:
    """What was since an instant, as far as is still known."""
    alerts: list[Alert] = []
    deeds: list[Deed] = []
    openings: dict[AlertKey, list[int]] = {}
    changes: dict[tuple[int, int], list[Change]] = {}
    opened_by: dict[int, int] = {}
    for integration in directory.integrations.get(endpoint_id, ()):
        delay, close_after = directory.advanced_of(integration).delay, directory.advanced_of(integration).close_after_ms
        for alert in reversed(await state.alerts(integration_id=integration.id, limit=MOST_ALERTS)):
            if alert.opened_at < start:
                openings.setdefault(alert.key, []).append(alert.opened_at)
            if alert.closed_at is not None and alert.closed_at < start:
                continue
            timeline = await state.timeline(alert.id)
            deeds += _deeds(alert, timeline, start)
            for change in timeline:
                if change.message_id is not None:
                    changes.setdefault((change.message_id, alert.id), []).append(change)
            first = timeline[0].message_id if timeline else None
            if alert.opened_at >= start and first is not None:
                opened_by[first] = alert.opened_at
            if alert.opened_at < start:
                alerts.append(_as_it_was(alert, timeline, start, delay, close_after))
    deeds.sort(key=lambda deed: deed.at)
    return History(alerts=alerts, deeds=deeds, openings=openings, changes=changes, opened_by=opened_by)


async def changes_of(state: State, events: Sequence[EventRecord]) -> Mapping[tuple[int, int], list[Change]]:
    """The changes that messages made to alerts, by the ids of both."""
    found: dict[tuple[int, int], list[Change]] = {}
    for alert_id in dict.fromkeys(event.alert_id for event in events if event.alert_id is not None):
        for change in await state.timeline(alert_id):
            if change.message_id is not None:
                found.setdefault((change.message_id, alert_id), []).append(change)
    return found


def _as_it_was(alert: Alert, timeline: Sequence[Change], start: int, delay: Delay, close_after: int | None) -> Alert:
    before = [change for change in timeline if change.at < start]
    events = [change.at for change in before if change.kind in ("opened", "appended")]
    heard = max((change.at for change in before if change.message_id is not None and change.kind in _HEARD), default=0)
    count = max(1, len(events))
    until = alert.routing.until
    return msgspec.structs.replace(
        alert,
        status="assigned" if _was_taken(alert, timeline, start, delay) else "open",
        severity=next((change.severity for change in reversed(before) if change.severity), alert.severity),
        count=count,
        changes=len(before),
        occurred_at=None,
        closed_at=None,
        openings=(*events[:1], *events[1:][1 - MOST_OPENINGS :]) if delay.alerts > 1 else (),
        routing=msgspec.structs.replace(alert.routing, until=until if until is not None and until < start else None),
        told_at=alert.told_at if count >= delay.alerts else None,
        close_at=None if close_after is None or alert.source == SELF else (heard or alert.opened_at) + close_after,
    )


def _was_taken(alert: Alert, timeline: Sequence[Change], start: int, delay: Delay) -> bool:
    """Whether somebody had it. Of one that was taken when it opened, the timeline says nothing; but nobody was told of it."""
    taken = [change.at for change in timeline if change.kind == "assigned"]
    if taken:
        return min(taken) < start
    untold = alert.told_at is None and alert.leader_id is None
    return untold and (alert.status == "assigned" or (alert.count >= delay.alerts and not delay.within_ms))


def _deeds(alert: Alert, timeline: Sequence[Change], start: int) -> list[Deed]:
    """What people did to it; what it did by itself, or for a message, is worked out again."""
    return [
        Deed(at=change.at, key=alert.key, kind=change.kind)
        for change in timeline
        if change.at >= start
        and change.message_id is None
        and change.actor != SELF
        and change.kind in ("closed", "assigned")
    ]
