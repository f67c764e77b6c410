"""
The alerts that one step changes: opened, appended to, closed, grouped; and who is told of it. Pure decisions; no I/O.

A working copy in memory: what one message of a batch did, the next one finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.advanced import NONE, Advanced, Delay
from gateway.clock import in_words
from gateway.directory import Directory
from gateway.escalation import names_told, notifications_of
from gateway.grouping import heir_of, leader_of
from gateway.models import SELF, Alert, AlertKey, Change, ChangeKind, Event, Integration, Reading, Routing
from gateway.pacing import at_event, at_opening, is_repeated, remembered
from gateway.routing import routing_of
from gateway.store.base import Changes

HAND_OVER = 120_000
"""How long (ms) an alert must stay open after the leader of its group was closed, before people are told of it."""
_SAID = ("source_url", "source_status", "assignee", "topic")
_TEXTS = ("subject", "description", "short_text")
_LONGEST = 2000
"""How many characters of reasons a line of a timeline holds."""


class Known(msgspec.Struct, kw_only=True):
    """
    What the state knows that a plan needs: open alerts by key, the leaders of groups, and when alerts were opened before.

    `leaders` are those of each group, by integration and group key; `members` are by the id of their leader. `recall` looks
    it all up.
    """

    alerts: Mapping[AlertKey, Alert] = {}
    leaders: Mapping[tuple[str, str], Sequence[Alert]] = {}
    members: Mapping[int, Sequence[Alert]] = {}
    openings: Mapping[AlertKey, Sequence[int]] = {}


class Cause(msgspec.Struct, kw_only=True):
    """
    What a change comes from. `actor` is who made it; `message_id` is that of the message that did.

    `integration` is that of the alert, None where it was deleted: nobody is told then.
    """

    actor: str
    integration: Integration | None = None
    message_id: int | None = None


class Alerts:
    """
    Alerts as a step of the pipeline finds and leaves them.

    `known` is what the state knows, `next_id` the id of the next new alert.
    """

    def __init__(self, known: Known, next_id: int, directory: Directory, now: int) -> None:
        self.changes = Changes(at=now)
        self._open = dict(known.alerts)
        self._leaders = {place: list(leaders) for place, leaders in known.leaders.items()}
        self._members = {number: list(members) for number, members in known.members.items()}
        self._openings = {key: list(instants) for key, instants in known.openings.items()}
        self._next_id = next_id
        self._directory = directory
        self._now = now
        self._alerts: dict[int, Alert] = {}
        self._left: list[tuple[Alert, Integration | None]] = []

    def find(self, *keys: AlertKey) -> Alert | None:
        """The open alert of the first of these keys that has one."""
        return next((self._open[key] for key in keys if key in self._open), None)

    def finish(self) -> Changes:
        """All changes, each alert as it is at the end."""
        self.settle()
        self.changes.alerts = list(self._alerts.values())
        return self.changes

    def opened(
        self,
        key: AlertKey,
        reading: Reading,
        event: Event,
        integration: Integration,
        cause: Cause,
        occurred_at: int | None,
        trace: list[str] | None,
    ) -> Alert:
        """
        Open an alert of this key; what decides who is told, and when, is added to `trace`.

        Where that is None, no message's explanation says it, and the timeline does.
        """
        reasons: list[str] = [] if trace is None else trace
        advanced = self._directory.advanced_of(integration)
        routing, lines = routing_of(reading, integration, self._directory, self._now)
        reasons += lines
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
            changes=0,
            custom=event.custom,
            scope=key.scope,
            routing=routing,
            openings=remembered(advanced.delay, (), self._now),
            close_at=self._close_at(key.source, advanced),
        )
        self._next_id += 1
        alert = self._paced(alert, reading, advanced, reasons)
        text = event.subject if trace is not None else _joined([event.subject or "", *reasons])
        return self.put(alert, "opened", cause, text=text, source_status=event.source_status)

    def _paced(self, alert: Alert, reading: Reading, advanced: Advanced, trace: list[str]) -> Alert:
        """The alert with when people are told of it: at once, later, or as part of another."""
        replace = msgspec.structs.replace
        if reading.acknowledged:
            trace.append("acknowledged already: it is assigned, and nobody is told")
            return replace(alert, status="assigned", assignee=alert.assignee or self._named(alert.integration_id))
        names = f"told: {names_told(alert.routing, self._directory.people)}"
        if alert.source == SELF:
            trace.append(names)
            return replace(alert, told_at=self._now)
        delay = advanced.delay
        earlier: Sequence[int] = ()
        if delay.flapping is not None:
            earlier = self._openings.setdefault(alert.key, [])
        told_at, why = at_opening(delay, self._now, earlier)
        if delay.flapping is not None:
            self._openings[alert.key].append(self._now)
            self.changes.openings.append((alert.key, self._now))
        told = replace(alert, told_at=told_at)
        if advanced.group is not None and reading.group_key is not None:
            told = replace(told, group_key=reading.group_key)
            leaders = self._leaders.setdefault((alert.integration_id, reading.group_key), [])
            open_leaders = (one for one in (self._alerts.get(one.id, one) for one in leaders) if one.status != "closed")
            leader, line = leader_of(told, open_leaders, advanced.group, self._directory.people)
            if line is not None:
                trace.append(line)
            if leader is not None:
                self._members.setdefault(leader.id, []).append(told)
                return replace(told, told_at=None, leader_id=leader.id)
            leaders.append(told)
        trace.append(names)
        if why is not None:
            trace.append(why)
        return told

    def changed(
        self,
        alert: Alert,
        kind: ChangeKind,
        reading: Reading,
        event: Event,
        integration: Integration,
        cause: Cause,
        occurred_at: int | None,
        trace: list[str],
    ) -> Alert:
        """Append to an open alert, update it or close it (`kind`) by what an event says."""
        advanced = self._directory.advanced_of(integration)
        said: dict[str, Any] = {name: value for name in _SAID if (value := getattr(event, name)) is not None}
        if kind == "closed":
            # A recovery's words are on the timeline; the alert keeps saying what was wrong.
            said |= {"status": "closed", "closed_at": self._now, "close_at": None}
        else:
            said |= {name: value for name in _TEXTS if (value := getattr(event, name)) is not None}
            said["close_at"] = self._close_at(alert.source, advanced)
            if event.tags:
                said["tags"] = event.tags
            if event.custom:
                said["custom"] = {**alert.custom, **event.custom}
            if reading.severity is not None:
                said["severity"] = reading.severity
        if occurred_at is not None:
            said["occurred_at"] = occurred_at
        assigned = reading.acknowledged and kind != "closed" and alert.status == "open"
        if assigned:
            trace.append("acknowledged: it is assigned, and nobody more is told")
            said |= {
                "status": "assigned",
                "assignee": event.assignee or integration.name,
                "routing": self._taken(alert),
            }
        telling: ChangeKind | None = None
        if kind == "appended":
            telling, told = self._counted(alert, advanced, trace, quiet=assigned)
            said |= told
        alert = msgspec.structs.replace(alert, **said)
        kind = "assigned" if assigned else kind
        return self.put(alert, kind, cause, text=event.subject, source_status=event.source_status, telling=telling)

    def _counted(
        self, alert: Alert, advanced: Advanced, trace: list[str], *, quiet: bool
    ) -> tuple[ChangeKind | None, dict[str, Any]]:
        """What one more opening event means for who is told: what they are told now, and what changes of the alert."""
        count, delay = alert.count + 1, advanced.delay
        openings = remembered(delay, alert.openings, self._now)
        said: dict[str, Any] = {"count": count, "openings": openings}
        if quiet or alert.status != "open" or alert.leader_id is not None:
            return None, said
        if alert.told_at is None:
            said["told_at"] = self._told_at(msgspec.structs.replace(alert, openings=openings), delay, trace)
            if said["told_at"] is None:
                return None, said
            trace.append(f"delay: this is opening event {count}, so people are told")
            return "opened", said
        if alert.told_at <= self._now and is_repeated(delay, count):
            trace.append(f"delay: this is opening event {count}, so people are told again")
            return "appended", said
        return None, said

    def _told_at(self, alert: Alert, delay: Delay, trace: list[str], not_before: int = 0) -> int | None:
        """When people are told of an alert that is open and of which nobody was told yet."""
        events = alert.openings or (self._now,)
        opened = self._openings.get(alert.key, ())
        told_at, why = at_event(delay, self._now, alert.opened_at, events, opened, not_before=not_before)
        if why is not None:
            trace.append(why)
        return told_at

    def put(
        self,
        alert: Alert,
        kind: ChangeKind,
        cause: Cause,
        *,
        text: str | None = None,
        source_status: str | None = None,
        telling: ChangeKind | None = None,
    ) -> Alert:
        """Take an alert over as it is now, with a line on its timeline, and tell people where that is due."""
        alert = msgspec.structs.replace(alert, changes=alert.changes + 1, updated_at=max(self._now, alert.updated_at))
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
            actor=cause.actor,
            message_id=cause.message_id,
            text=text,
            severity=alert.severity,
            source_status=source_status,
        )
        self.changes.timeline.append(change)
        people = self._directory.people
        if kind in ("closed", "assigned") and alert.told_at is not None:
            self.changes.withdrawn.append(alert.id)
        if telling is not None or kind in ("opened", "closed"):
            self.changes.notifications += notifications_of(
                change, alert, cause.integration, people, now=self._now, kind=telling
            )
        if kind == "closed" and alert.group_key is not None and alert.leader_id is None:
            self._left.append((alert, cause.integration))
        return alert

    def settle(self) -> None:
        """
        Give the groups whose leaders were closed new ones, now that the message, or the step, has said all it says.

        Where one message closes them all, nobody hears of each of them in turn.
        """
        left, self._left = self._left, []
        for leader, integration in left:
            self._succeed(leader, integration)

    def _succeed(self, leader: Alert, integration: Integration | None) -> None:
        """The leader of a group is closed: another one takes its place, and people are told of that one."""
        members = [self._alerts.get(member.id, member) for member in self._members.pop(leader.id, [])]
        members = [member for member in members if member.status != "closed" and member.leader_id == leader.id]
        if not members:
            return
        first = heir_of(members)
        told_at, reasons = None, [_why_succeeded(leader, self._now)]
        if first.status != "open":
            reasons.append("it is assigned, and nobody is told")
        else:
            advanced = self._directory.advanced_of(integration) if integration is not None else NONE
            within = advanced.group.within_ms if advanced.group is not None else 0
            # What fell together gets up together: nobody is to hear of each in turn.
            told_at = self._told_at(first, advanced.delay, reasons, not_before=self._now + min(within, HAND_OVER))
        cause = Cause(actor=SELF, integration=integration)
        promoted = msgspec.structs.replace(first, leader_id=None, told_at=told_at)
        promoted = self.put(promoted, "updated", cause, text=_joined(reasons), telling="opened")
        if promoted.group_key is not None:
            self._leaders.setdefault((promoted.integration_id, promoted.group_key), []).append(promoted)
        rest = [member for member in members if member.id != first.id]
        self._members[promoted.id] = [msgspec.structs.replace(member, leader_id=promoted.id) for member in rest]
        for member in self._members[promoted.id]:
            self._alerts[member.id] = member
            self._open[member.key] = member

    def _close_at(self, source: str, advanced: Advanced) -> int | None:
        # That a message could not be read is over once one is read, and not for silence.
        after = advanced.close_after_ms if source != SELF else None
        return None if after is None else self._now + after

    def _named(self, integration_id: str) -> str:
        for integrations in self._directory.integrations.values():
            for one in integrations:
                if one.id == integration_id:
                    return one.name
        return SELF

    def close_silent(self, alert: Alert, integration: Integration | None) -> None:
        """Close an alert of which nothing was heard for as long as its integration says."""
        after = self._directory.advanced_of(integration).close_after_ms if integration is not None else None
        silence = f" for {in_words(after)}" if after is not None else ""
        self.close(alert, Cause(actor=SELF, integration=integration), text=f"closed: nothing was heard of it{silence}")

    def close(self, alert: Alert, cause: Cause, *, text: str | None) -> Alert:
        """Close an alert for another reason than an event's."""
        alert = self._alerts.get(alert.id, alert)
        if alert.status == "closed":
            return alert
        closed = msgspec.structs.replace(alert, status="closed", closed_at=self._now, close_at=None)
        return self.put(closed, "closed", cause, text=text)

    def assign(self, alert: Alert, cause: Cause, *, to: str) -> Alert:
        """Say who takes care of an alert; nobody more is told that it opened."""
        assigned = msgspec.structs.replace(alert, status="assigned", assignee=to, routing=self._taken(alert))
        return self.put(assigned, "assigned", cause, text=f"assigned to {to}")

    def _taken(self, alert: Alert) -> Routing:
        """Who was told of an alert by the time that somebody first took it."""
        until = self._now if alert.routing.until is None else alert.routing.until
        return msgspec.structs.replace(alert.routing, until=until)


def _why_succeeded(leader: Alert, now: int) -> str:
    if leader.told_at is not None and leader.told_at <= now:
        return f"alert {leader.id}, which it was told as part of, is closed"
    return f"alert {leader.id}, which it was to be told as part of, was closed before anybody was told"


def _joined(reasons: Sequence[str]) -> str:
    text = "; ".join(filter(None, reasons))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
