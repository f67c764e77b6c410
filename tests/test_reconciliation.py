"""What is otherwise in a file than in a gateway, and making the gateway so: on real stores."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from gateway.clock import ManualClock
from gateway.configuration import Configuration, GroupTable, IntegrationTable, PolicyTable, StepTable, UserTable
from gateway.configuration_file import parse, to_toml
from gateway.errors import GatewayError
from gateway.integrations import change_integration, find_endpoint, find_integration, replace_secret, rotate_token
from gateway.people import find_user
from gateway.vault import new_token
from tests.recorded import NOON, PLUGINS, Recorded, recorded

pytestmark = pytest.mark.anyio

CANARY = "canary-4711"
FULL = """
[[user]]
name = "Ada"
contacts = ["webhook:https://example.com/ada", "email:ada@example.com"]

[[user]]
name = "Bo"
contacts = ["webhook: https://example.com/bo"]

[[user]]
name = "Cleo"

[[group]]
name = "Databases"
users = ["Bo", "Ada", "Bo"]

[[policy]]
name = "Night"
steps = [{ after = "300s", users = ["Bo"] }, { users = ["Ada"] }]

[[policy]]
name = "Day"
steps = [{ users = ["Bo"] }]

[[integration]]
name = "Staging"
template = "custom"
clone_of = "Doors"
sequence = 7
users = ["Cleo"]
settings = { filters = { any = [{ field = "source_name", is_one_of = ["staging"] }] } }

[[integration]]
name = "Doors"
template = "custom"
policy = "Night"
groups = ["Databases"]
fan_out = true
token = "env:TOKEN"
secret = "env:SECRET"

[integration.settings]
close_after = "2h"

[integration.settings.fields]
subject = "{subject} at {door}"

[integration.settings.fields.custom]
door = "{door}"

[[integration.settings.override]]
policy = "Day"
hours = { zone = "Europe/Berlin", from = "09:00", to = "17:00" }

[[integration.settings.recipients]]
group = "Databases"
when = { field = "subject", matches = "^db-" }

[[integration.maintenance]]
name = "Weekend"
from = "2026-11-28T22:00"
to = "2026-11-29T02:00"
zone = "Europe/Berlin"
repeat = "weekly"
days = ["sat", "sun"]
reopen = true

[[integration.maintenance]]
name = "Move"
from = "2020-01-01T22:00"
to = "2020-01-02T02:00"
zone = "UTC"

