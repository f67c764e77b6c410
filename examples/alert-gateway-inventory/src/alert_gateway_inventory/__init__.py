"""
Tags events with what a CSV file knows of their hosts, and drops those of hosts under maintenance.

The variable INVENTORY_CSV says where the file is. `enrich_event` comes first, so `drop_event` sees the tags that it gave.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import msgspec
from gateway import Event, hookimpl

MAINTENANCE = "maintenance:"


class Inventory:
    """The plugin: the rows of the file by host, read again when the file changes."""

    def __init__(self, path: str | None = None) -> None:
        path = os.environ.get("INVENTORY_CSV") if path is None else path
        self._path = Path(path) if path else None
        self._rows: dict[str, dict[str, str]] = {}
        self._read_at: tuple[int, int] | None = None

    @hookimpl
    def enrich_event(self, event: Event) -> Event | None:
        """The event with a tag for each column of its host's row."""
        row = self._row_of(event)
        if row is None:
            return None
        tags = [f"{column}:{value}" for column, value in row.items() if value and column != "host"]
        return msgspec.structs.replace(event, tags=(*event.tags, *tags))

    @hookimpl
    def drop_event(self, event: Event) -> str | None:
        """The reason, where its host is under maintenance."""
        return next(
            (
                f"under maintenance: {tag.removeprefix(MAINTENANCE)}"
                for tag in event.tags
                if tag.startswith(MAINTENANCE)
            ),
            None,
        )

    def _row_of(self, event: Event) -> dict[str, str] | None:
        rows = self._fresh_rows()
        hosts = [event.source_name, *(tag.removeprefix("host:") for tag in event.tags if tag.startswith("host:"))]
        return next((rows[host] for host in hosts if host in rows), None)

    def _fresh_rows(self) -> dict[str, dict[str, str]]:
        if self._path is None:
            return {}
        about = self._path.stat()
        if self._read_at != (about.st_mtime_ns, about.st_size):
            with self._path.open(encoding="utf-8", newline="") as file:
                self._rows = {row["host"]: row for row in csv.DictReader(file, restkey="", restval="")}
            self._read_at = (about.st_mtime_ns, about.st_size)
        return self._rows
