"""
What the supervisor starts: `python -m gateway.process web|worker|delivery name=descriptor…`.

Descriptors are the listening socket (`listen`), the bells (`heard`, `tell`) and the sign of life (`pulse`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

import uvloop

from gateway.clock import SystemClock
from gateway.config import Settings, load
from gateway.errors import GatewayError
from gateway.faults import Faults
from gateway.reader import die_with_parent
from gateway.wake import Wake

_PULSE_PAUSE = 1.0
_NICE = {"web": 0, "worker": 10, "delivery": 5}
"""What accepts goes first: a message that is on disk can wait, a sender cannot."""


def main(arguments: list[str]) -> int:
    """Run one process until SIGTERM; the exit code."""
    kind, *rest = arguments
    descriptors = {name: int(number) for name, _, number in (item.partition("=") for item in rest)}
    settings = load()
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)s {kind} %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("uvicorn").setLevel(max(logging.WARNING, logging.getLogger().level))  # its own comings and goings
    parent = int(os.environ.pop("ALERT_GATEWAY_PARENT", os.getppid()))
    die_with_parent(parent)
    os.nice(_NICE[kind])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal it goes to the whole group; the supervisor decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        uvloop.run(_with_pulse(_RUN[kind](settings, descriptors), descriptors, parent))
    except GatewayError as error:
        logging.getLogger("gateway").critical("%s", error)
        return 1
    return 0


async def _with_pulse(work: Coroutine[Any, Any, None], descriptors: Mapping[str, int], parent: int) -> None:
    pulse = Wake(write_fd=descriptors.get("pulse"))

    async def beat() -> None:
        while True:
            if os.getppid() != parent:  # nobody would stop this process, and the next gateway could not have the store
                os.kill(os.getpid(), signal.SIGKILL)
            pulse.ring()
            await asyncio.sleep(_PULSE_PAUSE)

    beating = asyncio.create_task(beat())
    try:
        await work
    finally:
        beating.cancel()


async def _web(settings: Settings, descriptors: Mapping[str, int]) -> None:
    from gateway.loader import load_plugins
    from gateway.web_process import run_web

    plugins = load_plugins(settings)
    listener = socket.socket(fileno=descriptors["listen"])
    await run_web(settings, listener, Wake(write_fd=descriptors.get("tell")), plugins.sender)


async def _worker(settings: Settings, descriptors: Mapping[str, int]) -> None:
    from gateway.lane import reader_environ
    from gateway.store.sqlite import SqliteJournal, SqliteState
    from gateway.worker import Worker

    clock, faults = SystemClock(), Faults(settings.faults)
    journal = SqliteJournal.open(settings.data, clock=clock, read_only=True)
    state = SqliteState.open(settings.data, clock=clock, faults=faults)
    worker = Worker(
        journal,
        state,
        settings,
        clock,
        reader_environ=reader_environ(),
        heard=Wake(read_fd=descriptors.get("heard")),
        tell=Wake(write_fd=descriptors.get("tell")),
    )
    gc.collect()
    gc.freeze()
    await worker.run(_stopped_by_signal())
    await journal.close()
    await state.close()


async def _delivery(settings: Settings, descriptors: Mapping[str, int]) -> None:
    from gateway.delivery import Delivery
    from gateway.http import Client
    from gateway.loader import load_plugins
    from gateway.notifiers import BuiltInNotifiers
    from gateway.notifiers.base import Outbound
    from gateway.store.sqlite import SqliteState
    from gateway.vault import Vault

    clock, faults = SystemClock(), Faults(settings.faults)
    state = SqliteState.open(settings.data, clock=clock, faults=faults)
    client = Client(allow_private=settings.allow_private_targets, deadline=settings.attempt_deadline)
    outbound = Outbound(settings=settings, client=client, vault=Vault.open(settings.data), clock=clock)
    notifiers = load_plugins(settings, code=True, templates=False).notifiers(outbound, BuiltInNotifiers())
    wake = Wake(read_fd=descriptors.get("heard"))
    delivery = Delivery(state, notifiers, settings, clock, faults, wake)
    gc.collect()
    gc.freeze()
    await delivery.run(_stopped_by_signal())
    await client.close()
    await state.close()


def _stopped_by_signal() -> asyncio.Event:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return stop


_RUN = {"web": _web, "worker": _worker, "delivery": _delivery}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
