"""A dry run says what a replay then does, and of the past exactly what would have been otherwise; it writes nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import rehearsal
from gateway.actions import assign_alert, close_alert
from gateway.comparison import Rehearsed
from gateway.directory import Directory, directory_of
from gateway.history import history_since
from gateway.integrations import change_integration, find_integration
from gateway.models import Change, Message
from gateway.people import find_policy, find_user
from tests.recorded import NOON, PLUGINS, Recorded, recorded, told
from tests.test_reconciliation import HOUR, hour

pytestmark = pytest.mark.anyio

FILE = """
[[user]]
name = "Ada"
contacts = ["webhook:https://example.com/ada", "email:ada@example.com"]
[[user]]
name = "Bo"
contacts = ["webhook:https://example.com/bo"]
[[policy]]
name = "Night"
steps = [{ users = ["Ada"] }, { after = "10m", users = ["Bo"] }]
[[policy]]
name = "Other"
steps = [{ users = ["Bo"] }]
[[integration]]
name = "Doors"
template = "custom"
policy = "Night"
"""
CLONE = """
[[integration]]
name = "Clone"
template = "custom"
clone_of = "Doors"
sequence = 1
policy = "Night"
"""
WINDOW = """
[[integration.maintenance]]
name = "Lunch"
from = "2026-11-25T12:10"
to = "2026-11-25T12:30"
zone = "UTC"
reopen = true
"""
MINUTE = 60_000


def door(source_id: str, status: str, **more: Any) -> dict[str, Any]:
    return {"source_id": source_id, "status": status, "subject": f"door {source_id}", **more}


async def sent(gateway: Recorded, *messages: tuple[float, Any]) -> list[int]:
    """Messages for Doors, each so many minutes after noon; their ids."""
    ids = []
    for minutes, body in messages:
        gateway.clock.advance((NOON + minutes * MINUTE - gateway.clock.now()) / 1000)
        ids.append(await gateway.post("Doors", body))
    return ids


async def now(gateway: Recorded, *ids: int, **changes: Any) -> list[Rehearsed]:
    """What messages would do now, with an integration otherwise than it is."""
    saved, changed = await _directories(gateway, changes)
    messages = await gateway.journal.get(ids)
    return await rehearsal.now(gateway.state, messages, saved, changed, gateway.read, gateway.clock.now())


async def since(gateway: Recorded, minutes: float, name: str = "Doors", **changes: Any) -> list[Rehearsed]:
    """What its messages since so many minutes after noon would have done."""
    integration = await find_integration(gateway.state, name)
    return await rehearsal.since(
        gateway.state,
        gateway.journal,
        integration.endpoint_id,
        round(NOON + minutes * MINUTE),
        *await _directories(gateway, changes, name),
        gateway.read,
        gateway.clock.now(),
    )


async def _directories(gateway: Recorded, changes: dict[str, Any], name: str = "Doors") -> tuple[Directory, Directory]:
    """The configuration as it is, and as it would be."""
    integration = await find_integration(gateway.state, name)
    changed = msgspec.structs.replace(integration, **changes, updated_at=integration.updated_at + 1)
    saved = await directory_of(gateway.state)
    return saved, rehearsal.with_integration(saved, changed)


def outcomes(found: list[Rehearsed]) -> list[str]:
    return [effect.event.outcome for one in found for effect in one.effects]


def differing(found: list[Rehearsed]) -> list[int]:
    return [one.message.id for one in found if one.differs]


# now


MESSAGES = (
    (0, door("a", "open")),
    (1, door("a", "open", subject="door a again")),
    (2, door("b", "open", severity="critical")),
    (3, door("a", "close")),
    (4, door("nothing", "close")),
    (5, door("c", "unheard of")),
    (6, b"garbage"),
    (7, door("x", "open", source_name="staging")),
)
CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "filters": {"filters": {"all": [{"not": True, "field": "source_name", "is_one_of": ["staging"]}]}},
    "fallback": {"fallback": "open"},
    "nothing is read": {"fields": {"source_id": "{nowhere}"}},
    "other words": {"texts": {"subject": "about {{ source_id }}"}},
    "a delay": {"delay": {"wait": "5m"}},
    "two are waited for": {"delay": {"alerts": 2}},
    "an override": {"override": [{"policy": "Other", "when": {"is_one_of": ["critical"]}}]},
    "a group": {"group": {"within": "1h", "by": ["source"]}},
    "other lists": {"open": {"is_one_of": ["close"]}, "close": {"is_one_of": ["open"]}},
}


@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("settings", CHANGES.values(), ids=CHANGES)
async def test_what_a_dry_run_says_is_what_a_replay_does(
    settings: dict[str, Any], window: bool, tmp_path: Path
) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE + (WINDOW if window else ""))
        ids = await sent(gateway, *MESSAGES)
        gateway.clock.advance(600)
        before = await gateway.state.notifications(limit=1000)
        said = await now(gateway, *ids, settings=settings)
        integration = await find_integration(gateway.state, "Doors")
        await change_integration(gateway.state, PLUGINS, gateway.clock, integration, settings=settings)
        await gateway.replay(*ids)
        assert [
            (one.message.id, effect.event.action, effect.event.outcome, effect.event.reason, effect.event.alert_id)
            for one in said
            for effect in one.effects
        ] == await gateway.came(*ids)
        known = {one.id for one in before}
        assert told([told for one in said for told in one.notifications]) == told(
            [
                one
                for one in await gateway.state.notifications(limit=1000)
                if one.id not in known and one.status != "withdrawn"
            ]
        )


async def test_every_outcome_is_said(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        ids = await sent(gateway, *MESSAGES)
        settings = CHANGES["filters"]
        found = await now(gateway, *ids, settings=settings)
        assert outcomes(found) == [
            *("opened", "appended", "appended", "closed", "ignored", "ignored", "failed", "filtered"),
        ]
        assert [effect.change.text for effect in found[0].effects if effect.change] == ["door a"]
        await gateway.apply(FILE + WINDOW)
        gateway.clock.advance(600)
        assert outcomes(await now(gateway, ids[0])) == ["suppressed"]


async def test_before_is_the_newest_reading(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        (number,) = await sent(gateway, (0, door("a", "open")))
        (found,) = await now(gateway, number)
        assert found.before is not None
        assert [one.event.outcome for one in found.before] == ["opened"]
        assert found.differs, "it would be appended now"
        await gateway.replay(number)
        (found,) = await now(gateway, number)
        assert found.before is not None
        assert [(one.event.run, one.event.outcome) for one in found.before] == [(1, "appended")]
        assert not found.differs


async def test_what_was_never_read_differs_from_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        endpoint_id = (await find_integration(gateway.state, "Doors")).endpoint_id
        body = msgspec.json.encode(door("a", "open"))
        pasted = Message(
            id=0, endpoint_id=endpoint_id, received_at=NOON, headers=b"content-type: application/json", body=body
        )
        saved = await directory_of(gateway.state)
        (found,) = await rehearsal.now(gateway.state, [pasted], saved, saved, gateway.read, gateway.clock.now())
        assert outcomes([found]) == ["opened"]
        assert (found.before, found.differs) == (None, False)
        assert [one.user for one in found.notifications] == ["Ada", "Ada", "Bo"]


# since


@pytest.mark.parametrize("start", range(-1, 60, 4))
@pytest.mark.parametrize("name", ["Doors", "Backups", "Datadog"])
async def test_with_the_settings_of_then_nothing_would_have_been_otherwise(
    name: str, start: int, tmp_path: Path
) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(HOUR)
        for minutes, integration, body in hour():
            gateway.clock.advance((NOON + minutes * MINUTE - gateway.clock.now()) / 1000)
            await gateway.post(integration, body)
        gateway.clock.advance(3600)
        found = await since(gateway, start, name)
        for one in found:
            assert one.before is not None
            assert [effect.noticed() for effect in one.effects] == [effect.noticed() for effect in one.before], (
                one.message.id
            )
        if start < 0:
            assert found


async def test_what_people_did_meanwhile_is_known(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(
            FILE.replace('policy = "Night"\n', 'policy = "Night"\nsettings = { delay = { alerts = 2 } }\n')
        )
        await sent(gateway, (0, door("a", "open")), (1, door("b", "open")))
        gateway.clock.advance(10)
        await close_alert(gateway.state, gateway.clock, 1, actor="cli:ada")
        await assign_alert(gateway.state, gateway.clock, 2, actor="cli:ada", user=await find_user(gateway.state, "Ada"))
        ids = await sent(gateway, (2, door("a", "open")), (3, door("b", "open")), (4, door("a", "open")))
        assert [outcome for _, _, outcome, _, _ in await gateway.came(*ids)] == ["opened", "appended", "appended"]
        for start in (-1, 0.5, 1.5, 2.5):
            assert differing(await since(gateway, start)) == []


@pytest.mark.parametrize(
    ("settings", "differ", "would"),
    [
        ({}, [], []),
        ({"fields": {"subject": "{subject}"}}, [], []),
        (CHANGES["filters"], [8], ["filtered"]),
        (CHANGES["fallback"], [6], ["opened"]),
        ({"fields": {"subject": "{subject}!"}}, [1, 2, 3, 4, 8], ["opened", "appended", "opened", "closed", "opened"]),
        ({"severity": {"error": ["critical"], "critical": []}}, [3], ["opened"]),
        ({"delay": {"wait": "5m"}}, [1, 3, 8], ["opened"] * 3),
        ({"delay": {"alerts": 2}}, [1, 2, 3, 8], ["opened", "appended", "opened", "opened"]),
        (CHANGES["an override"], [3], ["opened"]),
        (CHANGES["a group"], [3, 8], ["opened", "opened"]),
        ({"close_after": "90s"}, [4], ["ignored"]),
        ({"texts": {"subject": "about {{ source_id }}"}}, [1, 2, 3, 4, 8], None),
        ({"texts": {"subject": "{{ subject }}"}}, [], []),
        ({"texts": {"description": "about {{ source_id }}"}}, [1, 2, 3, 8], None),
        *(({"fields": {name: "{subject}"}}, [1, 2, 3, 8], None) for name in ("description", "short_text")),
        *(({"fields": {name: "{subject}"}}, [1, 2, 3, 4, 8], None) for name in ("source_url", "assignee", "topic")),
        ({"fields": {"tags": ["{subject}"]}}, [1, 2, 3, 8], None),
        ({"fields": {"custom": {"door": "{subject}"}}}, [1, 2, 3, 8], None),
        ({"fields": {"occurred_at": "2026-11-25T11:00:00Z"}}, [1, 2, 3, 4, 8], None),
        ({"fields": {"source": "Other"}}, [1, 2, 3, 4, 8], None),
        ({"fields": {"source_id": "{source_id}-x"}}, [1, 2, 3, 4, 8], None),
    ],
)
async def test_changed_settings_differ_exactly_where_they_must(
    settings: dict[str, Any], differ: list[int], would: list[str] | None, tmp_path: Path
) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        await sent(gateway, *MESSAGES)
        found = await since(gateway, -1, settings=settings)
        assert differing(found) == differ
        if would is not None:
            assert outcomes([one for one in found if one.differs]) == would


async def test_each_difference_is_said_with_what_was_and_what_would_have_been(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        await sent(gateway, (0, door("a", "open", description="old", tags="x")))
        settings = {
            "fields": {"description": "{subject}", "source": "Other", "tags": ["y"], "custom": {"door": "{source_id}"}},
            "override": [{"policy": "Other", "when": {"field": "source_id", "is_one_of": ["a"]}}],
        }
        (found,) = await since(gateway, -1, settings=settings)
        assert {one.what: (one.before, one.after) for one in found.differences} == {
            "told": ("policy Night", "policy Other"),
            "source": ("Custom", "Other"),
            "description": ("old", "door a"),
            "tags": (["x"], ["y"]),
            "custom.door": (None, "a"),
        }
        assert {one.event for one in found.differences} == {0}
        (found,) = await since(gateway, -1, settings={"open": {"is_one_of": ["other"]}})
        assert [(one.what, one.before, one.after) for one in found.differences] == [
            ("action", "open", "ignore"),
            ("outcome", "opened", "ignored"),
            ("reason", None, "status 'open' is in no list"),
        ]


async def test_another_integration_that_takes_an_event_is_said(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE + CLONE)
        ids = await sent(gateway, (0, door("a", "open")), (1, door("x", "open", source_name="staging")))
        assert differing(await since(gateway, -1)) == []
        (first, found) = await since(gateway, -1, settings=CHANGES["filters"])
        assert (first.differs, found.message.id) == (False, ids[1])
        said = [(one.what, one.before, one.after) for one in found.differences]
        assert said == [("integration", "Doors", "Clone")]


async def test_one_more_that_takes_an_event_is_all_that_differs(tmp_path: Path) -> None:
    fan_out = FILE + "fan_out = true\n"
    third = CLONE.replace('"Clone"', '"Third"').replace("= 1", "= 2")
    nothing = 'settings = { filters = { all = [{ field = "source_id", is_one_of = ["none"] }] } }\n'
    async with recorded(tmp_path) as gateway:
        await gateway.apply(fan_out + CLONE + nothing + third + 'settings = { each = "doors" }\n')
        body = {"doors": [door("b", "open"), door("c", "open")], **door("a", "open")}
        await sent(gateway, (0, body))
        assert differing(await since(gateway, -1)) == []
        (found,) = await since(gateway, -1, "Clone", settings={})
        assert [(effect.integration, effect.event.outcome) for effect in found.effects] == [
            *(("Doors", "opened"), ("Clone", "opened"), ("Third", "opened"), ("Third", "opened")),
        ]
        said = [(one.event, one.what, one.before, one.after) for one in found.differences]
        assert said == [(1, "action", None, "open"), (1, "outcome", None, "opened"), (1, "integration", None, "Clone")]
        (found,) = await since(
            gateway, -1, settings={"filters": {"all": [{"field": "source_id", "is_one_of": ["none"]}]}}
        )
        said = [(one.event, one.what, one.before, one.after) for one in found.differences]
        assert said == [(2, "action", "open", None), (2, "outcome", "opened", None), (2, "integration", "Doors", None)]


async def test_another_policy_differs_where_an_alert_opens(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        await sent(gateway, *MESSAGES)
        found = await since(gateway, -1, policy_id=(await find_policy(gateway.state, "Other")).id)
        assert differing(found) == [1, 3, 8]
        assert {told.user for one in found for told in one.notifications if told.kind == "opened"} == {"Bo"}


async def test_silence_and_the_ends_of_windows_come_at_their_own_times(tmp_path: Path) -> None:
    """Of what nobody sent a message: an alert that opened at the end of a window is silent for as long as any."""
    messages = ((5, door("a", "open")), (11, door("b", "open")), (48, door("b", "open")), (52, door("b", "open")))
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE + WINDOW)
        ids = await sent(gateway, *messages)
        assert [came[2] for came in await gateway.came(*ids)] == ["opened", "suppressed", "appended", "appended"]
        assert differing(await since(gateway, -1)) == []
        # opened at 12:30, closed at 12:50: the one at 12:48 keeps it open, and that at 12:52 too
        found = await since(gateway, -1, settings={"close_after": "20m"})
        assert outcomes(found) == ["opened", "suppressed", "appended", "appended"]
        # closed at 12:47, so that what came at 12:48 opens it anew
        found = await since(gateway, -1, settings={"close_after": "17m"})
        assert outcomes(found) == ["opened", "suppressed", "opened", "appended"]
        assert differing(found) == [ids[2]]


async def test_a_replay_meanwhile_is_known(tmp_path: Path) -> None:
    """A message of before, replayed since, had its effect then."""
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        first, _ = await sent(gateway, (0, door("a", "open")), (1, door("a", "close")))
        gateway.clock.advance(300)
        await gateway.replay(first)
        ids = await sent(gateway, (7, door("a", "open")), (8, door("a", "close")))
        assert [came[2] for came in await gateway.came(*ids)] == ["appended", "closed"]
        assert differing(await since(gateway, 2)) == []


OPTIONS: tuple[dict[str, Any], ...] = (
    {"delay": {"wait": "5m"}},
    {"delay": {"alerts": 2}},
    {"delay": {"alerts": 3, "within": "10m"}},
    {"delay": {"alerts": 2, "repeat": True}},
    {"delay": {"flapping": {"opens": 2, "within": "15m"}}},
    {"delay": {"until": {"zone": "UTC", "from": "12:20", "to": "12:40"}}},
    {"group": {"within": "15m", "by": ["source_name"]}},
    {"close_after": "12m"},
    {"close_after": "7m"},
    {"override": [{"policy": "Other", "when": {"is_one_of": ["critical"]}}]},
    {"auto_acknowledge": True, "acknowledge": {"field": "{acked}", "is_one_of": ["yes"]}},
    {"fallback": "open"},
)


async def some_day(gateway: Recorded, chance: random.Random) -> list[int]:
    """Messages, hands and silence in any order; the ids of the messages."""
    ids = []
    for _ in range(chance.randint(3, 14)):
        gateway.clock.advance(chance.choice([0.01, 30, 60, 200, 420, 800]))
        await gateway.tick()
        alerts = await gateway.state.alerts(statuses=["open"])
        kind = chance.random()
        if kind < 0.2 and alerts:
            number = chance.choice(alerts).id
            if kind < 0.1:
                await close_alert(gateway.state, gateway.clock, number, actor="cli:ada")
            else:
                ada = await find_user(gateway.state, "Ada")
                await assign_alert(gateway.state, gateway.clock, number, actor="cli:ada", user=ada)
            gateway.clock.advance(0.01)
        elif kind > 0.95:
            ids.append(await gateway.post("Doors", b"garbage"))
        else:
            status = chance.choice(["open"] * 5 + ["close"] * 3 + ["update", "broken"])
            more = {
                "severity": chance.choice(["critical", "info"]),
                "source_name": chance.choice("xxy"),
                "acked": chance.choice(["no", "no", "no", "yes"]),
            }
            ids.append(await gateway.post("Doors", door(chance.choice("abc"), status, **more)))
    gateway.clock.advance(60)
    await gateway.tick()
    return ids


@pytest.mark.parametrize("seed", range(60))
async def test_on_any_day_it_says_what_was_and_what_a_replay_does(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    first, second = (
        {key: value for option in chance.sample(OPTIONS, chance.randint(0, 3)) for key, value in option.items()}
        for _ in range(2)
    )
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE + (WINDOW if seed % 2 else ""))
        integration = await find_integration(gateway.state, "Doors")
        integration = await change_integration(gateway.state, PLUGINS, gateway.clock, integration, settings=first)
        ids = await some_day(gateway, chance)
        length = (gateway.clock.now() - NOON) / MINUTE
        for start in (-1, length * chance.random(), length * chance.random()):
            for one in await since(gateway, start):
                assert one.before is not None
                assert [effect.noticed() for effect in one.effects] == [effect.noticed() for effect in one.before]
        known = {one.id for one in await gateway.state.notifications(limit=1000)}
        said = await now(gateway, *ids, settings=second)
        await change_integration(gateway.state, PLUGINS, gateway.clock, integration, settings=second)
        await gateway.replay(*ids)
        assert [(effect.event.outcome, effect.event.alert_id) for one in said for effect in one.effects] == [
            came[2::2] for came in await gateway.came(*ids)
        ]
        assert told([one for rehearsed in said for one in rehearsed.notifications]) == told(
            [
                one
                for one in await gateway.state.notifications(limit=1000)
                if one.id not in known and one.status != "withdrawn"
            ]
        )


class LookedUp(dict[tuple[int, int], list[Change]]):
    """Changes that are looked up, as they must be where there are many: not walked for each message."""

    def __iter__(self) -> Any:
        msg = "all changes of the time were walked; look up those of one message by its id and the alert's"
        raise AssertionError(msg)

    items = keys = values = __iter__


async def test_the_changes_of_a_long_time_are_not_walked_for_each_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looked_up(*given: Any) -> Any:
        history = await history_since(*given)
        return msgspec.structs.replace(history, changes=LookedUp(history.changes))

    monkeypatch.setattr(rehearsal, "history_since", looked_up)
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        await sent(gateway, *MESSAGES)
        assert differing(await since(gateway, 0)) == []


# nothing is changed


async def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE + WINDOW)
        ids = await sent(gateway, *MESSAGES, (12, door("w", "open")))
    clock = gateway.clock
    clock.advance(3600)
    async with recorded(tmp_path, clock=clock) as gateway:
        before = [await gateway.everything(), await gateway.state.next_timer(), gateway.contents()]
        await now(gateway, *ids, settings=CHANGES["fallback"])
        await since(gateway, -1, settings=CHANGES["nothing is read"])
        assert [await gateway.everything(), await gateway.state.next_timer(), gateway.contents()] == before


@pytest.mark.parametrize("settings", CHANGES.values(), ids=CHANGES)
async def test_the_past_stays_when_settings_change(settings: dict[str, Any], tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        await sent(gateway, *MESSAGES)
        before = await gateway.everything()
        integration = await find_integration(gateway.state, "Doors")
        await change_integration(gateway.state, PLUGINS, gateway.clock, integration, settings=settings)
        assert await gateway.everything() == before
        await gateway.replay(1)
        first = [event.trace for event in await gateway.state.events(range(1, 9)) if event.run == 0]
        assert first == before[3]
