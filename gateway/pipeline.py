"""
From readings to changes: what a message does to alerts, who is told, and why. Pure decisions; no I/O.

| event | open alert | outcome |
| --- | --- | --- |
| open | none | opened |
| open | one | appended |
| update | one | updated |
| close | one | closed |
| update or close | none | ignored("no open alert") |
| older than what the alert already knows | one | ignored |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.clock import instant
from gateway.escalation import notifications_of
from gateway.models import (
    Alert,
    AlertKey,
    Change,
    ChangeKind,
    Deferred,
    Event,
    EventRecord,
    Integration,
    Message,
    Outcome,
    Policy,
    Reading,
    User,
)
from gateway.store.base import Changes

SELF = "Alert Gateway"
"""The Source of alerts that the gateway opens about itself."""
NO_OPEN_ALERT = "no open alert"
OLDER = "older than what the alert already knows"
_CLOCK_SKEW = 3_600_000


class Directory(msgspec.Struct, kw_only=True):
    """The configuration as the pipeline needs it: integrations by endpoint in sequence, policies and users by id."""

    version: int = 0
    integrations: Mapping[str, Sequence[Integration]] = {}
    policies: Mapping[str, Policy] = {}
    users: Mapping[str, User] = {}

    def integration(self, endpoint_id: str, integration_id: str | None) -> Integration | None:
        """One integration of an endpoint."""
        integrations = self.integrations.get(endpoint_id, ()) if integration_id is not None else ()
        return next((one for one in integrations if one.id == integration_id), None)


class Read(msgspec.Struct, kw_only=True):
    """
    A message that was read: its readings, or why it could not be.

    `run` is 0 the first time and counts replays. `integration` is None where it was deleted.
    """

    message: Message
    integration: Integration | None
    readings: Sequence[Reading] = ()
    error: str | None = None
    run: int = 0


def keys_of(reads: Sequence[Read]) -> list[AlertKey]:
    """The keys of all alerts that these may touch."""
    keys: dict[AlertKey, None] = {}
    for read in reads:
        if read.integration is not None:
            keys[unreadable_key(read.integration)] = None
        for reading in read.readings:
            if reading.event is not None:
                keys[key_of(read.message.endpoint_id, reading.event)] = None
    return list(keys)


def key_of(endpoint_id: str, event: Event) -> AlertKey:
    """The key of the alert that an event speaks of."""
    return AlertKey(endpoint_id, event.source or "", event.source_name or "", event.source_id)


def unreadable_key(integration: Integration) -> AlertKey:
    """The key of the alert "message could not be read" of an integration."""
    return AlertKey(integration.endpoint_id, SELF, "", f"unreadable:{integration.id}")


class Plan:
    """
    What a batch of messages changes, worked out in memory.

    `open_alerts` are those of `keys_of(reads)`; `next_id` is the id of the next new alert.
    """

    def __init__(self, open_alerts: Mapping[AlertKey, Alert], next_id: int, directory: Directory, now: int) -> None:
        self.changes = Changes()
        self._open = dict(open_alerts)
        self._next_id = next_id
        self._directory = directory
        self._now = now
        self._alerts: dict[int, Alert] = {}

    def apply(self, read: Read) -> None:
        """Take one message, in order."""
        message, integration = read.message, read.integration
        if integration is None:
            self._record_failed(read, read.error or "the integration was deleted", "not read")
            return
        if read.error is not None:
            alert = self._tell_unreadable(integration, message, read.error)
            self._record_failed(read, read.error, f"read with template {integration.template}", alert.id)
            return
        for position, reading in enumerate(read.readings):
            # What cannot be read is told for the endpoint's first: its alert is the one that was looked up, and is closed.
            taken_by = reading.integration_id if reading.error is None else None
            taker = self._directory.integration(message.endpoint_id, taken_by) or integration
            self._take(read, position, reading, taker)
        if not any(reading.error is not None for reading in read.readings):
            self._tell_readable(integration, message)

    def finish(self) -> Changes:
        """All changes, each alert as it is at the end."""
        self.changes.alerts = list(self._alerts.values())
        return self.changes

    def _take(self, read: Read, position: int, reading: Reading, integration: Integration) -> None:
        event = reading.event
        if reading.error is not None:
            told = self._tell_unreadable(integration, read.message, reading.error)
            self._record(read, position, reading, "failed", reading.error, told.id)
            return
        if reading.dropped_by is not None:
            self._record(read, position, reading, "filtered", reading.dropped_by)
            return
        if event is None or reading.action == "ignore":
            self._record(read, position, reading, "ignored", reading.reason)
            return
        key = key_of(read.message.endpoint_id, event)
        alert = self._open.get(key)
        occurred_at = _occurred_at(event, read.message)
        if alert is None:
            if reading.action != "open":
                self._record(read, position, reading, "ignored", NO_OPEN_ALERT)
                return
            alert = self._opened(key, reading, event, integration, read.message, occurred_at)
            self._record(read, position, reading, "opened", None, alert.id)
            return
        if occurred_at is not None and alert.occurred_at is not None and occurred_at < alert.occurred_at:
            self._record(read, position, reading, "ignored", OLDER, alert.id)
            return
        kind: ChangeKind = {"open": "appended", "update": "updated", "close": "closed"}[reading.action]  # type: ignore[assignment]
        alert = self._changed(alert, kind, reading, event, integration, read.message, occurred_at)
        self._record(read, position, reading, kind, None, alert.id)  # type: ignore[arg-type]  # these kinds are outcomes

    def _opened(
        self,
        key: AlertKey,
        reading: Reading,
        event: Event,
        integration: Integration,
        message: Message,
        occurred_at: int | None,
    ) -> Alert:
        alert = Alert(
            id=self._next_id,
            endpoint_id=key.endpoint_id,
            integration_id=integration.id,
            status="open",
            source=key.source,
            source_name=key.source_name,
            source_id=key.source_id,
            source_url=event.source_url,
            source_status=event.source_status,
            severity=reading.severity or reading.default_severity,
            subject=event.subject or f"{event.source_name or event.source}: {event.source_id}"[:1000],
            description=event.description,
            short_text=event.short_text,
            assignee=event.assignee,
            topic=event.topic,
            tags=event.tags,
            occurred_at=occurred_at,
            opened_at=self._now,
            updated_at=self._now,
        )
        self._next_id += 1
        self._put(alert, "opened", integration, message, event)
        return alert

    def _changed(
        self,
        alert: Alert,
        kind: ChangeKind,
        reading: Reading,
        event: Event,
        integration: Integration,
        message: Message,
        occurred_at: int | None,
    ) -> Alert:
        said: dict[str, object] = {
            name: value
            for name in ("source_url", "source_status", "assignee", "topic")
            if (value := getattr(event, name)) is not None
        }
        if kind == "closed":
            # A recovery's words are on the timeline; the alert keeps saying what was wrong.
            said |= {"status": "closed", "closed_at": self._now}
        else:
            for name in ("subject", "description", "short_text"):
                if getattr(event, name) is not None:
                    said[name] = getattr(event, name)
            if event.tags:
                said["tags"] = event.tags
            if reading.severity is not None:
                said["severity"] = reading.severity
        if kind == "appended":
            said["count"] = alert.count + 1
        if occurred_at is not None:
            said["occurred_at"] = occurred_at
        alert = msgspec.structs.replace(alert, changes=alert.changes + 1, updated_at=self._now, **said)
        self._put(alert, kind, integration, message, event)
        return alert

    def _put(self, alert: Alert, kind: ChangeKind, integration: Integration, message: Message, event: Event) -> None:
        self._alerts[alert.id] = alert
        if alert.status == "closed":
            self._open.pop(alert.key, None)
        else:
            self._open[alert.key] = alert
        change = Change(
            alert_id=alert.id,
            seq=alert.changes,
            at=self._now,
            kind=kind,
            actor=integration.name,
            message_id=message.id,
            text=event.subject,
            severity=alert.severity,
            source_status=event.source_status,
        )
        self.changes.timeline.append(change)
        if kind in ("opened", "closed"):
            policies, users = self._directory.policies, self._directory.users
            self.changes.notifications += notifications_of(
                change, alert, integration, policies=policies, users=users, now=self._now
            )

    def _tell_unreadable(self, integration: Integration, message: Message, error: str) -> Alert:
        event = Event(
            source_id=f"unreadable:{integration.id}",
            source=SELF,
            subject=f"{integration.name}: message could not be read",
            description=f"Message {message.id} is kept and can be replayed. {error}",
            source_status="unreadable",
        )
        reading = Reading(action="open", event=event, severity="error")
        alert = self._open.get(unreadable_key(integration))
        if alert is None:
            return self._opened(unreadable_key(integration), reading, event, integration, message, None)
        return self._changed(alert, "appended", reading, event, integration, message, None)

    def _tell_readable(self, integration: Integration, message: Message) -> None:
        alert = self._open.get(unreadable_key(integration))
        if alert is None:
            return
        event = Event(
            source_id=alert.source_id,
            source=SELF,
            subject=f"{integration.name}: messages are read again",
            source_status="read",
        )
        self._changed(alert, "closed", Reading(action="close", event=event), event, integration, message, None)

    def _record_failed(self, read: Read, error: str, tried: str, alert_id: int | None = None) -> None:
        reading = Reading(action="ignore", trace=(f"{tried}: {error}",))
        self._record(read, 0, reading, "failed", error, alert_id)

    def _record(
        self,
        read: Read,
        position: int,
        reading: Reading,
        outcome: Outcome,
        reason: str | None,
        alert_id: int | None = None,
    ) -> None:
        trace = reading.trace
        if reading.event is not None and outcome != "failed":
            trace = (*trace, _sentence(outcome, reason, alert_id, reading.event))
        self.changes.events.append(
            EventRecord(
                message_id=read.message.id,
                run=read.run,
                position=position,
                endpoint_id=read.message.endpoint_id,
                integration_id=reading.integration_id
                or (read.integration.id if read.integration is not None else None),
                action=reading.action,
                outcome=outcome,
                reason=reason,
                alert_id=alert_id,
                at=self._now,
                trace=trace,
            )
        )


def set_aside(message: Message, *, tries: int, reason: str) -> Deferred:
    """Have a message read later, apart from the others."""
    return Deferred(message_id=message.id, endpoint_id=message.endpoint_id, tries=tries, reason=reason)


def _occurred_at(event: Event, message: Message) -> int | None:
    """When it happened; a clock of the sender that runs over an hour ahead is not believed."""
    if event.occurred_at is None:
        return None
    occurred_at = instant(event.occurred_at)
    return min(occurred_at, message.received_at) if occurred_at > message.received_at + _CLOCK_SKEW else occurred_at


def _sentence(outcome: Outcome, reason: str | None, alert_id: int | None, event: Event) -> str:
    name = f"{event.source} / {event.source_name}" if event.source_name else str(event.source)
    identity = event.source_id if len(event.source_id) <= 100 else event.source_id[:100] + "…"  # noqa: PLR2004
    what = f"{outcome}: {reason}" if reason else outcome
    alert = f" alert {alert_id}" if alert_id is not None else ""
    return f"{what}{alert} ({name}, id {identity!r})"
