"""The main job, end to end: real processes, real HTTP, the command line, a sink that checks signatures."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.running import ROOT, RunningGateway, Sink, running, until


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that several tests share."""
    with running(tmp_path_factory.mktemp("shared") / "data") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    """Where notifications arrive."""
    sink = Sink()
    yield sink
    sink.close()


def cli(gateway: RunningGateway, *words: str) -> Any:
    """What a command prints as JSON."""
    return gateway.cli(*words)


def messages(gateway: RunningGateway, integration: str) -> list[dict[str, Any]]:
    """The Inbound Log of an integration once nothing in it is pending, oldest first."""
    found: list[dict[str, Any]] = []

    def done() -> bool:
        found[:] = cli(gateway, "messages", "list", "--integration", integration, "--limit", "200")
        return all(message["events"] for message in found)

    until(gateway.settled, gateway)
    assert done()
    return found[::-1]


def test_first_start_prints_what_to_try(tmp_path: Path) -> None:
    with running(tmp_path / "data") as gateway:
        printed = gateway.log.read_text()
        integrations = cli(gateway, "integrations", "list", "--limit", "1000")
        assert {integration["template"] for integration in integrations} >= {
            "custom",
            "datadog",
            "newrelic",
            "sematext",
        }
        open_line, close_line = (line.strip() for line in printed.splitlines() if line.strip().startswith("curl "))
        for line in (open_line, open_line, close_line):
            words = [*shlex.split(line), "-sS", "--fail"]
            answered = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
            assert answered.returncode == 0, (line, answered.stderr)
            assert int(json.loads(answered.stdout)["message_id"]) > 0
        log = messages(gateway, "Custom")
        assert [event["outcome"] for message in log for event in message["events"]] == ["opened", "appended", "closed"]
        token = re.search(r"ag_[A-Za-z0-9_-]{49}", printed)
        assert token is not None
        assert token[0] not in json.dumps(integrations), "a token is shown once"
    # A second start has integrations already: it makes none and prints no token again.
    gateway.log.unlink()
    with running(tmp_path / "data") as gateway:
        assert "ag_" not in gateway.log.read_text()


def test_open_append_close_and_who_is_told(gateway: RunningGateway, sink: Sink) -> None:
    ann = cli(gateway, "users", "add", "ann", "--contact", f"webhook:{sink.url}")
    cli(gateway, "policies", "add", "database", "--user", "ann")
    made = cli(gateway, "integrations", "add", "custom", "--name", "Nightly jobs", "--policy", "database")
    body = {"source_id": "db-1", "status": "open", "subject": "Database db-1 is down", "severity": "critical"}
    sent = [
        {**body, "status": "close"},
        body,
        {**body, "subject": "Database db-1 is still down"},
        {"source_id": "db-1", "status": "update", "description": "failing over"},
        {"source_id": "db-1", "status": "close"},
    ]
    ids = []
    for message in sent:
        status, answer = gateway.post(made["endpoint_url"], message)
        assert status == 200
        ids.append(answer["message_id"])
    log = messages(gateway, "Nightly jobs")
    assert [message["id"] for message in log] == ids
    assert [event["outcome"] for message in log for event in message["events"]] == [
        "ignored",
        "opened",
        "appended",
        "updated",
        "closed",
    ]
    assert log[0]["events"][0]["reason"] == "no open alert"
    (alert,) = cli(gateway, "alerts", "list", "--status", "all", "--integration", "Nightly jobs")
    assert alert["status"] == "closed"
    assert alert["subject"] == "Database db-1 is still down"
    assert alert["description"] == "failing over", "what a recovery does not say is kept"
    assert alert["severity"] == "critical"
    assert alert["closed_at"] >= alert["opened_at"]

    assert [arrival.kind for arrival in sink.arrivals] == ["alert.opened", "alert.closed"]
    (contact,) = ann["contacts"]
    for arrival in sink.arrivals:
        Webhook(contact["signing_secret"]).verify(arrival.body, arrival.headers)
    assert sink.arrivals[0].alert["subject"] == "Database db-1 is down"


def test_sematext_priorities(gateway: RunningGateway) -> None:
    made = cli(gateway, "integrations", "add", "sematext", "--name", "Priorities")
    sample = json.loads((ROOT / "plugins/sematext/samples/threshold_firing.json").read_text())
    for number, priority in enumerate(("INFO", "warn", "ERROR", "critical")):
        gateway.post(made["endpoint_url"], {**sample, "priority": priority, "applicationId": number})
    messages(gateway, "Priorities")
    alerts = cli(gateway, "alerts", "list", "--integration", "Priorities")
    assert [alert["severity"] for alert in alerts[::-1]] == ["info", "warning", "error", "critical"]


