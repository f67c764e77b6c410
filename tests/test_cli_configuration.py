"""Integrations, users, policies, templates, plugins: added, shown and changed on a real store."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.cli import main
from gateway.clock import SystemClock
from gateway.config import Settings
from gateway.endpoints import Admitted, Endpoints
from gateway.integrations import first_integrations
from gateway.loader import load_plugins
from gateway.store.sqlite import SqliteState
from gateway.vault import Vault


class Cli:
    """Runs commands, and reads what they print as JSON."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data, self._capsys = data, capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        assert main([*arguments, "--json"]) == code, self._capsys.readouterr().err
        said = self._capsys.readouterr()
        self.err = said.err
        return json.loads(said.out) if said.out else None

    def text(self, *arguments: str, code: int = 0) -> str:
        assert main([*arguments]) == code
        return self._capsys.readouterr().out

    def admitted(self, url: str) -> Admitted | None:
        """What a URL leads to, as the web process finds it."""
        state = SqliteState.open(self.data, clock=SystemClock())
        endpoints = Endpoints(state, Vault.open(self.data), load_plugins(Settings()).sender, SystemClock())
        found = endpoints.find(urlsplit(url).path.encode())
        asyncio.run(state.close())
        return found


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    return Cli(tmp_path / "data", capsys)


# integrations


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["custmo", "--name", "X"], "did you mean custom"),
        (["custom", "--name", "a/b"], "slash"),
        (["custom", "--name", ""], "empty"),
        (["custom", "--name", "X", "--policy", "nope"], "no policy 'nope'"),
    ],
)
def test_an_integration_that_cannot_be_is_refused(cli: Cli, arguments: list[str], said: str) -> None:
    cli("integrations", "add", *arguments, code=1)
    assert said in json.loads(cli.err)["error"]
    assert cli("integrations", "list") == []


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[feilds]\n", "did you mean fields"),
        ("[open]\nis_one_of = []\n", "is_one_of"),
        ('[fields]\nsubject = "{a"\n', "not closed"),
        ('name = "x"\n', "cannot set 'name'"),
        ("no toml", "not TOML"),
    ],
)
def test_settings_that_do_not_fit_are_refused(cli: Cli, tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "own.toml").write_text(toml)
    cli("integrations", "add", "custom", "--name", "X", "--settings", str(tmp_path / "own.toml"), code=1)
    assert said in json.loads(cli.err)["error"]


def test_add_prints_a_url_that_works_and_only_then(cli: Cli) -> None:
    made = cli("integrations", "add", "custom", "--name", "Back ups / nightly".replace("/", "-"))
    assert set(made) >= {"id", "name", "template", "endpoint_url"}
    assert made["endpoint_url"].startswith("http://127.0.0.1:8080/POSTAlert/ag_")
    assert made["endpoint_url"].endswith("/Back-ups---nightly")
    assert cli.admitted(made["endpoint_url"]) is not None
    assert made["endpoint_url"] in shlex.split(made["curl"])
    token = urlsplit(made["endpoint_url"]).path.split("/")[2]
    (listed,) = cli("integrations", "list")
    assert token not in json.dumps(listed) + cli.text("integrations", "show", made["id"])
    for path in cli.data.iterdir():
        assert token.encode() not in path.read_bytes(), f"{path.name} holds the token"


def test_names_are_taken_once(cli: Cli) -> None:
    cli("integrations", "add", "custom", "--name", "Doors")
    cli("integrations", "add", "datadog", "--name", "doors", code=1)
    assert "already" in json.loads(cli.err)["error"]


@pytest.mark.parametrize("name", ["Zürich 50%?", "門 #1", "a+b&c=d", "'quoted'"])
def test_a_name_of_any_letters_makes_a_url_that_works(cli: Cli, name: str) -> None:
    url = cli("integrations", "add", "custom", "--name", name)["endpoint_url"]
    assert url.isascii()
    assert cli.admitted(url) is not None
    assert cli("integrations", "show", name)["name"] == name


def test_rotate_gives_another_url_and_lets_the_old_one_run_out(cli: Cli) -> None:
    first = cli("integrations", "add", "custom", "--name", "Doors")["endpoint_url"]
    second = cli("integrations", "rotate", "Doors")
    assert second["previous_token_until"]
    assert cli.admitted(first) is not None
    third = cli("integrations", "rotate", "Doors", "--overlap", "0")["endpoint_url"]
    assert [cli.admitted(url) is not None for url in (first, second["endpoint_url"], third)] == [False, False, True]