[[integration]]
name = "Backups"
template = "datadog"
enabled = false
sequence = 3
"""
USER_WITH_ADAS_CONTACT = """
[[user]]
name = "Dan"
contacts = ["webhook:https://example.com/ada"]
"""
TOKEN = new_token()
ENVIRON = {"TOKEN": TOKEN, "SECRET": CANARY, "OTHER": f"other {CANARY}", "OTHER_TOKEN": new_token()}


async def state_of(gateway: Recorded) -> list[Any]:
    """Everything that is configured."""
    state = gateway.state
    kinds = (state.users, state.groups, state.policies, state.integrations, state.windows, state.endpoints)
    return [await kind() for kind in kinds]


def said(steps: list[Any]) -> list[str]:
    return [f"{step.verb} {step.kind} {step.name}" for step in steps]


# the same again


async def test_an_export_makes_the_same_gateway_byte_for_byte(tmp_path: Path) -> None:
    async with recorded(tmp_path / "first", environ=ENVIRON) as first:
        made = await first.apply(FULL)
        assert [one.integration.name for one in made] == ["Backups"], "a token that is said is not shown again"
        export = await first.export()
        settled = await state_of(first)
        assert await first.steps(FULL, prune=True) == []
        assert await first.steps(export, prune=True) == []
        await first.apply(FULL, prune=True)
        assert await state_of(first) == settled, "nothing is touched the second time"
    clock = ManualClock(NOON + 86_400_000)
    async with recorded(tmp_path / "second", clock=clock, environ=ENVIRON) as second:
        await second.apply(export)
        assert await second.export() == export
        assert await second.steps(export, prune=True) == []
    assert CANARY not in export
    assert TOKEN not in export
    assert 'token = "env:TOKEN"' in export


async def test_a_plan_says_what_is_added_in_an_order_that_works(tmp_path: Path) -> None:
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        steps = await gateway.steps(FULL)
    assert said(steps) == [
        *("add user Ada", "add user Bo", "add user Cleo", "add group Databases", "add policy Night", "add policy Day"),
        *("add integration Doors", "add integration Backups", "add integration Staging"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "changed", "details"),
    [
        ("ada@example.com", "a@example.com", "user Ada", ["contacts: "]),
        ('users = ["Bo", "Ada", "Bo"]', 'users = ["Ada"]', "group Databases", ['users: ["Bo","Ada"] → ["Ada"]']),
        ('after = "300s"', 'after = "10m"', "policy Night", ["steps: "]),
        ('policy = "Night"', 'policy = "Day"', "integration Doors", ["policy: Night → Day"]),
        ('policy = "Night"\n', "", "integration Doors", ["policy: Night → none"]),
        ('groups = ["Databases"]\n', "", "integration Doors", ['groups: ["Databases"] → none']),
        ("fan_out = true\n", "", "integration Doors", ["fan_out: true → false"]),
        ("enabled = false\n", "", "integration Backups", ["enabled: false → true"]),
        ("sequence = 7", "sequence = 8", "integration Staging", ["sequence: 7 → 8"]),
        ('close_after = "2h"', 'close_after = "3h"', "integration Doors", ["settings.close_after: 2h → 3h"]),
        ('"{subject} at {door}"', '"{subject}"', "integration Doors", ["settings.fields.subject: {subject} at {door} → {"]),
        ('door = "{door}"', 'gate = "{gate}"', "integration Doors", ["settings.fields.custom.door: {door} → none",
                                                                        "settings.fields.custom.gate: none → {gate}"]),
        ("reopen = true\n", "", "integration Doors", ["maintenance.Weekend.reopen: true → none"]),
        ('name = "Move"', 'name = "Shift"', "integration Doors", ["maintenance.Move: {", "maintenance.Shift: none → {"]),
        ('secret = "env:SECRET"', 'secret = "env:OTHER"', "integration Doors", ["secret: the one in env:OTHER"]),
        ('secret = "env:SECRET"\n', "", "integration Doors", ["secret: none, so that nobody is verified"]),
        ('token = "env:TOKEN"', 'token = "env:OTHER_TOKEN"', "integration Doors", ["token: the one in env:OTHER_TOKEN"]),
    ],
)  # fmt: skip
async def test_a_change_is_one_step_and_makes_what_a_new_gateway_would_be(
    old: str, new: str, changed: str, details: list[str], tmp_path: Path
) -> None:
    assert old in FULL
    edited = FULL.replace(old, new)
    async with recorded(tmp_path / "old", environ=ENVIRON) as gateway:
        await gateway.apply(FULL)
        steps = await gateway.steps(edited)
        assert said(steps) == [f"change {changed}"]
        assert [line.startswith(start) for line, start in zip(steps[0].details, details, strict=True)] == [True] * len(
            details
        ), steps[0].details
        assert CANARY not in msgspec.json.encode(steps).decode()
        assert TOKEN not in msgspec.json.encode(steps).decode()
        await gateway.apply(edited)
        assert await gateway.steps(edited, prune=True) == []
        export = await gateway.export()
    async with recorded(tmp_path / "new", environ=ENVIRON) as fresh:
        await fresh.apply(edited)
        assert await fresh.export() == export


async def test_true_is_not_one(tmp_path: Path) -> None:
    file = '[[integration]]\nname = "Doors"\ntemplate = "custom"\nsettings = { open = { is_one_of = [VALUE] } }\n'
    async with recorded(tmp_path) as gateway:
        await gateway.apply(file.replace("VALUE", "1"))
        assert said(await gateway.steps(file.replace("VALUE", "true"))) == ["change integration Doors"]


async def test_what_is_not_in_the_file_is_left_alone_or_pruned_in_an_order_that_works(tmp_path: Path) -> None:
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(FULL)
        assert await gateway.steps("") == []
        assert said(await gateway.steps("", prune=True)) == [
            *("delete integration Staging", "delete integration Backups", "delete integration Doors"),
            *("delete policy Day", "delete policy Night", "delete group Databases"),
            *("delete user Ada", "delete user Bo", "delete user Cleo"),
        ]
        await gateway.apply("", prune=True)
        assert await state_of(gateway) == [[]] * 6


async def test_what_is_pruned_is_given_up_by_what_stays_first(tmp_path: Path) -> None:
    stays = '[[user]]\nname = "Ada"\n[[policy]]\nname = "Late"\nsteps = [{users = ["Ada"]}]\n'
    stays += '[[integration]]\nname = "Doors"\ntemplate = "custom"\npolicy = "Late"\n'
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(FULL)
        await gateway.apply(stays, prune=True)
        assert await gateway.steps(stays, prune=True) == []


async def test_a_file_may_lean_on_what_is_there_unless_that_is_pruned(tmp_path: Path) -> None:
    added = '[[group]]\nname = "Night shift"\nusers = ["Ada"]\n[[integration]]\nname = "Third"\ntemplate = "custom"\n'
    added += 'clone_of = "Doors"\nsequence = 8\npolicy = "Night"\n'
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(FULL)
        with pytest.raises(GatewayError, match=r"\[\[group\]\] 'Night shift': there is no user 'Ada'"):
            await gateway.steps(added, prune=True)
        assert said(await gateway.steps(added)) == ["add group Night shift", "add integration Third"]
        with pytest.raises(GatewayError, match=r"its `sequence` is 7, as that of 'Staging' on the same endpoint"):
            await gateway.steps(added.replace("sequence = 8", "sequence = 7"))


SHARING = """
[[integration]]
name = "G"
template = "custom"
fan_out = true
token = "env:TOKEN"
secret = "env:SECRET"

