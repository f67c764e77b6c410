"""The pages, the health of things, and the web process as a whole: on a real store, stopped and killed."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import hashlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response as Page
from starlette.routing import Route

from gateway.clock import SystemClock
from gateway.models import Message
from gateway.store.sqlite import SqliteJournal, SqliteState
from gateway.vault import Vault
from tests.fronts import Installation, Running, responses, serving, told


async def broken(_: Request) -> Page:
    msg = "a bug"
    raise ValueError(msg)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    house = Installation()
    with serving("parser", house, routes=[Route("/broken", broken)], trouble=lambda: house.trouble) as server:
        yield server


@pytest.fixture(autouse=True)
def house(running: Running) -> Installation:
    house = running.house
    house.trouble = None
    house.state.broken, house.state.at = False, 0
    house.state.rows, house.state.used = [], []
    house.journal.drafts.clear()
    return house


# Pages


@pytest.mark.parametrize(
    "path", ["/nothing", "/healthz/", "/POSTAlert", "/static/../../etc/passwd", "/%2e%2e/", "/healthz%00"]
)
def test_what_is_not_there_is_404_in_json_and_never_a_redirect(running: Running, path: str) -> None:
    answer = running.ask("GET", path)
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")
    assert "location" not in answer.headers


def test_another_method_is_405_in_json(running: Running) -> None:
    answer = running.ask("POST", "/healthz")
    assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")
    assert "GET" in answer.headers["allow"]


def test_a_bug_in_a_page_is_500_in_json_without_its_text(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    answer = running.ask("GET", "/broken")
    assert (answer.status, answer.json["error"]["code"]) == (500, "unexpected")
    assert b"a bug" not in answer.body
    assert "ValueError: a bug" in told(caplog)


def test_the_first_page_says_where_to_go(running: Running) -> None:
    answer = running.ask("GET", "/")
    assert answer.status == 200
    text = answer.body.decode()
    for word in ("Alert Gateway", "alert-gateway integrations add", "/readyz", "README.md"):
        assert word in text
    assert running.ask("HEAD", "/").status == 200


def test_the_first_page_loads_nothing_and_allows_nothing(running: Running) -> None:
    answer = running.ask("GET", "/")
    text = answer.body.decode()
    assert not re.search(r"<script|<img|<link|<form|\son\w+=|style=|https?://", text)
    policy = answer.headers["content-security-policy"]
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    for word in ("default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'none'"):
        assert word in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


# Health


def test_the_process_is_alive(running: Running, house: Installation) -> None:
    house.state.broken = True
    assert running.ask("GET", "/healthz").json == {"status": "ok"}


def test_not_ready_where_the_journal_is_in_trouble(running: Running, house: Installation) -> None:
    assert running.ask("GET", "/readyz").json == {"status": "ready", "reasons": [], "backlog": 0}
    house.trouble = "the disk is full"
    answer = running.ask("GET", "/readyz")
    assert (answer.status, answer.json["reasons"]) == (503, ["the disk is full"])


def test_not_ready_where_the_state_cannot_be_read(running: Running, house: Installation) -> None:
    house.state.broken = True
    answer = running.ask("GET", "/readyz")
    assert (answer.status, answer.json["reasons"]) == (503, ["the state is locked"])


def test_not_ready_where_the_worker_is_far_behind(running: Running, house: Installation) -> None:
    path = house.add("web")
    running.post(path)
    running.post(path)
    assert running.ask("GET", "/readyz").json == {"status": "ready", "reasons": [], "backlog": 2}
    house.clock.advance(61)
    answer = running.ask("GET", "/readyz")
    assert answer.status == 503
    assert answer.json["reasons"] == ["the worker is 2 messages behind; the oldest waits for 61 s"]
    house.state.at = 2
    assert running.ask("GET", "/readyz").status == 200


def test_metrics_tell_what_was_accepted_and_what_is_in_the_stores(running: Running, house: Installation) -> None:
    path = house.add("canary")
    before = running.ingest.counts.accepted
    running.post(path, b"12345")
    running.post(path + "x")
    answer = running.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.body.decode().splitlines()
    assert f"gateway_ingest_accepted_total {before + 1}.0" in lines
    assert any(line.startswith('gateway_ingest_refused_total{status="404"} ') for line in lines)
    assert 'gateway_alerts{status="open"} 2.0' in lines
    assert 'gateway_events{outcome="opened"} 3.0' in lines
    assert "gateway_backlog 1.0" in lines
    assert b"canary" not in answer.body
    assert house.tokens["canary"].encode() not in answer.body


def test_metrics_without_the_state_still_tell_of_accepting(running: Running, house: Installation) -> None:
    house.state.broken = True
    answer = running.ask("GET", "/metrics")
    assert answer.status == 200
    assert b"gateway_ingest_accepted_total" in answer.body
    assert b"gateway_alerts" not in answer.body


# The web process

PROCESS = """
import logging, socket, sys
from pathlib import Path
import uvloop
from gateway.config import Settings
from gateway.wake import Wake
from gateway.web_process import run_web
logging.basicConfig(level="DEBUG")
settings = Settings(data=Path(sys.argv[1]), port=int(sys.argv[3]), faults=sys.argv[4])
uvloop.run(run_web(settings, socket.socket(fileno=int(sys.argv[2])), Wake(), lambda slug: None))
"""


class Kept:
    """A data folder with one integration, and a listening socket that outlives the processes behind it."""

    def __init__(self, data: Path) -> None:
        self.data, self.house = data, Installation()
        self.house.vault = Vault.open(data)
        self.path = self.house.add("web")
        asyncio.run(self._fill())
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(256)
        self.port = int(self.listener.getsockname()[1])

    async def _fill(self) -> None:
        state = SqliteState.open(self.data, clock=SystemClock())
        await state.add_integration(self.house.state.used[0], self.house.state.rows[0])
        await state.close()

    def start(self, faults: str = "") -> subprocess.Popen[bytes]:
        number = str(self.listener.fileno())
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(self.data), number, str(self.port), faults],
            pass_fds=[self.listener.fileno()],
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )

    def post(self, body: bytes, connection: socket.socket | None = None) -> int | None:
        """The status, or None where the connection ended without an answer."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {len(body)}\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            with contextlib.ExitStack() as stack:
                if connection is None:
                    connection = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=10))
                connection.sendall(head.encode() + body)
                raw = connection.recv(4096)
            return responses(raw)[0].status if raw else None
        return None

    def stored(self) -> list[bytes]:
        async def read() -> list[Message]:
            journal = SqliteJournal.open(self.data, clock=SystemClock(), read_only=True)
            try:
                return await journal.newest(100_000)
            finally:
                await journal.close()

        return [message.body for message in asyncio.run(read())]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.listener.close()


