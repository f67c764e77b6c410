"""
`serve`: keeps the processes that make a gateway alive, and the listening socket that outlives them.

    supervisor ─┬─ web        accepts messages into the journal
                ├─ worker ─── reader   has them read, applies what they mean
                └─ delivery   tells people

A process that dies is replaced; one whose loop no longer turns is killed first. While the web process is replaced,
connections wait in the socket's backlog, so that none is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec

from gateway.config import PREFIX, Settings
from gateway.errors import SettingsError, StoreUnusableError
from gateway.vault import Vault
from gateway.wake import Wake

BACKLOG = 4096
KINDS = ("web", "worker", "delivery")
_TICK = 1.0
_SILENCE = 15
"""Ticks without a sign of life after which a process counts as hung."""
_START_SILENCE = 60
_STOP_DEADLINE = 10.0
_STEADY = 10.0
_PAUSE_CAP = 5.0
_HEAD_START = 2.0
_log = logging.getLogger("gateway.supervisor")


class Child:
    """One process, through its deaths and replacements."""

    def __init__(self, kind: str, start: Callable[[], Any]) -> None:
        self.kind = kind
        self.pulse = Wake.pipe()
        self.process: asyncio.subprocess.Process | None = None
        self.silent = 0
        self.beaten = False
        self.alive = asyncio.Event()
        self._start = start
        self._pause = 0.0

    async def keep(self, stopping: asyncio.Event, after: Child | None = None) -> None:
        """
        Start it, and again whenever it ends, until `stopping` is set; waits longer each time it ends early.

        The first start waits for the first sign of life of `after`.
        """
        loop = asyncio.get_running_loop()
        if after is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEAD_START):
                    await after.alive.wait()
        while not stopping.is_set():
            started = loop.time()
            self.silent, self.beaten = 0, False
            self.process = await self._start()
            code = await self.process.wait()
            self.process = None
            if stopping.is_set():
                return
            why = f"signal {-code}" if code < 0 else f"exit code {code}"
            _log.warning("the %s process ended (%s); starting another", self.kind, why)
            self._pause = 0.0 if loop.time() - started > _STEADY else min(max(0.05, self._pause * 2), _PAUSE_CAP)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await stopping.wait()

    async def listen(self) -> None:
        """Count the ticks without a sign of life, and kill the process after too many."""
        while True:
            # Ticks rather than a clock: time in which this machine slept is not the process's silence.
            if await self.pulse.wait(_TICK):
                self.silent, self.beaten = 0, True
                self.alive.set()
                await asyncio.sleep(_TICK / 2)
                continue
            self.silent += 1
            if self.process is not None and self.silent >= (_SILENCE if self.beaten else _START_SILENCE):
                _log.error("the %s process gives no sign of life; killing it", self.kind)
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                self.silent = 0

    async def stop(self) -> None:
        """Ask it to end, and make it where it does not."""
        process = self.process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_DEADLINE):
                await process.wait()
        except TimeoutError:
            _log.error("the %s process did not end in %g s; killing it", self.kind, _STOP_DEADLINE)
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def serve(settings: Settings, ready: Callable[[str], None] = lambda _url: None) -> None:
    """
    Run the gateway until SIGTERM or SIGINT; SIGHUP replaces all processes, refusing no connection.

    `ready` is called with the base URL, in a thread, once the socket listens; `running.json`, by which others find this
    gateway, is written after it. Raises SettingsError where the address cannot be listened on, StoreUnusableError where
    another gateway uses the data folder.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock(settings.data), bound(settings) as listener:
        Vault.of_store(
            settings.data
        )  # a key that was lost, or is none, is said now; and it is there before the store is
        host, port = listener.getsockname()[:2]
        settings = msgspec.structs.replace(settings, port=port)
        running = settings.data / "running.json"
        running.unlink(missing_ok=True)  # of one that was killed

        def announce() -> None:
            ready(settings.base_url)
            with contextlib.suppress(OSError):  # the disk is full: others do not find it, and it runs
                running.write_text(
                    json.dumps({"pid": os.getpid(), "host": host, "port": port, "url": settings.base_url})
                )

        try:
            asyncio.run(_run(settings, listener, announce))
        finally:
            running.unlink(missing_ok=True)


async def _run(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    stopping, again = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    messages, notifications = Wake.pipe(), Wake.pipe()
    environ = environ_of(settings)
    children: list[Child] = []
    for kind in KINDS:
        children.append(Child(kind, partial(_spawn, kind, children, listener, messages, notifications, environ)))
    web, *others = children  # the socket listens already: the sooner web is there, the less its first senders wait
    keepers = [asyncio.create_task(web.keep(stopping))]
    keepers += [asyncio.create_task(child.keep(stopping, web)) for child in others]
    listeners = [asyncio.create_task(child.listen()) for child in children]
    await asyncio.to_thread(ready)
    replacing = asyncio.create_task(_replace(children, again))
    await stopping.wait()
    replacing.cancel()
    for child in children:  # web first, so that what it accepted last is still read, and told
        await child.stop()
    for task in listeners:
        task.cancel()
    await asyncio.gather(*keepers, *listeners, return_exceptions=True)


async def _replace(children: list[Child], again: asyncio.Event) -> None:
    while True:
        await again.wait()
        again.clear()
        for child in children:
            await child.stop()  # and its keeper starts the next


async def _spawn(
    kind: str,
    children: list[Child],
    listener: socket.socket,
    messages: Wake,
    notifications: Wake,
    environ: Mapping[str, str],
) -> asyncio.subprocess.Process:
    pulse = children[KINDS.index(kind)].pulse.write_fd
    bells = {
        "web": {"listen": listener.fileno(), "tell": messages.write_fd},
        "worker": {"heard": messages.read_fd, "tell": notifications.write_fd},
        "delivery": {"heard": notifications.read_fd},
    }
    descriptors = {name: number for name, number in {"pulse": pulse, **bells[kind]}.items() if number is not None}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.process",
        kind,
        *(f"{name}={number}" for name, number in descriptors.items()),
        env={**environ, "ALERT_GATEWAY_PARENT": str(os.getpid())},
        pass_fds=list(descriptors.values()),
        stdin=asyncio.subprocess.DEVNULL,
    )


def environ_of(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for child processes: this one's, with every setting as it was resolved."""
    source = os.environ if environ is None else environ
    kept = {name: value for name, value in source.items() if not name.startswith(PREFIX)}
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        if value is not None:
            text = str(value.resolve()) if isinstance(value, Path) else str(value)
            kept[PREFIX + field.name.upper()] = text.lower() if isinstance(value, bool) else text
    return kept


@contextlib.contextmanager
def lock(data: Path) -> Any:  # a context manager
    """Hold a data folder; raises StoreUnusableError that names the process which holds it already, or why it cannot be."""
    try:
        file: IO[str] = (data / "gateway.lock").open("a+")
    except OSError as error:
        msg = f"{data}: it cannot be written ({error.strerror}); give the user of the gateway the data folder and its files"
        raise StoreUnusableError(msg) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            msg = f"{data} is in use by the gateway with process id {file.read().strip() or 'unknown'}; stop that one first"
            raise StoreUnusableError(msg) from None
        with contextlib.suppress(OSError):  # the disk is full: it is held all the same
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def bound(settings: Settings) -> socket.socket:
    """A listening socket; raises SettingsError that says why there is none."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        where = f"{settings.host} port {settings.port}"
        msg = f"cannot listen on {where}: {error.strerror}; set --host and --port to a free address"
        raise SettingsError(msg) from None
    return listener
