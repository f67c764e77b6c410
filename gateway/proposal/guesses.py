"""The fields that make an alert readable: severity, subject, description, URL, name of the source, time, tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.mapping import to_text
from gateway.proposal.columns import Column, Table
from gateway.proposal.words import meaning_of, severity_of, shape_of, vocabulary, words_of
from gateway.tidying import moment

if TYPE_CHECKING:
    from gateway.proposal.status import Statuses

Confidence = Literal["high", "medium", "low"]

_SUBJECTS = {
    "title": 7, "subject": 7, "headline": 7, "summary": 6, "name": 4, "alertname": 6, "alert": 2, "monitor": 3, "check": 3,
    "rule": 3, "condition": 2, "problem": 2, "issue": 2, "message": 3, "short": 2, "event": 1, "description": 1, "trigger": 2,
}  # fmt: skip
_DESCRIPTIONS = {
    "description": 7, "message": 6, "body": 6, "details": 6, "detail": 6, "text": 6, "reason": 5, "output": 5, "msg": 5,
    "error": 3, "info": 3, "notes": 3, "comment": 2, "cause": 4, "long": 2, "summary": 3,
}  # fmt: skip
_URLS = {"url": 3, "link": 3, "href": 3, "permalink": 4, "uri": 2, "generator": 1}
_PAGES = {
    "incident": 3,
    "alert": 3,
    "problem": 3,
    "issue": 3,
    "event": 2,
    "monitor": 2,
    "check": 2,
    "html": 2,
    "details": 2,
    "web": 1,
}
_NO_PAGES = vocabulary(
    "api logo image img icon avatar silence runbook webhook callback ack acknowledge acknowledged docs documentation self "
    "snapshot unsubscribe policy home external org account settings dashboard panel profile hook endpoint target"
)
_SOURCES = {
    "account": 5, "organization": 5, "organisation": 5, "org": 5, "site": 5, "cluster": 5, "workspace": 5, "project": 4,
    "tenant": 4, "environment": 3, "env": 2,
    "hostname": 4, "host": 4, "server": 3, "instance": 3, "service": 2, "app": 2, "application": 2,
    "group": 2, "namespace": 2, "region": 1,
}  # fmt: skip
_TIMES = {
    "timestamp": 6,
    "time": 4,
    "date": 4,
    "at": 4,
    "occurred": 3,
    "updated": 3,
    "changed": 3,
    "sent": 1,
    "created": 1,
    "ts": 5,
}
_SEVERITIES = {
    "severity": 7,
    "priority": 6,
    "level": 5,
    "urgency": 5,
    "criticality": 6,
    "importance": 4,
    "sev": 6,
    "prio": 6,
    "impact": 2,
}
_GRADES = vocabulary("critical crit warning warn error major minor info")
"""Words of a status that are a severity, too."""
_TAGS = {"tags": 7, "labels": 7, "tag": 4, "label": 4, "dimensions": 5, "attributes": 3}
_LONG = 1000
_SHORT = 3
_WORD = 60
_ENOUGH = 3.0


class Guess(msgspec.Struct):
    """Where a field is: a path, why, and how sure that is. `text` is the text with holes, where it is more than the path."""

    field: str
    path: str
    why: str
    confidence: Confidence
    others: list[str] = []
    text: str = ""

    @property
    def written(self) -> str:
        """The text with holes for `[fields]`."""
        return self.text or f"{{{self.path}}}"


Score = Callable[[Column, Table, "Statuses"], tuple[float, str]]


def confident(score: float, high: float, medium: float) -> Confidence:
    """How sure a score is."""
    return "high" if score >= high else "medium" if score >= medium else "low"


def best_guesses(table: Table, statuses: Statuses, taken: set[str]) -> Iterator[Guess]:
    """For each field the likeliest place; a place that says one thing does not say another."""
    taken = set(taken)
    for field, score_of, high, medium, shares in _FIELDS:
        scored = []
        for column in table.columns:
            if (column.path in taken and not shares) or not column.everywhere:
                continue
            score, why = score_of(column, table, statuses)
            if score >= _ENOUGH:
                scored.append((score, why, column))
        scored.sort(key=lambda one: (-one[0], one[2].depth, one[2].path))
        if scored:
            score, why, column = scored[0]
            taken.add(column.path)
            yield Guess(
                field, column.path, why, confident(score, high, medium), [other.path for _, _, other in scored[1:3]]
            )


def _named(column: Column, names: dict[str, int], parents: float = 0.0) -> float:
    own = sum(sorted((names.get(word, 0) for word in set(column.name)), reverse=True)[:2])
    if not own:
        return 0
    return own + parents * max((names.get(word, 0) for word in column.parents), default=0) - column.depth / 2


def _same(column: Column, statuses: Statuses) -> bool:
    """Whether a recovery has what its problem had."""
    opened, closed = column.texts(statuses.opens), column.texts(statuses.closes)
    return bool(closed) and closed <= opened


def _severity(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:  # noqa: ARG001
    values = column.at(statuses.opens) or column.everywhere
    score = _named(column, _SEVERITIES)
    if any(
        not isinstance(value, str | int) or isinstance(value, bool) or len(to_text(value)) > _WORD for value in values
    ):
        return 0, ""
    known = [value for value in values if severity_of(value) is not None]
    is_status = statuses.guess is not None and column.path == statuses.guess.path
    if is_status:  # critical, warning, ok: one word for both
        fits = bool(known) and all({*words_of(to_text(value))[-1:]} & _GRADES for value in known)
        return (4.0, "the status is the severity, too") if fits else (0, "")
    if not score and column.name[-1:] in (("state",), ("status",)):
        score = 2.0 * all(to_text(value).lower() in _GRADES for value in values)
    if not score or not values:
        return 0, ""
    shown = ", ".join(dict.fromkeys(map(to_text, values[:4])))
    if not known:
        return (score - 3, f"it says {shown}; what that is worth is not known") if score > 5 else (0, "")  # noqa: PLR2004
    return score + 2, f"it says {shown}"


def _subject(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:  # noqa: ARG001
    score = _named(column, _SUBJECTS, 0.5)
    if not score or not _is_prose(column) or set(column.name) & {"id", "url", "type"}:
        return 0, ""
    owner = {
        "account",
        "org",
        "organization",
        "user",
        "team",
        "host",
        "policy",
        "owner",
        "project",
        "location",
        "tag",
        "contact",
    }
    score -= 5 * bool(owner & {*column.name, *column.parents[-1:]})
    told = any(_tells_status(value) for value in column.everywhere)
    same = _same(column, statuses)
    spaced = any(" " in value for value in column.everywhere)
    score += 3 * same - 3 * told + spaced
    return score, _join(
        "the same in both" if same else "not the same in both: see whether the status can be left out",
        "named like a title",
    )


def _description(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:  # noqa: ARG001
    score = _named(column, _DESCRIPTIONS)
    if not score or not any(isinstance(value, str) and " " in value for value in column.everywhere):
        return 0, ""
    if any(isinstance(value, list | dict) for value in column.everywhere) or any(
        shape_of(v) == "url" for v in column.everywhere
    ):
        return 0, ""
    length = max(len(to_text(value)) for value in column.everywhere)
    return score + (length > _WORD), "named like a description, and a sentence"


def _url(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:  # noqa: ARG001
    if any(shape_of(value) != "url" for value in column.everywhere):
        return 0, ""
    words = {*column.name, *column.parents}
    score = _named(column, _URLS) + max((_PAGES.get(word, 0) for word in words), default=0) + 2
    score -= 6 * bool(words & _NO_PAGES)
    paths = [urlsplit(to_text(value)).path for value in column.everywhere]
    score -= 3 * any(path in ("", "/") for path in paths) + 4 * any("/api/" in path for path in paths)
    return score + _same(column, statuses), "a URL that looks like the page of the problem or of the check"


def _source_name(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:
    words = {*column.name} - {"name", "id"}
    score = max((_SOURCES.get(word, 0) for word in words), default=0)
    if not words and "name" in column.name:
        score = max((_SOURCES.get(word, 0) for word in column.parents[-1:]), default=0)
    if not score or not _same(column, statuses) or "id" in column.name:
        return 0, ""
    if any(not isinstance(value, str) or len(value) > 200 or shape_of(value) == "url" for value in column.everywhere):  # noqa: PLR2004
        return 0, ""
    if any(meaning_of(value)[1] for value in column.everywhere):
        return 0, ""
    if len(column.everywhere) < len(table.origin):
        return 0, ""
    return score + (
        "name" in column.name
    ) - column.depth / 2, "the same in both, and which of the vendor's things it is"


def _occurred_at(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:  # noqa: ARG001
    score = _named(column, _TIMES)
    moments = [moment(value) for value in column.everywhere]
    if not score or len(moments) < len(column.values):
        return 0, ""
    earliest = min((when.year for when in moments if when is not None), default=0)
    if None in moments or earliest < 2000 or "id" in column.name:  # noqa: PLR2004  # a year before is how vendors say none
        return 0, ""
    opened = [when for row in statuses.opens if (when := moment(column.values[row])) is not None]
    closed = [when for row in statuses.closes if (when := moment(column.values[row])) is not None]
    if opened and closed and max(closed) <= max(opened):
        return 0, ""  # the time of the first trigger in every message: later ones would look old
    if {"end", "ends", "start", "started", "starts", "first"} & set(column.name):
        score -= 3
    return score, "a time, and later in the recovery" if closed else "a time"


def _tags(column: Column, table: Table, statuses: Statuses) -> tuple[float, str]:  # noqa: ARG001
    score = max((_TAGS.get(word, 0) for word in column.name[-1:]), default=0) - column.depth / 2
    fits = all(
        isinstance(value, list | dict) or (isinstance(value, str) and "," in value) for value in column.everywhere
    )
    common = {"common", "group"} & {*column.name, *column.parents}
    return (score - 3 * bool(common), "a list of tags, or names and values") if score > 0 and fits else (0, "")


def _is_prose(column: Column) -> bool:
    texts = column.everywhere
    return all(
        isinstance(text, str)
        and _SHORT <= len(text) <= _LONG
        and shape_of(text) in ("text", "name")
        and not text.isnumeric()
        for text in texts
    ) and not all(meaning_of(text)[1] for text in texts)


def _tells_status(text: Any) -> bool:
    """Whether a title says the status at its beginning or end, `[FIRING:1] …`, `… is DOWN`."""
    words = words_of(to_text(text))
    return any(meaning_of(word)[1] and word not in ("on", "new", "late", "alert") for word in (*words[:1], *words[-1:]))


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


_FIELDS: tuple[tuple[str, Score, float, float, bool], ...] = (
    # field, score, high from, medium from, whether the place may say something else, too
    ("source_severity", _severity, 7, 5, True),
    ("source_url", _url, 7, 5, False),
    ("subject", _subject, 9, 6, False),
    ("description", _description, 7, 5, False),
    ("source_name", _source_name, 99, 5, False),
    ("occurred_at", _occurred_at, 5, 4, False),
    ("tags", _tags, 6, 4, False),
)
