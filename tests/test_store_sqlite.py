"""The store of one machine: the contracts, and what only SQLite can do wrong."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import apsw
import pytest

from gateway.actions import close_alert
from gateway.clock import Clock, ManualClock, SystemClock
from gateway.errors import StoreBusyError, StoreError, StoreUnusableError
from gateway.faults import NO_FAULTS, Faults
from gateway.models import Routing
from gateway.store import sqlite_file
from gateway.store.base import Changes, Receipt
from gateway.store.sqlite import SqliteJournal, SqliteState, check_together
from gateway.store.sqlite_journal import TICK
from gateway.store.sqlite_rows import key_hash
from tests.store_conformance import (
    NOW,
    JournalConformance,
    StateConformance,
    alert,
    append,
    claimed,
    draft,
    endpoint,
    ids,
    integration,
    write,
)

pytestmark = pytest.mark.anyio


class Opened:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.clock = ManualClock()
        self._open: list[SqliteJournal | SqliteState] = []

    async def journal(
        self, *, max_waiting: int = 10_000, faults: Faults = NO_FAULTS, clock: Clock | None = None
    ) -> SqliteJournal:
        clock = clock or SystemClock()
        journal = SqliteJournal.open(self.data, clock=clock, max_waiting=max_waiting, faults=faults)
        self._open.append(journal)
        return journal

    async def state(self, *, faults: Faults = NO_FAULTS, patience: float = 5.0) -> SqliteState:
        state = SqliteState.open(self.data, clock=self.clock, faults=faults, patience=patience)
        self._open.append(state)
        return state

    async def close(self) -> None:
        for one in self._open:
            await one.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Opened]:
    store = Opened(tmp_path / "data")
    yield store
    await store.close()


class TestJournal(JournalConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Opened]:
        store = Opened(tmp_path / "data")
        yield store
        await store.close()


class TestState(StateConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Opened]:
        store = Opened(tmp_path / "data")
        yield store
        await store.close()


class Gate(Faults):
    """A disk that hangs at a point until it is let go."""

    def __init__(self, point: str) -> None:
        super().__init__()
        self.at = point
        self.free = threading.Event()

    def point(self, name: str) -> None:
        if name == self.at:
            self.free.wait(10)


def other_connection(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)


def full(db: apsw.Connection) -> None:
    db.execute(f"PRAGMA max_page_count={db.pragma('page_count')}")


def roomy(db: apsw.Connection) -> None:
    db.execute("PRAGMA max_page_count=1000000")


async def until(true: object, patience: float = 5.0) -> None:
    assert callable(true)
    async with asyncio.timeout(patience):
        while not true():
            await asyncio.sleep(0.01)


# files that cannot be used


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.9.0"])
def test_sqlite_that_can_damage_the_file_is_refused(version: str) -> None:
    with pytest.raises(StoreUnusableError, match=version):
        sqlite_file.check_version(version)
    sqlite_file.check_version("3.51.3")
    sqlite_file.check_version("4.0.0")


@pytest.mark.parametrize("name", ["journal.db", "state.db"])
@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "is empty"),
        (b"%PDF-1.7\n" + b"x" * 20_000, "damaged, or no database"),
        (b"SQLite format 3\x00" * 999, "damaged"),
    ],
    ids=["empty", "pdf", "torn"],
)
async def test_file_that_is_no_database_is_refused_and_kept(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreUnusableError, match=says) as refused:
        open_one(tmp_path, name)
    assert name in str(refused.value)
    assert "backup" in str(refused.value)
    assert (tmp_path / name).read_bytes() == content


def open_one(data: Path, name: str) -> object:
    if name == "journal.db":
        return SqliteJournal.open(data, clock=SystemClock())
    return SqliteState.open(data, clock=SystemClock())


@pytest.mark.parametrize("name", ["journal.db", "state.db"])
async def test_database_of_another_program_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    db = apsw.Connection(str(tmp_path / name))
    db.execute("CREATE TABLE message(id INTEGER PRIMARY KEY); PRAGMA user_version=1")
    db.close()
    before = (tmp_path / name).read_bytes()
    with pytest.raises(StoreUnusableError, match="another program"):
        open_one(tmp_path, name)
    assert (tmp_path / name).read_bytes() == before


async def test_newer_schema_is_refused(store: Opened) -> None:
    await (await store.state()).close()
    db = other_connection(store.data / "state.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreUnusableError, match=r"schema 99.*newer"):
        await store.state()


@pytest.mark.parametrize("name", ["journal.db", "state.db"])
async def test_truncated_file_is_refused(store: Opened, name: str) -> None:
    journal, state = await store.journal(), await store.state()
    await ids(journal, *[draft(b"x" * 4000) for _ in range(50)])
    await journal.close()
    await state.close()
    os.truncate(store.data / name, 8192)
    with pytest.raises(StoreUnusableError, match=f"{name}.*backup"):
        open_one(store.data, name)


async def test_damaged_pages_are_found_by_check_and_never_answered_for(store: Opened) -> None:
    journal = await store.journal()
    await ids(journal, *[draft(b"x" * 4000) for _ in range(200)])
    assert await journal.check() == []
    await journal.close()
    with (store.data / "journal.db").open("r+b") as file:
        for page in range(8, 40):
            file.seek(page * 16_384)
            file.write(b"\xff" * 100)
    journal = await store.journal()
    assert await journal.check() != []
    with pytest.raises(StoreUnusableError, match="backup"):
        await journal.read(0, 1000)


async def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusableError, match="cannot be made"):
        SqliteState.open(tmp_path / "file" / "data", clock=SystemClock())


OPEN = """
import sys
from pathlib import Path
from gateway.clock import SystemClock
from gateway.errors import StoreUnusableError
from gateway.store.sqlite import SqliteJournal, SqliteState
try:
    SqliteState.open(Path(sys.argv[1]), clock=SystemClock())
    SqliteJournal.open(Path(sys.argv[1]), clock=SystemClock(), read_only=True)