def test_clones_share_an_endpoint_and_the_first_that_matches_takes_the_event(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    only = tmp_path / "production.toml"
    only.write_text('[filters]\nall = [{ field = "{env}", is_one_of = ["production"] }]\n')
    made = cli(gateway, "integrations", "add", "custom", "--name", "Production", "--settings", str(only))
    staging = tmp_path / "staging.toml"
    staging.write_text('fallback = "open"\n[filters]\nany = [{ field = "{env}", is_one_of = ["staging", "test"] }]\n')
    clone = cli(gateway, "integrations", "clone", "Production", "--name", "Staging", "--settings", str(staging))
    assert clone["sequence"] == 1
    for env, status in (("production", "open"), ("staging", "open"), ("nowhere", "open"), ("test", "strange")):
        body = {"source_id": env, "status": status, "subject": env, "env": env}
        assert gateway.post(made["endpoint_url"], body)[0] == 200
    log = messages(gateway, "Production") + messages(gateway, "Staging")
    outcomes = {event["reason"] or message["id"]: event["outcome"] for message in log for event in message["events"]}
    assert sorted(outcomes.values()) == ["filtered", "opened", "opened", "opened"]
    (refused,) = [reason for reason, outcome in outcomes.items() if outcome == "filtered"]
    assert refused == (
        "Production: filters: {env} 'nowhere' is one of production: no; "
        "Staging: filters: {env} 'nowhere' is one of staging, test: no"
    )
    taken = {alert["source_id"]: alert["integration"] for alert in cli(gateway, "alerts", "list", "--limit", "500")}
    assert taken["production"] == "Production"
    assert taken["staging"] == taken["test"] == "Staging"


def test_disable_rotate_delete(gateway: RunningGateway) -> None:
    made = cli(gateway, "integrations", "add", "custom", "--name", "Short-lived")
    body = {"source_id": "x", "status": "open", "subject": "x"}
    assert gateway.post(made["endpoint_url"], body)[0] == 200
    cli(gateway, "integrations", "disable", "Short-lived")
    disabled = gateway.post(made["endpoint_url"], body)
    unknown = gateway.post(gateway.at("http://x/POSTAlert/ag_nothing/x"), body)
    assert disabled == unknown
    assert disabled[0] == 404
    cli(gateway, "integrations", "enable", "Short-lived")
    rotated = cli(gateway, "integrations", "rotate", "Short-lived")
    assert rotated["endpoint_url"] != made["endpoint_url"]
    assert gateway.post(rotated["endpoint_url"], body)[0] == 200
    assert gateway.post(made["endpoint_url"], body)[0] == 200, "the old token holds for a day"
    cli(gateway, "integrations", "delete", "Short-lived")
    assert gateway.post(rotated["endpoint_url"], body)[0] == 404


def test_unreadable_message_wakes_somebody_and_is_replayed(gateway: RunningGateway, sink: Sink) -> None:
    cli(gateway, "users", "add", "bob", "--contact", f"webhook:{sink.url}")
    cli(gateway, "policies", "add", "broken", "--user", "bob")
    made = cli(gateway, "integrations", "add", "custom", "--name", "Broken", "--policy", "broken")
    before = len(sink.arrivals)
    status, answer = gateway.post(made["endpoint_url"], b'{"source_id": "x", "status": "op')
    assert status == 200, "what is accepted is kept, also where it cannot be read"
    (message,) = messages(gateway, "Broken")
    assert message["events"][0]["outcome"] == "failed"
    assert sink.arrivals[before].alert["subject"] == "Broken: message could not be read"
    cli(gateway, "messages", "replay", answer["message_id"], "--wait")
    shown = cli(gateway, "messages", "show", answer["message_id"])
    assert [event["outcome"] for event in shown["events"]] == ["failed"]
    gateway.post(made["endpoint_url"], {"source_id": "x", "status": "open", "subject": "x"})
    messages(gateway, "Broken")
    kinds = [(arrival.kind, arrival.alert["subject"]) for arrival in sink.arrivals[before:]]
    assert ("alert.closed", "Broken: message could not be read") in kinds


def test_restart_refuses_no_connection(gateway: RunningGateway) -> None:
    made = cli(gateway, "integrations", "add", "custom", "--name", "Through a restart")
    assert gateway.process is not None
    gateway.process.send_signal(1)  # SIGHUP
    for number in range(40):
        body = {"source_id": str(number), "status": "open", "subject": "x"}
        assert gateway.post(made["endpoint_url"], body)[0] == 200
    assert len(messages(gateway, "Through a restart")) == 40


def test_second_gateway_on_one_folder_is_refused(gateway: RunningGateway) -> None:
    command = [sys.executable, "-m", "gateway", "serve", "--data", str(gateway.data), "--port", "0"]
    done = subprocess.run(command, env=gateway.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert "in use by the gateway with process id" in done.stderr
    assert "Traceback" not in done.stderr
