"""What messages did and what they would do, side by side: what a person would notice to be otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from gateway.models import Change, EventRecord, Message, Notification, Reading

CHANGING = ("opened", "appended", "updated", "closed")
_REACHING = (*CHANGING, "suppressed")
_WHAT_CAME = ("action", "outcome", "reason", "integration")
LINES = ("told", "group", "delay", "acknowledged", "acknowledged already")
"""How the lines of an explanation begin that say what a person notices."""
_KEPT = ("source", "source_name", "source_id", "source_url", "source_status", "assignee", "topic", "occurred_at")
"""The fields that an alert takes from whatever changes it; of what closes it, it takes no other."""
_FIELDS = (*_KEPT, "subject", "description", "short_text", "tags")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """
    One thing that would be otherwise.

    `event` counts the events of the message from 0, those that would be no more after the others; `what` is `outcome`,
    `integration`, `told`, a field, `custom.customer` …
    """

    event: int
    what: str
    before: object
    after: object


class Effect(msgspec.Struct, kw_only=True):
    """
    What became of one event; what its alert's timeline says of it, where it changed one.

    `integration` is the name of the one that took it. `reading` is what was read; of the past that is not kept, and it is
    what the saved settings read now, None where they read no such event.
    """

    event: EventRecord
    integration: str | None = None
    reading: Reading | None = None
    change: Change | None = None

    def noticed(self) -> dict[str, object]:
        """What a person notices of it, without instants and ids, which are others each time that it is worked out."""
        event = self.event
        found: dict[str, object] = {
            "action": event.action,
            "outcome": event.outcome,
            "reason": event.reason,
            "integration": self.integration,
        }
        if event.outcome in CHANGING:
            found |= _said_in(event.trace)
        if event.outcome in _REACHING and self.reading is not None:
            found |= _fields_of(self.reading, _KEPT if event.outcome == "closed" else _FIELDS)
        if self.change is not None:
            found |= {"subject": self.change.text, "severity": self.change.severity}
        return found


def _said_in(trace: Sequence[str]) -> dict[str, object]:
    found: dict[str, list[str]] = {}
    for line in trace:
        head, _, rest = line.partition(": ")
        if head in LINES or (head == "texts" and "is left as it is" in rest):
            rest = re.sub(r"^alert \d+ ", "an alert ", rest) if head == "group" else rest
            found.setdefault(head, []).append(re.sub(r"people are told at [^\s,]+", "people are told at …", rest))
    return {head: "; ".join(said) for head, said in found.items()}


def _fields_of(reading: Reading, names: Sequence[str]) -> dict[str, object]:
    event = reading.event
    if event is None:
        return {}
    found: dict[str, object] = {name: getattr(event, name) for name in names}
    if names is _FIELDS:
        found |= {
            "severity": reading.severity or reading.default_severity,
            "tags": list(event.tags),
            **{f"custom.{name}": value for name, value in event.custom.items()},
        }
    if event.occurred_at is not None:
        found["occurred_at"] = event.occurred_at.isoformat()
    return found


class Rehearsed(msgspec.Struct, kw_only=True):
    """
    What one message would do, and who would be told when.

    `before` is what it did when it was last read; None where it never was.
    """

    message: Message
    effects: list[Effect]
    notifications: list[Notification]
    before: list[Effect] | None = None

    @property
    def pairs(self) -> list[tuple[Effect | None, Effect | None]]:
        """
        Each event as it was and as it would be; last, those that would be no more.

        One that the same integration read under the same id is the same, whatever others take besides; the rest is the same
        by its place.
        """
        before = list(self.before or ())
        partners = [_taken(before, effect) for effect in self.effects]
        partners = [partner or (before.pop(0) if before else None) for partner in partners]
        return [*zip(partners, self.effects, strict=True), *((effect, None) for effect in before)]

    @property
    def differences(self) -> list[Difference]:
        """What a person would notice to be otherwise than before; nothing where there is no before."""
        if self.before is None:
            return []
        return [
            Difference(event=at, what=what, before=old, after=new)
            for at, (before, after) in enumerate(self.pairs)
            for what, old, new in _differing(before, after)
        ]

    @property
    def differs(self) -> bool:
        """Whether anything that a person would notice is otherwise than before."""
        return bool(self.differences)


def _taken(effects: list[Effect], like: Effect) -> Effect | None:
    """The first of these of the same integration and id, taken out."""
    for at, effect in enumerate(effects):
        if _whose(effect) == _whose(like):
            return effects.pop(at)
    return None


def _whose(effect: Effect) -> tuple[str | None, str | None]:
    read = effect.reading.event if effect.reading is not None else None
    return effect.event.integration_id, None if read is None else read.source_id


def _differing(before: Effect | None, after: Effect | None) -> Iterator[tuple[str, object, object]]:
    """What is noticed of one and otherwise of the other; of two that do not both reach an alert, the outcome says it."""
    old, new = (effect.noticed() if effect is not None else {} for effect in (before, after))
    names = list(dict.fromkeys([*old, *new]))
    reached = [effect for effect in (before, after) if effect is not None and effect.event.outcome in _REACHING]
    if len(reached) < 2:  # noqa: PLR2004 - both
        names = [name for name in names if name in _WHAT_CAME]
    elif None in [one.reading for one in reached] or len({one.event.outcome == "closed" for one in reached}) > 1:
        # Of one of them, less is known.
        names = [name for name in names if name in LINES or (name in old and name in new)]
    for name in names:
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)
