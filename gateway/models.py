"""
The things the gateway speaks of, in DESIGN's words.

Instants (`*_at`) are whole milliseconds since 1970-01-01 UTC. Ids are text, except an alert's, which people say aloud: a
small number. A message's id is its offset in the journal.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

import msgspec

from gateway.hours import Hours

Channel = Literal["API", "Email", "Chat", "Heartbeat"]
Severity = Literal["info", "warning", "error", "critical"]
Action = Literal["open", "update", "close", "ignore"]
Outcome = Literal["opened", "updated", "appended", "closed", "ignored", "filtered", "suppressed", "failed"]
AlertStatus = Literal["open", "assigned", "closed"]
ChangeKind = Literal["opened", "appended", "updated", "assigned", "closed"]
NotificationStatus = Literal["pending", "delivered", "dead", "withdrawn"]

SELF = "Alert Gateway"
"""The Source and the integration of alerts that the gateway opens about itself, and the actor of what it does by itself."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What a template reads out of a message, in the vendor's own words.

    A field that is None was not said; the alert keeps what it knew.
    """

    source_id: str
    """The vendor's own id of the problem."""
    subject: str | None = None
    """What is wrong and where, in one line."""
    source: str | None = None
    """The vendor's product; the template's name where it is None."""
    source_name: str | None = None
    """Which instance of the vendor's things: account, site, cluster, host."""
    source_url: str | None = None
    """The page a person wants to open."""
    source_status: str | None = None
    """The vendor's word for the state."""
    source_severity: str | None = None
    """The vendor's word for how bad it is."""
    description: str | None = None
    """What else helps; it may have paragraphs."""
    short_text: str | None = None
    """The subject in few words."""
    assignee: str | None = None
    """Who has it at the vendor's."""
    topic: str | None = None
    """What it is about, in the vendor's own classes."""
    tags: tuple[str, ...] = ()
    """`key:value`, or words."""
    custom: dict[str, str] = {}
    """Fields of a team's own, by name."""
    occurred_at: datetime | None = None
    """When it happened, by the vendor's clock."""


class Ignored(msgspec.Struct, frozen=True):
    """A silence that a template asks for: this part of the message is no event, and why."""

    reason: str
    """Why, in plain words."""
    because: str = ""
    """Which rule said so."""


