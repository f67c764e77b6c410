"""The state in SQLite: changes of the pipeline, and what is listed of them."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, get_args

import apsw

from gateway.clock import Clock
from gateway.faults import NO_FAULTS, Faults
from gateway.models import (
    Alert,
    AlertKey,
    AlertStatus,
    Change,
    Deferred,
    EventRecord,
    Outcome,
    Suppressed,
)
from gateway.store.base import Changes, Counts
from gateway.store.sqlite_base import StateFile, Statements
from gateway.store.sqlite_configuration import Configuration
from gateway.store.sqlite_file import STATE, open_file, queries
from gateway.store.sqlite_notifications import Notifications, withdraw, write_notifications
from gateway.store.sqlite_rows import (
    Row,
    alert_of,
    alert_row,
    change_of,
    change_row,
    deferred_of,
    deferred_row,
    event_of,
    event_row,
    json,
    key_hash,
    suppressed_of,
    suppressed_row,
)

NO_ID = 1 << 62
OPENINGS_KEPT = 7 * 86_400_000
STATUSES: tuple[AlertStatus, ...] = get_args(AlertStatus)


class SqliteTransaction:
    """A change under way, as in `base.Transaction`."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def cursor(self) -> int:
        """The id of the last message that took effect; 0 at first."""
        return int(self._statements.value("meta", "cursor"))

    async def open_alerts(self, keys: Sequence[AlertKey]) -> dict[AlertKey, Alert]:
        """The alert that is not closed, for each key that has one."""
        found = (alert_of(row) for row in self._statements.each("open_alert", [(key_hash(key),) for key in set(keys)]))
        return {alert.key: alert for alert in found}

    async def alert(self, alert_id: int) -> Alert | None:
        """One alert, open or not."""
        row = self._statements.row("alert", alert_id)
        return alert_of(row) if row else None

    async def next_alert_id(self) -> int:
        """The id that the next new alert takes; none is given twice."""
        return int(self._statements.value("next_alert_id"))

    async def group_leaders(self, integration_id: str, group_key: str, *, after: int) -> list[Alert]:
        """The open alerts of this group that are no part of another one, opened after that instant; oldest first."""
        return [alert_of(row) for row in self._statements.rows("group_leaders", integration_id, group_key, after)]

    async def group_members(self, leader_id: int) -> list[Alert]:
        """The open alerts that are told as part of this one, oldest first."""
        return [alert_of(row) for row in self._statements.rows("group_members", leader_id)]

    async def openings(self, key: AlertKey, *, after: int) -> list[int]:
        """When alerts of this key were opened, after that instant."""
        return [row[0] for row in self._statements.rows("openings", key_hash(key), after)]

    async def silent(self, now: int, limit: int) -> list[Alert]:
        """Open alerts whose `close_at` has come, earliest first."""
        return [alert_of(row) for row in self._statements.rows("silent", now, limit)]

    async def suppressed(self, now: int, limit: int) -> list[Suppressed]:
        """What came in maintenance windows that have ended by now."""
        return [suppressed_of(row) for row in self._statements.rows("suppressed", now, limit)]

    async def write(self, changes: Changes) -> None:
        """Write them, as in `base.Transaction`. The block ends with StoreError where a key has two open alerts."""
        statements = self._statements
        # Those that close go first, as another of the same key may open in the same step.
        alerts = {alert.id: alert for alert in changes.alerts}.values()
        rows = [alert_row(alert) for alert in sorted(alerts, key=lambda alert: alert.status != "closed")]
        statements.each("write_alert", rows)
        statements.each("write_change", [change_row(change) for change in changes.timeline])
        statements.each("write_event", [event_row(event) for event in changes.events])
        statements.each("undefer", [(message_id,) for message_id in changes.done])
        statements.each("write_deferred", [deferred_row(deferred) for deferred in changes.deferred])
        for key, at in changes.openings:
            statements.run("forget_openings", key_hash(key), at - OPENINGS_KEPT)
            statements.run("write_opening", key_hash(key), at)
        statements.each("suppress", [suppressed_row(one) for one in changes.suppressed])
        if changes.unsuppressed and statements.row("any_suppressed"):  # nearly always there is none
            statements.each("unsuppress", [(key_hash(key),) for key in changes.unsuppressed])
        if changes.notifications:
            write_notifications(statements, changes.notifications)
        if changes.withdrawn:  # what was written a moment ago, too
            withdraw(statements, changes.withdrawn, changes.at)
        if changes.cursor is not None:
            statements.run("set_cursor", changes.cursor)


