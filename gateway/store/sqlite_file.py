"""
One SQLite file: made whole or not at all, opened with the settings that promises rest on, migrated forward only.

SQLite is apsw's own: Debian's and Python's have a fault that can damage a file which several processes have open.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import apsw
import msgspec

from gateway.errors import StoreBusyError, StoreError, StoreUnusableError

LEAST_SQLITE = (3, 51, 3)
OPEN_PATIENCE_MS = 10_000
_LEAST_FREE = 64 << 10  # what the log and the index of an open file begin with
GIVE = "give the user of the gateway the data folder and its files, to read and write"
FULL = "the disk is full; free some space, and the gateway goes on by itself"
RESTORE = "nothing was changed; stop the gateway, keep this file and put the one from the backup in its place"


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one of our files is: its name, the number that marks it as ours, the size of its pages in bytes, and its own settings.

    `application_id` stands in the header of the file, so that no other program's file is taken for it. A file that was made
    with pages of another size keeps it.
    """

    name: str
    application_id: int
    page_size: int
    pragmas: Mapping[str, int | str]

    @property
    def file(self) -> str:
        """The name of the file in the data folder."""
        return f"{self.name}.db"


# Several messages to a page: of what is committed less is written twice. Its log is emptied in short steps, for nobody is
# answered meanwhile.
JOURNAL = Kind(name="journal", application_id=0x41474A31, page_size=16_384, pragmas={"wal_autocheckpoint": 250})
STATE = Kind(
    name="state",
    application_id=0x41475331,
    page_size=8192,
    pragmas={"foreign_keys": "ON", "wal_autocheckpoint": 1000},
)


def open_file(data: Path, kind: Kind, *, patience_ms: int, cache_kib: int, query_only: bool = False) -> apsw.Connection:
    """
    Open a file of the data folder, made where there is none, and bring its schema up to date.

    A statement waits `patience_ms` for a lock. A `query_only` connection refuses to write (but brings the schema up to
    date too, so that processes may start in any order).

    Raises StoreUnusableError where the file, the folder or SQLite cannot be used as they are, and StoreBusyError where
    the disk is full or the file stays locked.
    """
    check_version(apsw.sqlite_lib_version())
    path = data / kind.file
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _create(path, kind)
        size = path.stat().st_size
    except OSError as error:
        msg = f"{path}: cannot be made or read ({error.strerror}); {GIVE}"
        raise StoreUnusableError(msg) from error
    if not size:
        msg = f"{path} is empty, which it never is by itself; {RESTORE}"
        raise StoreUnusableError(msg)
    db: apsw.Connection | None = None
    try:
        db = apsw.Connection(str(path.absolute()), flags=apsw.SQLITE_OPEN_READWRITE)
        db.set_busy_timeout(OPEN_PATIENCE_MS)
        _check_ours(db, path, kind)
        _configure(db, kind, cache_kib)
        _migrate(db, path, kind)
        db.set_busy_timeout(patience_ms)
        if query_only:
            db.execute("PRAGMA query_only=ON")
    except apsw.Error as error:
        _close(db)
        raise translated(error, path, opening=True) from error
    except StoreError:
        _close(db)
        raise
    return db


def check_version(found: str) -> None:
    """Raise StoreUnusableError where this version of SQLite, "3.54.1", is older than the first one that is safe."""
    if tuple(int(part) for part in found.split(".")) < LEAST_SQLITE:
        least = ".".join(map(str, LEAST_SQLITE))
        msg = f"SQLite {found} can damage files that several processes have open; install an apsw with {least} or newer"
        raise StoreUnusableError(msg)


def translated(error: apsw.Error, path: Path, *, opening: bool = False) -> StoreError:
    """What an error of SQLite means to the caller. SQLite's own words name tables and columns, never values."""
    kind: type[StoreError] = StoreBusyError
    words = str(error)
    match error:
        case apsw.BusyError() | apsw.LockedError():
            says = "another process has it locked; try again"
        case apsw.FullError():
            says = FULL
        case apsw.IOError() | apsw.CantOpenError() if _is_full(path):
            says = FULL
        case apsw.CorruptError() | apsw.NotADBError():
            kind, says = StoreUnusableError, f"it is damaged, or no database ({words}); {RESTORE}"
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            kind, says = StoreUnusableError, f"it cannot be written ({words}); {GIVE}"
        case apsw.CantOpenError() if opening:
            kind, says = StoreUnusableError, f"it cannot be opened ({words}); {GIVE}"
        case apsw.IOError() | apsw.CantOpenError() | apsw.NoMemError() | apsw.ProtocolError() | apsw.InterruptError():
            says = f"the disk failed ({words}); check it if this goes on"
        case _:
            kind, says = StoreError, f"{type(error).__name__}: {words}"
    return kind(f"{path}: {says}")