class Override(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A policy in place of the integration's own, within these hours; at any time where there are none."""

    policy: str
    hours: tuple[Hours, ...] = ()


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One event, and what the rules make of it before any alert is known.

    `severity` is None where the message names none: a new alert takes `default_severity`, an old one keeps its own.
    `dropped_by` names what wants the event dropped: a filter, a plugin. `error` says why this one event could not be read.
    `integration_id` is the integration that took the event, where several share an endpoint. `trace` explains the decision:
    one line for each step, in words a person understands.

    `acknowledged` says that somebody at the vendor's has it. `overrides` are policies that may take the place of the
    integration's, in order; `recipient_groups` are told in addition; alerts of the same `group_key` may be told as one.
    """

    action: Action
    reason: str | None = None
    event: Event | None = None
    severity: Severity | None = None
    default_severity: Severity = "warning"
    dropped_by: str | None = None
    error: str | None = None
    integration_id: str | None = None
    acknowledged: bool = False
    overrides: tuple[Override, ...] = ()
    recipient_groups: tuple[str, ...] = ()
    group_key: str | None = None
    trace: tuple[str, ...] = ()


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One inbound request, as it was stored. `headers` is raw lines `name: value` joined by CRLF, secrets blotted out."""

    id: int
    endpoint_id: str
    received_at: int
    query: bytes = b""
    headers: bytes = b""
    body: bytes = b""
    delivery_id: str | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """
    A URL that messages are posted to: a token and a name. Integrations that are clones share one.

    Only hashes of tokens are kept (HMAC-SHA256 with the installation's key); the previous one holds until
    `previous_until`. `secret` and `previous_secret` are what senders are verified with, sealed by `vault.Vault`;
    `token_from` and `secret_from` say where a configuration file had them from, `env:NAME` or `file:PATH`.

    With `fan_out` every integration whose filters an event passes takes it, without it the first.
    """

    id: str
    name: str
    token_hash: bytes
    token_hint: str
    previous_token_hash: bytes | None = None
    previous_until: int | None = None
    secret: bytes | None = None
    previous_secret: bytes | None = None
    created_at: int
    fan_out: bool = False
    token_from: str | None = None
    secret_from: str | None = None


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """
    A configured endpoint: template, name, recipients, rules.

    Recipient groups and users are told in addition to the policy, at once. `settings` is the difference to the template,
    with the keys of template.toml, and the Advanced Settings (`advanced.Advanced`).
    """

    id: str
    endpoint_id: str
    name: str
    template: str
    enabled: bool = True
    sequence: int = 0
    policy_id: str | None = None
    settings: dict[str, Any] = {}
    created_at: int
    updated_at: int
    group_ids: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A way to reach a user: the kind names a notifier, the address is the notifier's to read."""

    id: str
    kind: str
    address: str


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Someone to notify, by each contact in order."""

    id: str
    name: str
    contacts: tuple[Contact, ...] = ()
    created_at: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient group: users who are told together."""

    id: str
    name: str
    user_ids: tuple[str, ...] = ()
    created_at: int


class PolicyStep(msgspec.Struct, frozen=True, kw_only=True):
    """Who is notified, `after` seconds from the change."""

    user_ids: tuple[str, ...]
    after: int = 0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """An escalation policy: steps in order."""

    id: str
    name: str
    steps: tuple[PolicyStep, ...] = ()
    created_at: int


class AlertKey(msgspec.Struct, frozen=True):
    """
    What makes two events speak of the same alert. Ids are the vendor's own, verbatim; None and "" are the same.

    `scope` is the id of the integration where an endpoint's events fan out to several, each with alerts of its own.
    """

    endpoint_id: str
    source: str
    source_name: str
    source_id: str
    scope: str = ""


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """A problem that came in a maintenance window: the event that would have opened an alert, until the window ends."""

    key: AlertKey
    integration_id: str
    window_id: str
    until: int
    message_id: int
    reading: Reading


class Routing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    Who is told of an alert, settled when it opens: a policy, and groups and users in addition.

    `until` is when somebody took it: whose time had not come by then is not told.
    """

    policy_id: str | None = None
    group_ids: tuple[str, ...] = ()
    user_ids: tuple[str, ...] = ()
    until: int | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """
    One condition, from open to close. `changes` counts its timeline; `count` its opening events.

    `told_at` is when people are told that it opened, which may lie ahead; None where nobody is (yet). `openings` are when its
    opening events came, where a delay counts them. With a `leader_id` it is told as part of that alert, of the same
    `group_key`. At `close_at` it is closed for silence.
    """

    id: int
    endpoint_id: str
    integration_id: str
    status: AlertStatus
    source: str
    source_name: str
    source_id: str
    source_url: str | None = None
    source_status: str | None = None
    severity: Severity
    subject: str
    description: str | None = None
    short_text: str | None = None
    assignee: str | None = None
    topic: str | None = None
    tags: tuple[str, ...] = ()
    count: int = 1
    changes: int = 1
    occurred_at: int | None = None
    opened_at: int
    updated_at: int
    closed_at: int | None = None
    custom: dict[str, str] = {}
    scope: str = ""
    routing: Routing = Routing()
    told_at: int | None = None
    openings: tuple[int, ...] = ()
    group_key: str | None = None
    leader_id: int | None = None
    close_at: int | None = None

    @property
    def key(self) -> AlertKey:
        """What makes two events speak of this alert."""
        return AlertKey(self.endpoint_id, self.source, self.source_name, self.source_id, self.scope)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an alert's timeline; `seq` counts from 1. `actor` is who did it: a message, a person, the gateway."""

    alert_id: int
    seq: int
    at: int
    kind: ChangeKind
    actor: str
    message_id: int | None = None
    text: str | None = None
    severity: Severity | None = None
    source_status: str | None = None


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    What became of one event of a message.

    `run` is 0 when the message was first read and counts its replays; `position` counts the events of one run.
    """

    message_id: int
    run: int = 0
    position: int = 0
    endpoint_id: str
    integration_id: str | None = None
    action: Action
    outcome: Outcome
    reason: str | None = None
    alert_id: int | None = None
    at: int
    trace: tuple[str, ...] = ()


class Deferred(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is to be read again, apart from the others: set aside after `tries` tries, or replayed."""

    message_id: int
    endpoint_id: str
    run: int = 0
    tries: int = 0
    reason: str = ""


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """
    One change of an alert, to one contact.

    `id` is the idempotency key: it never changes over retries and restarts. `alert` is the alert as the change left it.
    """

    id: str
    alert_id: int
    seq: int
    kind: ChangeKind
    contact: Contact
    user: str
    integration: str
    alert: Alert
    status: NotificationStatus = "pending"
    attempts: int = 0
    due_at: int
    created_at: int
    finished_at: int | None = None
    error: str | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try to deliver a notification. `error` is None where it was delivered; `response` is cut to 1 KiB."""

    notification_id: str
    number: int
    at: int
    duration_ms: int
    code: int | None = None
    error: str | None = None
    response: str = ""
