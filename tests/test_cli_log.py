"""Alerts, messages and notifications: listed and changed on a real store; and once with a gateway that runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli import main
from gateway.clock import SystemClock
from gateway.config import Settings
from gateway.directory import directory_of
from gateway.loader import load_plugins
from gateway.models import Attempt, Message
from gateway.pipeline import Plan, Read
from gateway.reader import Job, Readings, answer
from gateway.recall import of_messages
from gateway.store.base import Draft, Receipt
from gateway.store.sqlite import SqliteJournal, SqliteState

ROOT = Path(__file__).parent.parent
OPEN = b'{"source_id":"a","status":"open","subject":"Door a","severity":"critical","tags":["x"]}'
CLOSE = b'{"source_id":"a","status":"close"}'


class World:
    """A data folder, the command line on it, and what a gateway would do if one ran."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data, self._capsys = data, capsys
        self.err = ""

    def cli(self, *arguments: str, code: int = 0) -> Any:
        assert main([*arguments, "--json"]) == code, self._capsys.readouterr().err
        said = self._capsys.readouterr()
        self.err = said.err
        return json.loads(said.out) if said.out else None

    def text(self, *arguments: str, code: int = 0) -> str:
        assert main([*arguments]) == code
        return self._capsys.readouterr().out

    def send(self, integration: str, *bodies: bytes) -> list[str]:
        """Store messages as ingest does, and have none of them read."""

        async def work() -> list[str]:
            clock = SystemClock()
            journal, state = SqliteJournal.open(self.data, clock=clock), SqliteState.open(self.data, clock=clock)
            found = await state.integration(integration)
            assert found is not None
            told: list[asyncio.Future[str]] = []
            for body in bodies:
                done = asyncio.get_running_loop().create_future()
                told.append(done)
                draft = Draft(found.endpoint_id, clock.now(), b"from=test", b"Content-Type: application/json", body)
                journal.append(draft, lambda said, done=done: done.set_result(_id(said)))  # type: ignore[misc]
            ids = [await done for done in told]
            await journal.close()
            await state.close()
            return ids

        return asyncio.run(work())

    def work(self) -> None:
        """Have everything read that waits, as the worker does."""

        async def work() -> None:
            clock = SystemClock()
            journal = SqliteJournal.open(self.data, clock=clock, read_only=True)
            state = SqliteState.open(self.data, clock=clock)
            directory = await directory_of(state)
            readings = Readings(load_plugins(Settings()), 1 << 20)

            async def take(message: Message, run: int, cursor: int | None) -> None:
                integration = directory.integrations[message.endpoint_id][0]
                reply = answer(readings.read, Job(message, integration))
                read = Read(
                    message=message, integration=integration, readings=reply.readings, error=reply.error, run=run
                )
                async with state.transaction() as transaction:
                    known = await of_messages(transaction, [read], directory, clock.now())
                    plan = Plan(known, await transaction.next_alert_id(), directory, clock.now())
                    plan.apply(read)
                    changes = plan.finish()
                    changes.cursor, changes.done = cursor, [message.id]
                    await transaction.write(changes)

            for message in await journal.read(await state.cursor(), 1000):
                await take(message, 0, message.id)
            for deferred in await state.deferred():
                for message in await journal.get([deferred.message_id]):
                    await take(message, deferred.run, None)
            await journal.close()
            await state.close()

        asyncio.run(work())

    def give_up(self) -> None:
        """Make dead letters of all that is pending, as delivery does in the end."""

        async def work() -> None:
            state = SqliteState.open(self.data, clock=SystemClock())
            for one in await state.notifications(status="pending"):
                attempt = Attempt(
                    notification_id=one.id, number=1, at=1, duration_ms=5, code=500, error="no", response="?"
                )
                dead = msgspec.structs.replace(one, status="dead", attempts=1, finished_at=2, error="no")
                await state.settle([(attempt, dead)])
            await state.close()

        asyncio.run(work())


