"""Contacts as they are typed, `webhook:https://…`, looked at by the notifier that will use them."""

from __future__ import annotations

import msgspec

from gateway.cli.session import Session
from gateway.config import Settings, nearest
from gateway.errors import GatewayError, SettingsError


async def checked_contact(session: Session, contact: str) -> tuple[tuple[str, str], str | None]:
    """
    Kind and address of a contact, as its notifier wants it, and what is to be said about it.

    What is wrong with the address is an error. What only the settings of this shell forbid is a remark: the gateway may run
    with others, and looks again whenever it sends.
    """
    kind, colon, address = contact.partition(":")
    if not colon or not address.strip():
        msg = f"the contact {contact!r} is not KIND:ADDRESS; write webhook:https://… or email:name@example.com"
        raise GatewayError(msg)
    settings = session.settings
    lenient = msgspec.structs.replace(
        settings, allow_private_targets=True, smtp_url=settings.smtp_url or "smtp://localhost:25?tls=no"
    )
    try:
        address = await _check(session, lenient, kind, address)
    except SettingsError as error:
        raise GatewayError(str(error)) from None  # it is what was typed that is wrong, not a setting
    try:
        await _check(session, settings, kind, address)
    except SettingsError as error:
        return (kind, address), str(error)
    return (kind, address), None


async def _check(session: Session, settings: Settings, kind: str, address: str) -> str:
    from gateway.http import Client
    from gateway.loader import load_plugins
    from gateway.notifiers import BuiltInNotifiers
    from gateway.notifiers.base import Outbound

    client = Client(allow_private=settings.allow_private_targets)
    own = settings if settings.public_url else msgspec.structs.replace(settings, public_url=session.base_url)
    outbound = Outbound(settings=own, client=client, vault=session.vault, clock=session.clock)
    try:
        notifiers = load_plugins(settings, code=True).notifiers(outbound, BuiltInNotifiers())
        if kind not in notifiers:
            msg = f"there is no kind of contact {kind!r}{nearest(kind, list(notifiers))}; there are {', '.join(notifiers)}"
            raise GatewayError(msg)
        return notifiers[kind].check(address)
    finally:
        await client.close()
