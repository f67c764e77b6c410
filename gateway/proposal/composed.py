"""
An id put together from several values, where no single one ties a recovery to its problem.

What is watched and where, mostly: check and host, a workflow and its branch, or the labels of a series. They are joined as
most built-in templates join them, with a space, so that the id reads like a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.mapping import to_text
from gateway.proposal.columns import Column, Table
from gateway.proposal.guesses import Guess
from gateway.proposal.owners import is_of_another
from gateway.proposal.status import Statuses
from gateway.proposal.ties import may_be_id, stays, tie_of
from gateway.proposal.words import is_address, shape_of, vocabulary

_PLACES = vocabulary("host hostname server device instance node machine")
_WATCHED = vocabulary("service check monitor sensor rule alertname alert probe job test")
_BUILT = vocabulary("workflow pipeline build job check")
_BRANCHES = vocabulary("branch refname ref")
_KEYS = vocabulary("token slug")
_PLAIN = vocabulary("name desc description display title")
_OTHER = vocabulary("state status output default base target")
"""What is told about a thing and does not name it, and branches that another is compared with."""
_ON_BRANCH = "a later run on the same branch recovers, and both names are the same in it"
_LONGEST = 200


def composed_identity(table: Table, statuses: Statuses) -> Guess | None:
    """The likeliest of them, None where nothing is the same in the problem and in its recovery."""
    fitting = [column for column in _highest_first(table) if stays(column, statuses)]
    parts = [column for column in fitting if all(_may_be_part(value) for value in column.everywhere)]
    place, watched, built, branch = (_called(parts, names) for names in (_PLACES, _WATCHED, _BUILT, _BRANCHES))
    labels = next((column for column in fitting if table.each is not None and _are_labels(column)), None)
    key = next((column for column in parts if _may_be_key(column)), None)
    for together, why, between in (
        ([built, branch], _ON_BRANCH, " on "),
        ([labels], "there is no id; the labels are the same in the problem and in its recovery", ""),
        ([place, watched], "there is no id; host and check are the same in the problem and in its recovery", " "),
        ([place or watched], "there is no id; what is watched is the same in the problem and in its recovery", ""),
        ([key], "there is no id; this is the same in both and may stand for one: see that it is no secret", ""),
    ):
        guess = _joined(together, why, between, table, statuses)
        if guess is not None:
            return guess
    return None


def on_branch(built: Column, table: Table, statuses: Statuses) -> Guess | None:
    """A build on its branch, None where there is no branch."""
    parts = [column for column in _highest_first(table) if stays(column, statuses) and column.name != built.name]
    return _joined([built, _called(parts, _BRANCHES)], _ON_BRANCH, " on ", table, statuses)


def _joined(parts: Sequence[Column | None], why: str, between: str, table: Table, statuses: Statuses) -> Guess | None:
    """These parts as an id, None where one of them is missing or they tell no problem from another."""
    found = [column for column in parts if column is not None]
    if len(found) < len(parts):
        return None
    whole = Column(found[0].keys, outside=found[0].outside, size=len(table.origin))
    for row in range(len(table.origin)):
        values = [column.values[row] for column in found]
        whole.values[row] = None if None in values else between.join(map(to_text, values))
    if tie_of(whole, table, statuses) is None:
        return None
    text = between.join(f"{{{column.path}}}" for column in found)
    return Guess("source_id", found[0].path, why, "low", [], text=text if len(found) > 1 else "")


def _highest_first(table: Table) -> list[Column]:
    return sorted(table.columns, key=lambda column: (column.depth, column.path))


def _called(columns: Sequence[Column], names: frozenset[str]) -> Column | None:
    return next((column for column in columns if _is_called(column, names)), None)


def _is_called(column: Column, names: frozenset[str]) -> bool:
    words = [word for word in column.name if word not in _PLAIN] or list(column.parents[-1:])
    return bool(words) and words[-1] in names and not _OTHER & {*column.name}


def _are_labels(column: Column) -> bool:
    """Labels of a series, which in a list of events tell one from another."""
    return not column.outside and column.name == ("labels",) and all(isinstance(one, dict) for one in column.everywhere)


def _may_be_key(column: Column) -> bool:
    keyed = bool({*column.name} & _KEYS and column.parents) or all(is_address(value) for value in column.everywhere)
    return keyed and not is_of_another(column) and column.keys[0] not in ("_headers", "_query")


def _may_be_part(value: Any) -> bool:
    fits = isinstance(value, str) and len(value) <= _LONGEST and shape_of(value) not in ("url", "date", "flag")
    return fits and may_be_id(value)
