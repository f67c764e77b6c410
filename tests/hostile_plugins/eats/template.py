"""Takes more than there is."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable

from gateway import Event, Request

KEPT: list[object] = []


def read(request: Request) -> Iterable[Event]:
    """Take it, and read on as if nothing was."""
    globals()[request.data["do"]]()
    return [Event(source_id="eats", source_status="down")]


def at_once() -> None:
    """Eight gigabytes."""
    KEPT.append(bytearray(8 << 30))


def bit_by_bit() -> None:
    """As much as goes."""
    while True:
        KEPT.append(bytearray(16 << 20))


def leak() -> None:
    """A little of it each time, for ever."""
    KEPT.append(bytearray(50 << 20))


def files() -> None:
    """As many open files as there may be, and not one is closed."""
    while True:
        KEPT.append(os.open(os.devnull, os.O_RDONLY))


def threads() -> None:
    """Many threads that wait."""
    for _ in range(40):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def disk() -> None:
    """A large file."""
    with tempfile.TemporaryFile() as file:
        for _ in range(1024):
            file.write(b"x" * (1 << 20))
