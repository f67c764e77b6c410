"""What is due by itself: alerts close for silence, and what a maintenance window kept back opens at its end."""

from __future__ import annotations

from gateway.alerts import Alerts
from gateway.directory import Directory
from gateway.pipeline import Plan
from gateway.recall import of_alerts, of_windows
from gateway.store.base import State

MOST = 256
"""How many of each kind are done in one transaction; what is left is still due."""


async def carry_out(state: State, directory: Directory, now: int, *, until: int) -> bool:
    """Do what was due until that instant; whether anybody is to be told of it."""
    silent = await _close_silent(state, directory, now, until)
    return await _end_windows(state, directory, now, until) or silent


async def _close_silent(state: State, directory: Directory, now: int, until: int) -> bool:
    async with state.transaction() as transaction:
        silent = await transaction.silent(until, MOST)
        known = await of_alerts(transaction, silent, directory, now)
        alerts = Alerts(known, await transaction.next_alert_id(), directory, now)
        for alert in silent:
            alerts.close_silent(alert, directory.integration(alert.endpoint_id, alert.integration_id))
        changes = alerts.finish()
        await transaction.write(changes)
    return bool(changes.notifications)


async def _end_windows(state: State, directory: Directory, now: int, until: int) -> bool:
    async with state.transaction() as transaction:
        over = await transaction.suppressed(until, MOST)
        plan = Plan(
            await of_windows(transaction, over, directory, now), await transaction.next_alert_id(), directory, now
        )
        for suppressed in over:
            plan.end_window(suppressed)
        changes = plan.finish()
        await transaction.write(changes)
    return bool(changes.notifications)
