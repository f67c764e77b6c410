"""Rules on the command line: groups, maintenance, policies, dry runs, warnings on save, the configuration as a file."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.store.sqlite import SqliteJournal
from gateway.vault import new_token
from tests.test_cli_log import World

OPEN = b'{"source_id":"a","status":"open","subject":"Door a"}'
LATER = ("--from", "2099-12-01T22:00", "--to", "2099-12-01T23:00", "--zone", "UTC")
CANARY = "canary-4711"
FILE = """
[[user]]
name = "Ada"
contacts = ["webhook:https://example.com/ada"]
[[policy]]
name = "Night"
steps = [{ users = ["Ada"] }]
[[integration]]
name = "Doors"
template = "custom"
policy = "Night"
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> World:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return World(tmp_path / "data", capsys)


@pytest.fixture
def doors(world: World) -> World:
    """With an integration Doors that tells Ada."""
    Path("gateway.toml").write_text(FILE)
    world.cli("config", "apply", "gateway.toml")
    return world


def error(world: World, *arguments: str, code: int = 1) -> str:
    world.cli(*arguments, code=code)
    said = json.loads(world.err)
    assert said["code"] == code
    return str(said["error"])


def settings(toml: str) -> str:
    Path("own.toml").write_text(toml)
    return "own.toml"


# groups and policies


def test_a_group_is_added_and_listed(world: World) -> None:
    assert world.cli("groups", "list") == []
    assert "no user 'Ada'" in error(world, "groups", "add", "Databases", "--user", "Ada")
    world.cli("users", "add", "Ada", "--contact", "webhook:https://example.com/ada")
    world.cli("users", "add", "Bo", "--contact", "webhook:https://example.com/bo")
    group = world.cli("groups", "add", "Databases", "--user", "Bo", "--user", "Ada", "--user", "Bo")
    assert group == {"id": group["id"], "name": "Databases", "users": ["Bo", "Ada"], "created_at": group["created_at"]}
    assert world.cli("groups", "list") == [group]
    assert "Bo, Ada" in world.text("groups", "list")
    assert "already" in error(world, "groups", "add", "databases", "--user", "Ada")
    assert "did you mean Ada" in error(world, "groups", "add", "Web", "--user", "Adda")
    assert "--user" in error(world, "groups", "add", "Web", code=2)
    assert world.cli("groups", "list") == [group]


def test_a_policy_has_later_steps(doors: World) -> None:
    doors.cli("users", "add", "Bo", "--contact", "webhook:https://example.com/bo")
    policy = doors.cli("policies", "add", "Late", "--user", "Ada", "--then", "1h:Ada,Bo", "--then", "5m:Bo")
    assert policy["steps"] == [
        {"after": 0, "users": ["Ada"]},
        {"after": 300, "users": ["Bo"]},
        {"after": 3600, "users": ["Ada", "Bo"]},
    ]
    assert policy["users"] == ["Ada", "Bo"]
    assert "Ada, after 5 min Bo, after 1 h Ada, Bo" in doors.text("policies", "list")
    assert "it notifies Ada, after 1 min Bo" in doors.text("policies", "add", "P", "--user", "Ada", "--then", "1m:Bo")
    assert "did you mean Bo" in error(doors, "policies", "add", "Q", "--user", "Ada", "--then", "5m:Bob")
    for wrong in ("Bo", "5m", "5m:", "soon:Bo", "0:Bo", "1ms:Bo", ":Bo"):
        said = error(doors, "policies", "add", "Q", "--user", "Ada", "--then", wrong, code=2)
        assert f"--then {wrong!r}: write how long after the first" in said


# integrations set


def test_who_is_told_in_addition_is_set_and_unset(doors: World) -> None:
    doors.cli("users", "add", "Bo", "--contact", "webhook:https://example.com/bo")
    doors.cli("groups", "add", "Databases", "--user", "Ada")
    changed = doors.cli("integrations", "set", "Doors", "--group", "Databases", "--user", "Ada", "--user", "Bo")
    assert (changed["policy"], changed["groups"], changed["users"]) == ("Night", ["Databases"], ["Ada", "Bo"])
    assert (changed["fan_out"], changed["warnings"]) == (False, [])
    changed = doors.cli("integrations", "set", "Doors", "--user", "Bo")
    assert (changed["groups"], changed["users"]) == (["Databases"], ["Bo"]), "what is not named stays"
    changed = doors.cli("integrations", "set", "Doors", "--no-groups", "--no-users", "--no-policy", "--fan-out")
    assert (changed["policy"], changed["groups"], changed["users"], changed["fan_out"]) == (None, [], [], True)
    assert len(changed["warnings"]) == 1
    assert doors.cli("integrations", "set", "Doors", "--first-match")["fan_out"] is False