except StoreUnusableError as error:
    sys.exit(f"unusable: {error}")
"""


def test_folder_that_is_read_only() -> None:
    data = Path(tempfile.mkdtemp())  # tmp_path is out of reach for anyone but its owner
    try:
        sqlite_file.open_file(data, sqlite_file.STATE, patience_ms=0, cache_kib=100).close()
        (data / "state.db").chmod(0o444)
        data.chmod(0o555)
        owner = os.geteuid()
        if owner == 0:
            os.seteuid(65534)  # root may write everywhere
        try:
            with pytest.raises(StoreUnusableError, match=r"state\.db.*give the user"):
                sqlite_file.open_file(data, sqlite_file.STATE, patience_ms=0, cache_kib=100)
        finally:
            os.seteuid(owner)
    finally:
        data.chmod(0o700)
        shutil.rmtree(data)


async def test_read_only_file_system_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(StoreUnusableError, match=r"Permission denied.*give the user"):
        SqliteState.open(tmp_path, clock=SystemClock())


async def test_second_gateway_is_refused_while_the_first_lives(store: Opened) -> None:
    journal = await store.journal()
    with pytest.raises(StoreUnusableError, match=f"in use.*{os.getpid()}"):
        await store.journal()
    reader = SqliteJournal.open(store.data, clock=SystemClock(), read_only=True)
    with pytest.raises(StoreError, match="reading"):
        reader.append(draft(), print)
    assert await ids(journal, draft()) == [1]
    assert len(await reader.read(0, 9)) == 1
    await reader.close()
    await journal.close()
    await store.journal()


async def test_state_from_another_time_than_the_journal_is_refused(store: Opened) -> None:
    journal, state = await store.journal(), await store.state()
    await ids(journal, draft())
    await write(state, cursor=1)
    await check_together(journal, state)
    await write(state, cursor=2)
    with pytest.raises(StoreUnusableError, match=r"up to 2.*ends at 1"):
        await check_together(journal, state)


# locked, full, hanging and failing disks


async def test_journal_locked_for_a_moment_is_waited_for(store: Opened) -> None:
    journal = await store.journal()
    other = other_connection(store.data / "journal.db")
    other.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.1, other.execute, "COMMIT")
    assert await ids(journal, draft()) == [1]


async def test_journal_locked_for_long_is_busy_and_recovers_by_itself(store: Opened) -> None:
    journal = await store.journal()
    other = other_connection(store.data / "journal.db")
    other.execute("BEGIN IMMEDIATE")
    [outcome] = await append(journal, draft())
    assert isinstance(outcome, StoreBusyError)
    assert "locked" in str(outcome)
    assert not journal.healthy
    other.execute("COMMIT")
    await until(lambda: journal.healthy)
    assert await ids(journal, draft()) == [1]


async def test_hanging_disk_is_answered_for_within_a_second_and_once(store: Opened) -> None:
    gate, clock, told = Gate("ingest.before_commit"), ManualClock(), list[object]()
    journal = await store.journal(faults=gate, max_waiting=3, clock=clock)
    journal.append(draft(delivery_id="a"), told.append)
    await asyncio.sleep(0.1)  # the first is on its way to the disk, the second waits for it
    clock.advance(0.1)
    journal.append(draft(delivery_id="b"), told.append)
    for passed, answered in ((0.69, 0), (0.02, 1), (0.07, 1), (0.03, 2)):
        clock.advance(passed)
        await asyncio.sleep(3 * TICK)
        assert len(told) == answered
    assert all(isinstance(outcome, StoreBusyError) for outcome in told)
    assert not journal.healthy
    gate.free.set()
    assert await append(journal, draft(delivery_id="b")) == [Receipt(2)], (
        "who was sent away while it waited is not stored"
    )
    assert await append(journal, draft(delivery_id="a")) == [Receipt(1, duplicate=True)]
    assert len(told) == 2
    assert journal.healthy


async def test_journal_on_a_full_disk_is_busy_and_recovers_by_itself(store: Opened) -> None:
    journal = await store.journal()
    await ids(journal, draft(delivery_id="first"))
    assert journal._writer is not None
    assert journal._writer._db is not None
    full(journal._writer._db)
    outcomes = await append(journal, *[draft(b"x" * 9000, delivery_id=f"d{n}") for n in range(20)])
    assert all(isinstance(outcome, StoreBusyError) for outcome in outcomes)
    assert "full" in str(outcomes[0])
    assert journal.trouble == str(outcomes[0])
    assert len(await journal.read(0, 9)) == 1, "what is stored can be read"
    roomy(journal._writer._db)
    assert await ids(journal, *[draft(b"x" * 9000, delivery_id=f"d{n}") for n in range(20)]) == list(range(2, 22))
    assert journal.healthy
    assert await journal.check() == []


async def test_state_on_a_full_disk_is_busy_and_recovers_by_itself(store: Opened) -> None:
    state = await store.state()
    assert state._file._writing is not None
    full(state._file._writing.db)
    many = [alert(number, description="x" * 9000) for number in range(1, 20)]
    with pytest.raises(StoreBusyError, match="full"):
        await write(state, alerts=many, cursor=3)
    assert await state.alerts() == []
    roomy(state._file._writing.db)
    await write(state, alerts=many, cursor=3)
    assert (await state.counts()).alerts["open"] == 19


async def test_state_locked_for_a_moment_is_waited_for_without_stopping_the_loop(store: Opened) -> None:
    state = await store.state()
    other = other_connection(store.data / "state.db")
    other.execute("BEGIN IMMEDIATE")
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    turning = asyncio.create_task(turn())
    asyncio.get_running_loop().call_later(0.1, other.execute, "COMMIT")
    await write(state, cursor=1)
    turning.cancel()
    assert turns > 10


async def test_state_locked_for_long_is_busy(store: Opened) -> None:
    state = await store.state(patience=0.2)
    other = other_connection(store.data / "state.db")
    other.execute("BEGIN IMMEDIATE")
    assert await state.alerts() == [], "reading goes on"
    for refused in (write(state, cursor=1), state.release(), state.add_integration(integration(), endpoint())):
        with pytest.raises(StoreBusyError, match=r"0\.2 s"):
            await refused
    other.execute("COMMIT")
    await write(state, cursor=1)


async def test_call_inside_of_ones_own_change_ends_with_an_error(store: Opened) -> None:
    state = await store.state(patience=0.1)
    async with state.transaction() as change:
        with pytest.raises(StoreBusyError):
            await state.release()
        await change.write(Changes(cursor=1))
    assert await state.cursor() == 1


class BadDisk(apsw.VFS):
    """A disk whose syncs fail while `broken` is set."""

    broken = False

    def __init__(self) -> None:
        super().__init__("bad-disk", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> BadDiskFile:
        return BadDiskFile(name, flags)


class BadDiskFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)

    def xSync(self, flags: int) -> None:
        if BadDisk.broken:
            raise apsw.IOError
        super().xSync(flags)


@pytest.fixture
def bad_disk() -> Iterator[type[BadDisk]]:
    disk = BadDisk()
    yield BadDisk
    BadDisk.broken = False
    disk.unregister()


async def test_after_a_failed_sync_nothing_is_answered_for_and_the_file_is_opened_anew(
    bad_disk: type[BadDisk], store: Opened
) -> None:
    journal, state = await store.journal(), await store.state()
    assert await ids(journal, draft()) == [1]
    assert journal._writer is not None
    before = journal._writer._db
    bad_disk.broken = True
    [outcome] = await append(journal, draft(b"lost"))
    assert isinstance(outcome, StoreBusyError)
    with pytest.raises(StoreBusyError):
        await write(state, cursor=1)
    assert await state.cursor() == 0
    bad_disk.broken = False
    assert await ids(journal, draft(b"kept")) == [2]
    assert journal._writer._db is not before
    await write(state, cursor=2)
    assert [message.body for message in await journal.read(0, 9)] == [b"{}", b"kept"]


# the power goes


class Recorder(apsw.VFS):
    """
    A disk that keeps only what was synced, and of the rest any part.

    `crash(chance)` says now and then, while something is written, what a machine would find after a power failure.
    """

    def __init__(self, seed: int) -> None:
        super().__init__("recorder", "unix", makedefault=True)
        self.random = random.Random(seed)
        self.durable: dict[str, bytearray] = {}
        self.unsynced: dict[str, list[tuple[int, bytes | None]]] = {}
        self.receipts: list[int] = []
        self.crashes: list[tuple[dict[str, bytes], list[int]]] = []
        self.most = 0

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> RecordedFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        return RecordedFile(self, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.durable.pop(filename, None)
        self.unsynced.pop(filename, None)

    def wrote(self, path: str, offset: int, data: bytes | None) -> None:
        self.unsynced.setdefault(path, []).append((offset, data))
        if len(self.crashes) < self.most and self.random.random() < 0.2:
            images = {file: self.image(file) for file in {*self.durable, *self.unsynced}}
            self.crashes.append((images, list(self.receipts)))

    def synced(self, path: str) -> None:
        image = self.durable.setdefault(path, bytearray())
        for offset, data in self.unsynced.pop(path, []):
            put(image, offset, data)

    def image(self, path: str) -> bytes:
        image = bytearray(self.durable.get(path, b""))
        for offset, data in self.unsynced.get(path, []):
            match self.random.randrange(3):
                case 0:
                    put(image, offset, data)
                case 1 if data:
                    put(image, offset, data[: self.random.randrange(0, len(data), 512) or 512])
        return bytes(image)


class RecordedFile(apsw.VFSFile):
    def __init__(self, disk: Recorder, path: str, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self.disk, self.path = disk, path

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self.disk.wrote(self.path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self.disk.wrote(self.path, newsize, None)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self.disk.synced(self.path)


def put(image: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del image[offset:]
    else:
        image.extend(bytes(max(0, offset - len(image))))
        image[offset : offset + len(data)] = data


async def lost_in_power_failures(store: Opened, synchronous: str, crashes: int = 25) -> tuple[int, int]:
    """How often an answered message was lost, of how many crashes. Every file that is found must be sound."""
    disk = Recorder(seed=7)
    try:
        journal = await store.journal()
        assert journal._writer is not None
        assert journal._writer._db is not None
        journal._writer._db.execute(f"PRAGMA synchronous={synchronous}")
        journal._writer._db.execute("PRAGMA wal_autocheckpoint=20")
        await ids(journal, draft())
        disk.most = crashes
        while len(disk.crashes) < crashes:
            drafts = [draft(disk.random.randbytes(3000)) for _ in range(disk.random.randrange(1, 6))]
            disk.receipts += await ids(journal, *drafts)
        await journal.close()
    finally:
        disk.unregister()
    lost = 0
    for number, (images, receipts) in enumerate(disk.crashes):
        folder = store.data / f"crash{number}"
        folder.mkdir()
        for path, image in images.items():
            if Path(path).name.startswith("journal.db"):
                (folder / Path(path).name).write_bytes(image)
        found = SqliteJournal.open(folder, clock=SystemClock())
        assert await found.check() == []
        lost += len(await found.get(receipts)) < len(receipts)
        await found.close()
    return lost, len(disk.crashes)


async def test_what_was_answered_for_survives_a_power_failure(store: Opened) -> None:
    assert await lost_in_power_failures(store, "FULL") == (0, 25)


async def test_the_test_above_finds_what_is_lost_without_a_sync(store: Opened) -> None:
    lost, _ = await lost_in_power_failures(store, "NORMAL")
    assert lost > 0


# killed


KILLED = """
import asyncio, os, sys
from pathlib import Path
from gateway.clock import SystemClock
from gateway.faults import Faults
from gateway.store.base import Changes
from gateway.store.sqlite import SqliteJournal, SqliteState
from tests.store_conformance import alert, draft, event, notification