class SqliteState(Configuration, Notifications):
    """`state.db`, as in `base.State`. Many processes may have it open; one changes it at a time."""

    def __init__(self, file: StateFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    @classmethod
    def open(cls, data: Path, *, clock: Clock, faults: Faults = NO_FAULTS, patience: float = 5.0) -> SqliteState:
        """
        Open the state of a data folder; it is made where there is none.

        A change waits `patience` seconds for those of others. Raises StoreUnusableError where the file cannot be used.
        """

        def connect() -> apsw.Connection:
            # No patience: a change asks for the lock again and again, as to wait inside SQLite would stop the loop.
            return open_file(data, STATE, patience_ms=0, cache_kib=8192)

        reader = open_file(data, STATE, patience_ms=1000, cache_kib=2048, query_only=True)
        try:
            file = StateFile(data / STATE.file, reader, connect, queries(STATE), faults=faults, patience=patience)
        except BaseException:
            reader.close()
            raise
        return cls(file, clock)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqliteTransaction]:
        """Begin a change, as in `base.State`. Calls of other tasks wait for its end; do not make them in the block."""
        async with self._file.change() as statements:
            yield SqliteTransaction(statements)

    async def cursor(self) -> int:
        """The id of the last message that took effect."""
        return int(self._file.read_value("meta", "cursor"))

    async def alerts(
        self,
        *,
        statuses: Sequence[AlertStatus] = (),
        integration_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Alert]:
        """Alerts, newest first; all statuses where none is given."""
        under = NO_ID if before is None else before
        if integration_id is None and set(statuses) in ({*STATUSES}, set()):
            return [alert_of(row) for row in self._file.read("alerts", under, limit)]
        # One ordered search for each status, and then merged: any other plan reads a million closed ones.
        wanted = dict.fromkeys(statuses or STATUSES)
        found = [self._alerts_of(status, integration_id, under, limit) for status in wanted]
        merged = heapq.merge(*found, key=lambda row: -row[0])
        return [alert_of(row) for row, _ in zip(merged, range(limit), strict=False)]

    def _alerts_of(self, status: AlertStatus, integration_id: str | None, under: int, limit: int) -> list[Row]:
        if integration_id is None:
            return self._file.read("alerts_of_status", under, limit, status)
        return self._file.read("alerts_of_integration", under, limit, status, integration_id)

    async def alert(self, alert_id: int) -> Alert | None:
        """One alert, open or not."""
        found = self._file.read("alert", alert_id)
        return alert_of(found[0]) if found else None

    async def timeline(self, alert_id: int) -> list[Change]:
        """The changes of an alert, oldest first."""
        return [change_of(row) for row in self._file.read("timeline", alert_id)]

    async def events(self, message_ids: Sequence[int]) -> list[EventRecord]:
        """What became of these messages: by message, run, position."""
        return [event_of(row) for row in self._file.read("events", json(list(message_ids)))]

    async def messages_with(self, outcome: Outcome, *, endpoint_id: str | None = None, limit: int = 50) -> list[int]:
        """Ids of the newest messages one of whose events, in any run, had this outcome; newest first."""
        if endpoint_id is None:
            rows = self._file.read("messages_with", outcome, limit)
        else:
            rows = self._file.read("messages_of_endpoint_with", outcome, limit, endpoint_id)
        return [row[0] for row in rows]

    async def defer(self, deferred: Deferred) -> None:
        """Have a message read again; one that waits already is left as it is."""
        async with self._file.change() as statements:
            statements.run("defer", *deferred_row(deferred))

    async def deferred(self, limit: int = 100, endpoint_ids: Sequence[str] = ()) -> list[Deferred]:
        """Messages that wait to be read again, the oldest message first; of these endpoints where any is given."""
        if endpoint_ids:
            rows = self._file.read("deferred_of_endpoints", limit, json(list(endpoint_ids)))
        else:
            rows = self._file.read("deferred", limit)
        return [deferred_of(row) for row in rows]

    async def next_timer(self) -> int | None:
        """When the next alert is to be closed for silence, or the next maintenance window with something in it ends."""
        instants = [instant for instant in self._file.read("next_timer")[0] if instant is not None]
        return min(instants, default=None)

    async def counts(self) -> Counts:
        """Figures for the health pages, without counting. Outcomes only add up, also when old events are deleted."""
        tally: dict[str, dict[Any, int]] = {}
        for what, name, count in self._file.read("tally"):
            tally.setdefault(what, {})[name] = count
        return Counts(
            alerts=tally["alert"],
            notifications=tally["notification"],
            outcomes=tally["event"],
            deferred=self._file.read_value("count_deferred"),
            cursor=self._file.read_value("meta", "cursor"),
            oldest_due_at=self._file.read_value("oldest_due"),
        )

    async def check(self) -> list[str]:
        """What SQLite finds wrong with the file, nothing where it is sound. It reads all of it: not while serving."""
        return await self._file.check()

    async def close(self) -> None:
        """Let go of the files. Safe to call twice."""
        await self._file.close()
