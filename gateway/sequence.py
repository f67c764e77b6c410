"""
Which integrations of an endpoint take what of a message: the first that lets an event pass, or each where they fan out.

Integrations that read a message into the same list of events are offered them one by one. One that reads it in another way
(another `each`) is offered the message as a whole: all that it reads, where nothing of the message was taken before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.errors import GatewayError, UnreadableError
from gateway.models import Integration, Reading

_MOST_REFUSALS = 20

Way = tuple[str, str | None, int]
"""How a message is read: with which template, by which `each`, into how many events."""


class Offer:
    """
    One event, offered to integrations one after the other.

    `refused` says why those before do not take it; `failed` are readings of those that could not read it.
    """

    def __init__(self, refused: Iterable[str], failed: Iterable[Reading]) -> None:
        self.taken: list[Reading] = []
        self.failed = list(failed)
        self.refused = list(refused)
        self._dropped: Reading | None = None

    def to(self, integration: Integration, reading: Reading) -> None:
        """Let an integration take it, unless its filters or a plugin refuse, or it cannot read it."""
        reading = msgspec.structs.replace(reading, integration_id=integration.id)
        if reading.dropped_by is not None:
            self.refused.append(f"{integration.name}: {reading.dropped_by}")
            self._dropped = self._dropped or reading
        elif reading.error is not None:
            self.refused.append(_unread(integration, reading.error))
            self.failed.append(reading)
        else:
            if self.refused or self.taken:
                lines = (*(f"not taken by {line}" for line in self.refused), f"taken by {integration.name}")
                reading = msgspec.structs.replace(reading, trace=(*lines, *reading.trace))
            self.taken.append(reading)

    def readings(self, *, fan_out: bool) -> list[Reading]:
        """What was taken, else that it could not be read (where they fan out, both), else what each said against it."""
        if self.taken or self.failed:
            return self.taken + self.failed if fan_out else (self.taken or self.failed[:1])
        if self._dropped is None:
            return []
        return [msgspec.structs.replace(self._dropped, dropped_by="; ".join(self.refused))]


def shared_out(
    integrations: Sequence[Integration], read: Callable[[Integration], tuple[Way, list[Reading]]], *, fan_out: bool
) -> list[Reading]:
    """
    The readings of a message that came in on an endpoint with these integrations, in sequence; `read` reads for one.

    Raises UnreadableError where none takes anything of it, and one that has no filter against it cannot read it.
    """
    ways: dict[Way, list[Offer]] = {}
    unread: list[Reading] = []
    for integration in integrations:
        offers = [offer for them in ways.values() for offer in them]
        if not fan_out and offers and all(offer.taken for offer in offers):
            break
        try:
            way, readings = read(integration)
        except GatewayError as error:
            unread.append(Reading(action="ignore", error=_unread(integration, error), integration_id=integration.id))
            for offer in offers:
                offer.refused.append(unread[-1].error or "")
                offer.failed += [] if fan_out else unread[-1:]
            continue
        if way not in ways:
            if not fan_out and any(offer.taken for offer in offers):
                continue
            said = [reading.error or "" for reading in unread] + [line for offer in offers for line in offer.refused]
            lines = list(dict.fromkeys(said))[:_MOST_REFUSALS]
            ways[way] = [Offer(lines, () if fan_out else unread) for _ in readings]
        for offer, reading in zip(ways[way], readings, strict=True):
            if fan_out or not offer.taken:
                offer.to(integration, reading)
    return _outcome(list(ways.values()), unread, fan_out=fan_out)


def _outcome(ways: Sequence[Sequence[Offer]], unread: Sequence[Reading], *, fan_out: bool) -> list[Reading]:
    said = [offers for offers in ways if any(offer.taken or (fan_out and offer.failed) for offer in offers)]
    if not any(offer.taken for offers in said for offer in offers) and unread:
        raise UnreadableError("; ".join(reading.error or "" for reading in unread))
    # Where nobody took anything: those that could not be read, else the last that were asked, which know all that was said.
    said = said or [offers for offers in ways if any(offer.failed for offer in offers)] or list(ways[-1:])
    found = [reading for offers in said for offer in offers for reading in offer.readings(fan_out=fan_out)]
    return found + (list(unread) if fan_out else [])


def _unread(integration: Integration, error: object) -> str:
    return f"{integration.name}: cannot read it: {error}"
