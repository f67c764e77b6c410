"""What ties a recovery to its problem: a value that both have, and that tells one problem of a message from another."""

from __future__ import annotations

from gateway.mapping import to_text
from gateway.proposal.columns import Column, Table
from gateway.proposal.status import Statuses
from gateway.proposal.words import meaning_of

_LONGEST = 500


def tie_of(column: Column, table: Table, statuses: Statuses) -> str | None:
    """In which way it stays the same; None where it does not, or is the same for different problems of one message."""
    for payload in set(table.origin):
        rows = [row for row in statuses.opens if table.origin[row] == payload]
        if len(rows) > 1 and len(column.texts(rows)) < len(rows):
            return None
    if not statuses.closes or not statuses.opens:
        return "found" if column.everywhere and len(column.at(statuses.opens)) == len(statuses.opens) else None
    if not stays(column, statuses):
        return None
    if len(column.texts(statuses.opens)) > 1:
        return "the same in a problem and its recovery, and another for another problem"
    return "the same in the problem and in its recovery"


def stays(column: Column, statuses: Statuses) -> bool:
    """Whether every problem has it, and every recovery what a problem had; it may be the same for several problems."""
    opened, closed = column.at(statuses.opens), column.at(statuses.closes)
    everywhere = len(opened) == len(statuses.opens) and len(closed) == len(statuses.closes)
    return bool(closed) and everywhere and column.texts(statuses.closes) <= column.texts(statuses.opens)


def may_be_id(value: object) -> bool:
    """Whether an id may be written like this: no flag, no zeros that stand for none, no word of a status."""
    if isinstance(value, list | dict | bool | float):
        return False
    text = to_text(value)
    if not text.strip("-0") or (text.startswith("-") and text[1:].isdigit()) or len(text) > _LONGEST:
        return False
    return not (isinstance(value, str) and meaning_of(value)[1] and not text.isdigit())