[[integration]]
name = "I"
template = "custom"
clone_of = "G"
sequence = 1

[[integration]]
name = "K"
template = "custom"
clone_of = "G"
sequence = 2
"""


async def test_clones_change_places(tmp_path: Path) -> None:
    changed = SHARING.replace("sequence = 1", "sequence = 3").replace("sequence = 2", "sequence = 1")
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(SHARING)
        await gateway.apply(changed)
        assert await gateway.steps(changed) == []


async def test_a_file_moves_a_clone_before_the_first_and_back(tmp_path: Path) -> None:
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(SHARING)
        before, endpoints = await gateway.export(), await gateway.state.endpoints()
        first = await find_integration(gateway.state, "G")
        await change_integration(gateway.state, PLUGINS, gateway.clock, first, sequence=20)
        after = await gateway.export()
        assert 'clone_of = "I"' in after
        for file, details in ((before, ["sequence: 20 → 0"]), (after, ["sequence: 0 → 20"])) * 2:
            (step,) = await gateway.steps(file, prune=True)
            assert (step.name, step.details) == ("G", details)
            await gateway.apply(file)
            assert await gateway.export() == file
            assert await gateway.steps(file, prune=True) == []
            assert await gateway.state.endpoints() == endpoints, "the URL and the secret stay"


async def test_what_shares_an_endpoint_follows_it_though_it_is_not_in_the_file(tmp_path: Path) -> None:
    moved = '[[integration]]\nname = "I"\ntemplate = "custom"\nsequence = 1\n'
    moved += '[[integration]]\nname = "G"\ntemplate = "custom"\nclone_of = "I"\nsequence = 20\n'
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(SHARING)
        with pytest.raises(
            GatewayError, match="'K', which is not in the file: its `sequence` is 2; it comes after 'I'"
        ):
            await gateway.steps(moved.replace("sequence = 1", "sequence = 5"))
        await gateway.apply(moved)
        assert [one.clone_of for one in parse(await gateway.export(), "x").integration] == [None, "I", "I"]
        assert (await gateway.state.endpoints())[0].fan_out is False, "the file has it so, of the first"
        assert await gateway.steps(moved) == []


# what cannot be


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'users = ["Cleo"]',
            'users = ["Kleo"]',
            "[[integration]] 'Staging': there is no user 'Kleo' … did you mean Cleo?",
        ),
        ('users = ["Bo"] }]', 'users = ["Bob"] }]', "[[policy]] 'Day': there is no user 'Bob' … did you mean Bo?"),
        ('["Bo", "Ada", "Bo"]', '["Adda"]', "[[group]] 'Databases': there is no user 'Adda' … did you mean Ada?"),
        (
            'groups = ["Databases"]',
            'groups = ["Database"]',
            "'Doors': there is no group 'Database' … did you mean Databases?",
        ),
        (
            'policy = "Night"',
            'policy = "Nigth"',
            "[[integration]] 'Doors': there is no policy 'Nigth' … did you mean Night?",
        ),
        (
            'policy = "Day"',
            'policy = "Dai"',
            "[[integration]] 'Doors': [[override]]: there is no policy 'Dai' … mean Day?",
        ),
        (
            'group = "Databases"',
            'group = "Data"',
            "[[integration]] 'Doors': [[recipients]]: there is no group 'Data' … add it",
        ),
        ('clone_of = "Doors"', 'clone_of = "Dors"', "'Staging': there is no integration 'Dors' … did you mean Doors?"),
        (
            'template = "datadog"',
            'template = "datadgo"',
            "[[integration]] 'Backups': … datadgo … did you mean datadog?",
        ),
        (
            'close_after = "2h"',
            'close_after = "soon"',
            "[[integration]] 'Doors': … `close_after` is 'soon'; write a span",
        ),
        ('close_after = "2h"', "fallbak = 1", "[[integration]] 'Doors': … fallbak … did you mean fallback?"),
        ('"^db-"', '"(?=db)"', "[[integration]] 'Doors': … [[recipients]] … RE2 refuses the pattern"),
        ("webhook: https", "fax:", "[[user]] 'Bo': the contact 'fax:"),
        ('"env:TOKEN"', '"env:NONE"', "[[integration]] 'Doors': the token is to be had from env:NONE … set it"),
        ('"env:TOKEN"', '"env:SECRET"', "[[integration]] 'Doors': what is in env:SECRET is no token"),
        ('"env:SECRET"', '"env:EMPTY"', "[[integration]] 'Doors': the secret in env:EMPTY is empty"),
        (
            '"env:SECRET"',
            '"kept"',
            "[[integration]] 'Doors': its secret is to be kept, and there is none; write env:NAME",
        ),
        ("enabled = false", 'token = "env:TOKEN"', "'Backups': the token in env:TOKEN is that of 'Doors'"),
        ("enabled = false", 'secret = "kept"', "'Backups': its secret is to be kept, and there is none"),
    ],
)
async def test_what_cannot_be_is_said_before_anything_is_done(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert old in FULL
    async with recorded(tmp_path, environ=ENVIRON | {"EMPTY": ""}) as gateway:
        with pytest.raises(GatewayError) as error:
            await gateway.apply(FULL.replace(old, new))
        assert await state_of(gateway) == [[]] * 6
    text = str(error.value)
    assert CANARY not in text
    assert TOKEN not in text
    assert all(part in text for part in words.split(" … ")), text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('template = "datadog"', 'template = "custom"', "'Backups': it has the template datadog, which stays; delete"),
        ('clone_of = "Doors"', 'clone_of = "Backups"', "'Staging': it is on the endpoint of 'Doors', which stays"),
        ('clone_of = "Doors"\n', "", "[[integration]] 'Staging': it is on the endpoint of 'Doors', which stays"),
        ("enabled = false", 'clone_of = "Doors"', "[[integration]] 'Backups': it is on an endpoint of its own"),
        ('name = "Cleo"', 'name = "cleo"', "[[user]] 'cleo': there is a user of the name 'cleo' already (as 'Cleo'"),
        ('secret = "env:SECRET"', 'secret = "kept"', None),
    ],
)
async def test_what_stays_as_it_is_cannot_be_changed(old: str, new: str, words: str | None, tmp_path: Path) -> None:
    edited = FULL.replace(old, new).replace('users = ["Cleo"]\n', "")
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(FULL)
        before = await state_of(gateway)
        if words is None:  # the secret that it has is kept
            assert said(await gateway.steps(edited)) == ["change integration Staging"]
            return
        with pytest.raises(GatewayError) as error:
            await gateway.apply(edited)
        assert words in str(error.value)
        assert await state_of(gateway) == before


# tokens, secrets, contacts


async def endpoint(gateway: Recorded, name: str) -> Any:
    return await find_endpoint(gateway.state, await find_integration(gateway.state, name))


async def test_a_token_by_reference_works_and_its_rotation_is_a_change(tmp_path: Path) -> None:
    async with recorded(tmp_path / "data", environ=ENVIRON) as gateway:
        (tmp_path / "token").write_text(TOKEN + "\n")
        file = FULL.replace("env:TOKEN", f"file:{tmp_path}/token")
        await gateway.apply(file)
        first = await endpoint(gateway, "Doors")
        assert first.token_hash == gateway.vault.token_hash(TOKEN.encode())
        other = new_token()
        (tmp_path / "token").write_text(other)
        (step,) = await gateway.steps(file)
        assert step.details == [f"token: the one in file:{tmp_path}/token"]
        await gateway.apply(file)
        second = await endpoint(gateway, "Doors")
        assert second.token_hash == gateway.vault.token_hash(other.encode())
        assert second.previous_token_hash == first.token_hash
        assert second.previous_until == NOON + 24 * 3_600_000
        assert await gateway.steps(file) == []
        assert TOKEN not in await gateway.export()


async def test_a_secret_by_reference_is_rotated_and_the_one_before_holds(tmp_path: Path) -> None:
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(FULL)
        first = await endpoint(gateway, "Doors")
        assert gateway.vault.unseal(first.secret) == CANARY
        gateway.environ["SECRET"] = f"new {CANARY}"
        (step,) = await gateway.steps(FULL)
        assert step.details == ["secret: the one in env:SECRET"]
        await gateway.apply(FULL)
        second = await endpoint(gateway, "Doors")
        assert gateway.vault.unseal(second.secret) == f"new {CANARY}"
        assert gateway.vault.unseal(second.previous_secret) == CANARY
        assert second.token_hash == first.token_hash
        await gateway.apply(FULL.replace('policy = "Night"', 'policy = "Day"'))
        assert await endpoint(gateway, "Doors") == second, "another change leaves the overlap alone"
        await gateway.apply(FULL.replace('secret = "env:SECRET"\n', ""))
        third = await endpoint(gateway, "Doors")
        assert (third.secret, third.previous_secret, third.secret_from) == (None, None, None)


async def test_what_was_rotated_by_hand_is_no_longer_that_of_the_file(tmp_path: Path) -> None:
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(FULL)
        doors = await find_integration(gateway.state, "Doors")
        await rotate_token(gateway.state, gateway.vault, gateway.clock, doors, overlap=0)
        await replace_secret(gateway.state, gateway.vault, PLUGINS, doors, "by hand", keep_previous=False)
        (table,) = (one for one in parse(await gateway.export(), "x").integration if one.name == "Doors")
        assert (table.token, table.secret) == ("kept", "kept")
        (step,) = await gateway.steps(FULL)
        assert step.details == ["token: the one in env:TOKEN", "secret: the one in env:SECRET"]
        await gateway.apply(FULL)
        assert await gateway.steps(FULL) == []


async def test_a_new_token_is_made_once_and_kept(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        file = '[[integration]]\nname = "Doors"\ntemplate = "custom"\n'
        (made,) = await gateway.apply(file)
        token = urlsplit(made.url("https://example.com")).path.split("/")[2]
        assert (await endpoint(gateway, "Doors")).token_hash == gateway.vault.token_hash(token.encode())
        assert await gateway.apply(file + 'users = ["Ada"]\n[[user]]\nname = "Ada"\n') == []
        assert (await endpoint(gateway, "Doors")).token_hash == gateway.vault.token_hash(token.encode())


async def test_contacts_keep_their_signing_secrets(tmp_path: Path) -> None:
    async with recorded(tmp_path, environ=ENVIRON) as gateway:
        await gateway.apply(FULL)
        before = {one.address: one.id for one in (await find_user(gateway.state, "Ada")).contacts}
        await gateway.apply(
            FULL.replace(
                '["webhook:https://example.com/ada", "email:ada@example.com"]',
                '["email:new@example.com", "email:ada@example.com", "webhook:https://example.com/ada"]',
            )
        )
        after = {one.address: one.id for one in (await find_user(gateway.state, "Ada")).contacts}
        assert list(after) == ["new@example.com", "ada@example.com", "https://example.com/ada"]
        assert {address: after[address] for address in before} == before


async def test_a_gateway_that_is_made_anew_signs_as_before(tmp_path: Path) -> None:
    """As long as its key is kept; and each user has secrets of their own."""
    async with recorded(tmp_path / "first", environ=ENVIRON) as first:
        await first.apply(FULL + USER_WITH_ADAS_CONTACT)
        contacts = await contacts_of(first)
        export = await first.export()
        key = (first.data / "secret.key").read_bytes()
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "secret.key").write_bytes(key)
    async with recorded(tmp_path / "second", environ=ENVIRON) as second:
        await second.apply(export)
        assert await contacts_of(second) == contacts
        await second.apply('[[user]]\nname = "Ada"\n')
        await second.apply(export)
        assert await contacts_of(second) == contacts
    assert len({number for _, _, _, number in contacts}) == len(contacts)


async def contacts_of(gateway: Recorded) -> list[tuple[str, str, str, str]]:
    return [(user.name, one.kind, one.address, one.id) for user in await gateway.state.users() for one in user.contacts]


# the same behaviour

HOUR = """
[[user]]
name = "Ada"
contacts = ["webhook:https://example.com/ada", "email:ada@example.com"]
[[user]]
name = "Bo"
contacts = ["webhook:https://example.com/bo"]
[[user]]
name = "Cleo"
contacts = ["webhook:https://example.com/cleo"]

