"""Changes what is not its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

from gateway import Event, Request


def read(request: Request) -> Iterable[Event]:
    """Do it, and read on as if nothing was."""
    globals()[request.data["do"]](request)
    return [Event(source_id="meddles", source_status="down")]


def prints(_: Request) -> None:
    """Print, more than a pipe holds."""
    sys.stdout.write("noise " * 20_000)
    sys.stdout.flush()
    os.write(1, b"noise")


def mutates(request: Request) -> None:
    """Change the message."""
    request.data.clear()
    request.data["id"] = request.data
    request.body = b""
    with contextlib.suppress(Exception):
        request.headers.clear()  # type: ignore[attr-defined]
        request.query["x"] = "y"  # type: ignore[index]


def moves(_: Request) -> None:
    """Change the folder, the environment, the handlers of signals, and a module of the standard library."""
    os.chdir("/")
    os.environ.clear()
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    json.loads = None  # type: ignore[assignment]


def forks(_: Request) -> None:
    """Have a child that goes on as if it was the reader."""
    os.fork()


def leaves_a_child(_: Request) -> None:
    """Have a child that never ends."""
    if not os.fork():
        time.sleep(3600)
        os._exit(0)


def starts_a_program(_: Request) -> None:
    """Start a program that holds on to every file."""
    subprocess.Popen(["/bin/sleep", "3600"], close_fds=False)
