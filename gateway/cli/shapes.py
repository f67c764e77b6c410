"""The things of the gateway as the JSON objects that commands print. Ids are text everywhere."""

from __future__ import annotations

import base64
import contextlib
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.clock import iso
from gateway.hours import Window, active_until, first_times
from gateway.maintenance import phase
from gateway.models import (
    Alert,
    Attempt,
    Change,
    Endpoint,
    EventRecord,
    Group,
    Integration,
    Message,
    Notification,
    Policy,
    User,
)
from gateway.views import alert_view

if TYPE_CHECKING:
    from gateway.plugins import Card
    from gateway.vault import Vault

Shape = dict[str, Any]


class Names:
    """The names of integrations, by their own id and by their endpoint's."""

    def __init__(self, integrations: Sequence[Integration]) -> None:
        self._by_id = {integration.id: integration.name for integration in integrations}
        self._by_endpoint: dict[str, str] = {}
        for integration in sorted(integrations, key=lambda one: (one.sequence, one.created_at, one.id)):
            self._by_endpoint.setdefault(integration.endpoint_id, integration.name)

    def of(self, integration_id: str) -> str:
        """The name; of one that was deleted, its id."""
        return self._by_id.get(integration_id, integration_id)

    def at(self, endpoint_id: str) -> str:
        """The name of the integration that takes the messages of an endpoint; of one that was deleted, the endpoint's id."""
        return self._by_endpoint.get(endpoint_id, endpoint_id)


def alert_shape(alert: Alert, names: Names) -> Shape:
    """An alert, as it is notified of."""
    return alert_view(alert, names.of(alert.integration_id))


def alert_in_full(alert: Alert, names: Names, timeline: Sequence[Change], told: Sequence[Notification]) -> Shape:
    """An alert with all that is known of it."""
    return alert_shape(alert, names) | {
        "short_text": alert.short_text,
        "assignee": alert.assignee,
        "topic": alert.topic,
        "custom": alert.custom,
        "told_at": iso(alert.told_at),
        "leader_id": None if alert.leader_id is None else str(alert.leader_id),
        "close_at": iso(alert.close_at),
        "count": alert.count,
        "occurred_at": iso(alert.occurred_at),
        "updated_at": iso(alert.updated_at),
        "timeline": [change_shape(change) for change in timeline],
        "notifications": [notification_shape(one) for one in told],
    }


def change_shape(change: Change) -> Shape:
    """A line of a timeline."""
    return {
        "seq": change.seq,
        "at": iso(change.at),
        "kind": change.kind,
        "actor": change.actor,
        "message_id": None if change.message_id is None else str(change.message_id),
        "severity": change.severity,
        "source_status": change.source_status,
        "text": change.text,
    }


def event_shape(record: EventRecord) -> Shape:
    """What became of one event of a message."""
    return {
        "action": record.action,
        "outcome": record.outcome,
        "reason": record.reason,
        "alert_id": None if record.alert_id is None else str(record.alert_id),
    }


def message_shape(message: Message, records: Sequence[EventRecord], names: Names, *, pending: bool) -> Shape:
    """A message, with the events of its newest run: 0 when it came, then one more with each replay."""
    last = max((record.run for record in records), default=0)
    events = [record for record in records if record.run == last]
    of = next((record.integration_id for record in events if record.integration_id), None)
    return {
        "id": str(message.id),
        "integration": names.of(of) if of else names.at(message.endpoint_id),
        "received_at": iso(message.received_at),
        "status": "pending" if pending else "done",
        "run": last,
        "events": [event_shape(record) for record in events],
    }


def message_in_full(message: Message, records: Sequence[EventRecord], names: Names, *, pending: bool) -> Shape:
    """A message with all that came, and all runs with their explanations."""
    from gateway.body import parse_headers

    shape = message_shape(message, records, names, pending=pending)
    runs = [
        {
            "run": run,
            "at": iso(min(record.at for record in records if record.run == run)),
            "events": [event_shape(record) | {"trace": list(record.trace)} for record in records if record.run == run],
        }
        for run in sorted({record.run for record in records})
    ]
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in parse_headers(message.headers)]
    return (
        shape
        | {"delivery_id": message.delivery_id, "query": message.query.decode("latin-1"), "headers": headers}
        | body_shape(message.body)
        | {"runs": runs}
    )