def _id(said: object) -> str:
    assert isinstance(said, Receipt)
    return str(said.id)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> World:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    made = World(tmp_path / "data", capsys)
    made.cli("users", "add", "Ada", "--contact", "webhook:https://example.com/ada")
    made.cli("policies", "add", "Night", "--user", "Ada")
    made.cli("integrations", "add", "custom", "--name", "Doors", "--policy", "Night")
    made.cli("integrations", "add", "custom", "--name", "Windows")
    return made


# alerts


def test_alerts_are_listed_by_status_and_integration(world: World) -> None:
    world.send("Doors", OPEN, OPEN.replace(b'"a"', b'"b"'), CLOSE)
    world.send("Windows", OPEN)
    world.work()
    world.cli("alerts", "assign", "3", "--to", "Ada")

    def ids(*arguments: str) -> list[str]:
        return [one["id"] for one in world.cli("alerts", "list", *arguments)]

    assert ids() == ["3", "2"]
    assert ids("--status", "open") == ["3", "2"]
    assert ids("--status", "assigned") == ["3"]
    assert ids("--status", "closed") == ["1"]
    assert ids("--status", "all") == ["3", "2", "1"]
    assert ids("--status", "all", "--limit", "1") == ["3"]
    assert ids("--status", "all", "--integration", "Doors") == ["2", "1"]
    world.cli("alerts", "list", "--integration", "Doorz", code=1)
    assert "did you mean Doors" in json.loads(world.err)["error"]


def test_an_alert_has_the_documented_keys(world: World) -> None:
    world.send("Doors", OPEN)
    world.work()
    (alert,) = world.cli("alerts", "list")
    assert alert | {"opened_at": ""} == {
        "id": "1",
        "status": "open",
        "source": "Custom",
        "source_name": alert["source_name"],
        "source_id": "a",
        "source_url": None,
        "source_status": "open",
        "severity": "critical",
        "subject": "Door a",
        "description": None,
        "tags": ["x"],
        "opened_at": "",
        "closed_at": None,
        "integration": "Doors",
    }


@pytest.mark.parametrize("words", [("close", "9"), ("assign", "9", "--to", "Ada"), ("show", "9")])
def test_an_alert_that_is_not_there(world: World, words: tuple[str, ...]) -> None:
    world.cli("alerts", *words, code=1)
    assert "no alert 9" in json.loads(world.err)["error"]


def test_closing_tells_whom_the_opening_told_once(world: World) -> None:
    world.send("Doors", OPEN)
    world.work()
    closed = world.cli("alerts", "close", "1", "--reason", "shut \ud800 by hand")
    assert closed["status"] == "closed"
    assert closed["closed_at"]
    shown = world.cli("alerts", "show", "1")
    assert [(one["kind"], one["text"]) for one in shown["timeline"]] == [
        ("opened", "Door a"),
        ("closed", "shut ? by hand"),
    ]
    assert shown["timeline"][1]["actor"].startswith("cli")
    assert sorted(one["kind"] for one in shown["notifications"]) == ["closed", "opened"]
    world.cli("alerts", "close", "1", code=1)
    world.cli("alerts", "assign", "1", "--to", "Ada", code=1)
    assert "closed already" in json.loads(world.err)["error"]
    assert len(world.cli("notifications", "list")) == 2
    world.send("Doors", OPEN)
    world.work()
    assert [one["id"] for one in world.cli("alerts", "list")] == ["2"]


def test_assigning_is_on_the_timeline_once_and_tells_nobody(world: World) -> None:
    world.send("Doors", OPEN)
    world.work()
    world.cli("alerts", "assign", "1", "--to", "Nobody", code=1)
    for _ in range(2):
        assert world.cli("alerts", "assign", "1", "--to", "Ada")["status"] == "assigned"
    shown = world.cli("alerts", "show", "1")
    assert [one["kind"] for one in shown["timeline"]] == ["opened", "assigned"]
    assert shown["assignee"] == "Ada"
    assert len(shown["notifications"]) == 1
    assert "assigned to Ada" in world.text("alerts", "show", "1")


