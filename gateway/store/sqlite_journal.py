"""
The journal in SQLite: what waits for the next commit is the batch.

The loop gathers drafts and hands them to the writer thread when the commit before is done; no timer decides that. A
swap of the batch in the thread would race with `append`: a message could be answered for and never written.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from gateway.clock import Clock
from gateway.errors import StoreBusyError, StoreError, StoreUnusableError
from gateway.faults import NO_FAULTS, Faults
from gateway.models import Message
from gateway.store.base import Draft, Receipt
from gateway.store.sqlite_file import JOURNAL, open_file, queries, translated
from gateway.store.sqlite_writer import Batch, Deletion, Entry, Writer

DEADLINE = 0.8
"""How many seconds a draft waits for the disk before its sender is sent away."""
TICK = 0.05
PROBE = 1.0
CLOSE_PATIENCE = 10.0
LOCK_PATIENCE_MS = 700
MOST_WAITING_BYTES = 64 << 20
MOST_IN_BATCH = 1024
MOST_READ_BYTES = 4 << 20
NO_ID = 1 << 62


class SqliteJournal:
    """
    `journal.db`, as in `base.Journal`. One process appends, any number read.

    `on_commit` is called on the loop after each batch that was committed.
    """

    def __init__(
        self,
        path: Path,
        reader: apsw.Connection,
        sql: dict[str, str],
        *,
        clock: Clock,
        max_waiting: int = 10_000,
    ) -> None:
        self.on_commit: Callable[[], None] | None = None
        self._path = path
        self._reader = reader
        self._sql = sql
        self._clock = clock
        self._max_waiting = max_waiting
        self._writer: Writer | None = None
        self._lock: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[Entry] = []
        self._flying: Batch | None = None
        self._count = 0
        self._bytes = 0
        self._idle = True
        self._ticking = False
        self._probing = False
        self._closing = False
        self._appending = False
        self._emptied: asyncio.Event | None = None
        self._trouble: str | None = None

    @classmethod
    def open(
        cls,
        data: Path,
        *,
        clock: Clock,
        max_waiting: int = 10_000,
        faults: Faults = NO_FAULTS,
        read_only: bool = False,
        on_commit: Callable[[], None] | None = None,
    ) -> SqliteJournal:
        """
        Open the journal of a data folder; it is made where there is none.

        At most `max_waiting` drafts wait for the disk. With `read_only` it only reads, beside the one that appends.

        Raises StoreUnusableError where the file cannot be used, or another process appends to it.
        """
        path, sql = data / JOURNAL.file, queries(JOURNAL)
        reader = open_file(data, JOURNAL, patience_ms=1000, cache_kib=2048, query_only=True)
        try:
            journal = cls(path, reader, sql, clock=clock, max_waiting=max_waiting)
            journal._head()  # a damaged file is refused now, not at the first message
            if not read_only:
                journal._be_the_one_that_appends(data, faults)
        except BaseException:
            reader.close()
            raise
        journal.on_commit = on_commit
        return journal

    @property
    def healthy(self) -> bool:
        """Whether the disk took what it was last given. After a failure it is asked again every second."""
        return self._trouble is None

    @property
    def trouble(self) -> str | None:
        """Why it is not healthy, None where it is."""
        return self._trouble

    # appending

    def append(self, draft: Draft, done: Callable[[Receipt | StoreError], None]) -> None:
        """Store a draft, then call `done`, as in `base.Journal`. Raises StoreBusyError where too much waits already."""
        size = len(draft.body) + len(draft.headers) + len(draft.query)
        if self._count >= self._max_waiting or self._bytes + size > MOST_WAITING_BYTES or not self._appending:
            raise self._refusal()
        self._waiting.append((draft, done, self._clock.monotonic(), size))
        self._count += 1
        self._bytes += size
        if self._idle:
            self._idle = False
            self._get_going()

    async def forget(self, until: int, limit: int = 1000) -> int:
        """Delete the oldest messages with ids up to `until`, `limit` at most, as in `base.Journal`."""
        if self._writer is None or not self._appending:
            raise self._refusal()
        self._start()
        told = asyncio.get_running_loop().create_future()
        self._writer.put(Deletion(until, limit, told))
        return int(await told)

    def _refusal(self) -> StoreError:
        if self._writer is None:
            return StoreError(f"{self._path} was opened for reading; only the process that accepts messages writes it")
        if self._closing:
            return StoreBusyError(f"{self._path}: the journal is being closed; try again")
        return StoreBusyError(f"{self._path}: {self._count} messages wait for the disk already; try again")

    def _be_the_one_that_appends(self, data: Path, faults: Faults) -> None:
        def connect() -> apsw.Connection:
            return open_file(data, JOURNAL, patience_ms=LOCK_PATIENCE_MS, cache_kib=8192)

        self._lock = _lock(data / "journal.lock")
        try:
            db = connect()
        except BaseException:
            os.close(self._lock)
            raise
        self._writer = Writer(db, path=self._path, reopen=connect, sql=self._sql, faults=faults, answer=self._answer)
        self._appending = True

    def _start(self) -> None:
        if self._loop is None and self._writer is not None:
            self._loop = asyncio.get_running_loop()
            self._writer.start(self._loop)

    def _get_going(self) -> None:
        self._start()
        if self._loop is None:
            return
        self._loop.call_soon(self._hand_over)  # what else arrived in this turn of the loop goes along
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)

    def _hand_over(self) -> None:
        waiting = self._waiting
        if len(waiting) > MOST_IN_BATCH:
            batch, self._waiting = Batch(waiting[:MOST_IN_BATCH]), waiting[MOST_IN_BATCH:]
        else:
            batch, self._waiting = Batch(waiting), []
        self._flying = batch
        if self._writer is not None:
            self._writer.put(batch)

    def _answer(self, batch: Batch) -> None:
        self._flying = None
        if self._waiting:
            self._hand_over()  # the next commit starts before this one is answered
        else:
            self._idle = True
        for position, (_, done, _, size) in enumerate(batch.entries):
            self._bytes -= size
            if batch.late and position in batch.late:
                continue
            self._count -= 1
            self._tell(done, batch.error or batch.receipts[position])
        if batch.error is None:
            self._trouble = None
            if self.on_commit is not None and batch.entries:
                self.on_commit()
        elif not self._closing and self._loop is not None:
            self._trouble = str(batch.error)
            if not self._probing:
                self._probing = True
                self._loop.call_later(PROBE, self._probe)
        if self._idle and self._emptied is not None:
            self._emptied.set()

    def _tell(self, done: Callable[[Receipt | StoreError], None], outcome: Receipt | StoreError) -> None:
        try:
            done(outcome)
        except Exception as error:  # noqa: BLE001  one sender's connection must not cost the others their answer
            if self._loop is not None:
                told = {"message": "a message was stored, and its sender could not be told", "exception": error}
                self._loop.call_exception_handler(told)

    def _tick(self) -> None:
        # One timer for all drafts, and only while some wait.
        if self._idle or self._loop is None:
            self._ticking = False
            return
        before = self._clock.monotonic() - DEADLINE
        error = StoreBusyError(f"{self._path}: the disk took longer than {round(DEADLINE * 1000)} ms; try again")
        if self._flying is not None:
            self._time_out(self._flying, before, error)
        late = 0
        while late < len(self._waiting) and self._waiting[late][2] <= before:
            late += 1
        refused, self._waiting = self._waiting[:late], self._waiting[late:]
        for _, done, _, size in refused:
            self._count -= 1
            self._bytes -= size
            self._tell(done, error)
        self._loop.call_later(TICK, self._tick)

    def _time_out(self, batch: Batch, before: float, error: StoreBusyError) -> None:
        for position, (_, done, since, _) in enumerate(batch.entries):
            if since > before:
                break
            if position not in batch.late:
                batch.late.add(position)
                self._count -= 1
                self._trouble = str(error)
                self._tell(done, error)

    def _probe(self) -> None:
        self._probing = False
        if self._idle and self._trouble is not None and not self._closing:
            self._idle = False
            self._get_going()

    # reading

    async def read(self, after: int, limit: int) -> list[Message]:
        """The next messages after an id, oldest first; fewer where they add up to over 4 MiB."""
        return self._messages("read", (after, limit), most_bytes=MOST_READ_BYTES)

    async def get(self, ids: Sequence[int]) -> list[Message]:
        """The messages of these ids that exist, in the order of ids."""
        return self._messages("get", (msgspec.json.encode(list(ids)).decode(),))

    async def newest(self, limit: int, *, before: int | None = None, endpoint_id: str | None = None) -> list[Message]:
        """The newest messages first, those with an id under `before`."""
        under = NO_ID if before is None else before
        if endpoint_id is None:
            return self._messages("newest", (under, limit))
        return self._messages("newest_of_endpoint", (under, limit, endpoint_id))

    async def head(self) -> int:
        """The newest id, 0 where there never was one."""
        return self._head()

    async def check(self) -> list[str]:
        """What SQLite finds wrong with the file, nothing where it is sound. It reads all of it: not while serving."""
        try:
            found = [str(row[0]) for row in self._reader.execute("PRAGMA integrity_check")]
        except apsw.Error as error:
            return [str(error)]
        return [line for line in found if line != "ok"]

    def _head(self) -> int:
        try:
            return int(self._reader.execute(self._sql["head"]).get)
        except apsw.Error as error:
            raise translated(error, self._path) from error

    def _messages(self, name: str, bindings: tuple[Any, ...], most_bytes: int = NO_ID) -> list[Message]:
        messages: list[Message] = []
        size = 0
        cursor = self._reader.cursor()
        try:
            for row in cursor.execute(self._sql[name], bindings):
                message = _message_of(row)
                size += len(message.query) + len(message.headers) + len(message.body)
                if messages and size > most_bytes:
                    break
                messages.append(message)
        except apsw.Error as error:
            raise translated(error, self._path) from error
        finally:
            cursor.close(force=True)  # a statement left open would keep the log from being emptied
        return messages

    async def close(self) -> None:
        """Commit what was accepted, then let go of the files. Safe to call twice."""
        if self._closing:
            return
        self._closing, self._appending = True, False
        if not self._idle:
            self._emptied = asyncio.Event()
            with contextlib.suppress(TimeoutError):  # a disk that hangs; every sender was told so after 800 ms
                async with asyncio.timeout(CLOSE_PATIENCE):
                    await self._emptied.wait()
        if self._writer is not None:
            await self._writer.close(CLOSE_PATIENCE)
        self._reader.close()
        if self._lock is not None:
            os.close(self._lock)


def _message_of(row: tuple[Any, ...]) -> Message:
    number, endpoint_id, received_at, delivery_id, query, headers, body = row
    return Message(
        id=number,
        endpoint_id=endpoint_id,
        received_at=received_at,
        query=query,
        headers=headers,
        body=body,
        delivery_id=delivery_id,
    )


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(handle, 20).decode("ascii", "replace").strip()
        os.close(handle)
        holder = holder or "unknown"
        msg = f"{path.parent} is in use by another gateway (process {holder}); stop that, or take another folder"
        raise StoreUnusableError(msg) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle
