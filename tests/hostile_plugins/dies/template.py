"""Takes the process with it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable

from gateway import Event, Request


def read(request: Request) -> Iterable[Event]:
    """Die of it."""
    globals()["by_" + request.data["do"]]()
    return [Event(source_id="dies", source_status="down")]


def by_exit() -> None:
    """Leave politely, which is only an exception."""
    sys.exit(4)


def by_leaving() -> None:
    """Leave at once, as if all was well."""
    os._exit(0)


def by_kill() -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def by_killing_the_group() -> None:
    """Kill everything in the process group: it must not be the gateway's."""
    os.killpg(0, signal.SIGKILL)


def by_abort() -> None:
    """Abort."""
    os.abort()


def by_wild_pointer() -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


def by_closed_files() -> None:
    """Close every file there is, the line to the gateway too."""
    os.closerange(0, 256)
