"""What a command works with: settings, store, keys and plugins of one data folder, each made when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import getpass
import json
import os
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.cli.output import Output
from gateway.clock import SystemClock
from gateway.config import Settings, load
from gateway.errors import NotFoundError

if TYPE_CHECKING:  # what costs time to import is imported by the commands that need it
    from gateway.plugins import Plugins
    from gateway.store.sqlite import SqliteJournal, SqliteState
    from gateway.vault import Vault

_T = TypeVar("_T")


class Session:
    """One command's work on one data folder, beside whatever gateway runs on it."""

    def __init__(self, data: Path | None = None, *, as_json: bool = False) -> None:
        self._data = data
        self.out = Output(as_json=as_json)
        self.clock = SystemClock()

    @functools.cached_property
    def settings(self) -> Settings:
        """Settings of the environment; raises SettingsError."""
        return load(data=self._data)

    @functools.cached_property
    def vault(self) -> Vault:
        """The installation's key."""
        from gateway.vault import Vault

        return Vault.of_store(self.settings.data)

    @functools.cached_property
    def plugins(self) -> Plugins:
        """What is installed, without importing anybody's code."""
        from gateway.loader import load_plugins

        return load_plugins(self.settings)

    @functools.cached_property
    def plugins_with_code(self) -> Plugins:
        """What is installed, code and all."""
        from gateway.loader import load_plugins

        return load_plugins(self.settings, code=True)

    @functools.cached_property
    def plugins_tried(self) -> Plugins:
        """What is installed, code and all, where templates whose code cannot be imported are known to be broken."""
        from gateway.trial import try_code

        return try_code(self.plugins_with_code, self.settings)

    @property
    def base_url(self) -> str:
        """How senders reach the gateway: as is set, else as the one that runs says, else as one would be started."""
        if self.settings.public_url:
            return self.settings.base_url
        running = self.running
        return str(running["url"]).rstrip("/") if running else self.settings.base_url

    @property
    def running(self) -> dict[str, Any] | None:
        """What the gateway that runs on this folder says of itself, `{"pid", "host", "port", "url"}`; None without one."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((self.settings.data / "running.json").read_bytes())
            if isinstance(found, dict) and isinstance(found.get("url"), str) and _is_alive(found.get("pid")):
                return found
        return None

    @property
    def has_data(self) -> bool:
        """Whether there is a store in the data folder."""
        return (self.settings.data / "state.db").exists()

    @property
    def actor(self) -> str:
        """Who is at the command line, for timelines."""
        with contextlib.suppress(OSError, KeyError, ImportError):
            return f"cli:{getpass.getuser()}"
        return "cli"

    def lists_nothing(self) -> bool:
        """Where there is no store yet: print an empty list, say where there is none, and return True."""
        if self.has_data:
            return False
        if self.out.as_json:
            self.out.json([])
        self.out.note(self._no_data())
        return True

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of asynchronous work."""
        return asyncio.run(work)

    @contextlib.asynccontextmanager
    async def state(self, *, make: bool = False) -> AsyncIterator[SqliteState]:
        """The state, made where there is none only if asked to; raises NotFoundError or StoreUnusableError."""
        if not make and not self.has_data:
            raise NotFoundError(self._no_data())
        from gateway.store.sqlite import SqliteState

        if make:
            _ = self.vault  # the key is there before the store is: one that is missing later was lost
        state = SqliteState.open(self.settings.data, clock=self.clock)
        try:
            yield state
        finally:
            await state.close()

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[tuple[SqliteJournal, SqliteState]]:
        """The journal, to read, and the state."""
        async with self.state() as state:
            from gateway.store.sqlite import SqliteJournal

            journal = SqliteJournal.open(self.settings.data, clock=self.clock, read_only=True)
            try:
                yield journal, state
            finally:
                await journal.close()

    def _no_data(self) -> str:
        return (
            f"there is no gateway's data in {self.settings.data}; give its folder with --data or GATEWAY_DATA, "
            "or start a gateway there with `alert-gateway serve`"
        )


def _is_alive(pid: object) -> bool:
    """Whether there is such a process; a gateway that was killed leaves its file behind."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
