"""
From captured payloads to a first template: which field is where, which word opens and which closes, what the id is.

It goes by what a problem and its recovery share and by where they differ, by the names of keys and by the looks of values.
Each guess says why it was made and how sure it is; what is not found is left to the author. Pure: the same payloads give
the same proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.models import SEVERITIES
from gateway.proposal.columns import Payload, Table, table_of
from gateway.proposal.guesses import Confidence, Guess, best_guesses
from gateway.proposal.identity import guess_identity
from gateway.proposal.status import Statuses, guess_status
from gateway.proposal.words import severity_of

__all__ = ["Confidence", "Guess", "Payload", "Proposal", "propose"]

WANTED = (
    "source_id", "source_status", "source_severity", "subject", "description", "source_url", "source_name", "occurred_at",
    "tags",
)  # fmt: skip
"""What is looked for, in the order in which it is shown."""


class Proposal(msgspec.Struct, kw_only=True):
    """
    What a template might say.

    `rules` are the words under `open`, `close`, `update` and `ignore`; `severities` those under `[severity]`. `unplaced` are
    words of the status that nobody could place. `missing` are the fields that were looked for and not found. `roles` say of
    each payload whether it opens or closes, as far as that can be told.
    """

    each: str | None = None
    accepts: list[str] = msgspec.field(default_factory=lambda: ["json", "form"])
    guesses: list[Guess] = []
    rules: dict[str, list[str]] = {}
    severities: dict[str, list[str]] = {}
    unplaced: list[str] = []
    missing: list[str] = []
    notes: list[str] = []
    roles: list[Literal["open", "close"] | None] = []

    def guess(self, field: str) -> Guess | None:
        """The guess for a field, None where there is none."""
        return next((guess for guess in self.guesses if guess.field == field), None)


def propose(payloads: Sequence[Payload]) -> Proposal:
    """A proposal from captured payloads, best a problem and its recovery; an empty one where nothing can be told."""
    table = table_of(payloads)
    if not table.columns:
        return Proposal(missing=list(WANTED), notes=["no payload is an object with fields in it"] if payloads else [])
    statuses = guess_status(table, [payload.name for payload in payloads])
    guesses = [guess for guess in (guess_identity(table, statuses), statuses.guess) if guess is not None]
    guesses += best_guesses(table, statuses, {guess.path for guess in guesses})
    by_field = {guess.field: guess for guess in guesses}
    return Proposal(
        each=table.each,
        guesses=[by_field[field] for field in WANTED if field in by_field],
        rules={action: words for action, words in statuses.rules.items() if words},
        severities=_severities(table, statuses, by_field.get("source_severity")),
        unplaced=statuses.unplaced,
        missing=[field for field in WANTED if field not in by_field],
        notes=_notes(table, statuses),
        roles=[_role(at, table, statuses) for at in range(len(payloads))],
    )


def _role(payload: int, table: Table, statuses: Statuses) -> Literal["open", "close"] | None:
    if any(table.origin[row] == payload for row in statuses.opens):
        return "open"
    return "close" if any(table.origin[row] == payload for row in statuses.closes) else None


def _severities(table: Table, statuses: Statuses, guess: Guess | None) -> dict[str, list[str]]:
    """The words of the severity that were seen, under ours."""
    if guess is None:
        return {}
    found: dict[str, list[str]] = {severity: [] for severity in reversed(SEVERITIES)}
    column = next(column for column in table.columns if column.path == guess.path)
    rows = statuses.opens or range(len(table.origin))
    for text in dict.fromkeys(str(value) for value in column.at(rows)):
        severity = severity_of(text)
        if severity is not None:
            found[severity].append(text)
    return {severity: words for severity, words in found.items() if words}


def _notes(table: Table, statuses: Statuses) -> list[str]:
    notes = list(statuses.notes)
    if len(set(table.origin)) < 2:  # noqa: PLR2004
        notes.append(
            "one payload alone shows neither what stays the same nor what closes; give a problem and its recovery"
        )
    return notes