def say(line):  # two threads speak: a line is one write, so that neither cuts the other's, and the kill cuts none
    os.write(1, f"{line}\\n".encode())

async def main(data, faults):
    journal = SqliteJournal.open(data, clock=SystemClock(), faults=faults)
    state = SqliteState.open(data, clock=SystemClock(), faults=faults)
    def done(outcome):
        say(outcome.id)
    for number in range(1, 200):
        for copy in range(3):
            journal.append(draft(b"x" * 3000, delivery_id=f"{number}-{copy}"), done)
        async with state.transaction() as change:
            changes = Changes(cursor=number, alerts=[alert(number)], events=[event(number)])
            changes.notifications.append(notification(f"n{number}", alert_id=number))
            await change.write(changes)
        say(f"cursor {number}")
        await asyncio.sleep(0.001)

asyncio.run(main(Path(sys.argv[1]), Faults(sys.argv[2])))
"""


@pytest.mark.parametrize(
    "point, nth",
    [("ingest.before_commit", 7), ("ingest.after_commit", 1), ("state.before_commit", 7), ("state.after_commit", 3)],
)
async def test_what_was_answered_for_survives_a_kill(store: Opened, point: str, nth: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.data), f"{point}=kill:{nth}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=root(),
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    lines = ended.stdout.splitlines()
    receipts = [int(line) for line in lines if line.isdigit()]
    seen = max([0, *(int(line.split()[1]) for line in lines if line.startswith("cursor"))])
    journal, state = await store.journal(), await store.state()
    assert await journal.check() == await state.check() == []
    assert {message.id for message in await journal.get(receipts)} == set(receipts)
    cursor = await state.cursor()
    assert cursor in {
        "state.before_commit": [seen],
        "state.after_commit": [seen + 1],
    }.get(point, [seen, seen + 1]), "the journal's thread may kill it between the commit of the state and its print"
    assert [item.id for item in await state.alerts(limit=999)] == list(range(cursor, 0, -1)), "the cursor and its rows"
    assert len(await state.events(range(1, 999))) == len(await claimed(state, limit=999, per_target=999)) == cursor
    assert await ids(journal, draft(delivery_id="new")) == [await journal.head()]


STARTS = """
import sys
from pathlib import Path
import apsw
from gateway.clock import SystemClock
from gateway.store.sqlite import SqliteState
import os, signal
def watch(cursor, statement, bindings):
    if "CREATE TABLE event" in statement:
        os.kill(os.getpid(), signal.SIGKILL)
    return True
