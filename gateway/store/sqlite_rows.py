"""Rows of the state, and the things they stand for: the order of columns is that of `sql/state/`."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from gateway.hours import Window
from gateway.models import (
    Alert,
    AlertKey,
    Attempt,
    Change,
    Contact,
    Deferred,
    Endpoint,
    EventRecord,
    Group,
    Integration,
    Notification,
    Reading,
    Routing,
    Suppressed,
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
    if key.scope:
        parts.append(key.scope.encode())
    return hashlib.blake2b(b"".join([b"%d:%b" % (len(part), part) for part in parts]), digest_size=16).digest()


def endpoint_row(endpoint: Endpoint) -> Row:
    """The row of an endpoint."""
    return msgspec.structs.astuple(endpoint)


def endpoint_of(row: Row) -> Endpoint:
    """The endpoint of a row."""
    fields = dict(zip(Endpoint.__struct_fields__, row, strict=True))
    fields["fan_out"] = bool(fields["fan_out"])
    return Endpoint(**fields)


def integration_row(integration: Integration) -> Row:
    """The row of an integration."""
    *head, settings, created_at, updated_at, group_ids, user_ids = msgspec.structs.astuple(integration)
    return (*head, json(settings), created_at, updated_at, json(group_ids), json(user_ids))


def integration_of(row: Row) -> Integration:
    """The integration of a row."""
    fields = dict(zip(Integration.__struct_fields__, row, strict=True))
    fields["enabled"] = bool(fields["enabled"])
    fields["settings"] = msgspec.json.decode(fields["settings"])
    fields["group_ids"], fields["user_ids"] = texts(fields["group_ids"]), texts(fields["user_ids"])
    return Integration(**fields)


def group_row(group: Group) -> Row:
    """The row of a recipient group."""
    return group.id, group.name, json(group.user_ids), group.created_at


def group_of(row: Row) -> Group:
    """The recipient group of a row."""
    number, name, user_ids, created_at = row
    return Group(id=number, name=name, user_ids=texts(user_ids), created_at=created_at)


def window_row(window: Window) -> Row:
    """The row of a maintenance window."""
    fields = msgspec.structs.asdict(window)
    fields["days"] = json(window.days)
    return tuple(fields.values())


def window_of(row: Row) -> Window:
    """The maintenance window of a row."""
    fields = dict(zip(Window.__struct_fields__, row, strict=True))
    fields["days"], fields["reopen"] = texts(fields["days"]), bool(fields["reopen"])
    return Window(**fields)


def suppressed_row(suppressed: Suppressed) -> Row:
    """The row of a problem in a maintenance window; the hash of its key comes first."""
    key, integration_id, window_id, until, message_id, reading = msgspec.structs.astuple(suppressed)
    return key_hash(key), json(key), integration_id, window_id, until, message_id, json(reading)


def suppressed_of(row: Row) -> Suppressed:
    """The problem in a maintenance window of a row, which has no hash."""
    key, integration_id, window_id, until, message_id, reading = row
    return Suppressed(
        key=msgspec.json.decode(key, type=AlertKey),
        integration_id=integration_id,
        window_id=window_id,
        until=until,
        message_id=message_id,
        reading=msgspec.json.decode(reading, type=Reading),
    )


def alert_row(alert: Alert) -> Row:
    """The row of an alert; the hash of its key comes after the id."""
    number, *values = msgspec.structs.astuple(alert)
    for at in _AS_JSON:
        values[at - 1] = json(values[at - 1])
    return (number, key_hash(alert.key), *values)


def alert_of(row: Row) -> Alert:
    """The alert of a row, which has no hash."""
    fields = dict(zip(Alert.__struct_fields__, row, strict=True))
    fields["tags"] = texts(fields["tags"])
    if fields["custom"] != "{}":
        fields["custom"] = msgspec.json.decode(fields["custom"])
    else:
        del fields["custom"]
    fields["routing"] = msgspec.json.decode(fields["routing"], type=Routing)
    fields["openings"] = msgspec.json.decode(fields["openings"], type=tuple[int, ...])
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


_AS_JSON = tuple(Alert.__struct_fields__.index(name) for name in ("tags", "custom", "routing", "openings"))
