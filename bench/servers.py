"""The servers that are measured: started for their turn, on the loopback, and gone after it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.figures import NotMeasuredError

ROOT = Path(__file__).resolve().parent.parent
COMMAND = Path(sys.executable).parent / "alert-gateway"
SERVER_CORE, LOAD_CORE = "0", "1"
PATIENCE = 30.0


def pinned(core: str, command: Sequence[str | Path]) -> list[str]:
    """A command that keeps to one core, where there are several, so that load and server do not share one."""
    words = [str(word) for word in command]
    return ["taskset", "-c", core, *words] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else words


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str | Path], log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server for as long as the block lasts; at its end the server and all that it started are killed, unasked."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for child in [process.pid, *descendants(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.wait()


def environment(**settings: str) -> dict[str, str]:
    """The environment without the settings of whoever runs this, and with those of the measurement."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")} | settings


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that these started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def wait_for(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    """Until a server answers 200; what it logged where it does not."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if request(port, "GET", path)[0] == http.client.OK:
                return
        time.sleep(0.02)
    said = log.read_text(errors="replace").strip().splitlines()[-3:]
    msg = f"the server did not come up: {' / '.join(said) or 'it said nothing'}"
    raise NotMeasuredError(msg)


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own; the status and the body of its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def gateway_command(data: Path, port: int) -> list[str]:
    """How the gateway is started."""
    return [str(COMMAND), "serve", "--data", str(data), "--host", "127.0.0.1", "--port", str(port)]


def ask(data: Path, *words: str, **settings: str) -> Any:
    """What a command of the gateway says as JSON."""
    done = subprocess.run(
        [COMMAND, *words, "--data", data, "--json"],
        cwd=ROOT,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,  # what it said is in the error
    )
    if done.returncode:
        msg = f"`alert-gateway {' '.join(words)}`: {(done.stderr or done.stdout).strip().splitlines()[-1:]}"
        raise NotMeasuredError(msg)
    return json.loads(done.stdout)


def add_integration(data: Path, template: str, name: str, *more: str, **settings: str) -> str:
    """A new integration; the path that its messages are posted to."""
    made = ask(data, "integrations", "add", template, "--name", name, *more, **settings)
    return urlsplit(str(made["endpoint_url"])).path


@contextlib.contextmanager
def gateway(folder: Path, *, core: str | None = None, **settings: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The gateway on `folder`/data: its port and its first process."""
    port, log = free_port(), folder / "gateway.log"
    command = gateway_command(folder / "data", port)
    with running(command if core is None else pinned(core, command), log, **settings) as process:
        wait_for(process, port, "/readyz", log)
        yield port, process


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[int]:
    """Uvicorn with an application that does nothing."""
    port, log = free_port(), folder / "bare.log"
    with running(pinned(SERVER_CORE, [sys.executable, "-m", "bench.bare", str(port)]), log) as process:
        wait_for(process, port, "/", log)
        yield port


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[int]:
    """Alertmanager, as Debian packages it, alone and with a receiver that does nothing."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        msg = "Alertmanager is not installed (Debian: prometheus-alertmanager)"
        raise NotMeasuredError(msg)
    port, log = free_port(), folder / "alertmanager.log"
    settings = folder / "alertmanager.yml"
    settings.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    flags = [
        f"--config.file={settings}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    command = [program, *flags, "--cluster.listen-address=", "--log.level=error"]
    with running(pinned(SERVER_CORE, command), log) as process:
        wait_for(process, port, "/-/ready", log)
        yield port