def test_disable_enable_delete(cli: Cli) -> None:
    url = cli("integrations", "add", "custom", "--name", "Doors")["endpoint_url"]
    assert cli("integrations", "disable", "Doors")["enabled"] is False
    assert cli.admitted(url) is None
    assert cli("integrations", "enable", "Doors")["enabled"] is True
    assert cli.admitted(url) is not None
    cli("integrations", "delete", "Doors")
    assert cli.admitted(url) is None
    cli("integrations", "show", "Doors", code=1)
    cli("integrations", "delete", "Doors", code=1)


def test_a_secret_is_sealed_checked_and_replaced(cli: Cli, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret-words\n")
    made = cli("integrations", "add", "custom", "--name", "Doors", "--secret-file", str(secret))
    assert made["verified"] is True
    assert "$SECRET" in made["curl"]
    assert "s3cret-words" not in json.dumps(made)
    found = cli.admitted(made["endpoint_url"])
    assert found is not None
    assert found.secrets == ("s3cret-words",)
    secret.write_text("other")
    cli("integrations", "rotate", "Doors", "--secret-file", str(secret))
    found = cli.admitted(made["endpoint_url"])
    assert found is not None
    assert found.secrets == ("other", "s3cret-words")
    cli("integrations", "rotate", "Doors", "--secret-file", str(secret), "--overlap", "0")
    found = cli.admitted(made["endpoint_url"])
    assert found is not None
    assert found.secrets == ("other",)
    secret.write_text("")
    cli("integrations", "rotate", "Doors", "--secret-file", str(secret), code=1)
    for path in cli.data.iterdir():
        assert b"s3cret-words" not in path.read_bytes(), f"{path.name} holds the secret"


def test_set_changes_policy_and_settings_and_keeps_the_url(cli: Cli, tmp_path: Path) -> None:
    url = cli("integrations", "add", "custom", "--name", "Doors")["endpoint_url"]
    cli("users", "add", "Ada", "--contact", "webhook:https://example.com/ada")
    cli("policies", "add", "Night", "--user", "Ada")
    assert cli("integrations", "set", "Doors", "--policy", "Night")["policy"] == "Night"
    (tmp_path / "own.toml").write_text('[fields]\nsubject = "{door}"\n')
    changed = cli("integrations", "set", "Doors", "--settings", str(tmp_path / "own.toml"))
    assert changed["policy"] == "Night"
    assert changed["settings"] == {"fields": {"subject": "{door}"}}
    assert cli("integrations", "set", "Doors", "--no-policy")["policy"] is None
    assert cli.admitted(url) is not None
    cli("integrations", "set", "Doors", code=2)


@pytest.mark.parametrize("url", ["https://alerts.example.com/", "https://example.com/gateway"])
def test_the_url_is_the_one_that_senders_reach(cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    cli("integrations", "add", "custom", "--name", "One")
    (cli.data / "running.json").write_text('{"pid":1,"host":"0.0.0.0","port":9,"url":"http://0.0.0.0:9"}')
    made = cli("integrations", "add", "custom", "--name", "Two")
    assert made["endpoint_url"].startswith("http://0.0.0.0:9/POSTAlert/")
    monkeypatch.setenv("GATEWAY_PUBLIC_URL", url)
    made = cli("integrations", "add", "custom", "--name", "Three")
    assert made["endpoint_url"].startswith(url.rstrip("/") + "/POSTAlert/")


def test_a_first_start_makes_one_of_each_template_once(cli: Cli) -> None:
    async def work() -> list[str]:
        clock = SystemClock()
        state = SqliteState.open(cli.data, clock=clock)
        plugins, vault = load_plugins(Settings()), Vault.open(cli.data)
        made = await first_integrations(state, vault, plugins, clock)
        assert await first_integrations(state, vault, plugins, clock) == []
        await state.close()
        return [one.url("http://localhost") for one in made]

    urls = asyncio.run(work())
    made = sorted(one["template"] for one in cli("integrations", "list"))
    assert made == sorted(one["slug"] for one in cli("templates", "list"))
    assert all(cli.admitted(url) is not None for url in urls)


def test_every_template_has_a_curl_that_a_shell_can_read(cli: Cli) -> None:
    for template in cli("templates", "list"):
        made = cli("integrations", "add", template["slug"], "--name", template["name"])
        words = shlex.split(made["curl"])
        assert words[0] in ("curl", "alert-gateway")
        assert made["endpoint_url"] in words
        if "-d" in words:
            assert json.loads(words[words.index("-d") + 1])


@pytest.mark.parametrize(
    ("template", "toml", "command"),
    [
        ("custom", 'close_after = "2h"\n', "curl"),
        ("custom", '[fields]\nsource_id = "{incident.uuid}"\n', "#"),
        ("custom", '[filters]\nall = [{ field = "{building}", is_one_of = ["lab"] }]\n', "#"),
        ("custom", '[open]\nis_one_of = ["firing"]\n', "#"),
        ("datadog", 'close_after = "2h"\n', "curl"),
        ("datadog", '[filters]\nall = [{ field = "{building}", is_one_of = ["lab"] }]\n', "#"),
    ],
)
def test_what_is_printed_to_try_opens_an_alert(
    cli: Cli, tmp_path: Path, template: str, toml: str, command: str
) -> None:
    (tmp_path / "own.toml").write_text(toml)
    made = cli("integrations", "add", template, "--name", "X", "--settings", str(tmp_path / "own.toml"))
    assert made["curl"].split()[0] == command
    assert command != "#" or f"alert-gateway try {template} FILE" in made["curl"]
    assert cli("integrations", "rotate", "X")["curl"].split()[0] == command


# a template that is gone


ACME = """
api = 1
name = "Acme"
channel = "API"
categories = ["generic"]
[fields]
source_id = "{id}"
source_status = "{status}"
[open]
is_one_of = ["open"]
"""


@pytest.fixture
def orphan(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """With an integration LB whose template was installed once, and Doors beside it."""
    folder = tmp_path / "plugins" / "acme"
    folder.mkdir(parents=True)
    (folder / "template.toml").write_text(ACME)
    monkeypatch.setenv("GATEWAY_PLUGINS_DIR", str(folder.parent))
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text('fallback = "open"\n')
    cli("integrations", "add", "acme", "--name", "LB", "--settings", "own.toml")
    cli("integrations", "add", "custom", "--name", "Doors")
    monkeypatch.delenv("GATEWAY_PLUGINS_DIR")
    return cli


def test_an_integration_whose_template_is_gone_is_shown_and_marked(orphan: Cli) -> None:
    shape = orphan("integrations", "show", "LB")
    assert shape["template_error"].startswith("there is no template 'acme'")
    assert (shape["settings"], shape["rules"]) == ({"fallback": "open"}, [])
    text = orphan.text("integrations", "show", "LB")
    assert "template error" in text
    assert "its messages are kept as failed" in text
    assert 'fallback = "open"' in text
    listed = {one["name"]: one["template_error"] is None for one in orphan("integrations", "list")}
    assert listed == {"Doors": True, "LB": False}
    assert "acme (cannot be used)" in orphan.text("integrations", "list")
    assert "acme" in orphan("integrations", "rotate", "LB")["curl"], (
        "the URL is shown this once, whatever else is wrong"
    )
    (warning,) = orphan("integrations", "set", "LB", "--no-groups")["warnings"]
    assert warning.startswith("its template acme cannot be used")
    (finding,) = [one for one in orphan("doctor", code=1) if one["level"] == "problem"]
    assert "LB (acme)" in finding["found"]


def test_the_configuration_is_applied_beside_a_template_that_is_gone(orphan: Cli) -> None:
    Path("x.toml").write_text(orphan.text("config", "export"))
    assert "'LB' stays as it is: there is no template 'acme'" in orphan("config", "check", "x.toml")["warnings"][0]
    assert orphan("config", "diff", "x.toml") == []
    assert "warning: integration 'LB' stays as it is" in orphan.err
    orphan("config", "apply", "x.toml")
    Path("x.toml").write_text(
        Path("x.toml").read_text().replace('name = "Doors"\n', 'name = "Doors"\nenabled = false\n')
    )
    assert [one["name"] for one in orphan("config", "apply", "x.toml")["changes"]] == ["Doors"]
    text = Path("x.toml").read_text()
    for changed in (
        text.replace('"LB"\n', '"LB"\nsequence = 3\n'),
        text.replace('"LB"\n', '"New"\n'),
        text.replace('fallback = "open"', 'fallback = "ignore"'),
    ):
        Path("x.toml").write_text(changed)
        orphan("config", "check", "x.toml", code=1)
        assert "there is no template 'acme'" in json.loads(orphan.err)["error"]


# users and policies


@pytest.mark.parametrize(
    ("contact", "said"),
    [
        ("nothing", "not KIND:ADDRESS"),
        ("webhook:", "not KIND:ADDRESS"),
        ("wehbook:https://example.com", "did you mean webhook"),
        ("webhook:ftp://example.com", "webhook"),
        ("email:nobody", "not an e-mail address"),
        ("webhook:http://127.0.0.1:8080/x", "this gateway itself"),
    ],
)
def test_a_contact_that_cannot_be_is_refused(cli: Cli, contact: str, said: str) -> None:
    cli("users", "add", "Ada", "--contact", contact, code=1)
    assert said in json.loads(cli.err)["error"]
    assert cli("users", "list") == []


def test_what_this_shell_forbids_is_said_and_left_to_the_gateway(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("users", "add", "Ada", "--contact", "webhook:http://127.0.0.1:9000/x")
    assert "GATEWAY_ALLOW_PRIVATE_TARGETS" in cli.err
    cli("users", "add", "Bo", "--contact", "email:bo@Example.com")
    assert "GATEWAY_SMTP_URL" in cli.err
    monkeypatch.setenv("GATEWAY_ALLOW_PRIVATE_TARGETS", "true")
    cli("users", "add", "Cy", "--contact", "webhook:http://127.0.0.1:9000/x")
    assert cli.err == ""


def test_a_users_webhook_comes_with_its_signing_secret(cli: Cli) -> None:
    ada = cli("users", "add", "Ada", "--contact", "webhook:https://example.com/a", "--contact", "email:ada@example.com")
    first, second = ada["contacts"]
    assert first["signing_secret"] == Vault.open(cli.data).signing_secret(first["id"])
    assert "signing_secret" not in second
    assert cli("users", "list") == [ada]
    assert first["signing_secret"] in cli.text("users", "list")
    cli("users", "add", "ADA", "--contact", "webhook:https://example.com/a", code=1)


def test_a_policy_names_users_that_exist(cli: Cli) -> None:
    ada = cli("users", "add", "Ada", "--contact", "webhook:https://example.com/a")
    cli("policies", "add", "Night", "--user", "Adda", code=1)
    assert "did you mean Ada" in json.loads(cli.err)["error"]
    policy = cli("policies", "add", "Night", "--user", "Ada", "--user", ada["id"])
    assert policy["users"] == ["Ada"]
    assert cli("policies", "list") == [policy]
    cli("policies", "add", "night", "--user", "Ada", code=1)


# templates, plugins, doctor, send


def test_templates(cli: Cli) -> None:
    listed = cli("templates", "list")
    assert {"custom", "datadog", "newrelic", "sematext"} <= {one["slug"] for one in listed}
    keys = ["slug", "name", "channel", "tier", "evidence", "version", "distribution", "error"]
    assert all(list(one) == keys for one in listed)
    assert all(sum(one["evidence"].values()) >= 1 for one in listed if one["distribution"] == "alert-gateway")
    for one in listed:
        shown = cli("templates", "show", one["slug"])
        assert shown["samples"]
        assert "open" in cli.text("templates", "show", one["slug"])
        assert cli.text("templates", "show", one["slug"], "--readme")
    assert len(cli("templates", "list", "--limit", "1")) == 1


def test_a_broken_template_is_listed_with_its_error(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins" / "acme").mkdir(parents=True)
    (tmp_path / "plugins" / "acme" / "template.toml").write_text("api = 7\n")
    monkeypatch.setenv("GATEWAY_PLUGINS_DIR", str(tmp_path / "plugins"))
    (acme,) = [one for one in cli("templates", "list") if one["slug"] == "acme"]
    assert "api = 7" in acme["error"]
    cli("templates", "show", "acme", code=1)
    findings = cli("doctor", code=1)
    assert any(one["level"] == "problem" and one["check"] == "plugins" for one in findings)


def test_samples_are_named_and_need_a_target(cli: Cli) -> None:
    names = [one["sample"] for one in cli("send", "custom", "--list")]
    assert "minimal_firing" in names
    cli("send", "custom", "nope", "--to", "http://127.0.0.1:1/", code=1)
    cli("send", "custom", "--to", "http://127.0.0.1:1/", code=1)
    assert "127.0.0.1:1" in json.loads(cli.err)["error"]


def test_doctor_finds_what_is_wrong(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "0")
    assert all(one["level"] != "problem" for one in cli("doctor"))
    cli("integrations", "add", "custom", "--name", "Doors")
    findings = cli("doctor")
    assert any(one["check"] == "integrations" and "Doors" in one["found"] for one in findings)
    assert any(one["check"] == "own alerts" and one["level"] == "note" for one in findings)
    monkeypatch.setenv("GATEWAY_OWN_POLICY", "operators")
    assert any("no policy 'operators'" in one["found"] for one in cli("doctor", code=1))
    monkeypatch.setenv("GATEWAY_PUBLIC_URL", "https://alerts.example.com")
    cli("users", "add", "ann", "--contact", "webhook:https://ann.example")
    cli("policies", "add", "operators", "--user", "ann")
    assert any(one["found"] == "policy operators is told of them" for one in cli("doctor"))
    cli.data.chmod(0o755)
    (cli.data / "secret.key").chmod(0o644)
    (cli.data / "running.json").write_text('{"pid":1,"host":"127.0.0.1","port":1,"url":"http://127.0.0.1:1"}')
    problems = [one for one in cli("doctor", code=1) if one["level"] == "problem"]
    assert {one["check"] for one in problems} == {"data folder", "gateway"}
    assert all(one["fix"] for one in problems)
    assert "chmod 700" in cli.text("doctor", code=1)