apsw.connection_hooks.append(lambda db: setattr(db, "exec_trace", watch))
SqliteState.open(Path(sys.argv[1]), clock=SystemClock())
"""


async def test_migration_that_was_killed_goes_on_at_the_next_start(store: Opened) -> None:
    ended = subprocess.run([sys.executable, "-c", STARTS, str(store.data)], timeout=30, check=False, cwd=root())
    assert ended.returncode == -signal.SIGKILL
    db = other_connection(store.data / "state.db")
    assert db.pragma("user_version") == 1, "the first step is done, the second is not"
    db.close()
    state = await store.state()
    await write(state, cursor=4, alerts=[alert()])
    assert await state.check() == []


async def test_alerts_of_before_there_were_rules_are_told_as_they_were(
    store: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that was upgraded while an alert is open closes it, tells whom it told, and nobody later than that."""
    every = sqlite_file.migrations
    monkeypatch.setattr(sqlite_file, "migrations", lambda kind: every(kind)[:3])
    store.data.mkdir(parents=True)
    db = sqlite_file.open_file(store.data, sqlite_file.STATE, patience_ms=0, cache_kib=100)
    assert db.pragma("user_version") == 3
    db.execute("INSERT INTO endpoint (id, name, token_hash, token_hint, created_at) VALUES ('e1', 'e', x'01', '', 5)")
    db.execute("INSERT INTO policy (id, name, created_at) VALUES ('p1', 'on call', 5)")
    db.execute("INSERT INTO policy_step (policy_id, position, user_ids, after) VALUES ('p1', 0, '[\"u1\"]', 0)")
    db.execute("INSERT INTO user (id, name, created_at) VALUES ('u1', 'ann', 5)")
    db.execute(
        "INSERT INTO contact (id, user_id, position, kind, address) VALUES ('c1', 'u1', 0, 'webhook', 'https://a')"
    )
    for number, policy in (("i1", "p1"), ("i2", None)):
        db.execute(
            "INSERT INTO integration (id, endpoint_id, name, template, enabled, sequence, policy_id, settings, created_at,"
            " updated_at) VALUES (?, 'e1', ?, 'custom', 1, 0, ?, '{}', 5, 5)",
            (number, number, policy),
        )
    old = [alert(1), alert(2, integration_id="i2"), alert(3, integration_id="gone"), alert(4, status="closed")]
    for one in old:
        db.execute(
            "INSERT INTO alert (id, key, endpoint_id, integration_id, status, source, source_name, source_id, severity,"
            " subject, tags, count, changes, opened_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '[]', 1, 1, ?, ?)",
            (one.id, key_hash(one.key), one.endpoint_id, one.integration_id, one.status, one.source, one.source_name,
             one.source_id, one.severity, one.subject, NOW, NOW),
        )  # fmt: skip
    db.close()
    monkeypatch.undo()
    state = await store.state()
    assert await state.check() == []
    with_policy = Routing(policy_id="p1")
    assert [(one.told_at, one.routing) for one in reversed(await state.alerts())] == [
        (NOW, with_policy), (NOW, Routing()), (NOW, Routing()), (NOW, with_policy),
    ]  # fmt: skip
    assert not (await state.endpoints())[0].fan_out
    assert [(one.group_ids, one.user_ids) for one in await state.integrations()] == [((), ())] * 2
    assert (await state.counts()).notifications["withdrawn"] == 0
    async with state.transaction() as change:
        assert set(await change.open_alerts([one.key for one in old])) == {one.key for one in old[:3]}
    await close_alert(state, store.clock, 1, actor="ann")
    (told,) = await state.notifications()
    assert (told.kind, told.user, told.contact.id) == ("closed", "ann", "c1")


