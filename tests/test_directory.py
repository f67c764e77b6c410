"""The configuration as the pipeline needs it: read in order, found by name, and the keys that an alert may have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.advanced import NONE
from gateway.clock import ManualClock
from gateway.directory import Directory, directory_of, key_of
from gateway.hours import Window
from gateway.models import AlertKey, Endpoint, Event, Group, Integration, Policy, User
from gateway.store.sqlite import SqliteState

pytestmark = pytest.mark.anyio

NOW = round(datetime(2026, 11, 25, 22, 30, tzinfo=UTC).timestamp() * 1000)
HOUR = 3_600_000
EVENT = Event(source_id="x", source="Acme", source_name="eu")


def integration(number: str = "int_1", **fields: Any) -> Integration:
    made = Integration(id=number, endpoint_id="end_1", name=number, template="acme", created_at=0, updated_at=0)
    return msgspec.structs.replace(made, **fields)


def window(number: str, starts: str, ends: str, **fields: Any) -> Window:
    made = Window(id=number, integration_id="int_1", name=number, starts=starts, ends=ends, zone="UTC", created_at=0)
    return msgspec.structs.replace(made, **fields)


def directory(*integrations: Integration, fan_out: bool = False, windows: tuple[Window, ...] = ()) -> Directory:
    return Directory(
        integrations={"end_1": integrations},
        windows={"int_1": windows},
        fan_out=frozenset(["end_1"] if fan_out else []),
    )


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[SqliteState]:
    state = SqliteState.open(tmp_path, clock=ManualClock())
    yield state
    await state.close()


async def test_all_that_is_configured_is_there(state: SqliteState) -> None:
    endpoint = Endpoint(id="end_1", name="e", token_hash=b"1", token_hint="", created_at=0, fan_out=True)
    plain = msgspec.structs.replace(endpoint, id="end_2", token_hash=b"2", fan_out=False)
    await state.add_user(User(id="usr_1", name="ann", created_at=0))
    await state.add_group(Group(id="grp_1", name="db", user_ids=("usr_1",), created_at=0))
    await state.add_policy(Policy(id="pol_1", name="on call", created_at=0))
    first = integration(settings={"delay": {"wait": "5m"}}, policy_id="pol_1", group_ids=("grp_1",))
    await state.add_integration(first, endpoint)
    await state.add_integration(integration("int_2", endpoint_id="end_2"), plain)
    one = window("win_1", "2026-11-25T22:00", "2026-11-25T23:00")
    await state.add_window(one)
    found = await directory_of(state)
    assert found.version == await state.config_version()
    assert (found.integrations["end_1"], found.fan_out) == ([first], {"end_1"})
    assert found.windows == {"int_1": [one]}
    assert found.advanced_of(first).delay.wait_ms == 300_000
    assert found.advanced_of(integration("int_9")) is NONE
    assert found.integration("end_1", "int_1") == first
    assert (
        found.integration("end_2", "int_1") is found.integration("end_1", None) is found.integration("x", "y") is None
    )
    assert found.group_named("db") == "grp_1"
    assert found.group_named("DB") is None
    policy = found.policy_named("on call")
    assert policy is not None
    assert policy.id == "pol_1"
    assert found.policy_named("pol_1") is None


async def test_integrations_stand_in_sequence_and_what_is_disabled_last(state: SqliteState) -> None:
    endpoint = Endpoint(id="end_1", name="e", token_hash=b"1", token_hint="", created_at=0)
    await state.add_integration(integration("a", sequence=3), endpoint)
    for made in (
        integration("b", sequence=1, created_at=5),
        integration("c", sequence=1, created_at=4),
        integration("d", enabled=False),
        integration("e", sequence=1, created_at=5, name="0"),
    ):
        await state.add_integration(made, None)
    assert [one.id for one in (await directory_of(state)).integrations["end_1"]] == ["c", "b", "e", "a", "d"]


async def test_settings_that_are_good_no_longer_stop_nobody(
    state: SqliteState, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = Endpoint(id="end_1", name="e", token_hash=b"1", token_hint="", created_at=0)
    await state.add_integration(integration("bad", settings={"delay": {"wait": "soon"}}), endpoint)
    await state.add_integration(integration("good", settings={"close_after": "1h"}), None)
    found = await directory_of(state)
    assert set(found.advanced) == {"good"}
    assert "the Advanced Settings of bad are passed over: settings: `[delay] wait` is 'soon'" in caplog.text


# keys

SHARED = AlertKey("end_1", "Acme", "eu", "x")
OWN = AlertKey("end_1", "Acme", "eu", "x", scope="int_1")


def test_without_fan_out_an_alert_belongs_to_the_endpoint() -> None:
    clones = integration(), integration("int_2")
    assert key_of("end_1", EVENT) == SHARED
    for taker in clones:
        assert directory(*clones).keys("end_1", EVENT, taker)[0] == SHARED


def test_with_fan_out_each_integration_has_alerts_of_its_own() -> None:
    clones = integration(), integration("int_2")
    first, second = (directory(*clones, fan_out=True).keys("end_1", EVENT, taker)[0] for taker in clones)
    assert first == OWN
    assert second == msgspec.structs.replace(OWN, scope="int_2")


@pytest.mark.parametrize("others", [[], ["int_2"]])
@pytest.mark.parametrize("fan_out", [True, False])
def test_what_opened_before_fan_out_was_switched_is_still_found(others: list[str], *, fan_out: bool) -> None:
    found = directory(integration(), *map(integration, others), fan_out=fan_out).keys("end_1", EVENT, integration())
    assert found == ((OWN, SHARED) if fan_out else (SHARED, OWN))


def test_no_source_name_is_an_empty_one() -> None:
    assert key_of("end_1", Event(source_id="x")) == AlertKey("end_1", "", "", "x")


# windows


def test_of_several_windows_the_one_that_ends_last_counts() -> None:
    short = window("short", "2026-11-25T22:00", "2026-11-25T23:00")
    long = window("long", "2026-11-25T22:15", "2026-11-25T23:30")
    over = window("over", "2026-11-25T20:00", "2026-11-25T22:30")
    for windows in ((short, long, over), (over, long, short)):
        assert directory(integration(), windows=windows).window_at(integration(), NOW) == (long, NOW + HOUR)
    assert directory(integration(), windows=(over,)).window_at(integration(), NOW) is None
    assert directory(integration(), windows=(long,)).window_at(integration("int_2"), NOW) is None
