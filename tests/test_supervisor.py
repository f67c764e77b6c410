"""The supervisor keeps its processes alive: what dies or hangs is replaced, what it needs is its own alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from gateway import supervisor
from gateway.config import Settings, load
from gateway.errors import SettingsError, StoreUnusableError
from gateway.supervisor import Child, bound, environ_of, lock

pytestmark = pytest.mark.anyio

SLEEPER = "import time; time.sleep(60)"
BEATER = "import os, sys, time\nwhile True: os.write(int(sys.argv[1]), b'!'); time.sleep(0.02)"


class Starts:
    """Starts a process for a child, and counts."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.count = 0
        self.child: Child | None = None

    async def __call__(self) -> asyncio.subprocess.Process:
        self.count += 1
        assert self.child is not None
        pulse = self.child.pulse.write_fd
        assert pulse is not None
        return await asyncio.create_subprocess_exec(sys.executable, "-c", self.program, str(pulse), pass_fds=[pulse])


@pytest.fixture
def short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_TICK", 0.05)
    monkeypatch.setattr(supervisor, "_SILENCE", 10)
    monkeypatch.setattr(supervisor, "_START_SILENCE", 10)
    monkeypatch.setattr(supervisor, "_STOP_DEADLINE", 2.0)


async def _kept(program: str, times: int) -> Starts:
    """Keep a child until it was started so often, then stop."""
    starts = Starts(program)
    starts.child = child = Child("web", starts)
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(child.keep(stopping)), asyncio.create_task(child.listen())]
    async with asyncio.timeout(60):
        while starts.count < times:
            await asyncio.sleep(0.01)
            if child.process is not None and program != SLEEPER:
                os.kill(child.process.pid, signal.SIGKILL)
        stopping.set()
        await child.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return starts


async def test_a_process_that_dies_is_replaced(short_ticks: None) -> None:
    starts = await _kept("import time; time.sleep(0.2); raise SystemExit(1)", 3)
    assert starts.count >= 3


async def test_a_process_that_gives_no_sign_of_life_is_killed_and_replaced(short_ticks: None) -> None:
    starts = await _kept(SLEEPER, 2)
    assert starts.count >= 2


async def test_a_process_that_beats_is_left_alone(short_ticks: None) -> None:
    starts = Starts(BEATER)
    starts.child = child = Child("web", starts)
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(child.keep(stopping)), asyncio.create_task(child.listen())]
    async with asyncio.timeout(60):
        await child.alive.wait()
        await asyncio.sleep(1.5)  # three times the silence that would end it
    assert starts.count == 1
    stopping.set()
    await child.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_process_that_does_not_end_when_asked_is_made_to(short_ticks: None) -> None:
    starts = Starts("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x'); time.sleep(60)")
    starts.child = child = Child("web", starts)
    stopping = asyncio.Event()
    keeping = asyncio.create_task(child.keep(stopping))
    async with asyncio.timeout(60):
        while child.process is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        stopping.set()
        await child.stop()
        await keeping
    assert child.process is None


def test_a_data_folder_is_held_by_one(tmp_path: Path) -> None:
    said = f"in use by the gateway with process id {os.getpid()}"
    with lock(tmp_path), pytest.raises(StoreUnusableError, match=said), lock(tmp_path):
        pass
    with lock(tmp_path):
        pass  # and free again


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "gateway.lock").mkdir()
    with (
        pytest.raises(StoreUnusableError, match=r"it cannot be written \(Is a directory\); give the user"),
        lock(tmp_path),
    ):
        pass


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1 port {port}: .*set --host and --port"):
            bound(Settings(port=port))


def test_children_get_every_setting_as_it_was_resolved(tmp_path: Path) -> None:
    settings = load({}, data=str(tmp_path), port=9000, allow_private_targets=True, load_plugins="")
    environ = environ_of(settings, {"PATH": "/bin", "GATEWAY_PORT": "1", "HOME": "/home"})
    assert environ["PATH"] == "/bin"
    again = load({name: value for name, value in environ.items() if name.startswith("GATEWAY_")})
    assert again == settings
