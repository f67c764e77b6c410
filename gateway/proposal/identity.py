"""Which field is the id: the same in a problem and in its recovery, different for another problem, and named like one."""

from __future__ import annotations

from gateway.mapping import to_text
from gateway.proposal.columns import Column, Table
from gateway.proposal.guesses import Guess, confident
from gateway.proposal.status import Statuses
from gateway.proposal.words import meaning_of, shape_of, vocabulary

_STRONG = vocabulary("dedup deduplication fingerprint cycle correlation aggregation aggreg alias")
_IDS = vocabulary("id ids uid uuid guid key identifier number no fingerprint hash ref reference alias sid")
_PROBLEMS = vocabulary("alert incident problem issue alarm case ticket outage episode violation source")
_CHECKS = vocabulary(
    "monitor check rule condition service host sensor entity resource heartbeat probe job task device object event"
)
_OWNERS = vocabulary(
    "account org organization organisation user team tenant customer project app application workspace policy contact "
    "integration installation webhook hook version message notification delivery request trace span group location region "
    "channel product class type api license family parent session transaction ack"
)
_HOSTS = ("host", "hostname", "server", "device", "instance", "node", "machine")
_CHECKED = ("service", "check", "monitor", "sensor", "rule", "alertname", "probe", "job")
_ENOUGH = 3.0
_SMALL = 4
_SHAPES = {"uuid": 3, "hex": 3, "number": 2, "name": 1, "text": -2, "url": -4, "date": -6, "flag": -9, "other": -9}


def guess_identity(table: Table, statuses: Statuses) -> Guess | None:
    """The likeliest id, None where nothing looks like one."""
    scored = [
        (score, why, column)
        for column in table.columns
        for score, why in [_score(column, table, statuses)]
        if score >= _ENOUGH
    ]
    if not scored:
        return _composed(table, statuses)
    scored.sort(key=lambda one: (-one[0], one[2].depth, one[2].path))
    score, why, column = scored[0]
    others = [other.path for _, _, other in scored[1:3]]
    sure = confident(score, 7, 5) if statuses.closes else "low"
    return Guess("source_id", column.path, why, sure, others)


def _score(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:
    stays = _stays(column, table, statuses)
    if stays is None:
        return 0, ""
    name, parents = set(column.name), set(column.parents)
    values = column.everywhere
    shape = min((shape_of(value) for value in values), key=lambda shape: _SHAPES[shape])
    bonus = _SHAPES[shape]
    if bonus <= -6 or any(not _is_id(value) for value in values):  # noqa: PLR2004  # the shapes that no id has
        return 0, ""
    named = bool(name & _IDS) or column.name == ("alertname",)
    if not named and shape not in ("uuid", "hex"):
        return 0, ""
    score = 3.0 * named + bonus + 5 * bool(name & _STRONG)
    score += 2 * bool((name | parents) & _PROBLEMS) or 1 * bool((name | parents) & _CHECKS)
    score += 2 * (name <= _IDS and not parents and named)
    # `project.id` is the project's; `project.alert_id` is not
    owned = name & _OWNERS or (name <= _IDS and bool(parents and set(column.parents[-1:]) & _OWNERS))
    score -= 5 * bool(owned) + column.depth / 2
    if shape == "number" and max(len(to_text(value)) for value in values) < _SMALL:
        score -= 1
    return score, f"{stays}, and named and shaped like an id ({shape})"


def _stays(column: Column, table: Table, statuses: Statuses) -> str | None:
    """In which way it stays the same; None where it does not, or is the same for different problems of one message."""
    if statuses.opens and any(column.values[row] in (None, "") for row in statuses.opens):
        return None
    for payload in set(table.origin):
        rows = [row for row in statuses.opens if table.origin[row] == payload]
        if len(rows) > 1 and len(column.texts(rows)) < len(rows):
            return None
    opened, closed = column.texts(statuses.opens), column.texts(statuses.closes)
    if not statuses.closes or not statuses.opens:
        return "found" if column.everywhere else None
    if not closed or not closed <= opened or len(column.at(statuses.closes)) < len(statuses.closes):
        return None
    several = len(opened) > 1
    return (
        "the same in a problem and its recovery, and another for another problem"
        if several
        else ("the same in the problem and in its recovery")
    )


def _is_id(value: object) -> bool:
    if isinstance(value, list | dict | bool | float):
        return False
    text = to_text(value)
    is_small = text.lstrip("-").isdigit() and int(text) <= 0
    return not is_small and not (isinstance(value, str) and meaning_of(value)[1] and not text.isdigit())


def _composed(table: Table, statuses: Statuses) -> Guess | None:
    """Host and check together, where there is no id."""
    parts = []
    for names in (_HOSTS, _CHECKED):
        fitting = [
            column
            for column in table.columns
            if _stays(column, table, statuses) and statuses.closes
            if _names(column, names)
            and all(isinstance(value, str) and len(value) <= 200 for value in column.everywhere)  # noqa: PLR2004
            if column.everywhere and all(meaning_of(value)[0] is None for value in column.everywhere)
        ]
        if not fitting:
            return None
        parts.append(min(fitting, key=lambda column: (column.depth, column.path)))
    text = "/".join(f"{{{column.path}}}" for column in parts)
    why = "there is no id; host and check are the same in the problem and in its recovery"
    return Guess("source_id", parts[0].path, why, "low", [], text=text)


def _names(column: Column, names: tuple[str, ...]) -> bool:
    words = [word for word in column.name if word not in ("name", "desc", "description", "display")]
    words = words or list(column.parents[-1:])
    return bool(words) and words[-1] in names and column.name[-1] not in ("state", "status", "output")
