"""Rows of the state, and the things they stand for: the order of columns is that of `sql/state/`."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from gateway.models import (
    Alert,
    AlertKey,
    Attempt,
    Change,
    Contact,
    Deferred,
    Endpoint,
    EventRecord,
    Integration,
    Notification,
)

Row = tuple[Any, ...]


def json(value: object) -> str:
    """A value as JSON text."""
    return msgspec.json.encode(value).decode()


def texts(stored: str) -> tuple[str, ...]:
    """A JSON list of texts."""
    return msgspec.json.decode(stored, type=tuple[str, ...]) if stored != "[]" else ()


def key_hash(key: AlertKey) -> bytes:
    """16 bytes that stand for a key of any length; each part goes in with its length, so that no two keys are alike."""
    parts = [part.encode() for part in (key.endpoint_id, key.source, key.source_name, key.source_id)]
    return hashlib.blake2b(b"".join([b"%d:%b" % (len(part), part) for part in parts]), digest_size=16).digest()


def endpoint_row(endpoint: Endpoint) -> Row:
    """The row of an endpoint."""
    return msgspec.structs.astuple(endpoint)


def endpoint_of(row: Row) -> Endpoint:
    """The endpoint of a row."""
    return Endpoint(**dict(zip(Endpoint.__struct_fields__, row, strict=True)))


def integration_row(integration: Integration) -> Row:
    """The row of an integration."""
    *head, settings, created_at, updated_at = msgspec.structs.astuple(integration)
    return (*head, json(settings), created_at, updated_at)


def integration_of(row: Row) -> Integration:
    """The integration of a row."""
    fields = dict(zip(Integration.__struct_fields__, row, strict=True))
    fields["enabled"] = bool(fields["enabled"])
    fields["settings"] = msgspec.json.decode(fields["settings"])
    return Integration(**fields)


def alert_row(alert: Alert) -> Row:
    """The row of an alert; the hash of its key comes after the id."""
    number, *values = msgspec.structs.astuple(alert)
    values[TAGS - 1] = json(alert.tags)
    return (number, key_hash(alert.key), *values)


def alert_of(row: Row) -> Alert:
    """The alert of a row, which has no hash."""
    fields = dict(zip(Alert.__struct_fields__, row, strict=True))
    fields["tags"] = texts(fields["tags"])
    return Alert(**fields)


def change_row(change: Change) -> Row:
    """The row of a line of a timeline."""
    return msgspec.structs.astuple(change)


def change_of(row: Row) -> Change:
    """The line of a timeline of a row."""
    return Change(**dict(zip(Change.__struct_fields__, row, strict=True)))


def event_row(event: EventRecord) -> Row:
    """The row of what became of an event."""
    *head, trace = msgspec.structs.astuple(event)
    return (*head, json(trace))


def event_of(row: Row) -> EventRecord:
    """What became of the event of a row."""
    fields = dict(zip(EventRecord.__struct_fields__, row, strict=True))
    fields["trace"] = texts(fields["trace"])
    return EventRecord(**fields)


def deferred_row(deferred: Deferred) -> Row:
    """The row of a message that waits to be read again."""
    return msgspec.structs.astuple(deferred)


def deferred_of(row: Row) -> Deferred:
    """The message that waits, of a row."""
    return Deferred(**dict(zip(Deferred.__struct_fields__, row, strict=True)))


def notification_row(notification: Notification) -> Row:
    """The row of a notification, with its alert as JSON at the end."""
    contact = notification.contact
    return (
        notification.id,
        notification.alert_id,
        notification.seq,
        notification.kind,
        contact.id,
        contact.kind,
        contact.address,
        notification.user,
        notification.integration,
        notification.status,
        notification.attempts,
        notification.due_at,
        notification.created_at,
        notification.finished_at,
        notification.error,
        json(notification.alert),
    )


def notification_of(row: Row) -> Notification:
    """The notification of a row."""
    number, alert_id, seq, kind, contact, contact_kind, address, user, integration, status, *rest = row
    attempts, due_at, created_at, finished_at, error, alert = rest
    return Notification(
        id=number,
        alert_id=alert_id,
        seq=seq,
        kind=kind,
        contact=Contact(id=contact, kind=contact_kind, address=address),
        user=user,
        integration=integration,
        alert=msgspec.json.decode(alert, type=Alert),
        status=status,
        attempts=attempts,
        due_at=due_at,
        created_at=created_at,
        finished_at=finished_at,
        error=error,
    )


def attempt_row(attempt: Attempt) -> Row:
    """The row of an attempt."""
    return msgspec.structs.astuple(attempt)


def attempt_of(row: Row) -> Attempt:
    """The attempt of a row."""
    return Attempt(**dict(zip(Attempt.__struct_fields__, row, strict=True)))


TAGS = Alert.__struct_fields__.index("tags")
