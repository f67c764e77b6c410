"""Contacts as they are typed, `webhook:https://…`, looked at by the notifier that will use them."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.session import Session
from gateway.config import Settings, nearest
from gateway.errors import GatewayError, SettingsError

if TYPE_CHECKING:  # what costs time to import is imported where it is needed
    from gateway.notifiers.base import Notifier

Checked = tuple[tuple[str, str], str | None]
"""Kind and address of a contact, as its notifier wants it, and what is to be said about it."""


async def checked_contact(session: Session, contact: str) -> Checked:
    """One contact, looked at as in `contact_checks`."""
    async with contact_checks(session) as check:
        return await check(contact)


@contextlib.asynccontextmanager
async def contact_checks(session: Session) -> AsyncIterator[Callable[[str], Awaitable[Checked]]]:
    """
    What looks at contacts, many as they may be.

    What is wrong with the address is an error. What only the settings of this shell forbid is a remark: the gateway may run
    with others, and looks again whenever it sends.
    """
    settings = session.settings
    lenient = msgspec.structs.replace(
        settings, allow_private_targets=True, smtp_url=settings.smtp_url or "smtp://localhost:25?tls=no"
    )
    async with _notifiers(session, lenient) as any_settings, _notifiers(session, settings) as these_settings:

        async def check(contact: str) -> Checked:
            kind, colon, address = contact.partition(":")
            if not colon or not address.strip():
                msg = f"the contact {contact!r} is not KIND:ADDRESS; write webhook:https://… or email:name@example.com"
                raise GatewayError(msg)
            if kind not in any_settings:
                kinds = list(any_settings)
                msg = f"there is no kind of contact {kind!r}{nearest(kind, kinds)}; there are {', '.join(kinds)}"
                raise GatewayError(msg)
            try:
                address = any_settings[kind].check(address)
            except SettingsError as error:
                raise GatewayError(str(error)) from None  # it is what was typed that is wrong, not a setting
            try:
                these_settings[kind].check(address)
            except SettingsError as error:
                return (kind, address), str(error)
            return (kind, address), None

        yield check


@contextlib.asynccontextmanager
async def _notifiers(session: Session, settings: Settings) -> AsyncIterator[Mapping[str, Notifier]]:
    from gateway.http import Client
    from gateway.loader import load_plugins
    from gateway.notifiers import BuiltInNotifiers
    from gateway.notifiers.base import Outbound
    from gateway.vault import Vault

    client = Client(allow_private=settings.allow_private_targets)
    own = settings if settings.public_url else msgspec.structs.replace(settings, public_url=session.base_url)
    vault = Vault(secrets.token_bytes(32))  # an address is looked at without a key, and where there is none yet
    outbound = Outbound(settings=own, client=client, vault=vault, clock=session.clock)
    try:
        yield load_plugins(settings, code=True).notifiers(outbound, BuiltInNotifiers())
    finally:
        await client.close()
