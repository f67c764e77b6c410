"""
A third party's package, from its sources to an alert: built, installed beside the gateway's own wheel, posted to, uninstalled.

And whatever else can be installed: broken packages, and a great many.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installed import EXAMPLES, Environment, built, wheel_of
from tests.running import ROOT, RunningGateway, running, until

ACME = EXAMPLES / "alert-gateway-acme"
INVENTORY = EXAMPLES / "alert-gateway-inventory"
SAMPLES = ACME / "src" / "alert_gateway_acme" / "samples"
TOML = 'name = "{name}"\n[fields]\nsource_id = "{{id}}"\nsource_status = "{{state}}"\n[open]\nis_one_of = ["down"]\n'
MANY = 250


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The gateway's wheel and those of the examples."""
    folder = tmp_path_factory.mktemp("built")
    return {project.name: built(project, folder) for project in (ROOT, ACME, INVENTORY)}


@pytest.fixture
def environment(tmp_path: Path, wheels: dict[str, Path]) -> Environment:
    """A new environment with the gateway's wheel."""
    environment = Environment(tmp_path / "environment")
    environment.install(wheels[ROOT.name])
    return environment


@pytest.fixture
def gateway(tmp_path: Path, environment: Environment) -> Iterator[RunningGateway]:
    """The gateway of that environment, not started yet."""
    (tmp_path / "data").mkdir(mode=0o700)
    gateway = RunningGateway(tmp_path / "data", python=environment.python)
    yield gateway
    gateway.stop()


def log(gateway: RunningGateway, integration: str) -> list[dict[str, Any]]:
    """The Inbound Log of an integration, oldest first, once all took effect."""
    until(gateway.settled, gateway)
    found: list[dict[str, Any]] = gateway.cli("messages", "list", "--integration", integration)
    return found[::-1]


def test_from_a_wheel_to_an_alert_and_back(
    gateway: RunningGateway, environment: Environment, wheels: dict[str, Path]
) -> None:
    environment.install(wheels[ACME.name])
    gateway.start()
    (card,) = [card for card in gateway.cli("templates", "list", "--limit", "1000") if card["slug"] == "acme"]
    assert (card["name"], card["distribution"], card["version"], card["error"]) == (
        "Acme Cold Rooms",
        "alert-gateway-acme",
        "1.0.0",
        None,
    )
    assert card["tier"] == "gold"
    url = gateway.cli("integrations", "add", "acme", "--name", "Freezers")["endpoint_url"]
    firing, resolved = ((SAMPLES / f"high_temperature_{state}.json").read_bytes() for state in ("firing", "resolved"))
    door = (SAMPLES / "door_firing.json").read_bytes()
    assert gateway.post(url, firing)[0] == 200
    assert [(alert.subject, alert.status, alert.severity) for alert in gateway.alerts()] == [
        ("Temperature too high in Cold room 3", "open", "critical")
    ]

    # Without the package nothing can be read; what comes is kept all the same, and somebody is told.
    gateway.stop()
    environment.uninstall("alert-gateway-acme")
    gateway.start()
    for body in (resolved, door):
        status, answer = gateway.post(url, body)
        assert (status, set(answer)) == (200, {"message_id"})
    first, *others = log(gateway, "Freezers")
    assert [event["outcome"] for event in first["events"]] == ["opened"]
    for message in others:
        (event,) = message["events"]
        assert event["outcome"] == "failed"
        assert "there is no template 'acme'" in event["reason"]
    assert "Freezers: message could not be read" in [alert.subject for alert in gateway.alerts()]
    (listed,) = [one for one in gateway.cli("integrations", "list", "--limit", "1000") if one["name"] == "Freezers"]
    assert listed["template"] == "acme", "an integration outlives its template"

    gateway.stop()
    environment.install(wheels[ACME.name])
    gateway.start()
    gateway.cli("messages", "replay", "--failed", "--wait")
    assert {alert.subject: alert.status for alert in gateway.alerts()} == {
        "Temperature too high in Cold room 3": "closed",
        "Freezers: message could not be read": "closed",
        "Door open in Loading dock": "open",
    }


def test_the_examples_keep_their_own_tests(tmp_path: Path, environment: Environment, wheels: dict[str, Path]) -> None:
    """As a third party runs them: with pytest, the gateway's plugin for it, and nothing of this repository."""
    environment.install(wheels[ACME.name], wheels[INVENTORY.name])
    for project in (ACME, INVENTORY):
        copy = tmp_path / project.name
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
        done = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", cwd=copy)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "skipped" not in done.stdout.splitlines()[-1]


