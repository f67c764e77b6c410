"""
A real gateway in processes of its own, on a store of its own.

    def test_a_problem_opens_an_alert(gateway):
        url = gateway.add("acme", "Acme").url(gateway.url)
        gateway.post(url, {"id": "7", "state": "down"})
        assert [alert.subject for alert in gateway.alerts()] == ["…"]

`gateway` is a fixture of the pytest plugin. Nothing here needs pytest.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gateway.clock import SystemClock
from gateway.config import load
from gateway.integrations import Made, add_integration
from gateway.loader import load_plugins
from gateway.models import Alert
from gateway.people import add_policy, add_user
from gateway.store.sqlite import SqliteJournal, SqliteState
from gateway.vault import Vault

T = TypeVar("T")
PATIENCE = 30.0
"""How many seconds a gateway may take for anything that a test waits for."""
MOST_ALERTS = 100_000


class RunningGateway:
    """`alert-gateway serve` on a free port, with its own data folder; retries are quick, and private targets allowed."""

    def __init__(self, data: Path, *, python: str | Path = sys.executable, **settings: str) -> None:
        """
        `python` is the interpreter of the environment that it is installed in.

        `settings` are those of `GATEWAY_…` in lower case.
        """
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")} | {
            "PYTHONSAFEPATH": "1",  # a folder called `gateway` where the tests are started is not the gateway
            "GATEWAY_DATA": str(data),
            "GATEWAY_PORT": "0",
            "GATEWAY_ALLOW_PRIVATE_TARGETS": "true",
            "GATEWAY_RETRY_BASE": "0.05",
            "GATEWAY_RETRY_CAP": "1",
            "GATEWAY_ATTEMPTS": "1000",
            **{f"GATEWAY_{name.upper()}": value for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self._command = [str(python), "-m", "gateway"]

    def start(self) -> RunningGateway:
        """Start it and wait until it is ready."""
        running = self.data / "running.json"
        running.unlink(missing_ok=True)  # of one that was killed
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "serve"],
                env=self.environ,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        until(lambda: running.exists() and running.stat().st_size > 0, self)
        self.url = json.loads(running.read_text())["url"]
        until(lambda: self.get("/readyz") == 200, self)  # noqa: PLR2004  # HTTP's own figure
        return self

    def stop(self) -> int:
        """Stop it as an operator would; its exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.process = None
        return code

    def pids(self, kind: str) -> list[int]:
        """Process ids of `web`, `worker`, `delivery` or `reader` of this gateway."""
        if self.process is None:
            return []
        found = []
        children = _children()
        wanted = ["gateway.reader"] if kind == "reader" else ["gateway.process", kind]
        waiting = [self.process.pid]
        while waiting:
            for pid in children.get(waiting.pop(), ()):
                waiting.append(pid)
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                    if all(word in words for word in wanted):
                        found.append(pid)
        return found

    def kill(self, kind: str) -> bool:
        """SIGKILL a process; whether there was one."""
        pids = self.pids(kind)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pids)

    def get(self, path: str) -> int:
        """The status of a page; 0 where nothing answers."""
        try:
            return _request("GET", self.url + path)[0]
        except OSError:
            return 0

    def post(
        self,
        url: str,
        body: bytes | Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> tuple[int, Any]:
        """Post a message to an endpoint of this gateway: the status and the answer, from JSON where it is JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        at = self.at(url) + (f"?{query}" if query else "")
        status, answer = _request("POST", at, data, {"content-type": "application/json", **(headers or {})})
        try:
            return status, json.loads(answer)
        except ValueError:  # a handshake may be answered in plain text
            return status, answer.decode(errors="replace")

    def at(self, url: str) -> str:
        """An endpoint's URL, on the port that is in use now."""
        return self.url + urlsplit(url).path

    def cli(self, *words: str) -> Any:
        """What a command of `alert-gateway` prints as JSON; fails with what it says where it does not do it."""
        environ = {key: text for key, text in self.environ.items() if key not in ("GATEWAY_DATA", "GATEWAY_PORT")}
        done = subprocess.run(
            [*self._command, *words, "--data", str(self.data), "--json"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            msg = f"alert-gateway {' '.join(words)} ended with {done.returncode}:\n{done.stderr}"
            raise AssertionError(msg)
        return json.loads(done.stdout)

    def ask(self, question: Callable[[SqliteState, SqliteJournal], Awaitable[T]]) -> T:
        """Look into the store while the gateway runs."""

        async def asked() -> T:
            clock = SystemClock()
            state = SqliteState.open(self.data, clock=clock)
            journal = SqliteJournal.open(self.data, clock=clock, read_only=True)
            try:
                return await question(state, journal)
            finally:
                await journal.close()
                await state.close()

        return asyncio.run(asked())

    def add(self, template: str, name: str, *, tell: str | None = None, **settings: Any) -> Made:
        """Add an integration; with `tell`, a policy that notifies this webhook."""

        async def added() -> Made:
            clock, vault = SystemClock(), Vault.open(self.data)
            plugins = load_plugins(
                load({key: value for key, value in self.environ.items() if key.startswith("GATEWAY_")})
            )
            state = SqliteState.open(self.data, clock=clock)
            try:
                policy_id = None
                if tell is not None:
                    user = await add_user(state, clock, name=f"on call for {name}", contacts=[("webhook", tell)])
                    policy_id = (await add_policy(state, clock, name=f"policy of {name}", steps=[(0, [user])])).id
                return await add_integration(
                    state, vault, plugins, clock, template=template, name=name, policy_id=policy_id, settings=settings
                )
            finally:
                await state.close()

        return asyncio.run(added())

    def settled(self) -> bool:
        """Whether every message took effect and every notification is finished."""

        async def question(state: SqliteState, journal: SqliteJournal) -> bool:
            counts = await state.counts()
            return counts.cursor == await journal.head() and not counts.deferred and not counts.notifications["pending"]

        return self.ask(question)

    def alerts(self) -> list[Alert]:
        """Every alert, oldest first, once every message took effect."""
        until(self.settled, self)
        return self.ask(lambda state, _: state.alerts(limit=MOST_ALERTS))[::-1]


@contextlib.contextmanager
def running(data: Path, **settings: str) -> Iterator[RunningGateway]:
    """A gateway for the length of a block; it must stop in order at the end."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    gateway = RunningGateway(data, **settings)
    try:
        yield gateway.start()
        code = gateway.stop()
        if code != 0:
            msg = f"the gateway ended with {code}:\n{gateway.log.read_text()[-4000:]}"
            raise AssertionError(msg)
    finally:
        if gateway.process is not None:
            gateway.process.kill()
            gateway.process.wait()


def until(condition: Callable[[], object], gateway: RunningGateway | None = None, patience: float = PATIENCE) -> None:
    """Wait until a condition holds; fails with the gateway's log."""
    clock = SystemClock()
    deadline = clock.monotonic() + patience
    while not condition():
        ended = gateway is not None and gateway.process is not None and gateway.process.poll() is not None
        if ended or clock.monotonic() > deadline:
            log = gateway.log.read_text()[-4000:] if gateway is not None else ""
            msg = f"{'the gateway ended' if ended else f'it did not come about in {patience:g} s'}\n{log}"
            raise AssertionError(msg)
        time.sleep(0.02)


def _request(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from None
    finally:
        connection.close()


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    return children