@pytest.mark.parametrize(
    ("flags", "said", "code"),
    [
        ((), "nothing to set", 2),
        (("--group", "X", "--no-groups"), "--group and --no-groups contradict", 2),
        (("--user", "X", "--no-users"), "--user and --no-users contradict", 2),
        (("--group", "X"), "no recipient group 'X'", 1),
        (("--user", "Addda"), "did you mean Ada", 1),
        (("--policy", "Nigth"), "did you mean Night", 1),
    ],
)
def test_what_cannot_be_set(doors: World, flags: tuple[str, ...], said: str, code: int) -> None:
    before = doors.cli("integrations", "show", "Doors")
    assert said in error(doors, "integrations", "set", "Doors", *flags, code=code)
    assert doors.cli("integrations", "show", "Doors") == before


def test_settings_name_policies_and_groups_by_name(doors: World) -> None:
    (policy,) = doors.cli("policies", "list")
    own = '[[override]]\npolicy = "{}"\nwhen = {{ is_one_of = ["critical"] }}\n'
    assert "did you mean Night" in error(
        doors, "integrations", "set", "Doors", "--settings", settings(own.format("Nigth"))
    )
    said = error(doors, "integrations", "set", "Doors", "--settings", settings(own.format(policy["id"])))
    assert "is an id; write the name, 'Night'" in said
    doors.cli("integrations", "set", "Doors", "--settings", settings(own.format("Night")))


# warnings


def test_what_is_likely_a_mistake_is_said_and_saved_all_the_same(doors: World) -> None:
    doors.send("Doors", OPEN.replace(b'"open"', b'"broken"'), OPEN)
    own = settings('[close]\nis_one_of = ["close", "open"]\n')
    changed = doors.cli("integrations", "set", "Doors", "--settings", own)
    assert [line[:20] for line in changed["warnings"]] == ["the status 'broken' ", "'open' is in [open] "]
    assert doors.cli("integrations", "show", "Doors")["settings"] == {"close": {"is_one_of": ["close", "open"]}}
    text = doors.text("integrations", "set", "Doors", "--settings", own)
    assert "warning: the status 'broken' came once in the last 2 messages" in text
    assert "warning: 'open' is in [open] and in [close]" in text
    made = doors.cli("integrations", "add", "custom", "--name", "Third")
    assert "nobody is notified" in made["warnings"][0]
    clone = doors.cli("integrations", "clone", "Doors", "--name", "Staging")
    assert any("the same filters" in line for line in clone["warnings"])
    refused = settings('[open]\nmatches = "(?=x)"\n')
    assert "RE2 refuses the pattern" in error(doors, "integrations", "set", "Doors", "--settings", refused)


def test_a_clone_moves_to_the_front_and_takes_another_name(doors: World) -> None:
    doors.cli("integrations", "clone", "Doors", "--name", "Staging", "--settings", settings('fallback = "open"\n'))
    assert doors.cli("integrations", "set", "Doors", "--sequence", "5")["sequence"] == 5
    assert "already" in error(doors, "integrations", "set", "Staging", "--name", "doors")
    assert doors.cli("integrations", "set", "Staging", "--name", "staging")["name"] == "staging"
    doors.send("Doors", OPEN.replace(b'"open"', b'"broken"'))
    doors.work()
    (message,) = doors.cli("messages", "list")
    assert (message["integration"], message["events"][0]["outcome"]) == ("staging", "opened"), "it was asked first"
    assert "staging" in doors.text("integrations", "list")


