"""Which field is the id: the same in a problem and in its recovery, different for another problem, and named like one."""

from __future__ import annotations

from gateway.mapping import to_text
from gateway.proposal.columns import Column, Table
from gateway.proposal.composed import composed_identity, on_branch
from gateway.proposal.guesses import Guess, confident
from gateway.proposal.owners import IDS, is_of_another
from gateway.proposal.status import Statuses
from gateway.proposal.ties import may_be_id, tie_of
from gateway.proposal.words import is_address, shape_of, vocabulary

_STRONG = vocabulary("dedup deduplication fingerprint cycle aggregation aggreg alias")
_PROBLEMS = vocabulary("alert incident problem issue alarm case ticket outage episode violation source tracking")
_CHECKS = vocabulary(
    "monitor check rule condition service host sensor entity resource heartbeat probe job task device object"
)
_ENOUGH = 3.0
_SMALL = 4
_UUID = len("{00000000-0000-0000-0000-000000000000}")
_SHAPES = {"uuid": 3, "hex": 3, "number": 2, "name": 1, "text": -2, "url": -4, "date": -6, "flag": -9, "other": -9}


def guess_identity(table: Table, statuses: Statuses) -> Guess | None:
    """The likeliest id: one value, else several together; None where nothing looks like one."""
    scored = [
        (score, why, column)
        for column in table.columns
        for score, why in [_score(column, table, statuses)]
        if score >= _ENOUGH
    ]
    if not scored:
        return composed_identity(table, statuses)
    scored.sort(key=lambda one: (-one[0], one[2].depth, one[2].path))
    score, why, column = scored[0]
    others = [other.path for _, _, other in scored[1:3]]
    if not {*column.name, *column.parents} & _PROBLEMS:
        together = on_branch(column, table, statuses)
        if together is not None:
            return together
    sure = confident(score, 7, 5) if statuses.closes else "low"
    return Guess("source_id", column.path, why, sure, others)


def _score(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:
    tie = tie_of(column, table, statuses)
    values = column.everywhere
    if tie is None or any(not may_be_id(value) for value in values):
        return 0, ""
    shape = min((shape_of(value) for value in values), key=lambda shape: _SHAPES[shape])
    address = all(is_address(value) for value in values)
    within = shape == "uuid" and any(len(to_text(value)) > _UUID for value in values)
    worth = _SHAPES["number"] if address or within else _SHAPES[shape]
    name, parents = set(column.name), set(column.parents)
    named = bool(name & IDS) and name != {"ref"}  # which is a branch
    if worth <= _SHAPES["date"] or (not named and shape not in ("uuid", "hex")):
        return 0, ""
    near = name | set(column.parents[-1:])
    score = 3.0 * named + worth + 5 * bool(name & _STRONG)
    score += 2 * bool(near & _PROBLEMS) or bool((name | parents) & (_CHECKS | _PROBLEMS))
    score += 2 * (name <= IDS and not parents and named)
    score -= 5 * is_of_another(column) + column.depth / 2
    if "correlation" in name and not name & {*_PROBLEMS, "key"}:
        score -= 2  # mostly of requests that belong together
    if shape == "number" and max(len(to_text(value)) for value in values) < _SMALL:
        score -= 1
    return score, f"{tie}, and named and shaped like an id ({'address' if address else shape})"
