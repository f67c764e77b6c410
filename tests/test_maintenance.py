"""Maintenance windows of integrations: added, found, ended, and where each of them is in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import ConflictError, GatewayError, NotFoundError, SettingsError
from gateway.hours import Window
from gateway.integrations import find_integration
from gateway.maintenance import add_window, find_window, phase
from gateway.models import Integration
from tests.recorded import NOON, Recorded, recorded

pytestmark = pytest.mark.anyio

HOUR = 3_600_000
FILE = '[[integration]]\nname = "Doors"\ntemplate = "custom"\n[[integration]]\nname = "Backups"\ntemplate = "custom"\n'
WINDOW = Window(
    id="",
    integration_id="",
    name="Lunch",
    starts="2026-11-25T12:30",
    ends="2026-11-25T13:30",
    zone="UTC",
    created_at=0,
)


async def integration(gateway: Recorded, name: str = "Doors") -> Integration:
    await gateway.apply(FILE)
    return await find_integration(gateway.state, name)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"name": ""}, GatewayError, "the name of a maintenance window is empty"),
        ({"name": "a/b"}, GatewayError, "slash"),
        ({"zone": "Mars"}, SettingsError, "no time zone 'Mars'"),
        ({"starts": "noon"}, SettingsError, "write a local time, 2026-11-25T22:00"),
        ({"ends": "2026-11-25T12:00"}, SettingsError, "ends at .* before it starts"),
        ({"ends": "2026-11-27T12:00", "repeat": "daily"}, SettingsError, "at most 1 day"),
        ({"days": ("mon",)}, SettingsError, "days are those of a weekly window"),
        ({"starts": "2026-11-25T10:00", "ends": "2026-11-25T12:00"}, SettingsError, "over already: it ended at"),
    ],
)
async def test_what_is_no_window_is_not_added(
    changes: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    async with recorded(tmp_path) as gateway:
        doors = await integration(gateway)
        with pytest.raises(error, match=said):
            await add_window(gateway.state, gateway.clock, doors, msgspec.structs.replace(WINDOW, **changes))
        assert await gateway.state.windows() == []


async def test_a_name_is_taken_once_for_an_integration(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        doors = await integration(gateway)
        added = await add_window(gateway.state, gateway.clock, doors, WINDOW)
        assert (added.integration_id, added.created_at, added.id[:4]) == (doors.id, NOON, "win_")
        with pytest.raises(ConflictError, match="already"):
            await add_window(gateway.state, gateway.clock, doors, msgspec.structs.replace(WINDOW, name="LUNCH"))
        backups = await find_integration(gateway.state, "Backups")
        await add_window(gateway.state, gateway.clock, backups, WINDOW)
        assert len(await gateway.state.windows()) == 2


async def test_a_window_is_found_by_name_and_id_and_only_where_it_is(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        doors = await integration(gateway)
        backups = await find_integration(gateway.state, "Backups")
        with pytest.raises(NotFoundError, match="Doors has no maintenance window 'Lunch'; it has none"):
            await find_window(gateway.state, doors, "Lunch")
        added = await add_window(gateway.state, gateway.clock, doors, WINDOW)
        assert await find_window(gateway.state, doors, "Lunch") == await find_window(gateway.state, doors, added.id)
        with pytest.raises(NotFoundError, match="it has 'Lunch'"):
            await find_window(gateway.state, doors, "Dinner")
        with pytest.raises(NotFoundError, match="Backups has no"):
            await find_window(gateway.state, backups, added.id)


@pytest.mark.parametrize(
    ("repeat", "phases"),
    [
        ("once", ["planned", "current", "past", "past"]),
        ("daily", ["planned", "current", "planned", "current"]),
        ("weekly", ["planned", "current", "planned", "planned"]),
        ("monthly", ["planned", "current", "planned", "planned"]),
    ],
)
def test_where_a_window_is_in_time(repeat: Any, phases: list[str]) -> None:
    window = msgspec.structs.replace(WINDOW, repeat=repeat)
    instants = (NOON, NOON + HOUR, NOON + HOUR * 3 // 2, NOON + 25 * HOUR)
    assert [phase(window, now) for now in instants] == phases


async def test_a_window_that_is_deleted_ends_for_what_came_in_it(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        doors = await integration(gateway)
        window = await add_window(gateway.state, gateway.clock, doors, msgspec.structs.replace(WINDOW, reopen=True))
        gateway.clock.advance(2400)
        await gateway.post("Doors", {"source_id": "a", "status": "open", "subject": "door a"})
        assert [came[2] for came in await gateway.came()] == ["suppressed"]
        await gateway.state.delete_window(window.id, gateway.clock.now())
        await gateway.tick()
        assert [alert.subject for alert in await gateway.state.alerts()] == ["door a"]