def test_two_of_an_endpoint_never_have_the_same_place(doors: World) -> None:
    doors.cli("integrations", "clone", "Doors", "--name", "Staging", "--settings", settings('fallback = "open"\n'))
    doors.cli("integrations", "clone", "Doors", "--name", "Third")
    said = error(doors, "integrations", "set", "Third", "--sequence", "1")
    assert said.startswith(
        "'Third' cannot be number 1 in the sequence of its endpoint: 'Staging' is; take another number"
    )
    assert doors.cli("integrations", "set", "Third", "--sequence", "2")["sequence"] == 2, "its own place is no other's"
    Path("export.toml").write_text(doors.text("config", "export"))
    assert doors.cli("config", "check", "export.toml")["changes"] == 0
    doors.cli("integrations", "add", "custom", "--name", "Elsewhere")
    assert doors.cli("integrations", "set", "Elsewhere", "--sequence", "1")["sequence"] == 1, "on another endpoint"


# maintenance


def test_a_window_is_added_listed_and_deleted(doors: World) -> None:
    assert doors.cli("maintenance", "list") == []
    window = doors.cli("maintenance", "add", "Doors", "--name", "Move", *LATER)
    assert window == {
        "id": window["id"],
        "integration": "Doors",
        "name": "Move",
        "phase": "planned",
        "starts": "2099-12-01T22:00",
        "ends": "2099-12-01T23:00",
        "zone": "UTC",
        "repeat": "once",
        "days": [],
        "reopen": False,
        "until": None,
    }
    assert doors.cli("maintenance", "list", "--phase", "planned") == [window]
    assert doors.cli("maintenance", "list", "--phase", "current") == []
    assert "Move" in doors.text("maintenance", "list")
    doors.cli("maintenance", "delete", "Doors", "Move")
    assert doors.cli("maintenance", "list") == []
    text = doors.text("maintenance", "add", "Doors", "--name", "M", *LATER, "--repeat", "weekly", "--day", "Tuesday")
    assert (
        "Doors opens no new alerts from 2099-12-01T22:00 UTC (M, weekly); that a message cannot be read is told" in text
    )
    text = doors.text("maintenance", "add", "Doors", "--name", "N", *LATER, "--repeat", "weekly", "--day", "mon")
    assert "Doors opens no new alerts from 2099-12-07T22:00 UTC (N, weekly)" in text
    assert "2099-12-07T22:00" in doors.text("maintenance", "list")


def test_what_comes_in_a_window_is_suppressed(doors: World) -> None:
    now = ("--from", "2020-01-01T00:00", "--to", "2020-01-02T00:00", "--zone", "UTC", "--repeat", "daily", "--reopen")
    window = doors.cli("maintenance", "add", "Doors", "--name", "Always", *now)
    assert window["phase"] == "current"
    assert window["until"]
    doors.send("Doors", OPEN)
    doors.work()
    (message,) = doors.cli("messages", "list", "--outcome", "suppressed")
    assert message["events"][0]["reason"] == "maintenance window Always"
    assert doors.cli("alerts", "list") == []


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("add", "Doorz", "--name", "M", *LATER), "did you mean Doors", 1),
        (("add", "Doors", "--name", "M", *LATER[:-1], "Mars"), "there is no time zone 'Mars'", 1),
        (("add", "Doors", "--name", "M", "--from", "now", *LATER[2:]), "write a local time", 1),
        (("add", "Doors", "--name", "M", *LATER, "--day", "mon"), "days are those of a weekly window", 1),
        (("add", "Doors", "--name", "M", *LATER, "--repeat", "weekly", "--day", "X"), "no day of the week", 2),
        (("add", "Doors", "--name", "M", *LATER, "--repeat", "yearly"), "yearly", 2),
        (("add", "Doors", "--name", "M"), "--from", 2),
        (("delete", "Doors", "Nothing"), "Doors has no maintenance window 'Nothing'; it has none", 1),
        (("list", "--phase", "soon"), "soon", 2),
    ],
)
def test_what_is_no_window(doors: World, arguments: tuple[str, ...], said: str, code: int) -> None:
    assert said in error(doors, "maintenance", *arguments, code=code)
    assert doors.cli("maintenance", "list") == []


# dry runs


