"""
The command `alert-gateway`: one file for each group of commands, imported when it is asked for.

    root.py       the command itself: what there is, how errors end it      words.py     the kinds of things on a command line
    session.py    settings, store, plugins, as far as a command needs them  output.py    tables for people, JSON for programs
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Arguments are those of this process where none are given."""
    from gateway.cli.root import run

    return run(arguments)