def test_what_is_left_of_a_deleted_integration(world: World) -> None:
    world.send("Doors", OPEN)
    world.work()
    deleted = world.cli("integrations", "delete", "Doors")
    assert world.cli("alerts", "list")[0]["integration"] == deleted["id"]
    assert world.cli("messages", "list")[0]["integration"] == deleted["id"]
    assert world.cli("alerts", "close", "1")["status"] == "closed"


# messages


def test_messages_are_listed_by_outcome_and_integration(world: World) -> None:
    world.send("Doors", OPEN, OPEN, CLOSE, CLOSE, b"garbage")
    world.work()
    world.send("Windows", OPEN)
    listed = world.cli("messages", "list")
    assert [one["id"] for one in listed] == ["6", "5", "4", "3", "2", "1"]
    assert listed[0] == {
        "id": "6",
        "integration": "Windows",
        "received_at": listed[0]["received_at"],
        "status": "pending",
        "run": 0,
        "events": [],
    }
    assert [one["events"][0]["outcome"] for one in listed[1:]] == ["failed", "ignored", "closed", "appended", "opened"]
    assert listed[2]["events"] == [
        {"action": "close", "outcome": "ignored", "reason": "no open alert", "alert_id": None}
    ]
    assert [one["id"] for one in world.cli("messages", "list", "--outcome", "ignored")] == ["4"]
    assert [one["id"] for one in world.cli("messages", "list", "--outcome", "pending")] == ["6"]
    assert [one["id"] for one in world.cli("messages", "list", "--integration", "Windows")] == ["6"]
    assert world.cli("messages", "list", "--integration", "Doors", "--outcome", "pending") == []
    assert [one["id"] for one in world.cli("messages", "list", "--limit", "2")] == ["6", "5"]
    assert "no open alert" in world.text("messages", "list")
    world.cli("messages", "list", "--outcome", "nonsense", code=2)


def test_pending_messages_are_found_over_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.messages._PAGE", 2)
    world.send("Doors", OPEN)
    world.work()
    ids = world.send("Doors", *[OPEN] * 5)
    assert [one["id"] for one in world.cli("messages", "list", "--outcome", "pending")] == ids[::-1]
    assert len(world.cli("messages", "list", "--outcome", "pending", "--limit", "3")) == 3


def test_a_message_is_shown_as_it_came_and_why(world: World) -> None:
    world.send("Doors", OPEN, b"\xff\xfe\x00garbage")
    world.work()
    shown = world.cli("messages", "show", "1")
    assert shown["body"] == OPEN.decode()
    assert shown["query"] == "from=test"
    assert shown["headers"] == [["content-type", "application/json"]]
    assert "open: source_status 'open' is one of open" in shown["runs"][0]["events"][0]["trace"]
    assert "body_base64" in world.cli("messages", "show", "2")
    assert "is one of open" in world.text("messages", "show", "1")
    world.cli("messages", "show", "7", code=1)


def test_a_replay_is_another_run(world: World) -> None:
    world.send("Doors", OPEN, CLOSE)
    world.cli("messages", "replay", "1", "9", code=1)
    assert world.cli("messages", "replay", "1")[0]["status"] == "pending", "what was never read needs no replay"
    world.work()
    for _ in range(2):
        (waiting,) = world.cli("messages", "replay", "1")
        assert waiting["status"] == "pending"
        assert waiting["events"][0]["alert_id"] == "1", "until it is read, it says what became of it before"
    assert [one["id"] for one in world.cli("messages", "list", "--outcome", "pending")] == ["1"]
    assert "when a gateway runs" in world.text("messages", "replay", "1")
    world.work()
    shown = world.cli("messages", "show", "1")
    assert shown["status"] == "done"
    assert [(run["run"], run["events"][0]["alert_id"]) for run in shown["runs"]] == [(0, "1"), (1, "2")]
    assert [one["run"] for one in world.cli("messages", "list")] == [0, 1]
    assert world.text("messages", "list").count("(replayed)") == 1