def test_a_dry_run_of_messages_is_what_the_replay_does(doors: World) -> None:
    ids = doors.send("Doors", OPEN, OPEN.replace(b"open", b"broken"))
    doors.work()
    own = settings('fallback = "open"\n[fields]\nsubject = "{subject}!"\n')
    flags = [word for number in ids for word in ("--message", number)]
    found = doors.cli("dry-run", "Doors", "--settings", own, *flags)
    assert [one["message_id"] for one in found] == ids
    assert [one["events"][0]["outcome"] for one in found] == ["appended", "appended"]
    assert [one["before"][0]["outcome"] for one in found] == ["opened", "ignored"]
    assert [one["differs"] for one in found] == [True, True]
    assert set(found[0]["events"][0]) == {
        *("action", "outcome", "reason", "alert_id", "integration", "subject", "severity", "trace"),
    }
    text = doors.text("dry-run", "Doors", "--settings", own, *flags)
    assert "was ignored: status 'broken' is in no list\n\n  open: " in text
    assert "would notify nobody" in text
    assert doors.cli("messages", "list", "--outcome", "pending") == []
    doors.cli("integrations", "set", "Doors", "--settings", own)
    doors.cli("messages", "replay", *ids)
    doors.work()
    listed = {one["id"]: one["events"][0] for one in doors.cli("messages", "list")}
    keys = ("action", "outcome", "reason", "alert_id")
    assert [{key: one["events"][0][key] for key in keys} for one in found] == [listed[number] for number in ids]


def test_a_dry_run_of_what_is_pasted(doors: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("body.json").write_bytes(OPEN)
    (found,) = doors.cli("dry-run", "Doors", "body.json", "-H", "Content-Type: application/json")
    assert (found["message_id"], found["before"], found["differs"]) == (None, None, False)
    assert found["notifications"] == [
        {
            "kind": "opened",
            "user": "Ada",
            "contact": {"kind": "webhook", "address": "https://example.com/ada"},
            "due_at": found["notifications"][0]["due_at"],
        }
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(OPEN)))
    assert "would notify: Ada (webhook) at" in doors.text("dry-run", "Doors", "-")
    assert doors.cli("dry-run", "Doors", "--sample", "minimal_firing")[0]["events"][0]["outcome"] == "opened"
    doors.cli("policies", "add", "Other", "--user", "Ada")
    (found,) = doors.cli("dry-run", "Doors", "body.json", "--policy", "Other")
    assert "told: policy Other" in found["events"][0]["trace"]
    assert doors.cli("alerts", "list") == doors.cli("messages", "list") == []


def test_a_dry_run_of_the_last_hours_lists_what_differs(doors: World) -> None:
    doors.send("Doors", OPEN, OPEN, OPEN.replace(b"open", b"broken"))
    doors.work()
    assert "3 messages; none would have done something else" in doors.text("dry-run", "Doors", "--since", "1h")
    assert doors.cli("dry-run", "Doors", "--since", "1h") == []
    assert len(doors.cli("dry-run", "Doors", "--since", "1h", "--all")) == 3
    own = settings('fallback = "open"\n')
    (found,) = doors.cli("dry-run", "Doors", "--since", "1h", "--settings", own)
    assert (found["before"][0]["outcome"], found["events"][0]["outcome"]) == ("ignored", "appended")
    text = doors.text("dry-run", "Doors", "--since", "1h", "--settings", own)
    assert "3 messages; 1 would have done something else" in text
    assert re.search(r"3 .* ignored: status 'broken' is in no list +appended, warning, 'Door a'", text)
    doors.send("Doors", OPEN)
    assert "(not read yet)" in doors.text("dry-run", "Doors", "--since", "1h", "--all")


def test_a_dry_run_says_which_fields_would_be_otherwise(doors: World) -> None:
    (number,) = doors.send("Doors", OPEN)
    doors.work()
    own = settings('[fields]\ndescription = "{subject}"\nsource = "Other"\n')
    (found,) = doors.cli("dry-run", "Doors", "--since", "1h", "--settings", own)
    assert found["differences"] == [
        {"event": 0, "what": "source", "before": "Custom", "after": "Other"},
        {"event": 0, "what": "description", "before": None, "after": "Door a"},
    ]
    assert found["events"][0]["integration"] == found["before"][0]["integration"] == "Doors"
    (line,) = [
        line for line in doors.text("dry-run", "Doors", "--since", "1h", "--settings", own).splitlines() if "Z" in line
    ]
    assert line.endswith(
        "opened, warning, 'Door a'; told: policy Night; source Custom; description none  "
        "opened, warning, 'Door a'; told: policy Night; source Other; description Door a"
    )
    text = doors.text("dry-run", "Doors", "--message", number, "--settings", own)
    assert "otherwise than it was:\n  source: Custom → Other\n  description: none → Door a\n\n" in text


