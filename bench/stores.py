"""The gateway's store, seen from beside it: how far it is, and how long its look-ups take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench.figures import percentile
from gateway.clock import SystemClock
from gateway.models import Alert, AlertKey
from gateway.store.base import Changes, Journal, State
from gateway.store.sqlite import SqliteJournal, SqliteState

CHUNK = 5000


@contextlib.asynccontextmanager
async def opened(data: Path) -> AsyncIterator[tuple[Journal, State]]:
    """Journal and state of a data folder, also while a gateway runs on it."""
    journal = SqliteJournal.open(data, clock=SystemClock(), read_only=True)
    state = SqliteState.open(data, clock=SystemClock())
    try:
        yield journal, state
    finally:
        await state.close()
        await journal.close()


def stored_alert(at: int, endpoint_id: str, integration_id: str) -> Alert:
    """The n-th of many alerts: one in ten is open."""
    instant = 1_750_000_000_000 + at * 1000
    return Alert(
        id=at,
        endpoint_id=endpoint_id,
        integration_id=integration_id,
        status="closed" if at % 10 else "open",
        source="bench",
        source_name=f"host-{at % 1000}",
        source_id=f"stored-{at}",
        severity="error",
        subject=f"host-{at % 1000} does not answer for the {at}th time",
        description="x" * 200,
        tags=("bench", f"rack:{at % 40}"),
        opened_at=instant,
        updated_at=instant,
        closed_at=instant if at % 10 else None,
    )


async def fill(data: Path, alerts: int) -> None:
    """Store many alerts, as the pipeline writes them."""
    async with opened(data) as (_, state):
        integration = (await state.integrations())[0]
        async with state.transaction() as change:
            first = await change.next_alert_id()
        for start in range(first, first + alerts, CHUNK):
            ids = range(start, min(start + CHUNK, first + alerts))
            rows = [stored_alert(at, integration.endpoint_id, integration.id) for at in ids]
            async with state.transaction() as change:
                await change.write(Changes(alerts=rows))


async def look_ups(data: Path, alerts: int, rounds: int = 200) -> tuple[float, float]:
    """The p99 of listing the newest 50 that are not closed, and of finding an open alert by its key; in milliseconds."""
    listed: list[float] = []
    found: list[float] = []
    async with opened(data) as (_, state):
        endpoint_id = (await state.integrations())[0].endpoint_id
        for at in range(rounds):
            start = time.perf_counter()
            await state.alerts(statuses=("open", "assigned"), limit=50)
            listed.append((time.perf_counter() - start) * 1000)
            number = (at * alerts // rounds) // 10 * 10
            key = AlertKey(endpoint_id, "bench", f"host-{number % 1000}", f"stored-{number}")
            async with state.transaction() as change:
                start = time.perf_counter()
                await change.open_alerts([key])
                found.append((time.perf_counter() - start) * 1000)
    return percentile(listed, 0.99), percentile(found, 0.99)