def broken_wheels(folder: Path) -> list[Path]:
    """What third parties may get wrong, each in a package of its own."""

    def template(slug: str, toml: str, py: str | None = None) -> Path:
        module = f"alert_gateway_{slug}_2"
        files = {f"{module}/__init__.py": "", f"{module}/template.toml": toml}
        files |= {} if py is None else {f"{module}/template.py": py}
        return wheel_of(folder, f"alert-gateway-{slug}-2", {slug: f"{module}:plugin"}, files)

    def code(name: str, text: str) -> Path:
        module = f"alert_gateway_{name}"
        return wheel_of(folder, f"alert-gateway-{name}", {name: module}, {f"{module}.py": text})

    return [
        code("import_error", "import no_such_module_at_all\n"),
        code("exits", "raise SystemExit(3)\n"),
        code("slow", "import time\n\ntime.sleep(60)\n"),
        template("tomorrow", "api = 99\n" + TOML.format(name="Of a later version")),
        template("datadog", "api = 1\n" + TOML.format(name="Taken")),
        template("unimportable", "api = 1\n" + TOML.format(name="Unimportable"), "import no_such_module_either\n"),
        template("sleepy", "api = 1\n" + TOML.format(name="Sleepy"), "import time\n\ntime.sleep(60)\n"),
        template("misspelt", "api = 1\nnaem = 'Misspelt'\n" + TOML.format(name="Misspelt")),
        wheel_of(folder, "alert-gateway-absent", {"absent": "alert_gateway_absent:plugin"}, {}),
    ]


ERRORS = {
    "import_error": "No module named 'no_such_module_at_all'",
    "exits": "SystemExit: 3",
    "slow": "importing slow took over 5 s",
    "tomorrow": "api = 99",
    "datadog": "the slug 'datadog' is taken: alert-gateway and alert-gateway-datadog-2 both bring it",
    "unimportable": "template.py: ModuleNotFoundError: No module named 'no_such_module_either'",
    "sleepy": "template.py: importing it took over 2 s",
    "misspelt": 'unknown key "naem"',
    "absent": "No module named 'alert_gateway_absent'",
}


def test_broken_packages_are_listed_and_stop_nothing(
    tmp_path: Path, gateway: RunningGateway, environment: Environment, wheels: dict[str, Path]
) -> None:
    environment.install(wheels[ACME.name], *broken_wheels(tmp_path / "broken"))
    begun = time.perf_counter()
    gateway.start()
    ready = time.perf_counter() - begun
    url = gateway.cli("integrations", "add", "acme", "--name", "Freezers")["endpoint_url"]
    assert gateway.post(url, (SAMPLES / "door_firing.json").read_bytes())[0] == 200
    accepted = time.perf_counter() - begun
    assert [alert.subject for alert in gateway.alerts()] == ["Door open in Loading dock"]
    handled = time.perf_counter() - begun
    print(
        f"{len(ERRORS)} broken packages: ready in {ready:.2f} s, accepted in {accepted:.2f} s, handled in {handled:.2f} s"
    )

    plugins = {plugin["name"].partition(" of ")[0]: plugin for plugin in gateway.cli("plugins", "list")}
    for name, error in ERRORS.items():
        assert error in (plugins[name]["error"] or ""), plugins[name]
    assert plugins["acme"]["error"] is None
    cards = gateway.cli("templates", "list", "--limit", "1000")
    errors = {card["slug"]: card["error"] for card in cards if card["error"]}
    assert errors.keys() == {"tomorrow", "datadog", "misspelt"}
    assert all(ERRORS[slug] in error for slug, error in errors.items())
    assert [card["distribution"] for card in cards if card["slug"] == "datadog" and not card["error"]] == [
        "alert-gateway"
    ]


def test_many_templates(tmp_path: Path) -> None:
    """As many as the whole field has: the gateway starts, lists them, and reads with each. The times are printed."""
    folder = tmp_path / "plugins"
    for number in range(MANY):
        shutil.copytree(ACME / "src" / "alert_gateway_acme", folder / f"vendor-{number:03}")
        toml = folder / f"vendor-{number:03}" / "template.toml"
        toml.write_text(toml.read_text().replace("Acme Cold Rooms", f"Vendor {number}"))
    begun = time.perf_counter()
    with running(tmp_path / "data", plugins_dir=str(folder)) as gateway:
        ready = time.perf_counter() - begun
        kinds = ("web", "worker", "delivery", "reader")
        until(lambda: all(gateway.pids(kind) for kind in kinds), gateway)
        pids = [gateway.process.pid if gateway.process else 0, *(pid for kind in kinds for pid in gateway.pids(kind))]
        memory = sum(_resident(pid) for pid in pids)
        begun = time.perf_counter()
        cards = gateway.cli("templates", "list", "--limit", "1000")
        listed = time.perf_counter() - begun
        mine = [card for card in cards if card["slug"].startswith("vendor-")]
        assert len(mine) == MANY
        assert {card["error"] for card in mine} == {None}
        assert {card["tier"] for card in mine} == {"gold"}
        url = gateway.add("vendor-123", "One of them").url(gateway.url)
        assert gateway.post(url, json.loads((SAMPLES / "door_firing.json").read_bytes()))[0] == 200
        assert [alert.source for alert in gateway.alerts()] == ["Vendor 123"]
    print(
        f"{len(cards)} templates: ready in {ready:.2f} s, listed in {listed:.2f} s, {memory >> 20} MiB in {len(pids)} processes"
    )


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:")), 0)