def test_a_dry_run_says_which_integration_would_take_a_message(doors: World) -> None:
    doors.cli("integrations", "clone", "Doors", "--name", "Clone")
    doors.send("Doors", OPEN)
    doors.work()
    own = settings('[filters]\nall = [{ field = "source_id", is_one_of = ["b"] }]\n')
    text = doors.text("dry-run", "Doors", "--since", "1h", "--settings", own)
    assert "1 message; 1 would have done something else" in text
    assert "integration Doors" in text
    assert "integration Clone" in text


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        ((), "give one of FILE, --message, --sample or --since", 2),
        (("own.toml", "--since", "1h"), "give one of", 2),
        (("--since", "soon"), "not a span of time", 2),
        (("--since", "1h", "-H", "A: b"), "--header is part of a FILE", 2),
        (("nothing.json",), "nothing.json: cannot be read", 1),
        (("--message", "7"), "Doors has no message 7", 1),
        (("--message", "1"), "Doors has no message 1", 1),
        (("--sample", "nothing"), "nothing", 1),
        (("--since", "1h", "--policy", "Nigth"), "did you mean Night", 1),
        (("--since", "1h", "--settings", "own.toml"), "did you mean fallback", 1),
    ],
)
def test_what_is_no_dry_run(doors: World, arguments: tuple[str, ...], said: str, code: int) -> None:
    settings("fallbak = 1\n")
    doors.cli("integrations", "add", "custom", "--name", "Other")
    doors.send("Other", OPEN)
    assert said in error(doors, "dry-run", "Doors", *arguments, code=code)


# replays that are waited for


def test_progress_is_counted_on_a_terminal_alone(
    doors: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    doors.send("Doors", OPEN, OPEN)
    doors.work()
    arguments = ["messages", "replay", "1", "2", "--wait", "--timeout", "1ms"]
    assert main(arguments) == 1
    assert "of 2" not in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(arguments) == 1
    assert "\r0 of 2 read again\n" in capsys.readouterr().err
    assert main([*arguments, "--json"]) == 1
    assert "of 2" not in capsys.readouterr().err


# the configuration as a file


def test_a_plan_leaves_nothing_in_an_empty_folder(world: World, tmp_path: Path) -> None:
    Path("gateway.toml").write_text(FILE)
    assert world.cli("config", "check", "gateway.toml") == {"ok": True, "changes": 3, "warnings": []}
    plan = world.cli("config", "diff", "gateway.toml", code=1)
    assert plan == [
        {"verb": "add", "kind": kind, "name": name, "details": []}
        for kind, name in (("user", "Ada"), ("policy", "Night"), ("integration", "Doors"))
    ]
    Path("wrong.toml").write_text(FILE.replace('"Night"\n', '"Nigth"\n', 1))
    assert "did you mean Nigth" in error(world, "config", "apply", "wrong.toml")
    assert "no gateway's data" in error(world, "config", "export")
    assert not (tmp_path / "data").exists()


def test_a_file_is_applied_once(world: World) -> None:
    Path("gateway.toml").write_text(FILE)
    done = world.cli("config", "apply", "gateway.toml")
    assert [one["name"] for one in done["changes"]] == ["Ada", "Night", "Doors"]
    (url,) = done["urls"]
    assert url["name"] == "Doors"
    assert "/POSTAlert/ag_" in url["endpoint_url"]
    assert world.cli("config", "diff", "gateway.toml") == []
    assert world.cli("config", "apply", "gateway.toml") == {
        "changes": [],
        "urls": [],
        "signing_secrets": [],
        "warnings": [],
    }
    assert world.text("config", "apply", "gateway.toml") == ""
    assert "gateway.toml is good; 0 changes would be made" in world.text("config", "check", "gateway.toml")
    Path("gateway.toml").write_text(FILE.replace('template = "custom"\n', 'template = "custom"\nenabled = false\n'))
    text = world.text("config", "apply", "gateway.toml")
    assert text == "~ integration Doors\n    enabled: true → false\n\ndone: 1 change\n"
    Path("empty.toml").write_text("")
    assert world.cli("config", "diff", "empty.toml") == []
    assert world.text("config", "diff", "empty.toml", "--prune", code=1).split("\n")[:3] == [
        *("- integration Doors", "- policy Night", "- user Ada"),
    ]
    world.cli("config", "apply", "empty.toml", "--prune")
    assert world.cli("integrations", "list") == world.cli("users", "list") == []


def test_the_secrets_of_new_contacts_are_printed(doors: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ada,) = doors.cli("users", "list")
    secret = ada["contacts"][0]["signing_secret"]
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "same"))
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "secret.key").write_bytes((tmp_path / "data" / "secret.key").read_bytes())
    said = {"user": "Ada", "address": "https://example.com/ada", "signing_secret": secret}
    assert doors.cli("config", "apply", "gateway.toml")["signing_secrets"] == [said]
    Path("gateway.toml").write_text(
        FILE.replace('/ada"]', '/ada", "webhook:https://example.com/new", "email:a@example.com"]')
    )
    (new,) = doors.cli("config", "apply", "gateway.toml")["signing_secrets"]
    assert new["address"] == "https://example.com/new"
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "other"))
    text = doors.text("config", "apply", "gateway.toml")
    assert (
        "What receivers of new webhook contacts verify signatures with:\n\n  Ada  https://example.com/ada  whsec_"
        in text
    )
    assert secret not in text, "its key is another one"


