"""
Which integrations of an endpoint take what of a message: the first that lets an event pass, or each where they fan out.

Integrations that read a message into the same list of events are offered them one by one. One that reads it in another way
(another `each`) is offered the message as a whole: all that it reads, where nothing of the message was taken before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.errors import GatewayError
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
        self._told = 0

    def to(self, integration: Integration, reading: Reading) -> None:
        """Let an integration take it, unless its filters or a plugin refuse, or it cannot read it."""
        reading = msgspec.structs.replace(reading, integration_id=integration.id)
        if reading.dropped_by is not None:
            self.refuse(f"{integration.name}: {reading.dropped_by}")
            self._dropped = self._dropped or reading
        elif reading.error is not None:
            self.fail(msgspec.structs.replace(reading, error=_unread(integration, reading.error)))
        else:
            lines = (*_not_taken(self.refused), f"taken by {integration.name}") if self.refused or self.taken else ()
            self._told = len(self.refused)
            self.taken.append(msgspec.structs.replace(reading, trace=(*lines, *reading.trace)))

    def fail(self, reading: Reading) -> None:
        """Note that an integration could not read it; the error names it."""
        self.refuse(reading.error or "")
        self.failed.append(reading)

    def refuse(self, line: str) -> None:
        """Note why an integration does not take it."""
        if len(self.refused) < _MOST_REFUSALS:
            self.refused.append(line)

    def readings(self) -> list[Reading]:
        """What was taken; else that the first could not read it; else what each said against it."""
        if self.taken:
            last, later = self.taken[-1], _not_taken(self.refused[self._told :])
            return [*self.taken[:-1], msgspec.structs.replace(last, trace=(*last.trace, *later))]
        if self.failed:
            return [msgspec.structs.replace(self.failed[0], trace=_not_taken(self.refused))]
        return [msgspec.structs.replace(self._dropped, dropped_by="; ".join(self.refused))] if self._dropped else []


def shared_out(
    integrations: Sequence[Integration], read: Callable[[Integration], tuple[Way, list[Reading]]], *, fan_out: bool
) -> list[Reading]:
    """
    The readings of a message that came in on an endpoint with these integrations, in sequence; `read` reads for one.

    What one cannot read, and no other takes, is a reading with an error.
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
            unread.append(
                Reading(action="ignore", error=_unread(integration, str(error)), integration_id=integration.id)
            )
            for offer in offers:
                offer.fail(unread[-1])
            continue
        if way not in ways:
            if not fan_out and any(offer.taken for offer in offers):
                continue
            said = [reading.error or "" for reading in unread] + [line for offer in offers for line in offer.refused]
            lines = list(dict.fromkeys(said))[:_MOST_REFUSALS]
            ways[way] = [Offer(lines, unread) for _ in readings]
        for offer, reading in zip(ways[way], readings, strict=True):
            if fan_out or not offer.taken:
                offer.to(integration, reading)
    return _outcome(list(ways.values()), unread)


def _outcome(ways: Sequence[Sequence[Offer]], unread: Sequence[Reading]) -> list[Reading]:
    taking = [offers for offers in ways if any(offer.taken for offer in offers)]
    if not taking and unread:
        every = "; ".join(reading.error or "" for reading in unread)
        return [msgspec.structs.replace(unread[0], error=every)]
    # Where nobody took anything: those that could not be read, else the last that were asked, which know all that was said.
    said = taking or [offers for offers in ways if any(offer.failed for offer in offers)] or list(ways[-1:])
    return [reading for offers in said for offer in offers for reading in offer.readings()]


def _not_taken(refused: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"not taken by {line}" for line in refused)


def _unread(integration: Integration, error: str) -> str:
    return f"{integration.name}: cannot read it: {error}"
