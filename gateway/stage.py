"""The alerts of one endpoint in memory, as a store would have them: where a dry run takes messages as they came."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.alerts import Alerts, Cause
from gateway.directory import Directory
from gateway.history import Deed, History
from gateway.models import Alert, AlertKey, Suppressed
from gateway.pipeline import Plan, Read
from gateway.recall import of_alerts, of_messages, of_windows
from gateway.store.base import Changes, Transaction

_SOMEBODY = "somebody"


class Stage:
    """It answers what decisions ask of a transaction, and writes nowhere. `next_id` is that of the next new alert."""

    def __init__(self, history: History, directory: Directory, next_id: int) -> None:
        self._directory = directory
        self._next_id = next_id
        self._open = {alert.key: alert for alert in history.alerts}
        self._closing = {alert.key: alert.close_at for alert in history.alerts if alert.close_at is not None}
        self._openings = {key: list(instants) for key, instants in history.openings.items()}
        self._deeds = list(history.deeds)[::-1]
        self._suppressed: dict[AlertKey, Suppressed] = {}

    async def take(self, read: Read, at: int) -> Changes:
        """What one message changes at that instant, once all that was due before is done."""
        await self.pass_time(at)
        plan = Plan(
            await of_messages(self._transaction, [read], self._directory, at), self._next_id, self._directory, at
        )
        plan.apply(read)
        return self._write(plan.finish())

    async def pass_time(self, until: int) -> list[Changes]:
        """
        Do what would have been due by then, each at its own time; what it changed.

        That is silence, the ends of maintenance windows, and what people did.
        """
        done: list[Changes] = []
        while (at := self._next_due()) is not None and at <= until:
            while self._deeds and self._deeds[-1].at <= at:
                done.append(await self._do(self._deeds.pop()))
            done += [await self._close_silent(at), await self._end_windows(at)]
        return done

    def _next_due(self) -> int | None:
        due = [*self._closing.values(), *(one.until for one in self._suppressed.values())]
        due += [self._deeds[-1].at] if self._deeds else []
        return min(due, default=None)

    async def _do(self, deed: Deed) -> Changes:
        alert = self._open.get(deed.key)
        if alert is None:
            return Changes()
        alerts = Alerts(
            await of_alerts(self._transaction, [alert], self._directory, deed.at),
            self._next_id,
            self._directory,
            deed.at,
        )
        cause = Cause(actor=_SOMEBODY, integration=self._directory.integration(alert.endpoint_id, alert.integration_id))
        if deed.kind == "closed":
            alerts.close(alert, cause, text=None)
        else:
            alerts.assign(alert, cause, to=_SOMEBODY)
        return self._write(alerts.finish())

    async def _close_silent(self, at: int) -> Changes:
        silent = [self._open[key] for key, close_at in self._closing.items() if close_at <= at]
        alerts = Alerts(
            await of_alerts(self._transaction, silent, self._directory, at), self._next_id, self._directory, at
        )
        for alert in silent:
            alerts.close_silent(alert, self._directory.integration(alert.endpoint_id, alert.integration_id))
        return self._write(alerts.finish())

    async def _end_windows(self, at: int) -> Changes:
        over = [one for one in self._suppressed.values() if one.until <= at]
        known = await of_windows(self._transaction, over, self._directory, at)
        plan = Plan(known, self._next_id, self._directory, at)
        for suppressed in over:
            plan.end_window(suppressed)
        return self._write(plan.finish())

    @property
    def _transaction(self) -> Transaction:
        return self  # type: ignore[return-value]  # of its methods, those that decisions call

    def _write(self, changes: Changes) -> Changes:
        for alert in changes.alerts:
            self._next_id = max(self._next_id, alert.id + 1)
            if alert.status != "closed":
                self._open[alert.key] = alert
            elif self._open.get(alert.key, alert).id == alert.id:
                self._open.pop(alert.key, None)
            open_now = self._open.get(alert.key)
            if open_now is not None and open_now.close_at is not None:
                self._closing[alert.key] = open_now.close_at
            else:
                self._closing.pop(alert.key, None)
        for key, instant in changes.openings:
            self._openings.setdefault(key, []).append(instant)
        self._suppressed |= {one.key: one for one in changes.suppressed}
        for key in changes.unsuppressed:
            self._suppressed.pop(key, None)
        return changes

    # what decisions ask of a transaction

    async def open_alerts(self, keys: Sequence[AlertKey]) -> dict[AlertKey, Alert]:
        """The open alert of each key that has one."""
        return {key: self._open[key] for key in keys if key in self._open}

    async def group_leaders(self, integration_id: str, group_key: str, *, after: int) -> list[Alert]:
        """The open leaders of a group."""
        place = integration_id, group_key, None
        leaders = [
            alert
            for alert in self._open.values()
            if (alert.integration_id, alert.group_key, alert.leader_id) == place and alert.opened_at > after
        ]
        return sorted(leaders, key=lambda alert: alert.id)

    async def group_members(self, leader_id: int) -> list[Alert]:
        """The open members of a group."""
        members = [alert for alert in self._open.values() if alert.leader_id == leader_id]
        return sorted(members, key=lambda alert: alert.id)

    async def openings(self, key: AlertKey, *, after: int) -> list[int]:
        """When alerts of a key were opened."""
        return [instant for instant in self._openings.get(key, []) if instant > after]
