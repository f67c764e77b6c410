"""
What connections are held to: how long and how much, and the sweep that looks after it.

There is one timer for all connections of a server, not one for each request.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much. Times are seconds, counted from the first byte of a request."""

    head: float = 10.0
    body: float = 15.0
    idle: float = 5.0
    linger: float = 2.0
    """How long what a refused sender still sends is taken in, so that it gets to read the answer."""
    drain: float = 0.5
    """How long a connection may still begin a request after the server was told to stop."""
    sweep: float = 0.25
    connections: int = 2000
    pipelined: int = 128
    """How many requests may wait on a connection behind the one that is being answered."""


class Watch:
    """The sweep over the connections of one server; it sleeps while there are none."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._connections: set[Any] = set()
        self._timer: asyncio.TimerHandle | None = None

    def over(self, connections: set[Any], loop: asyncio.AbstractEventLoop) -> None:
        """See to it that these connections are swept."""
        if self._timer is None:
            self._connections = connections
            self._timer = loop.call_later(self.limits.sweep, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for connection in list(self._connections):
            swept = getattr(connection, "swept", None)  # one of uvicorn's own kinds has none
            if swept is not None:
                swept(now)
        if self._connections:
            self.over(self._connections, loop)
