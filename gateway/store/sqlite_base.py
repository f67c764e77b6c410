"""
How the state is read and changed: one connection for each, and one change at a time.

What is read outside of a change is what was committed last. A change waits for those of other processes without holding
up the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

from gateway.errors import StoreBusyError
from gateway.faults import Faults
from gateway.store.sqlite_file import rollback, translated
from gateway.store.sqlite_rows import Row

LONGEST_PAUSE = 0.01


class Statements:
    """Named statements, run on one connection."""

    def __init__(self, db: apsw.Connection, sql: dict[str, str]) -> None:
        self.db = db
        self._sql = sql

    def rows(self, name: str, *bindings: Any) -> list[Row]:
        """All rows that a statement gives."""
        return list(self.db.execute(self._sql[name], bindings))

    def row(self, name: str, *bindings: Any) -> Row | None:
        """The one row that a statement gives, if any."""
        found = self.rows(name, *bindings)
        return found[0] if found else None

    def value(self, name: str, *bindings: Any) -> Any:
        """The first column of the first row, None where there is no row."""
        found = self.rows(name, *bindings)
        return found[0][0] if found else None

    def run(self, name: str, *bindings: Any) -> int:
        """How many rows a statement changed."""
        self.db.execute(self._sql[name], bindings)
        return self.db.changes()

    def each(self, name: str, bindings: Iterable[Sequence[Any]]) -> list[Row]:
        """All rows that a statement gives, run once for each of the bindings."""
        return list(self.db.executemany(self._sql[name], bindings))


class StateFile:
    """
    The file of the state, with a connection to read and one to change it, which `connect` opens, again where need be.

    `patience` is how many seconds a change waits for others.
    """

    def __init__(
        self,
        path: Path,
        reader: apsw.Connection,
        connect: Callable[[], apsw.Connection],
        sql: dict[str, str],
        *,
        faults: Faults,
        patience: float,
    ) -> None:
        self.path = path
        self._connect = connect
        self._sql = sql
        self._faults = faults
        self._patience = patience
        self._lock = asyncio.Lock()
        self._closed = False
        self._reading = Statements(reader, sql)
        self._writing: Statements | None = Statements(connect(), sql)

    def read(self, name: str, *bindings: Any) -> list[Row]:
        """The rows that a statement gives, as they were last committed. Raises StoreError."""
        try:
            return self._reading.rows(name, *bindings)
        except apsw.Error as error:
            raise translated(error, self.path) from error

    def read_value(self, name: str, *bindings: Any) -> Any:
        """The first column of the first row, None where there is no row. Raises StoreError."""
        found = self.read(name, *bindings)
        return found[0][0] if found else None

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Statements]:
        """
        Change the state: committed when the block ends, rolled back where it raises.

        Raises StoreBusyError where others hold it for longer than the patience, and StoreError for what SQLite says.
        """
        statements = await self._begin()
        try:
            yield statements
            self._faults.point("state.before_commit")
            statements.db.execute("COMMIT")
            self._faults.point("state.after_commit")
        except apsw.Error as error:
            rollback(statements.db)
            if isinstance(error, (apsw.IOError, apsw.CorruptError)):
                self._drop()
            raise translated(error, self.path) from error
        except BaseException:
            rollback(statements.db)
            raise
        finally:
            self._lock.release()

    async def _begin(self) -> Statements:
        # The lock is taken here and given back by `change`.
        try:
            async with asyncio.timeout(self._patience):
                await self._lock.acquire()
                try:
                    return await self._begin_beside_others()
                except BaseException:
                    self._lock.release()
                    raise
        except TimeoutError:
            msg = f"{self.path}: others have changed it for over {self._patience:g} s without a pause; try again"
            raise StoreBusyError(msg) from None
        except apsw.Error as error:
            raise translated(error, self.path) from error

    async def _begin_beside_others(self) -> Statements:
        pause = 0.0005
        while True:
            if self._writing is None:
                self._writing = Statements(self._connect(), self._sql)
            try:
                self._writing.db.execute("BEGIN IMMEDIATE")
            except apsw.BusyError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return self._writing

    def _drop(self) -> None:
        # After an error of the disk the file is opened anew: an fsync that failed once may lie the second time.
        if self._writing is not None:
            with contextlib.suppress(apsw.Error):
                self._writing.db.close()
            self._writing = None

    async def check(self) -> list[str]:
        """What SQLite finds wrong with the file, nothing where it is sound. It reads all of it: not while serving."""
        try:
            found = [str(row[0]) for row in self._reading.db.execute("PRAGMA integrity_check")]
            orphans = self._reading.db.execute("PRAGMA foreign_key_check")
            found += [f"{row[0]}: row {row[1]} refers to a {row[2]} that is not there" for row in orphans]
        except apsw.Error as error:
            return [str(error)]
        return [line for line in found if line != "ok"]

    async def close(self) -> None:
        """Let go of the file, once the change under way has ended. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        async with self._lock:
            self._drop()
            self._reading.db.close()