async def test_processes_that_start_at_once_make_one_store(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "data")]
    starts = [subprocess.Popen(command, stderr=subprocess.PIPE, cwd=root()) for _ in range(4)]
    assert [(start.wait(30), start.communicate()[1]) for start in starts] == [(0, b"")] * 4
    # Two that close at the same moment may each leave the log to the other; nothing else may be left behind.
    names = {path.name.removesuffix("-wal").removesuffix("-shm") for path in (tmp_path / "data").iterdir()}
    assert names == {"journal.db", "state.db"}


def root() -> Path:
    return Path(__file__).parent.parent


# what it is made of


async def test_files_are_for_their_owner_only(store: Opened) -> None:
    journal, state = await store.journal(), await store.state()
    await ids(journal, draft())
    await write(state, cursor=1)
    assert stat.S_IMODE(store.data.stat().st_mode) == 0o700
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.data.iterdir()}
    assert set(files.values()) == {0o600}, files
    assert {"journal.db", "journal.db-wal", "state.db", "journal.lock"} <= set(files)


async def test_settings_that_promises_rest_on(store: Opened) -> None:
    journal, state = await store.journal(), await store.state()
    assert journal._writer is not None
    assert state._file._writing is not None
    for db, page_size in ((journal._writer._db, 16_384), (state._file._writing.db, 8192)):
        assert db is not None
        found = [db.pragma(name) for name in ("page_size", "journal_mode", "synchronous")]
        assert found == [page_size, "wal", 2]
    assert journal._writer._db is not None
    assert journal._writer._db.pragma("wal_autocheckpoint") == 250
    assert state._file._writing.db.pragma("foreign_keys") == 1


