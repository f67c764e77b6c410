"""
The part of the state that delivery works on: what is due, to whom, and what became of it.

`pending` and `target` hold what a claim needs, derived from the notifications: whatever changes a notification has them
derived again (`_derive`), so that a claim looks at nothing that cannot go out, be there a hundred thousand.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from gateway.clock import Clock
from gateway.models import Attempt, Notification, NotificationStatus
from gateway.store.sqlite_base import StateFile, Statements
from gateway.store.sqlite_rows import Row, attempt_of, attempt_row, notification_of, notification_row

END_OF_TIME = 1 << 62
WITHDRAWN = "the alert was taken or closed before it was due"


def write_notifications(statements: Statements, notifications: Sequence[Notification]) -> None:
    """Write new notifications in a change under way; those whose id exists stay as they are."""
    targets = {(n.contact.kind, n.contact.address) for n in notifications}
    statements.each("add_target", targets)
    numbers = statements.each("write_notification", [notification_row(n) for n in notifications])
    _derive(statements, statements.each("queue", numbers))


def withdraw(statements: Statements, alert_ids: Sequence[int], now: int) -> None:
    """Withdraw what is not due yet of these alerts' openings, in a change under way; nobody has claimed it."""
    numbers = statements.each("withdraw", [(alert_id, now, WITHDRAWN) for alert_id in dict.fromkeys(alert_ids)])
    _derive(statements, statements.each("unqueue", numbers))


def _derive(statements: Statements, touched: Iterable[Row]) -> None:
    # `touched`: (alert_id, contact_id, target_id) of each pending notification that came, changed or went.
    rows = list(touched)
    orders = {(alert_id, contact_id) for alert_id, contact_id, _ in rows}
    statements.each("reorder", orders)
    statements.each("hold_back", orders)
    statements.each("retarget", {(target_id,) for _, _, target_id in rows})


class Notifications:
    """What `base.State` says under delivery."""

    _file: StateFile
    _clock: Clock

    async def claim(self, now: int, *, limit: int, per_target: int, lease_until: int) -> list[Notification]:
        """Take due notifications, earliest first, `per_target` of one contact address at most."""
        ready_at, leased_until = self._file.read("earliest")[0]
        if min(_or_never(ready_at), _or_never(leased_until)) > now:
            return []
        async with self._file.change() as statements:
            _derive(statements, statements.rows("end_leases", now))
            numbers = _ready(statements, now, limit, per_target)
            targets = statements.each("lease", [(lease_until, number) for number in numbers])
            statements.each("retarget", set(targets))
            return [notification_of(row) for row in statements.each("notification", [(number,) for number in numbers])]

    async def settle(self, attempts: Sequence[tuple[Attempt | None, Notification]]) -> None:
        """Record attempts, each with the notification as it left it, and end the leases; what is withdrawn had none."""
        if not attempts:
            return
        async with self._file.change() as statements:
            touched: list[Row] = []
            for attempt, n in attempts:
                numbers = statements.rows("settle", n.id, n.status, n.attempts, n.due_at, n.finished_at, n.error)
                if numbers:  # else it was deleted meanwhile
                    touched += statements.rows("queue" if n.status == "pending" else "unqueue", *numbers[0])
                    if attempt is not None:
                        statements.run("write_attempt", *attempt_row(attempt))
            _derive(statements, touched)

    async def release(self) -> None:
        """End all leases."""
        async with self._file.change() as statements:
            _derive(statements, statements.rows("end_leases", END_OF_TIME))

    async def next_due(self) -> int | None:
        """When the next notification that is not leased is due; one that waits for an earlier one does not count."""
        ready_at, leased_until = self._file.read("earliest")[0]
        if leased_until is not None and leased_until <= self._clock.now():
            return min(_or_never(ready_at), int(leased_until))
        return None if ready_at is None else int(ready_at)

    async def notifications(
        self, *, status: NotificationStatus | None = None, alert_id: int | None = None, limit: int = 50
    ) -> list[Notification]:
        """Notifications, newest first."""
        if alert_id is not None:
            rows = self._file.read("notifications_of_alert", limit, alert_id, status)
        elif status is not None:
            rows = self._file.read("notifications_of_status", limit, status)
        else:
            rows = self._file.read("notifications", limit)
        return [notification_of(row) for row in rows]

    async def notification(self, notification_id: str) -> Notification | None:
        """One notification, whatever became of it."""
        found = self._file.read("notification_of_id", notification_id)
        return notification_of(found[0]) if found else None

    async def attempts(self, notification_id: str) -> list[Attempt]:
        """The attempts of one notification, oldest first."""
        return [attempt_of(row) for row in self._file.read("attempts", notification_id)]

    async def retry(self, notification_ids: Sequence[str], now: int) -> int:
        """Make dead letters pending and due at once, with a new count of attempts; how many there were."""
        async with self._file.change() as statements:
            numbers = statements.each("retry", [(number, now) for number in dict.fromkeys(notification_ids)])
            _derive(statements, statements.each("queue", numbers))
            return len(numbers)


def _ready(statements: Statements, now: int, limit: int, per_target: int) -> list[int]:
    # The `limit` earliest are on the first `limit` targets that have room, as each of these has one that is ready.
    out: dict[int, int] = dict(statements.rows("leased_by_target"))
    full = {target for target, count in out.items() if count >= per_target}
    found: list[tuple[int, int]] = []
    for (target,) in statements.rows("ready_targets", now, limit + len(full)):
        if target not in full:
            room = min(per_target - out.get(target, 0), limit)
            found += statements.rows("ready", target, now, room)
    return [number for _, number in heapq.nsmallest(limit, found)]


def _or_never(instant: int | None) -> int:
    return END_OF_TIME if instant is None else instant