def test_a_restart_refuses_no_connection_and_loses_no_message(kept: Kept) -> None:
    """Senders with a connection each keep posting while the process is stopped and another takes its place."""
    first = kept.start()
    assert kept.post(b"first") == 200
    going, done = True, []

    def send(number: int) -> None:
        at = 0
        while going:
            done.append((b"%d-%d" % (number, at), kept.post(b"%d-%d" % (number, at))))
            at += 1

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send, number) for number in range(8)]
        time.sleep(0.3)
        first.send_signal(signal.SIGTERM)
        _, log = first.communicate(timeout=10)
        second = kept.start()
        assert kept.post(b"second") == 200
        time.sleep(0.2)
        going = False
        for sender in senders:
            sender.result()
    second.terminate()
    second.communicate(timeout=10)
    assert (first.returncode, second.returncode) == (0, 0), log.decode()
    assert {status for _, status in done} == {200}
    assert b"Traceback" not in log
    assert kept.house.tokens["web"].encode() not in log
    assert sorted(kept.stored()) == sorted([b"first", b"second", *(body for body, _ in done)])


@pytest.mark.parametrize("point", ["ingest.before_commit", "ingest.after_commit", "ingest.before_answer"])
def test_what_was_answered_is_there_after_a_kill(kept: Kept, point: str) -> None:
    killed = kept.start(f"{point}=kill:5")
    answers = {body: kept.post(body) for body in (b"%d" % at for at in range(5))}
    assert answers[b"4"] is None
    killed.communicate(timeout=10)
    assert killed.returncode == -signal.SIGKILL
    again = kept.start()
    assert kept.post(b"again") == 200
    again.terminate()
    again.communicate(timeout=10)
    stored = kept.stored()
    assert {body for body, status in answers.items() if status == 200} <= set(stored)
    assert len(stored) == len(set(stored))
    assert (b"4" in stored) == (point != "ingest.before_commit")


def test_a_second_process_on_the_same_folder_says_so(kept: Kept) -> None:
    first = kept.start()
    assert kept.post(b"{}") == 200
    second = kept.start()
    _, log = second.communicate(timeout=10)
    assert second.returncode != 0
    assert b"in use by another gateway" in log
    first.terminate()
    first.communicate(timeout=10)