def test_what_failed_is_replayed_and_only_that(world: World, tmp_path: Path) -> None:
    assert world.cli("messages", "replay", "--failed") == []
    world.send("Doors", b'{"door":"front","status":"open"}', OPEN)
    world.work()
    (tmp_path / "own.toml").write_text('[fields]\nsource_id = "{source_id || door}"\n')
    world.cli("integrations", "set", "Doors", "--settings", str(tmp_path / "own.toml"))
    assert world.cli("messages", "replay", "--failed", "--integration", "Windows") == []
    assert [one["id"] for one in world.cli("messages", "replay", "--failed", "--since", "1h")] == ["1"]
    world.work()
    assert world.cli("messages", "show", "1")["events"][0]["outcome"] == "opened"
    assert world.cli("messages", "replay", "--failed") == [], "its newest run did not fail"


def test_waiting_has_an_end(world: World) -> None:
    world.send("Doors", OPEN)
    world.work()
    world.cli("messages", "replay", "1", "--wait", "--timeout", "100ms", code=1)
    assert "no gateway runs" in json.loads(world.err)["error"]


# notifications


def test_dead_letters_are_shown_and_tried_again(world: World) -> None:
    world.send("Doors", OPEN)
    world.work()
    (one,) = world.cli("notifications", "list")
    assert (one["alert_id"], one["kind"], one["status"], one["user"]) == ("1", "opened", "pending", "Ada")
    assert world.cli("notifications", "retry", one["id"]) == {"retried": 0}
    world.give_up()
    assert any(one["check"] == "notifications" and one["level"] == "problem" for one in world.cli("doctor", code=1))
    assert world.cli("notifications", "list", "--status", "delivered") == []
    shown = world.cli("notifications", "show", one["id"])
    assert (shown["status"], shown["error"], shown["history"][0]["code"]) == ("dead", "no", 500)
    assert world.cli("notifications", "retry", one["id"]) == {"retried": 1}
    world.give_up()
    assert world.cli("notifications", "retry", "--all-dead") == {"retried": 1}
    assert world.cli("notifications", "retry", "--all-dead") == {"retried": 0}
    world.cli("notifications", "retry", one["id"], "ntf_nope", code=1)
    world.cli("notifications", "show", "ntf_nope", code=1)
    assert one["id"] in world.text("notifications", "list", "--alert", "1")


# a gateway that runs


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "gateway", "serve", "--port", "0", "--data", str(tmp_path / "data"), "--json"]
    environ = {**os.environ, "GATEWAY_ALLOW_PRIVATE_TARGETS": "true"}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


class Sink(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        pass


def until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        threading.Event().wait(0.05)
    pytest.fail("it did not come about within 10 s")


def test_the_main_job_beside_a_gateway_that_runs(
    gateway: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GATEWAY_ALLOW_PRIVATE_TARGETS", "true")
    world = World(tmp_path / "data", capsys)
    server = HTTPServer(("127.0.0.1", 0), Sink)
    server.heard = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    urls = {one["template"]: one["endpoint_url"] for one in gateway["integrations"]}
    assert set(urls) >= {"custom", "datadog", "newrelic", "sematext"}
    world.cli("users", "add", "Ada", "--contact", f"webhook:http://127.0.0.1:{server.server_port}/ada")
    world.cli("policies", "add", "Night", "--user", "Ada")
    world.cli("integrations", "set", "Custom", "--policy", "Night")
    made = world.cli("integrations", "add", "custom", "--name", "Doors")
    assert made["endpoint_url"].startswith(gateway["url"])
    for sample in ("minimal_firing", "minimal_resolved"):
        assert world.cli("send", "custom", sample, "--to", urls["custom"])["status"] == 200
    assert world.cli("send", "custom", "--to", urls["custom"] + "x", code=1)["status"] == 404
    until(lambda: all(one["status"] == "done" for one in world.cli("messages", "list")))
    (replayed,) = world.cli("messages", "replay", "1", "--wait", "--timeout", "20s")
    assert replayed["status"] == "done"
    assert [one["events"][0]["outcome"] for one in world.cli("messages", "list")] == ["closed", "opened"]
    assert all(one["level"] != "problem" for one in world.cli("doctor"))
    until(lambda: [one["status"] for one in world.cli("notifications", "list")] == ["delivered"] * 3)
    assert len(server.heard) == 3  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