def test_a_file_is_warned_of_as_what_is_saved_is(world: World) -> None:
    file = (
        FILE
        + """
[[user]]
name = "Silent"
[[policy]]
name = "Mute"
steps = [{ users = ["Silent"] }]
[[integration]]
name = "Gate"
template = "custom"
policy = "Mute"
[[integration]]
name = "Other"
template = "custom"
"""
    )
    Path("gateway.toml").write_text(file)
    warnings = world.cli("config", "check", "gateway.toml")["warnings"]
    assert [line[:36] for line in warnings] == [
        "Gate: the policy Mute notifies nobod",
        "Gate, Other: nobody is notified of i",
    ]
    assert "Gate: the policy Mute" in world.text("config", "check", "gateway.toml")
    world.cli("config", "diff", "gateway.toml", code=1)
    assert "warning: Gate: the policy Mute" in world.err
    assert world.cli("config", "apply", "gateway.toml")["warnings"] == warnings
    assert world.cli("config", "apply", "gateway.toml")["warnings"] == [], "it was said when it was applied"
    assert world.cli("config", "check", "gateway.toml")["warnings"] == warnings
    world.send("Doors", OPEN.replace(b'"open"', b'"broken"'))
    own = 'policy = "Night"\nsettings.close.is_one_of = ["open"]\n'
    Path("gateway.toml").write_text(FILE.replace('policy = "Night"\n', own))
    text = world.text("config", "apply", "gateway.toml")
    assert "\nwarning: Doors: the status 'broken' came once in the last 1 messages" in text
    assert "\nwarning: Doors: 'open' is in [open] and in [close]" in text
    assert text.index("warning:") < text.index("done: 1 change")


def test_messages_are_read_once_for_each_endpoint_and_only_for_what_changes(
    doors: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors.cli("integrations", "clone", "Doors", "--name", "Staging", "--settings", settings('fallback = "open"\n'))
    doors.cli("integrations", "add", "custom", "--name", "Elsewhere", "--policy", "Night")
    file = doors.text("config", "export")
    read: list[str | None] = []
    newest = SqliteJournal.newest

    async def counted(self: SqliteJournal, limit: int, **more: Any) -> Any:
        read.append(more["endpoint_id"])
        return await newest(self, limit, **more)

    monkeypatch.setattr(SqliteJournal, "newest", counted)

    def read_by(*arguments: str, text: str, code: int = 0) -> tuple[int, Any]:
        Path("gateway.toml").write_text(text)
        read.clear()
        said = doors.cli("config", *arguments, "gateway.toml", code=code)
        assert len(read) == len(set(read)), "one endpoint's messages were read twice"
        return len(read), said

    assert read_by("check", text=file)[0] == 2
    assert read_by("diff", text=file)[0] == 0
    changed = file.replace('name = "Elsewhere"\n', 'name = "Elsewhere"\nenabled = false\n')
    assert read_by("diff", text=changed, code=1)[0] == 1
    read_now, said = read_by("apply", text=changed)
    assert (read_now, said["warnings"]) == (1, []), "of Doors and Staging, which have the same filters, nothing is said"
    silent = re.sub(r"contacts = \[[^\]]*\]\n", "", changed)
    read_now, said = read_by("apply", text=silent)
    assert read_now == 0, "only people change"
    assert [line.partition(" notif")[0] for line in said["warnings"]] == [
        "Doors, Staging, Elsewhere: the policy Night",
        "Doors, Staging, Elsewhere: nobody is",
    ]


def test_an_export_is_applied_to_another_folder_byte_for_byte(
    doors: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors.cli("groups", "add", "Databases", "--user", "Ada")
    doors.cli("integrations", "clone", "Doors", "--name", "Staging", "--settings", settings('fallback = "open"\n'))
    doors.cli("maintenance", "add", "Doors", "--name", "Move", *LATER)
    export = doors.text("config", "export")
    Path("export.toml").write_text(export)
    assert doors.cli("config", "diff", "export.toml", "--prune") == []
    shape = doors.cli("config", "export")
    assert set(shape) == {"user", "group", "policy", "integration"}
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "other"))
    doors.cli("config", "apply", "export.toml")
    assert doors.text("config", "export") == export
    assert doors.cli("config", "export") == shape


