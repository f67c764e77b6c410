"""What is likely a mistake in settings is said, each in a sentence, and nothing is said of good ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.cautions import LOOKED_AT, cautions_of
from gateway.directory import directory_of
from gateway.errors import TemplateError
from gateway.integrations import change_integration, clone_integration, find_integration, set_fan_out
from gateway.models import Message, Reading
from gateway.reader import Job
from tests.recorded import PLUGINS, Recorded, recorded

pytestmark = pytest.mark.anyio

FILE = """
[[user]]
name = "Ada"
contacts = ["webhook:https://example.com/ada"]
[[user]]
name = "Silent"
[[group]]
name = "Databases"
users = ["Ada"]
[[group]]
name = "Nobody"
users = ["Silent"]
[[policy]]
name = "Night"
steps = [{ users = ["Ada"] }]
[[policy]]
name = "Mute"
steps = [{ users = ["Silent"] }]
[[integration]]
name = "Doors"
template = "custom"
policy = "Night"
"""


async def cautions(gateway: Recorded, name: str = "Doors", **settings: Any) -> list[str]:
    """What is said of an integration once it has these settings."""
    integration = await find_integration(gateway.state, name)
    integration = await change_integration(
        gateway.state, PLUGINS, gateway.clock, integration, settings=settings or integration.settings
    )
    file = PLUGINS.template(integration.template).merged(integration.settings)
    messages = await gateway.journal.newest(LOOKED_AT, endpoint_id=integration.endpoint_id)
    directory = await directory_of(gateway.state)

    def read(message: Message) -> tuple[Sequence[Reading], str | None]:
        reply = gateway.read(Job(message, integration))
        return reply.readings, reply.error

    return cautions_of(integration, file, directory, messages, read)


def door(source_id: str, status: str) -> dict[str, Any]:
    return {"source_id": source_id, "status": status, "subject": f"door {source_id}"}


async def test_nothing_is_said_of_a_good_integration(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        assert await cautions(gateway) == []
        for message in (door("reopened-7", "open"), door("open", "open"), door("a", "close"), door("b", "update")):
            if message["source_id"] != "open":
                await gateway.post("Doors", message)
        await gateway.post("Doors", b"garbage")
        assert await cautions(gateway) == []


@pytest.mark.parametrize("slug", sorted(PLUGINS.cards))
async def test_nothing_is_said_of_a_template_as_it_comes(slug: str, tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE.replace('"custom"', f'"{slug}"'))
        assert await cautions(gateway) == []


async def test_a_value_in_no_list(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        for status in ("open", "degraded", "degraded", "flaky"):
            await gateway.post("Doors", door("a", status))
        said = await cautions(gateway)
        assert [line.split(" and ")[0] for line in said] == [
            "the status 'degraded' came 2 times in the last 4 messages",
            "the status 'flaky' came once in the last 4 messages",
        ]
        assert all("add it to [open], [close] or [update]" in line for line in said)
        assert await cautions(gateway, fallback="open") == []
        assert await cautions(gateway, update={"is_one_of": ["degraded", "flaky"]}) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"close": {"is_one_of": ["close", "Open "]}}, "'open' is in [open] and in [close]; [open] is looked at first"),
        ({"update": {"is_one_of": ["close"]}}, "'close' is in [close] and in [update]"),
        ({"severity": {"error": ["CRIT"]}}, "'crit' is in [severity] critical and in [severity] error"),
        ({"open": {"contains": ["down"]}, "close": {"contains": ["DOWN"]}}, "'down' is in [open] and in [close]"),
        ({"open": {"starts_with": ["down"]}, "close": {"is_one_of": ["down"]}}, "'down' is in [open] and in [close]"),
        (
            {
                "open": {"any": [{"is_one_of": ["ok"]}, {"field": "{x}", "is_present": True}]},
                "close": {"is_one_of": ["ok"]},
            },
            "'ok' is in [open] and in [close]",
        ),
        (
            {"open": {"is_one_of": ["ok"]}, "close": {"is_one_of": ["OK"], "case_sensitive": True}},
            "'ok' is in [open] and in [close]",
        ),
        (
            {"open": {"is_one_of": ["OK"], "case_sensitive": True}, "close": {"is_one_of": [" OK", "ok"]}},
            "'OK' is in [open] and in [close]",
        ),
        (
            {"close": {"all": [{"field": "{status}", "is_one_of": ["open"]}, {"field": "{x}", "is_present": True}]}},
            "'open' is in [open] and in [close]",
        ),
    ],
)
async def test_a_value_in_two_lists(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        (line,) = await cautions(gateway, **settings)
        assert line.startswith(said)


@pytest.mark.parametrize(
    "rule",
    [
        {"all": [{"is_one_of": ["close"]}, {"field": "{x}", "is_present": True}]},
        {"any": [{"not": True, "is_one_of": ["close"]}, {"is_one_of": ["open"]}]},
        {"field": "{x}", "is_one_of": ["close"]},
    ],
)
async def test_a_value_that_opens_only_sometimes_may_close_too(rule: dict[str, Any], tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        assert await cautions(gateway, open=rule) == []


@pytest.mark.parametrize("case_sensitive", [False, True])
async def test_a_rule_that_heeds_case_leaves_other_cases_to_the_next(case_sensitive: bool, tmp_path: Path) -> None:
    rules: dict[str, Any] = {
        "open": {"is_one_of": ["Open", "ok"], "case_sensitive": True},
        "close": {"is_one_of": ["open", "OK"], "case_sensitive": case_sensitive},
    }
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        assert await cautions(gateway, **rules) == []


async def test_a_severity_in_no_list(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        for severity in ("sev9", "critical", "sev9"):
            await gateway.post("Doors", door("a", "open") | {"severity": severity})
        await gateway.post("Doors", door("a", "close") | {"severity": "gone"})
        await gateway.post("Doors", door("a", "open"))
        (line,) = await cautions(gateway)
        assert line.startswith(
            "the severity 'sev9' came 2 times in the last 5 messages and is in no list, so it counts as"
        )
        assert await cautions(gateway, severity={"error": ["sev9"]}) == []
        assert await cautions(gateway, severity={key: [] for key in ("critical", "error", "warning", "info")}) == []


@pytest.mark.parametrize("source_id", ["device.id", "{{ device.id }}"])
async def test_an_id_that_is_the_same_for_all(source_id: str, tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        (line,) = await cautions(gateway, fields={"source_id": source_id})
        assert line.startswith(f"source_id is {source_id!r} for every message, so that all of them are one alert")


async def test_settings_that_read_none_of_the_last_messages(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        assert await cautions(gateway, fields={"source_id": "{nowhere}"}) == []
        await gateway.post("Doors", door("a", "open"))
        (line,) = await cautions(gateway, fields={"source_id": "{nowhere}"})
        assert line.startswith("the last message cannot be read: ")
        await gateway.post("Doors", door("b", "open") | {"nowhere": 1})
        assert await cautions(gateway, fields={"source_id": "{nowhere}"}) == []
        await gateway.post("Doors", b"garbage")
        (line,) = await cautions(gateway, fields={"source_id": "{else}"})
        assert line.startswith("none of the last 3 messages can be read: ")


async def test_an_id_that_holds_the_status(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        (line,) = await cautions(gateway, fields={"source_id": "{host}-{status}"})
        assert line.startswith("source_id is made of {status}, as source_status is: then a recovery has another id")
        (line,) = await cautions(gateway, fields={"source_id": "{severity}"})
        assert "as source_severity is" in line
        await gateway.post("Doors", {"title": "Door front is OPEN", "status": "open"})
        (line,) = await cautions(gateway, fields={"source_id": "{title}"})
        assert line.startswith("source_id 'Door front is OPEN' holds the status 'open'")


async def test_clones_with_the_same_filters(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        doors = await find_integration(gateway.state, "Doors")
        await clone_integration(gateway.state, PLUGINS, gateway.clock, doors, name="Staging")
        for name in ("Doors", "Staging"):
            assert await cautions(gateway, name) == [
                "Doors and Staging have the same filters on one endpoint, so Staging never takes anything"
            ]
        filters = {"all": [{"field": "source_name", "is_one_of": ["staging"]}]}
        assert await cautions(gateway, "Staging", filters=filters) == []
        assert len(await cautions(gateway, "Doors", filters=filters)) == 1
        await set_fan_out(gateway.state, doors, fan_out=True)
        assert await cautions(gateway, "Doors") == []


@pytest.mark.parametrize(
    ("template", "settings"),
    [
        ("custom", {"each": "doors"}),
        ("custom", {"fields": {"source_id": "{id}"}}),
        ("custom", {"filters": {"any": [{"field": "source_name", "is_one_of": ["staging"]}]}}),
        ("datadog", {}),
    ],
)
async def test_a_clone_that_reads_otherwise_takes_what_the_first_leaves(
    template: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    clone = f'[[integration]]\nname = "Staging"\ntemplate = "{template}"\nclone_of = "Doors"\nsequence = 1\n'
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE + clone + 'policy = "Night"\n')
        assert await cautions(gateway, "Staging", **settings) == []
        assert await cautions(gateway, "Doors") == []


async def test_a_clone_that_only_opens_otherwise_takes_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        doors = await find_integration(gateway.state, "Doors")
        await clone_integration(gateway.state, PLUGINS, gateway.clock, doors, name="Staging")
        (said,) = await cautions(gateway, "Staging", fallback="open")
        assert said.endswith("so Staging never takes anything")


async def test_a_pattern_that_re2_refuses_is_not_even_saved(tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE)
        with pytest.raises(TemplateError, match="RE2 refuses the pattern"):
            await cautions(gateway, open={"matches": "(?=open)"})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('policy = "Night"\n', "", ["nobody is notified of its alerts"]),
        (
            'policy = "Night"',
            'policy = "Mute"',
            ["the policy Mute notifies nobody", "nobody is notified of its alerts"],
        ),
        ('policy = "Night"', 'policy = "Mute"\nusers = ["Ada"]', ["the policy Mute notifies nobody"]),
        ('policy = "Night"', 'groups = ["Nobody"]', ["nobody is notified of its alerts"]),
        ('policy = "Night"', 'groups = ["Databases"]', []),
        ('policy = "Night"', 'users = ["Ada"]', []),
        (
            'policy = "Night"',
            'policy = "Night"\nsettings.override = [{ policy = "Mute", when = { is_one_of = ["info"] } }]',
            ["the policy Mute notifies nobody"],
        ),
    ],
)
async def test_whoever_notifies_nobody(old: str, new: str, said: list[str], tmp_path: Path) -> None:
    async with recorded(tmp_path) as gateway:
        await gateway.apply(FILE.replace(old, new))
        found = await cautions(gateway)
        assert [line.partition(":")[0] for line in found] == said