def body_shape(body: bytes) -> Shape:
    """A body as text, or in base64 where it is none."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def notification_shape(notification: Notification) -> Shape:
    """A notification; `attempts` counts them."""
    return {
        "id": notification.id,
        "alert_id": str(notification.alert_id),
        "kind": notification.kind,
        "status": notification.status,
        "user": notification.user,
        "contact": {"kind": notification.contact.kind, "address": notification.contact.address},
        "integration": notification.integration,
        "subject": notification.alert.subject,
        "attempts": notification.attempts,
        "due_at": iso(notification.due_at),
        "created_at": iso(notification.created_at),
        "finished_at": iso(notification.finished_at),
        "error": notification.error,
    }


def attempt_shape(attempt: Attempt) -> Shape:
    """One try to deliver a notification."""
    return {
        "number": attempt.number,
        "at": iso(attempt.at),
        "duration_ms": attempt.duration_ms,
        "code": attempt.code,
        "error": attempt.error,
        "response": attempt.response,
    }


class Directory:
    """Names of policies, groups and users, by id."""

    def __init__(self, policies: Sequence[Policy], groups: Sequence[Group], users: Sequence[User]) -> None:
        self._names = {one.id: one.name for kind in (policies, groups, users) for one in kind}

    def name(self, number: str | None) -> str | None:
        """The name of one of them; of one that was deleted, its id."""
        return None if number is None else self._names.get(number, number)


def integration_shape(
    integration: Integration, endpoint: Endpoint | None, directory: Directory, base_url: str
) -> Shape:
    """An integration. Of its URL only a hint is known, since only a hash of the token is kept."""
    from gateway.integrations import endpoint_url

    return {
        "id": integration.id,
        "name": integration.name,
        "template": integration.template,
        "enabled": integration.enabled,
        "policy": directory.name(integration.policy_id),
        "groups": [directory.name(number) for number in integration.group_ids],
        "users": [directory.name(number) for number in integration.user_ids],
        "sequence": integration.sequence,
        "fan_out": endpoint is not None and endpoint.fan_out,
        "endpoint_hint": endpoint_url(base_url, endpoint.token_hint, endpoint.name) if endpoint else None,
        "verified": endpoint is not None and endpoint.secret is not None,
        "previous_token_until": iso(endpoint.previous_until) if endpoint else None,
        "created_at": iso(integration.created_at),
        "updated_at": iso(integration.updated_at),
        "settings": integration.settings,
    }


def group_shape(group: Group, users: Mapping[str, User]) -> Shape:
    """A recipient group, with the names of its users."""
    names = [users[user_id].name if user_id in users else user_id for user_id in group.user_ids]
    return {"id": group.id, "name": group.name, "users": names, "created_at": iso(group.created_at)}


def window_shape(window: Window, integration: str, now: int) -> Shape:
    """A maintenance window with when it comes the first time, and when it ends if it lasts now."""
    starts, ends = first_times(window)
    return {
        "id": window.id,
        "integration": integration,
        "name": window.name,
        "phase": phase(window, now),
        "starts": starts,
        "ends": ends,
        "zone": window.zone,
        "repeat": window.repeat,
        "days": list(window.days),
        "reopen": window.reopen,
        "until": iso(active_until(window, now)),
    }


def user_shape(user: User, vault: Vault) -> Shape:
    """A user. A webhook contact comes with the secret that verifies what it is sent."""
    contacts: list[Shape] = []
    for contact in user.contacts:
        shape: Shape = {"id": contact.id, "kind": contact.kind, "address": contact.address}
        if contact.kind == "webhook":
            shape["signing_secret"] = vault.signing_secret(contact.id)
        contacts.append(shape)
    return {"id": user.id, "name": user.name, "contacts": contacts, "created_at": iso(user.created_at)}


def policy_shape(policy: Policy, users: Mapping[str, User]) -> Shape:
    """A policy, with the names of those it notifies."""
    steps = [
        {
            "after": step.after,
            "users": [users[user_id].name if user_id in users else user_id for user_id in step.user_ids],
        }
        for step in policy.steps
    ]
    names = list(dict.fromkeys(name for step in steps for name in step["users"]))  # type: ignore[attr-defined]
    return {"id": policy.id, "name": policy.name, "users": names, "steps": steps, "created_at": iso(policy.created_at)}


def template_shape(card: Card) -> Shape:
    """A template as the gallery shows it; its tier is worked out from its folder."""
    tier, evidence = "none", {}
    if card.error is None:
        with contextlib.suppress(ImportError):
            tiers = importlib.import_module("gateway.tiers")
            tier, evidence = tiers.tier_of(card.folder), tiers.evidence_of(card.folder)
    return {
        "slug": card.slug,
        "name": card.name,
        "channel": card.channel,
        "tier": tier,
        "evidence": evidence,
        "version": card.version,
        "distribution": card.distribution,
        "error": card.error,
    }
