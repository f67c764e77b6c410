"""
What any store must do: the journal of messages, and the state of all else.

Two contracts, because they scale apart. The journal is append-only and is what a 2xx rests on. The state changes in
transactions, and the cursor into the journal moves in the transaction that applies a message, so that each message takes
effect exactly once. `tests/store_conformance.py` holds every adapter to these contracts.

Everything here is called from one event loop. An adapter may block it for as long as a local commit takes, not longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from gateway.errors import StoreError
from gateway.hours import Window
from gateway.models import (
    Alert,
    AlertKey,
    AlertStatus,
    Attempt,
    Change,
    Deferred,
    Endpoint,
    EventRecord,
    Group,
    Integration,
    Message,
    Notification,
    NotificationStatus,
    Outcome,
    Policy,
    Suppressed,
    User,
)


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A message before it has an id. `delivery_id` is the vendor's own id of this delivery, recorded once."""

    endpoint_id: str
    received_at: int
    query: bytes
    headers: bytes
    body: bytes
    delivery_id: str | None = None


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The draft is on disk as message `id`; a duplicate was there before and is not stored again."""

    id: int
    duplicate: bool = False


class Journal(Protocol):
    """
    The messages, in the order in which they were accepted.

    Ids start at 1, only grow, and are never given twice, also when old messages were deleted.
    """

    def append(self, draft: Draft, done: Callable[[Receipt | StoreError], None]) -> None:
        """
        Store a draft, then call `done` on the event loop: with a receipt once it is on disk, else with the error.

        `done` is called exactly once, and within a second: with `StoreBusyError` where the disk is slower than that, the
        queue is full, or the disk is. (The message may still be stored then; its sender's retry is absorbed by its
        delivery id or the alert's key.)

        Raises StoreBusyError at once where the queue is full.
        """

    async def read(self, after: int, limit: int) -> list[Message]:
        """The next messages after an id, oldest first; fewer than `limit` where their bodies add up to over 4 MiB."""

    async def get(self, ids: Sequence[int]) -> list[Message]:
        """The messages of these ids that exist, in the order of ids."""

    async def newest(self, limit: int, *, before: int | None = None, endpoint_id: str | None = None) -> list[Message]:
        """The newest messages first, those with an id under `before`."""

    async def head(self) -> int:
        """The newest id, 0 where there never was one."""

    async def forget(self, until: int, limit: int = 1000) -> int:
        """
        Delete the oldest messages, with ids up to `until`, at most `limit` of them; how many there were.

        Their ids stay used, their delivery ids are free again. What is not deferred and older than the cursor may go.
        """

    async def close(self) -> None:
        """Commit what was accepted, then let go of the files."""


class Changes(msgspec.Struct, kw_only=True):
    """
    All that one step of the pipeline changes, written together or not at all.

    `alerts` are whole rows, by id, new or not. A notification whose id exists is left as it is. Of the alerts in `withdrawn`
    (ids) the notifications of an opening that are not due yet are withdrawn, at the instant `at`, those of this step among
    them. `openings` are instants at which alerts of these keys were opened; those of over a week before are forgotten.
    """

    cursor: int | None = None
    alerts: list[Alert] = msgspec.field(default_factory=list)
    timeline: list[Change] = msgspec.field(default_factory=list)
    events: list[EventRecord] = msgspec.field(default_factory=list)
    notifications: list[Notification] = msgspec.field(default_factory=list)
    deferred: list[Deferred] = msgspec.field(default_factory=list)
    done: list[int] = msgspec.field(default_factory=list)
    at: int = 0
    withdrawn: list[int] = msgspec.field(default_factory=list)
    openings: list[tuple[AlertKey, int]] = msgspec.field(default_factory=list)
    suppressed: list[Suppressed] = msgspec.field(default_factory=list)
    unsuppressed: list[AlertKey] = msgspec.field(default_factory=list)


class Transaction(Protocol):
    """One change of the state: nobody else changes it meanwhile. It is on disk when the block ends, or gone if it raises."""

    async def cursor(self) -> int:
        """The id of the last message that took effect; 0 at first."""

    async def open_alerts(self, keys: Sequence[AlertKey]) -> dict[AlertKey, Alert]:
        """The alert that is not closed, for each key that has one."""

    async def alert(self, alert_id: int) -> Alert | None:
        """One alert, open or not."""

    async def next_alert_id(self) -> int:
        """The id that the next new alert takes; the caller counts on from it."""

    async def group_leaders(self, integration_id: str, group_key: str, *, after: int) -> list[Alert]:
        """The open alerts of this group that are no part of another one, opened after that instant; oldest first."""

    async def group_members(self, leader_id: int) -> list[Alert]:
        """The open alerts that are told as part of this one, oldest first."""

    async def openings(self, key: AlertKey, *, after: int) -> list[int]:
        """When alerts of this key were opened, after that instant, as far as it was written down."""

    async def silent(self, now: int, limit: int) -> list[Alert]:
        """Open alerts whose `close_at` has come."""

    async def suppressed(self, now: int, limit: int) -> list[Suppressed]:
        """What came in maintenance windows that have ended by now."""

    async def write(self, changes: Changes) -> None:
        """Write them. `deferred` rows replace those of the same message; `done` are message ids no longer deferred."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What `/metrics`, `/readyz` and `doctor` show. Ages are milliseconds."""

    alerts: Mapping[AlertStatus, int]
    notifications: Mapping[NotificationStatus, int]
    outcomes: Mapping[Outcome, int]
    deferred: int
    cursor: int
    oldest_due_at: int | None


class State(Protocol):
    """
    All but the messages.

    Names of integrations, users and policies are unique; `add_*` raises ConflictError where one is taken. Everything that
    changes the configuration raises `config_version` by one, so that caches know.
    """

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a change; raises StoreBusyError where another holds the state for over 5 seconds."""

    # configuration
    async def config_version(self) -> int:
        """Grows with each change of the configuration."""

    async def endpoints(self) -> list[Endpoint]:
        """All endpoints."""

    async def endpoint_by_token(self, token_hash: bytes) -> Endpoint | None:
        """The endpoint whose token, or previous token, has this hash. The caller checks `previous_until`."""

    async def save_endpoint(self, endpoint: Endpoint) -> None:
        """Replace an endpoint that exists (rotation, a new secret)."""

    async def integrations(self) -> list[Integration]:
        """All integrations, by name."""

    async def integration(self, ref: str) -> Integration | None:
        """By id or by name."""

    async def add_integration(self, integration: Integration, endpoint: Endpoint | None) -> None:
        """Add an integration, with its endpoint where that is new."""

    async def save_integration(self, integration: Integration) -> None:
        """Replace an integration that exists."""

    async def delete_integration(self, integration_id: str) -> None:
        """Delete it, and its endpoint with the last one on it. Its messages and alerts are kept."""

    async def users(self) -> list[User]:
        """All users, by name."""

    async def add_user(self, user: User) -> None:
        """Add a user with contacts."""

    async def policies(self) -> list[Policy]:
        """All policies, by name."""

    async def add_policy(self, policy: Policy) -> None:
        """Add a policy with steps."""

    async def save_user(self, user: User) -> None:
        """Replace a user that exists."""

    async def delete_user(self, user_id: str) -> None:
        """Delete a user; what was to be told there still is."""

    async def save_policy(self, policy: Policy) -> None:
        """Replace a policy that exists."""

    async def delete_policy(self, policy_id: str) -> None:
        """Delete a policy; raises ConflictError where an integration has it."""

    async def groups(self) -> list[Group]:
        """All recipient groups, by name."""

    async def add_group(self, group: Group) -> None:
        """Add a recipient group."""

    async def save_group(self, group: Group) -> None:
        """Replace a recipient group that exists."""

    async def delete_group(self, group_id: str) -> None:
        """Delete a recipient group."""

    async def windows(self) -> list[Window]:
        """All maintenance windows, by integration and name; they go with their integration."""

    async def add_window(self, window: Window) -> None:
        """Add a maintenance window."""

    async def delete_window(self, window_id: str, now: int) -> None:
        """Delete a maintenance window; for what came in it, it ends `now`."""

    # what is listed
    async def cursor(self) -> int:
        """The id of the last message that took effect."""

    async def alerts(
        self,
        *,
        statuses: Sequence[AlertStatus] = (),
        integration_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Alert]:
        """Alerts, newest first; all statuses where none is given."""

    async def alert(self, alert_id: int) -> Alert | None:
        """One alert, open or not."""

    async def timeline(self, alert_id: int) -> list[Change]:
        """The changes of an alert, oldest first."""

    async def events(self, message_ids: Sequence[int]) -> list[EventRecord]:
        """What became of these messages: by message, run, position."""

    async def messages_with(self, outcome: Outcome, *, endpoint_id: str | None = None, limit: int = 50) -> list[int]:
        """Ids of the newest messages one of whose events, in any run, had this outcome."""

    async def defer(self, deferred: Deferred) -> None:
        """Have a message read again; a message that waits already keeps its place."""

    async def deferred(self, limit: int = 100, endpoint_ids: Sequence[str] = ()) -> list[Deferred]:
        """Messages that wait to be read again, oldest first; of these endpoints where any is given."""

    async def next_timer(self) -> int | None:
        """When the next alert is to be closed for silence, or the next maintenance window with something in it ends."""

    # delivery
    async def claim(self, now: int, *, limit: int, per_target: int, lease_until: int) -> list[Notification]:
        """
        Take due notifications; they come again where they are not settled before `lease_until`.

        At most `per_target` of one contact address are out at a time. A notification waits until the earlier ones of the
        same alert to the same contact are settled, so that an open arrives before its close.
        """

    async def settle(self, attempts: Sequence[tuple[Attempt | None, Notification]]) -> None:
        """
        Record attempts, each with the notification as it left it (status, attempts, due_at, error), and end leases.

        What is withdrawn was not attempted.
        """

    async def release(self) -> None:
        """End all leases: for the one delivery process, when it starts."""

    async def next_due(self) -> int | None:
        """When the next notification that is not leased is due."""

    async def notifications(
        self, *, status: NotificationStatus | None = None, alert_id: int | None = None, limit: int = 50
    ) -> list[Notification]:
        """Notifications, newest first."""

    async def notification(self, notification_id: str) -> Notification | None:
        """One notification, whatever became of it."""

    async def attempts(self, notification_id: str) -> list[Attempt]:
        """The attempts of one notification, oldest first."""

    async def retry(self, notification_ids: Sequence[str], now: int) -> int:
        """Make dead letters pending and due at once, with a new count of attempts; how many there were."""

    async def counts(self) -> Counts:
        """Figures for the health pages."""

    async def close(self) -> None:
        """Let go of the files."""
