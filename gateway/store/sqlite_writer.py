"""
The thread that writes the journal: one transaction for all that waits, one fsync, one answer.

It lives on through every error: what failed is rolled back and answered. After an error of the disk the file is opened
anew, because an fsync that failed once may lie the second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from gateway.errors import StoreBusyError, StoreError
from gateway.faults import Faults
from gateway.store.base import Draft, Receipt
from gateway.store.sqlite_file import rollback, translated

SPAN = 128  # stands in sql/journal/ too

Done = Callable[[Receipt | StoreError], None]
Entry = tuple[Draft, Done, float, int]
"""A draft that waits: whom to tell, since when by the monotonic clock, and its size in bytes."""


class Batch:
    """Drafts that are written together, then with their receipts or the error. `late` ones were answered already."""

    __slots__ = ("entries", "error", "late", "receipts")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.late: set[int] = set()
        self.receipts: list[Receipt] = []
        self.error: StoreError | None = None


class Deletion:
    """An order to forget old messages, and where to say how many there were."""

    __slots__ = ("limit", "told", "until")

    def __init__(self, until: int, limit: int, told: asyncio.Future[int]) -> None:
        self.until = until
        self.limit = limit
        self.told = told


class Writer:
    """
    Writes batches in a thread of its own, in the order in which they are put.

    `reopen` opens the file again. `answer` is called on the loop with each batch, once.
    """

    def __init__(
        self,
        db: apsw.Connection,
        *,
        path: Path,
        reopen: Callable[[], apsw.Connection],
        sql: Mapping[str, str],
        faults: Faults,
        answer: Callable[[Batch], None],
    ) -> None:
        self._db: apsw.Connection | None = db
        self._path = path
        self._reopen = reopen
        self._sql = sql
        self._faults = faults
        self._answer = answer
        self._orders: queue.SimpleQueue[Batch | Deletion | None] = queue.SimpleQueue()
        self._last_id: int | None = None
        self._spans: set[tuple[str, int]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended: asyncio.Future[None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; answers go to this loop."""
        self._loop, self._ended = loop, loop.create_future()
        self._thread = threading.Thread(target=self._run, name="journal writer", daemon=True)
        self._thread.start()

    def put(self, order: Batch | Deletion) -> None:
        """Have a batch written, or old messages deleted; returns at once."""
        self._orders.put(order)

    async def close(self, patience: float) -> None:
        """Let it end what it was given, `patience` seconds at most, and close the file."""
        self._orders.put(None)
        if self._thread is None or self._ended is None:
            self._let_go()
            return
        with contextlib.suppress(TimeoutError):  # the disk hangs, and so does the thread; it dies with the process
            async with asyncio.timeout(patience):
                await asyncio.shield(self._ended)
                self._thread.join()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            if isinstance(order, Batch):
                self._write(order)
                self._call(self._answer, order)
            else:
                self._delete(order)
        self._let_go()
        if self._ended is not None:
            self._call(_resolve, self._ended, None)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(function, *arguments)

    def _write(self, batch: Batch) -> None:
        try:
            db = self._begin()
            batch.receipts = self._insert(db, [entry[0] for entry in batch.entries])
            self._faults.point("ingest.before_commit")
            db.execute("COMMIT")
            self._faults.point("ingest.after_commit")
        except BaseException as error:  # noqa: BLE001  a thread that ends would leave every sender without an answer
            batch.error = self._failed(error)

    def _begin(self) -> apsw.Connection:
        if self._db is None:
            self._db = self._reopen()
        self._db.execute("BEGIN IMMEDIATE")
        if self._last_id is None:
            self._last_id = int(self._db.execute(self._sql["head"]).get)
        return self._db

    def _insert(self, db: apsw.Connection, drafts: Sequence[Draft]) -> list[Receipt]:
        if not drafts:
            db.execute(self._sql["touch"])  # asks whether the disk takes anything at all
            return []
        last = self._last_id or 0
        rows, receipts = [], []
        seen: dict[tuple[str, str], int] = {}
        for draft in drafts:
            delivery = draft.delivery_id
            if delivery is not None:
                key = (draft.endpoint_id, delivery)
                first = seen.get(key) or db.execute(self._sql["delivered"], key).get
                if first is not None:
                    receipts.append(Receipt(first, duplicate=True))
                    continue
                seen[key] = last + 1
            last += 1
            rows.append((last, draft.endpoint_id, draft.received_at, delivery, draft.query, draft.headers, draft.body))
            receipts.append(Receipt(last))
        db.executemany(self._sql["append"], rows)
        self._last_id = last
        spans = {(row[1], row[0] // SPAN) for row in rows} - self._spans
        if spans:
            db.executemany(self._sql["append_span"], sorted(spans))
            self._spans = {known for known in self._spans if known[1] == last // SPAN} | spans
        return receipts

    def _delete(self, order: Deletion) -> None:
        try:
            db = self._begin()
            db.execute(self._sql["forget"], (order.until, order.limit))
            count = db.changes()
            db.execute(self._sql["forget_spans"])
            db.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  as in _write
            self._call(_reject, order.told, self._failed(error))
        else:
            self._call(_resolve, order.told, count)

    def _failed(self, error: BaseException) -> StoreError:
        # What the transaction had changed in memory is forgotten with it, and read from the file again.
        self._last_id = None
        self._spans = set()
        if self._db is not None:
            rollback(self._db)
        if isinstance(error, apsw.Error) and not isinstance(error, (apsw.BusyError, apsw.FullError)):
            self._let_go()
        told = error if isinstance(error, StoreError) else None
        if isinstance(error, apsw.Error):
            told = translated(error, self._path)
        return StoreBusyError(str(told) if told else f"{self._path}: nothing was stored ({type(error).__name__})")

    def _let_go(self) -> None:
        if self._db is not None:
            with contextlib.suppress(apsw.Error):
                self._db.close()
            self._db = None


def _resolve(told: asyncio.Future[Any], value: object) -> None:
    if not told.done():
        told.set_result(value)


def _reject(told: asyncio.Future[Any], error: StoreError) -> None:
    if not told.done():
        told.set_exception(error)
