"""
The words that monitoring tools use, as far as they mean the same everywhere.

A word is compared in lower case, split where case, punctuation or white space splits it: `alert.triggered`, `INCIDENT_CLOSED`
and `BackToNormal` are two or three words each.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from gateway.mapping import to_text
from gateway.models import Severity

Meaning = Literal["open", "close", "update", "test"]


def vocabulary(text: str) -> frozenset[str]:
    """Words that are written one after the other."""
    return frozenset(text.split())


MEANINGS: dict[Meaning, frozenset[str]] = {
    "close": vocabulary(
        "resolved resolve recovered recovery recover ok okay up closed close cleared clear normal healthy success passed pass "
        "passing fixed inactive ended end restored completed complete succeeded solved deactivated off online good green "
        "finished available operational"
    ),
    "update": vocabulary(
        "acknowledged acknowledge ack acked acknowledgement unacknowledged assigned reassigned delegated commented annotated "
        "annotation escalated updated update snoozed"
    ),
    "test": vocabulary("test testing ping"),
    "open": vocabulary(
        "firing fire fired triggered trigger retriggered alerting alert alarm problem down open opened reopened failed failing "
        "fail failure activated active critical crit warning warn error unhealthy started start raised raise breached breach "
        "violated violation outage unresolved ongoing unsolved degraded unknown nodata triggering created new bad red yellow "
        "offline unavailable major minor emergency disaster fatal unreachable exceeded late missed on incident"
    ),
}
SEVERITY_WORDS: dict[Severity, frozenset[str]] = {
    "critical": vocabulary(
        "critical crit fatal emergency emerg disaster panic p1 p0 sev1 s1 sev0 urgent highest blocker page"
    ),
    "error": vocabulary("error err major high p2 sev2 s2 severe alert average"),
    "warning": vocabulary("warning warn minor medium moderate p3 sev3 s3 normal"),
    "info": vocabulary("info information informational low lowest notice p4 p5 sev4 sev5 s4 debug none trivial"),
}
TRUE_OPENS = vocabulary(
    "firing active alerting down triggered failing failed problem unhealthy open alarm breached is_down offline"
)
TRUE_CLOSES = vocabulary(
    "resolved recovered normal ok up healthy closed success cleared recovery passing passed online restored"
)
_NEGATIONS = frozenset({"not", "no", "non", "un"})
_WORD = re.compile(r"IDs(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOUNS = vocabulary(
    "alert incident problem issue alarm case ticket event monitor check service host device sensor rule job probe server "
    "node resource object instance user account site team notification message"
)
_ENDINGS = (
    "description", "number", "status", "state", "output", "name", "desc", "type", "uuid", "time", "key", "url", "id",
)  # fmt: skip
_MOST_WORDS = 4
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"(?=[^a-f]*[a-f])[0-9a-f]{12,}", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}|\d{4}-\d{2}-\d{2}")
_ADDRESS = re.compile(r"(arn|urn|crn|ocid1):\S.*|/\w[^/]*(/[^/]+){3,}", re.IGNORECASE)


def words_of(text: str) -> tuple[str, ...]:
    """The words in a key or a value, in lower case: `alertStatus` is `alert`, `status`; letters and digits stay together."""
    found: list[str] = []
    for run in re.split(r"[\W_]+", text):
        pieces = _WORD.findall(run)
        for piece in pieces:
            if piece.isdigit() and found and pieces[0] != piece:
                found[-1] += piece
            else:
                found.append(piece.lower())
    return tuple(found)


def words_of_key(key: str) -> tuple[str, ...]:
    """The words in a key, those taken apart that are written as one: `hostname`, `SERVICEDESC` and `alertid` are two each."""
    return tuple(part for word in words_of(key) for part in _parts_of(word))


def _parts_of(word: str) -> tuple[str, ...]:
    for ending in _ENDINGS:
        noun = word.removesuffix(ending)
        if noun != word and noun in _NOUNS:
            return noun, ending
    return (word,)


def meaning_of(value: Any) -> tuple[Meaning | None, bool]:
    """What a status means as far as its words say, and whether it is exactly one known word (no guess from a part)."""
    if isinstance(value, bool) or not isinstance(value, str):
        return None, False
    words = words_of(value)
    if not words or len(words) > _MOST_WORDS:
        return None, False
    joined = "".join(words)
    for meaning, known in MEANINGS.items():
        if joined in known:
            return meaning, True
    if words[0] in _NEGATIONS and any(word in MEANINGS["close"] for word in words[1:]):
        return "open", False
    if words == ("back", "to", "normal"):
        return "close", True
    for meaning, known in MEANINGS.items():
        if any(word in known for word in words):
            return meaning, False
    return None, False


def severity_of(value: Any) -> Severity | None:
    """Which of ours a vendor's severity is, as far as its words say."""
    words = words_of(to_text(value)) if isinstance(value, str) else ()
    if not words or len(words) > _MOST_WORDS:
        return None
    for severity, known in SEVERITY_WORDS.items():
        if any(word in known for word in words):
            return severity
    return None


def shape_of(value: Any) -> Literal["uuid", "hex", "number", "name", "text", "url", "date", "flag", "other"]:
    """What kind of value it is, by its looks."""
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, float | list | dict) or value is None:
        return "other"
    text = to_text(value).strip()
    for shape, fits in (
        ("url", text.startswith(("http://", "https://"))),
        ("uuid", _UUID.fullmatch(text) or _UUID.search(text)),
        ("hex", _HEX.fullmatch(text)),
        ("number", text.isdigit()),
        ("date", _DATE.match(text)),
        ("flag", text.lower() in ("true", "false")),
        ("name", text and " " not in text),
    ):
        if fits:
            return shape  # type: ignore[return-value]  # one of the literals
    return "text" if text else "other"


def is_address(value: Any) -> bool:
    """Whether it is a resource's whole name, as clouds write it, which no other resource has: an ARN, a path of many parts."""
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None
