"""
From readings to changes: what a message does to alerts, who is told, and why. Pure decisions; no I/O.

| event | open alert | outcome |
| --- | --- | --- |
| open | none | opened; in a maintenance window suppressed |
| open | one | appended |
| update | one | updated |
| close | one | closed |
| update or close | none | ignored("no open alert") |
| older than what the alert already knows | one | ignored |
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.alerts import Alerts, Cause, Known
from gateway.clock import instant, iso
from gateway.directory import Directory
from gateway.hours import Window
from gateway.models import (
    SELF,
    Alert,
    AlertKey,
    ChangeKind,
    Deferred,
    Event,
    EventRecord,
    Integration,
    Message,
    Outcome,
    Reading,
    Suppressed,
)
from gateway.store.base import Changes

NO_OPEN_ALERT = "no open alert"
OLDER = "older than what the alert already knows"


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


def unreadable_key(integration: Integration) -> AlertKey:
    """The key of the alert "message could not be read" of an integration."""
    return AlertKey(integration.endpoint_id, SELF, "", f"unreadable:{integration.id}")


class Plan:
    """
    What a batch of messages changes, worked out in memory.

    `known` is what the state knows, `next_id` the id of the next new alert.
    """

    def __init__(self, known: Known, next_id: int, directory: Directory, now: int) -> None:
        self.alerts = Alerts(known, next_id, directory, now)
        self.changes = self.alerts.changes
        self._directory = directory
        self._now = now
        self._suppressed: dict[AlertKey, Suppressed | None] = {}

    def apply(self, read: Read) -> None:
        """Take one message, in order."""
        self._apply(read)
        self.alerts.settle()

    def _apply(self, read: Read) -> None:
        message, integration = read.message, read.integration
        if integration is None:
            self._record_failed(read, read.error or "the integration was deleted", "not read")
            return
        if read.error is not None:
            alert = self._tell_unreadable(integration, read, read.error)
            self._record_failed(read, read.error, f"read with template {integration.template}", alert.id)
            return
        reading_it: dict[str, Integration] = {}
        for position, reading in enumerate(read.readings):
            taker = self._directory.integration(message.endpoint_id, reading.integration_id) or integration
            self._take(read, position, reading, taker)
            if reading.error is None and reading.dropped_by is None:
                reading_it[taker.id] = taker
        if not any(reading.error is not None for reading in read.readings):
            for taker in reading_it.values():
                self._tell_readable(taker, read)

    def end_window(self, suppressed: Suppressed) -> None:
        """Open what came in a maintenance window that has ended, unless it is open, or another window lasts."""
        key, event = suppressed.key, suppressed.reading.event
        integration = self._directory.integration(key.endpoint_id, suppressed.integration_id)
        self._suppressed[key] = None
        if integration is None or event is None:
            return
        keys = self._directory.keys(key.endpoint_id, event, integration)
        if self.alerts.find(*keys) is not None:
            return
        window = self._directory.window_at(integration, self._now)
        if window is not None:
            self._suppressed[key] = msgspec.structs.replace(suppressed, window_id=window[0].id, until=window[1])
            return
        actor = f"{integration.name}, at the end of a maintenance window"
        cause = Cause(integration=integration, message_id=suppressed.message_id, actor=actor)
        occurred_at = None if event.occurred_at is None else min(instant(event.occurred_at), self._now)
        self.alerts.opened(keys[0], suppressed.reading, event, integration, cause, occurred_at, None)

    def finish(self) -> Changes:
        """All changes, each alert as it is at the end."""
        self.changes.suppressed = [one for one in self._suppressed.values() if one is not None]
        self.changes.unsuppressed = [key for key, one in self._suppressed.items() if one is None]
        return self.alerts.finish()

    # one event

    def _take(self, read: Read, position: int, reading: Reading, integration: Integration) -> None:
        event, message = reading.event, read.message
        if reading.error is not None:
            told = self._tell_unreadable(integration, read, reading.error)
            self._record(read, position, reading, "failed", reading.error, told.id)
            return
        if reading.dropped_by is not None:
            self._record(read, position, reading, "filtered", reading.dropped_by)
            return
        if event is None or reading.action == "ignore":
            self._record(read, position, reading, "ignored", reading.reason)
            return
        keys = self._directory.keys(message.endpoint_id, event, integration)
        alert = self.alerts.find(*keys)
        if alert is None:
            self._without_alert(read, position, reading, event, integration, keys)
            return
        occurred_at = _occurred_at(event, message)
        if occurred_at is not None and alert.occurred_at is not None and occurred_at < alert.occurred_at:
            self._record(read, position, reading, "ignored", OLDER, alert.id)
            return
        kind: ChangeKind = {"open": "appended", "update": "updated", "close": "closed"}[reading.action]  # type: ignore[assignment]
        trace: list[str] = []
        cause = _cause(integration, read)
        alert = self.alerts.changed(alert, kind, reading, event, integration, cause, occurred_at, trace)
        self._record(read, position, reading, kind, None, alert.id, trace)  # type: ignore[arg-type]  # these kinds are outcomes

    def _without_alert(
        self,
        read: Read,
        position: int,
        reading: Reading,
        event: Event,
        integration: Integration,
        keys: Sequence[AlertKey],
    ) -> None:
        message = read.message
        if reading.action == "update":
            self._record(read, position, reading, "ignored", NO_OPEN_ALERT)
            return
        # What came in a window is over, or opens now; the window may have ended a moment ago.
        self._suppressed |= dict.fromkeys(keys)
        if reading.action == "close":
            self._record(read, position, reading, "ignored", NO_OPEN_ALERT)
            return
        window = self._directory.window_at(integration, self._now)
        if window is not None:
            self._suppress(read, position, reading, integration, keys[0], *window)
            return
        trace: list[str] = []
        cause = _cause(integration, read)
        alert = self.alerts.opened(keys[0], reading, event, integration, cause, _occurred_at(event, message), trace)
        self._record(read, position, reading, "opened", None, alert.id, trace)

    def _suppress(
        self,
        read: Read,
        position: int,
        reading: Reading,
        integration: Integration,
        key: AlertKey,
        window: Window,
        until: int,
    ) -> None:
        if window.reopen:
            suppressed = Suppressed(
                key=key,
                integration_id=integration.id,
                window_id=window.id,
                until=until,
                message_id=read.message.id,
                reading=reading,
            )
            self._suppressed[key] = suppressed
        after = "it opens then if it is not closed before" if window.reopen else "it is not opened then"
        line = f"maintenance: the window {window.name} lasts until {iso(until)}; {after}"
        self._record(read, position, reading, "suppressed", f"maintenance window {window.name}", trace=[line])

    # messages that cannot be read

    def _tell_unreadable(self, integration: Integration, read: Read, error: str) -> Alert:
        event = Event(
            source_id=f"unreadable:{integration.id}",
            source=SELF,
            subject=f"{integration.name}: message could not be read",
            description=f"Message {read.message.id} is kept and can be replayed. {error}",
            source_status="unreadable",
        )
        reading = Reading(action="open", event=event, severity="error")
        cause = _cause(integration, read)
        alert = self.alerts.find(unreadable_key(integration))
        if alert is None:
            return self.alerts.opened(unreadable_key(integration), reading, event, integration, cause, None, [])
        return self.alerts.changed(alert, "appended", reading, event, integration, cause, None, [])

    def _tell_readable(self, integration: Integration, read: Read) -> None:
        alert = self.alerts.find(unreadable_key(integration))
        if alert is None:
            return
        event = Event(
            source_id=alert.source_id,
            source=SELF,
            subject=f"{integration.name}: messages are read again",
            source_status="read",
        )
        cause = _cause(integration, read)
        self.alerts.changed(alert, "closed", Reading(action="close", event=event), event, integration, cause, None, [])

    # what became of each event

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
        trace: Sequence[str] = (),
    ) -> None:
        lines = (*reading.trace, *trace)
        if reading.event is not None and outcome != "failed":
            lines = (*lines, _sentence(outcome, reason, alert_id, reading.event))
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
                trace=lines,
            )
        )


def set_aside(message: Message, *, tries: int, reason: str) -> Deferred:
    """Have a message read later, apart from the others."""
    return Deferred(message_id=message.id, endpoint_id=message.endpoint_id, tries=tries, reason=reason)


def _cause(integration: Integration, read: Read) -> Cause:
    actor = f"{integration.name}, replayed" if read.run else integration.name
    return Cause(actor=actor, integration=integration, message_id=read.message.id)


def _occurred_at(event: Event, message: Message) -> int | None:
    """When it happened, by the sender's clock, but not after it was received: later events would look old."""
    return None if event.occurred_at is None else min(instant(event.occurred_at), message.received_at)


def _sentence(outcome: Outcome, reason: str | None, alert_id: int | None, event: Event) -> str:
    name = f"{event.source} / {event.source_name}" if event.source_name else str(event.source)
    identity = event.source_id if len(event.source_id) <= 100 else event.source_id[:100] + "…"  # noqa: PLR2004
    what = f"{outcome}: {reason}" if reason else outcome
    alert = f" alert {alert_id}" if alert_id is not None else ""
    return f"{what}{alert} ({name}, id {identity!r})"