[[group]]
name = "Databases"
users = ["Cleo"]
[[group]]
name = "Everyone"
users = ["Ada", "Bo", "Cleo"]

[[policy]]
name = "Night"
steps = [{ users = ["Ada"] }, { after = "10m", users = ["Bo"] }]
[[policy]]
name = "Critical"
steps = [{ users = ["Bo", "Ada"] }]
[[policy]]
name = "Midday"
steps = [{ users = ["Cleo"] }]

[[integration]]
name = "Doors"
template = "custom"
policy = "Night"
groups = ["Databases"]
[integration.settings]
close_after = "20m"
filters = { all = [{ not = true, field = "source_name", is_one_of = ["staging"] }] }
[integration.settings.fields]
subject = "{subject} ({door || 'no door'})"
[integration.settings.fields.custom]
door = "{door}"
[integration.settings.texts]
short_text = "{{ custom.door }}"
[integration.settings.group]
within = "15m"
by = ["custom.door"]
[[integration.settings.override]]
policy = "Critical"
when = { is_one_of = ["critical"] }
[[integration.settings.override]]
policy = "Midday"
hours = { zone = "Europe/Berlin", from = "13:30", to = "14:00" }
[[integration.settings.recipients]]
group = "Everyone"
when = { field = "subject", matches = "^fire" }

