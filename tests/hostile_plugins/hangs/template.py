"""Does not come back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from gateway import Event, Request


def read(request: Request) -> Iterable[Event]:
    """Stay in it."""
    return globals()[request.data["do"]]()  # type: ignore[no-any-return]


def loop() -> Iterable[Event]:
    """Go round for ever, and hold on to it."""
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001, S110  # that is the point
            pass


def sleep() -> Iterable[Event]:
    """Wait for an hour."""
    time.sleep(3600)
    return []


def interpreter() -> Iterable[Event]:
    """Hold the interpreter's lock: no signal handler of Python's runs meanwhile."""
    return [Event(source_id=str(3 ** (3**21) % 10))]


def pattern() -> Iterable[Event]:
    """Back-track."""
    return [Event(source_id=str(re.match(r"(a+)+$", "a" * 64 + "!")))]


def silence() -> Iterable[Event]:
    """A generator that never gives anything."""
    while True:
        if time is None:
            yield Event(source_id="x")