async def test_bell_is_rung_once_for_each_batch(store: Opened) -> None:
    rung = list[int]()
    journal = await store.journal()
    journal.on_commit = lambda: rung.append(1)
    await ids(journal, *[draft() for _ in range(50)])
    assert rung == [1]


@pytest.mark.parametrize(
    "kind, name, bindings, uses",
    [
        ("state", "alerts_of_status", (9, 9, "open"), "alert_status"),
        ("state", "alerts_of_integration", (9, 9, "open", "i"), "alert_integration"),
        ("state", "open_alert", (b"",), "alert_key"),
        ("state", "messages_of_endpoint_with", ("failed", 9, "e"), "event_endpoint"),
        ("state", "messages_with", ("failed", 9), "event_outcome"),
        ("state", "ready", (1, 1, 1), "pending_ready"),
        ("state", "ready_targets", (1, 1), "target_ready"),
        ("state", "end_leases", (1,), "pending_leased"),
        ("state", "notifications_of_status", (1, "dead"), "notification_status"),
        ("state", "group_leaders", ("i", "g", 1), "alert_group"),
        ("state", "group_members", (1,), "alert_leader"),
        ("state", "silent", (1, 9), "alert_close_at"),
        ("state", "next_timer", (), "alert_close_at"),
        ("state", "next_timer", (), "suppressed_until"),
        ("state", "openings", (b"", 1), "opening_key"),
        ("state", "forget_openings", (b"", 1), "opening_key"),
        ("state", "unsuppress", (b"",), "sqlite_autoindex_suppressed"),
        ("state", "withdraw", (1, 1, ""), "notification_alert"),
        ("journal", "newest_of_endpoint", (9, 9, "e"), "PRIMARY KEY"),
        ("journal", "delivered", ("e", "d"), "message_delivery"),
    ],
)
async def test_lists_are_read_in_the_order_of_an_index(
    store: Opened, kind: str, name: str, bindings: tuple[object, ...], uses: str
) -> None:
    await store.journal()
    await store.state()
    sql = sqlite_file.queries(sqlite_file.STATE if kind == "state" else sqlite_file.JOURNAL)[name]
    db = other_connection(store.data / f"{kind}.db")
    plan = "\n".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", bindings))
    assert uses in plan
    assert "TEMP B-TREE" not in plan
    assert "SCAN" not in plan.replace("SCAN CONSTANT ROW", "")
