"""
What any notifier must do: bring one notification to one address.

A notifier makes one attempt and says how it ended; when the next one is due, and whether there is one, is delivery's to
decide. Attempts run side by side, so a notifier keeps nothing between them but connections.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.config import Settings
    from gateway.http import Client
    from gateway.models import Notification
    from gateway.vault import Vault

EXCERPT = 1024
"""How much of an answer is kept with an attempt, in characters."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Sent(msgspec.Struct, frozen=True):
    """The target took it: with which status code, where it has any, and what it said."""

    code: int | None = None
    response: str = ""


class Outbound(msgspec.Struct, frozen=True, kw_only=True):
    """What notifiers are made with. All HTTP goes through `client`, which guards where it goes."""

    settings: Settings
    client: Client
    vault: Vault
    clock: Clock


class Notifier(Protocol):
    """Brings notifications to addresses of one kind."""

    @property
    def kind(self) -> str:
        """The word before the colon in `users add --contact kind:address`."""

    def check(self, address: str) -> str:
        """The address as it is to be kept; raises SettingsError that says what is wrong with it and what to do."""

    async def send(self, notification: Notification) -> Sent:
        """
        Make one attempt.

        Raises TemporaryDeliveryError where another attempt may help, PermanentDeliveryError where none can. Whatever
        else it raises counts as temporary.
        """

    async def close(self) -> None:
        """Let go of connections."""


def excerpt(body: bytes | str) -> str:
    """The beginning of an answer as text that is safe to store: no control characters, at most `EXCERPT` characters."""
    text = body if isinstance(body, str) else body[: EXCERPT * 4].decode("utf-8", "replace")
    return _CONTROL.sub("\ufffd", text)[:EXCERPT]
