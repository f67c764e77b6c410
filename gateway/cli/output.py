"""
What is printed: tables and sentences for people, JSON for programs.

What a sender wrote is shown on a terminal here, so what could move the cursor or turn the text round is made visible.
Where the output is no terminal, tables are plain text as wide as they need to be.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_UNSAFE_BLOCK = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_GAP = "  "


class Output:
    """Where a command prints to."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def rows(self, items: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
        """A list: these keys of each item as a table, or everything as a JSON array. `empty` is said where there is none."""
        if self.as_json:
            self.json(list(items))
        elif items:
            self.table(
                [column.replace("_", " ").upper() for column in columns],
                [[item[key] for key in columns] for item in items],
            )
        else:
            self.note(empty)

    def one(self, item: Mapping[str, Any], lines: Sequence[str] | None = None) -> None:
        """One thing: these lines, or its keys and values where there are none; or everything as a JSON object."""
        if self.as_json:
            self.json(item)
        elif lines is not None:
            self.lines(lines)
        else:
            self.pairs(item)

    def pairs(self, item: Mapping[str, Any]) -> None:
        """Keys and values under one another, for people; lists and tables in it are left out."""
        shown = {key: value for key, value in item.items() if not _is_nested(value)}
        width = max(map(len, shown), default=0)
        self.lines([f"{key.replace('_', ' '):<{width}}{_GAP}{cell(value)}" for key, value in shown.items()])

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table with a line for each row."""
        texts = [[cell(value) for value in row] for row in rows]
        if sys.stdout.isatty():
            _rich_table(heads, texts)
            return
        widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
        for row in [list(heads), *texts]:
            padded = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            self.lines([_GAP.join(padded).rstrip()])

    def lines(self, lines: Sequence[str]) -> None:
        """Lines of text, as they are."""
        for line in lines:
            print(line)

    def json(self, value: Any) -> None:
        """A JSON value, for programs."""
        text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode() + b"\n")
        sys.stdout.buffer.flush()

    def note(self, text: str) -> None:
        """A remark that is no part of the result."""
        print(text, file=sys.stderr)


def cell(value: Any) -> str:
    """A value in one line of text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value) or "-"
    return _UNSAFE.sub(_made_visible, str(value)) or "-"


def block(text: str) -> str:
    """A text of several lines, safe for a terminal."""
    return _UNSAFE_BLOCK.sub(_made_visible, text.replace("\r\n", "\n"))


def _made_visible(match: re.Match[str]) -> str:
    char = match[0]
    if char in "\n\r\t":
        return "↵" if char != "\t" else " "
    code = ord(char)
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"  # noqa: PLR2004 - control characters have pictures


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict | list) for item in value))


def _rich_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        # Ids and states are copied and compared: they are never cut or broken. The rest is folded to fit.
        whole = head in ("ID", "STATUS", "SEVERITY", "SLUG", "OPENED AT", "RECEIVED AT")
        table.add_column(head, no_wrap=whole, overflow="ignore" if whole else "fold")
    for row in rows:
        table.add_row(*(Text(text, style=_style(head, text)) for head, text in zip(heads, row, strict=True)))

    class Honest(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich's own ends the process with 1, as if it could not be done

    Honest(no_color=True if os.environ.get("NO_COLOR") else None, highlight=False).print(table)


def _style(head: str, text: str) -> str:
    if head == "SEVERITY":
        return {"critical": "bold red", "error": "red", "warning": "yellow"}.get(text, "")
    return "red" if head == "ERROR" and text != "-" else ""
