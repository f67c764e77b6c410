"""
SQLite, the store of one machine: the journal and the state, a file each, in the data folder.

    sqlite_file.py            a file: made, opened, checked, migrated; what SQLite's errors mean
    sqlite_writer.py          the thread that commits what waits        sqlite_journal.py   the journal
    sqlite_base.py            one change of the state at a time         sqlite_rows.py      rows and what they stand for
    sqlite_configuration.py   sqlite_notifications.py                   sqlite_state.py     the state
    sql/                      every statement, by name; migrations, by number
"""

from __future__ import annotations

from gateway.errors import StoreUnusableError
from gateway.store.base import Journal, State
from gateway.store.sqlite_journal import SqliteJournal
from gateway.store.sqlite_state import SqliteState

__all__ = ["SqliteJournal", "SqliteState", "check_together"]


async def check_together(journal: Journal, state: State) -> None:
    """
    Raise StoreUnusableError where the state has seen messages that the journal never had.

    So it is where one of them was restored from an older backup; new messages would then be taken for old ones.
    """
    head, cursor = await journal.head(), await state.cursor()
    if cursor > head:
        msg = (
            f"the state has seen messages up to {cursor}, and the journal ends at {head}: "
            "they are not from the same time; restore both from one backup"
        )
        raise StoreUnusableError(msg)