def test_secrets_are_nowhere_but_where_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = new_token()
    Path("secret.txt").write_text(CANARY + "\n")
    monkeypatch.setenv("DOORS_TOKEN", token)
    Path("gateway.toml").write_text(FILE + 'token = "env:DOORS_TOKEN"\nsecret = "file:secret.txt"\n')
    said: list[str] = []
    for words in (
        *(("diff", "gateway.toml"), ("apply", "gateway.toml"), ("export",), ("export", "--json")),
        ("apply", "gateway.toml", "--json"),
    ):
        main(["config", *words])
        said += capsys.readouterr()
    Path("secret.txt").write_text(f"other {CANARY}")
    other = new_token()
    monkeypatch.setenv("DOORS_TOKEN", other)
    for words in (("diff", "gateway.toml", "--json"), ("apply", "gateway.toml"), ("export",)):
        main(["config", *words])
        said += capsys.readouterr()
    monkeypatch.setenv("DOORS_TOKEN", CANARY)
    Path("bad.toml").write_text(f'{FILE}token = "{other}"\nsecret = "{CANARY}"\n')
    for words in (("diff", "gateway.toml"), ("check", "bad.toml"), ("apply", "bad.toml", "--json")):
        assert main(["config", *words]) == 1
        said += capsys.readouterr()
    everything = "".join(said)
    assert "token: the one in env:DOORS_TOKEN" in everything
    assert "secret: the one in file:secret.txt" in everything
    assert "is no token" in everything
    for secret in (CANARY, token, other):
        assert secret not in everything
    for path in world.data.iterdir():
        assert CANARY.encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize("answer", ["y\n", "n\n"])
def test_a_plan_is_asked_about_on_a_terminal(
    world: World, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    Path("gateway.toml").write_text(FILE)
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert main(["config", "apply", "gateway.toml"]) == 0
    said = capsys.readouterr()
    assert "+ user Ada" in said.out
    if answer == "y\n":
        assert "done: 3 changes" in said.out
    else:
        assert "nothing was changed" in said.err
        assert not world.data.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "gateway.toml: not UTF-8 text"),
        (b"[[user", "gateway.toml: not TOML"),
        (
            FILE.replace("Night", "Nigth", 1).encode(),
            "gateway.toml: [[integration]] 'Doors': there is no policy 'Night'",
        ),
        (FILE.replace("webhook:", "").encode(), "gateway.toml: [[user]] 'Ada': there is no kind of contact 'https'"),
        (FILE.replace("https:", "gopher:").encode(), "gateway.toml: [[user]] 'Ada': "),
    ],
)
def test_a_file_that_cannot_be_applied(world: World, content: bytes, said: str) -> None:
    Path("gateway.toml").write_bytes(content)
    for verb in ("check", "diff", "apply"):
        assert said in error(world, "config", verb, "gateway.toml")
    error(world, "config", "check", "nothing.toml", code=2)


def test_what_fails_half_way_says_how_far_it_came(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        from gateway.errors import GatewayError

        msg = "no more"
        raise GatewayError(msg)

    Path("gateway.toml").write_text(FILE)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.applying.add_policy", fails)
        said = error(world, "config", "apply", "gateway.toml")
    assert said.startswith("policy 'Night': no more (1 of 3 changes were made before it")
    done = world.cli("config", "apply", "gateway.toml")
    assert [one["name"] for one in done["changes"]] == ["Night", "Doors"]