def _is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _LEAST_FREE
    except OSError:
        return False


def rollback(db: apsw.Connection) -> None:
    """End a transaction that failed; SQLite may have ended it already."""
    if db.in_transaction:
        with contextlib.suppress(apsw.Error):
            db.execute("ROLLBACK")


def queries(kind: Kind) -> dict[str, str]:
    """The statements of `sql/<kind>/*.sql` by the names that stand over them: `-- name: add_user`."""
    found: dict[str, str] = {}
    for file in _files(kind):
        if file.name[0].isdigit():
            continue
        for part in ("\n" + file.read_text("utf-8")).split("\n-- name: ")[1:]:
            name, _, sql = part.partition("\n")
            if name in found:
                msg = f"sql/{kind.name}/{file.name}: there are two statements of the name {name!r}"
                raise StoreError(msg)
            found[name] = sql.strip()
    return found


def migrations(kind: Kind) -> list[tuple[int, str]]:
    """The steps `sql/<kind>/0001_*.sql`, …: the schema version that each one leads to, and its statements."""
    steps = [(int(file.name[:4]), file.read_text("utf-8")) for file in _files(kind) if file.name[0].isdigit()]
    if [version for version, _ in steps] != list(range(1, len(steps) + 1)):
        msg = f"sql/{kind.name}: the numbers of the migrations have a gap or a double"
        raise StoreError(msg)
    return steps


def _files(kind: Kind) -> Iterator[Traversable]:
    folder = resources.files("gateway.store") / "sql" / kind.name
    yield from sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)


def _create(path: Path, kind: Kind) -> None:
    # Made under another name and then linked: whoever sees the file sees it whole, and an empty one was damaged.
    handle, name = tempfile.mkstemp(
        prefix=f".{kind.name}.", suffix=".new", dir=path.parent
    )  # mode 0600, as -wal and -shm will be
    os.close(handle)
    try:
        db = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.execute(f"PRAGMA page_size={kind.page_size}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA application_id={kind.application_id}")
        finally:
            db.close()
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(name, path)
    except apsw.Error as error:
        raise translated(error, path, opening=True) from error
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(name + suffix).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check_ours(db: apsw.Connection, path: Path, kind: Kind) -> None:
    found = db.pragma("application_id")
    if found != kind.application_id:
        msg = f"{path} is a database of another program, not the gateway's {kind.name}; {RESTORE}"
        raise StoreUnusableError(msg)
    if db.readonly("main"):
        msg = f"{path} can be read only; {GIVE}"
        raise StoreUnusableError(msg)


def _configure(db: apsw.Connection, kind: Kind, cache_kib: int) -> None:
    pragmas: dict[str, int | str] = {
        "journal_mode": "WAL",  # a copy restored from a backup may have lost it
        "synchronous": "FULL",
        "cache_size": -cache_kib,
        "journal_size_limit": 64 << 20,
        "trusted_schema": "OFF",
    }
    for name, value in {**pragmas, **kind.pragmas}.items():
        db.execute(f"PRAGMA {name}={value}")


def _migrate(db: apsw.Connection, path: Path, kind: Kind) -> None:
    steps = migrations(kind)
    while (version := db.pragma("user_version")) != len(steps):
        if version > len(steps):
            msg = (
                f"{path} has schema {version}, and this gateway knows schemas up to {len(steps)}; "
                "install the gateway that last ran here, or a newer one"
            )
            raise StoreUnusableError(msg)
        db.execute("BEGIN IMMEDIATE")
        try:
            if db.pragma("user_version") == version:  # no other process did this step meanwhile
                number, script = steps[version]
                db.execute(script)
                db.execute(f"PRAGMA user_version={number}")
            db.execute("COMMIT")
        except BaseException:
            rollback(db)
            raise


def _close(db: apsw.Connection | None) -> None:
    if db is not None:
        with contextlib.suppress(apsw.Error):
            db.close()
