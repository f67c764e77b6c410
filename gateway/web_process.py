"""The web process: the journal, what accepts, and the server around them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import uvicorn
from starlette.routing import BaseRoute

from gateway.app import create_app
from gateway.clock import SystemClock
from gateway.config import Settings
from gateway.connections import Limits, Watch
from gateway.endpoints import Endpoints, Sender
from gateway.faults import Faults
from gateway.fetching import Fetching
from gateway.http import Client
from gateway.ingest import Ingest
from gateway.protocol import Front
from gateway.store.sqlite import SqliteJournal, SqliteState, check_together
from gateway.vault import Vault
from gateway.wake import Wake

BACKLOG = 4096
GRACE = 8
"""Seconds that requests under way have to finish when the process is told to stop."""


async def run_web(
    settings: Settings,
    listener: socket.socket,
    wake: Wake,
    template_of: Callable[[str], Sender | None],
    *,
    routes: Sequence[BaseRoute] = (),
    limits: Limits | None = None,
) -> None:
    """
    Accept messages on a listening socket until SIGTERM, then finish what is under way.

    `wake` rings when messages were committed. Raises StoreUnusableError where the data folder cannot be used.
    """
    clock, faults = SystemClock(), Faults(settings.faults)
    state = SqliteState.open(settings.data, clock=clock, faults=faults)
    journal = SqliteJournal.open(
        settings.data, clock=clock, max_waiting=settings.max_waiting, faults=faults, on_commit=wake.ring
    )
    await check_together(journal, state)
    endpoints = Endpoints(state, Vault.open(settings.data), template_of, clock)
    await endpoints.refresh()
    ingest = Ingest(
        endpoints,
        clock,
        max_body=settings.max_body,
        max_decoded=settings.max_decoded,
        base_url=settings.base_url,
        faults=faults,
    )
    client = None
    if settings.fetch_deadline:
        client = Client(allow_private=settings.allow_private_targets, deadline=settings.fetch_deadline)
    fetching = Fetching(ingest, client, clock)
    app = create_app(
        ingest=ingest,
        journal=journal,
        fetching=fetching,
        state=state,
        clock=clock,
        trouble=lambda: journal.trouble,
        routes=routes,
    )
    watch = Watch(limits or Limits())
    front = functools.partial(Front, ingest=ingest, journal=journal, fetching=fetching, watch=watch)
    server = Server(server_config(app, front, forwarded_allow_ips=settings.forwarded_allow_ips))
    with contextlib.suppress(ValueError, RuntimeError):  # only the main thread hears signals
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    gc.collect()
    gc.freeze()  # what is there now stays; the collector need not look at it again
    try:
        await server.serve(sockets=[listener])
    finally:
        if client is not None:
            await client.close()
        await journal.close()
        await state.close()


class Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to us: its own way ends the process before the journal is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """Take no new connections, finish what is under way, return from `serve`."""
        self.should_exit = True


def server_config(
    app: object, front: functools.partial[Front] | str, *, forwarded_allow_ips: str = ""
) -> uvicorn.Config:
    """How uvicorn serves the app; `front` is the protocol of a connection."""
    return uvicorn.Config(
        cast("Any", app),
        http=cast("type[asyncio.Protocol]", front),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=bool(forwarded_allow_ips),
        forwarded_allow_ips=forwarded_allow_ips,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE,
    )