[[integration]]
name = "Staging"
template = "custom"
clone_of = "Doors"
sequence = 5
users = ["Cleo"]
[integration.settings]
filters = { all = [{ field = "source_name", is_one_of = ["staging"] }] }
delay = { alerts = 2, within = "10m" }

[[integration]]
name = "Backups"
template = "custom"
policy = "Midday"
[integration.settings.delay]
wait = "5m"
until = { zone = "UTC", from = "12:45", to = "13:00" }
[[integration.maintenance]]
name = "Lunch"
from = "2026-11-25T12:10"
to = "2026-11-25T12:30"
zone = "UTC"
repeat = "daily"
reopen = true

[[integration]]
name = "Datadog"
template = "datadog"
users = ["Bo"]
"""


def hour() -> list[tuple[float, str, Any]]:
    """What comes in an hour: after how many minutes, to which integration, what."""
    samples = Path(__file__).parent.parent / "plugins" / "datadog" / "samples"
    datadog = sorted(path for path in samples.glob("*.json") if ".expected" not in path.name)[:8]

    def door(source_id: str, status: str, **more: Any) -> dict[str, Any]:
        return {"source_id": source_id, "status": status, "subject": f"door {source_id}", "door": "front", **more}

    return [
        (0, "Doors", door("a", "open")),
        (1, "Doors", door("b", "open", severity="critical")),
        (2, "Doors", door("c", "open", door="back", subject="fire")),
        (3, "Doors", door("a", "close")),
        (4, "Doors", door("s", "open", source_name="staging")),
        (5, "Doors", door("s", "open", source_name="staging")),
        (6, "Doors", door("z", "unheard of")),
        (7, "Doors", b"garbage"),
        (8, "Doors", door("c", "update", door="back", severity="info")),
        (11, "Backups", door("x", "open")),
        (12, "Backups", door("y", "open")),
        (13, "Backups", door("x", "close")),
        (14, "Doors", door("n", "close")),
        *((15 + at / 10, "Datadog", path.read_bytes()) for at, path in enumerate(datadog)),
        (33, "Backups", door("y", "open")),
        (34, "Doors", door("h", "open", door="side", tags=["a", "b"])),
        (50, "Backups", door("y", "close")),
        (58, "Doors", door("h", "open", door="side")),
    ]


async def behaviour(gateway: Recorded) -> list[Any]:
    start = gateway.clock.now()
    for minutes, integration, body in hour():
        gateway.clock.advance((start + minutes * 60_000 - gateway.clock.now()) / 1000)
        await gateway.post(integration, body)
    gateway.clock.advance((start + 3_600_000 - gateway.clock.now()) / 1000)
    await gateway.tick()
    return await gateway.everything()


async def test_what_was_exported_wiped_and_applied_behaves_the_same(tmp_path: Path) -> None:
    async with recorded(tmp_path / "first") as first:
        await first.apply(HOUR)
        export = await first.export()
        expected = await behaviour(first)
        assert await first.export() == export
    outcomes = {outcome for _, _, outcome, _, _ in expected[0]}
    assert outcomes == {"opened", "appended", "updated", "closed", "ignored", "suppressed", "failed"}
    assert expected[2], "somebody is told"
    async with recorded(tmp_path / "second") as second:
        await second.apply(export)
        assert await behaviour(second) == expected


# from any configuration to any other


def some_configuration(chance: random.Random) -> Configuration:
    """One whose parts mostly fit."""
    users = chance.sample(["Ada", "Bo", "Cleo"], chance.randint(1, 3))

    def some() -> list[str]:
        return [chance.choice(users) for _ in range(chance.randint(1, 3))]

    policies = chance.sample(["Night", "Day", "Late"], chance.randint(1, 3))
    integrations: list[IntegrationTable] = []
    for name in chance.sample(["Doors", "Windows", "Roof", "Cellar"], chance.randint(0, 4)):
        table = IntegrationTable(
            name=name,
            template=chance.choice(["custom", "custom", "datadog"]),
            enabled=chance.random() < 0.8,
            sequence=chance.randint(0, 3),
            policy=chance.choice([None, *policies]),
            users=some(),
            settings={"override": [{"policy": chance.choice(policies), "when": {"is_one_of": ["x"]}}]},
        )
        firsts = [one.name for one in integrations if one.clone_of is None]
        if firsts and chance.random() < 0.5:
            table.clone_of, table.sequence = chance.choice(firsts), chance.randint(4, 9)
        else:
            table.fan_out, table.secret = chance.random() < 0.3, chance.choice([None, None, "env:SECRET"])
            table.token = chance.choice(["env:TOKEN", "env:OTHER_TOKEN", "kept"])
        integrations.append(table)
    chance.shuffle(integrations)
    steps = [StepTable(after=chance.choice(["0", "60s", "1m"]), users=some()) for _ in range(2)]
    return Configuration(
        user=[UserTable(name=name, contacts=chance.choice([[], ["webhook: https://x.example"]])) for name in users],
        group=[GroupTable(name="Databases", users=some())],
        policy=[PolicyTable(name=name, steps=steps[: chance.randint(1, 2)]) for name in policies],
        integration=integrations,
    )


@pytest.mark.parametrize("seed", range(30))
async def test_any_file_is_refused_whole_or_makes_what_a_new_gateway_would_be(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    async with recorded(tmp_path / "old", environ=ENVIRON) as gateway:
        for number in range(4):
            file = to_toml(some_configuration(chance))
            before = await state_of(gateway)
            try:
                steps = await gateway.steps(file, prune=True)
            except GatewayError:
                assert await state_of(gateway) == before
                continue
            await gateway.apply(file, prune=True)  # whatever is planned can be carried out
            assert bool(steps) == (await state_of(gateway) != before)
            assert await gateway.steps(file, prune=True) == []
            assert await gateway.steps(await gateway.export(), prune=True) == []
            async with recorded(tmp_path / f"new {number}", environ=ENVIRON) as fresh:
                await fresh.apply(file)
                made, expected = await gateway.export(), await fresh.export()
                assert re.sub("token = .*\n", "", made) == re.sub("token = .*\n", "", expected), "kept is kept"
