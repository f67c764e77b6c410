"""Which field says whether there is a problem, and which of its words open, close or update."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.mapping import to_text
from gateway.proposal.columns import Column, Table
from gateway.proposal.guesses import Guess, confident
from gateway.proposal.words import MEANINGS, TRUE_CLOSES, TRUE_OPENS, Meaning, meaning_of, vocabulary, words_of

_NAMES = {
    "transition": 6, "status": 5, "state": 5, "action": 4, "health": 3, "event": 3, "trigger": 2, "result": 3, "condition": 2,
    "type": 2, "kind": 2, "level": 1, "severity": 1, "phase": 2, "outcome": 2, "notification": 6,
}  # fmt: skip
_BEFORE = vocabulary("old previous prev last from before prior former original")
_ASIDE = vocabulary("text code response http reason message output duration")
"""What a check was answered, which differs too and is not the status."""
_LONGEST = 60
_NAMED = 3
_ENOUGH = 6
_PAIR = 2


class Statuses(msgspec.Struct):
    """
    The status: the guess, the words by what they do, and the rows that open and that close.

    Where no status was found, the rows are told apart by the names of the files, or by their order.
    """

    guess: Guess | None
    rules: dict[str, list[str]]
    opens: list[int]
    closes: list[int]
    unplaced: list[str]
    notes: list[str]


def guess_status(table: Table, names: Sequence[str]) -> Statuses:
    """The likeliest status."""
    hints = _hints(names)
    roles = [hints[payload] for payload in table.origin]
    scored = sorted(
        (
            (score, why, column)
            for column in table.columns
            for score, why in [_score(column, table, roles)]
            if score >= _ENOUGH
        ),
        key=lambda one: (-one[0], one[2].depth, one[2].path),
    )
    if not scored:
        opens = [row for row, role in enumerate(roles) if role == "open"]
        closes = [row for row, role in enumerate(roles) if role == "close"]
        return Statuses(None, {}, opens, closes, [], [])
    score, why, column = scored[0]
    meanings = _meanings(column, roles)
    rules: dict[str, list[str]] = {"open": [], "close": [], "update": [], "ignore": []}
    unplaced: list[str] = []
    rows: dict[Meaning | None, list[int]] = {"open": [], "close": []}
    for row, value in enumerate(column.values):
        if value in (None, ""):
            continue
        meaning = meanings.get(to_text(value))
        rows.setdefault(meaning, []).append(row)
        words = unplaced if meaning is None else rules["ignore" if meaning == "test" else meaning]
        if to_text(value) not in words:
            words.append(to_text(value))
    others = [other.path for _, _, other in scored[1:3]]
    guess = Guess("source_status", column.path, why, confident(score, 12, 9), others)
    notes = [
        f"{names[table.origin[row]]} is named like a {'problem' if role == 'open' else 'recovery'}, and "
        f"{column.path} says {to_text(column.values[row])!r}"
        for row, role in enumerate(roles)
        if role is not None and column.values[row] is not None
        if meanings.get(to_text(column.values[row])) in {"open", "close"} - {role}
        and _explicit(names, table.origin[row])
    ]
    return Statuses(guess, rules, rows["open"], rows["close"], unplaced, notes)


def _hints(names: Sequence[str]) -> list[Meaning | None]:
    """What each payload is by the name of its file; of two that say nothing, the first is the problem."""
    hints = [_hint(name) for name in names]
    if len(hints) == _PAIR and None in hints:
        first, second = hints
        opposite: dict[Meaning | None, Meaning | None] = {"open": "close", "close": "open"}
        if first is None and second is None:
            return ["open", "close"]
        return [first or opposite.get(second), second or opposite.get(first)]
    return hints


def _hint(name: str) -> Meaning | None:
    words = words_of(name)
    for meaning in ("test", "close", "update", "open"):
        if any(word in MEANINGS[meaning] for word in words if word not in ("alert", "on", "new", "incident")):
            return meaning
    return None


def _explicit(names: Sequence[str], at: int) -> bool:
    return _hint(names[at]) is not None


def _score(column: Column, table: Table, roles: Sequence[Meaning | None]) -> tuple[float, str]:
    values = column.everywhere
    texts = {to_text(value) for value in values}
    if not values or any(isinstance(value, list | dict | float) or len(to_text(value)) > _LONGEST for value in values):
        return 0, ""
    several = len(set(table.origin)) > 1
    if several and len(texts) == 1:
        return 0, ""  # what never changes is no status
    named = max((_NAMES.get(word, 0) for word in (*column.name, *column.parents[-1:])), default=0)
    if named and not any(word in _NAMES for word in column.name):
        named -= 2
    score = float(named) - column.depth / 2 - 6 * bool(_BEFORE & {*column.name, *column.parents})
    score -= 4 * bool(_ASIDE & {*column.name})
    flags = _flag_meanings(column)
    if flags:
        return score + 11, "a flag that is true in one and false in the other"
    meanings = _meanings(column, roles)
    exact = all(meaning_of(text)[1] for text in texts)
    by_words = {meaning_of(text)[0] for text in texts}
    agree = not several or any(
        meanings.get(to_text(value)) == role for value, role in zip(column.values, roles, strict=True) if value and role
    )
    if {"open", "close"} <= by_words:
        return score + 7 + exact + agree, f"it says {_shown(column)}: words for a problem and for its end"
    if not several and by_words & {"open", "close"}:
        return score + 3 + exact, f"it says {_shown(column)}"
    if named >= _NAMED and {"open", "close"} <= set(meanings.values()):
        return (
            score + 3,
            f"it says {_shown(column)}, one in the problem and another in the recovery; which is which is a guess",
        )
    return 0, ""


def _meanings(column: Column, roles: Sequence[Meaning | None]) -> dict[str, Meaning]:
    """What each of its words means: by the word itself, else by the payloads that have it and no others."""
    flags = _flag_meanings(column)
    if flags:
        return flags
    found: dict[str, Meaning] = {}
    for text in column.texts(range(len(column.values))):
        meaning, _ = meaning_of(text)
        seen = {
            role
            for value, role in zip(column.values, roles, strict=True)
            if value is not None and to_text(value) == text
        }
        role = next(iter(seen)) if len(seen) == 1 else None
        if meaning is None and role is not None:
            meaning = role
        if meaning is not None:
            found[text] = meaning
    return found


def _flag_meanings(column: Column) -> dict[str, Meaning]:
    """A flag that changes, by its name: `resolved`, `firing`, `backToNormal`."""
    texts = {to_text(value).lower(): to_text(value) for value in column.everywhere}
    if texts.keys() != {"true", "false"}:
        return {}
    words = [word for word in column.name if word not in ("is", "has", "in")]
    opens, closes = any(word in TRUE_OPENS for word in words), any(word in TRUE_CLOSES for word in words)
    if opens == closes:
        return {}
    return {texts["true"]: "open" if opens else "close", texts["false"]: "close" if opens else "open"}


def _shown(column: Column) -> str:
    return ", ".join(dict.fromkeys(to_text(value) for value in column.everywhere[:6]))
