"""`alert-gateway users`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.cli.contacts import checked_contact
from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Shape, user_shape
from gateway.cli.words import Group, limited_late, shared
from gateway.people import add_user


@click.group(cls=Group)
def command() -> None:
    """
    Add and list people to notify, and how they are reached.

    A webhook contact is posted to, signed after Standard Webhooks with a secret that is shown here. An e-mail contact
    needs GATEWAY_SMTP_URL where the gateway runs.
    """


@command.command(
    examples=[
        "alert-gateway users add Ada --contact webhook:https://chat.example.com/hooks/ada",
        "alert-gateway users add Bo --contact email:bo@example.com --contact webhook:https://example.com/bo",
    ]
)
@click.argument("name")
@click.option(
    "--contact",
    "contacts",
    metavar="KIND:ADDRESS",
    multiple=True,
    required=True,
    help="webhook:URL or email:ADDR, or a kind that a plugin brings; give it again for more.",
)
@shared
def add(session: Session, name: str, contacts: Sequence[str]) -> None:
    """Add a user; each contact is told of each alert that the user's policies are told of."""

    async def work() -> tuple[Shape, list[str]]:
        checked = [await checked_contact(session, contact) for contact in contacts]
        async with session.state(make=True) as state:
            user = await add_user(state, session.clock, name=name, contacts=[pair for pair, _ in checked])
        return user_shape(user, session.vault), [warning for _, warning in checked if warning]

    shape, warnings = session.run(work())
    lines = [f"user {cell(shape['name'])} is added ({shape['id']})"]
    for contact in shape["contacts"]:
        lines.append(f"  {contact['kind']}  {cell(contact['address'])}")
        if "signing_secret" in contact:
            lines.append(f"    its receiver verifies signatures with {contact['signing_secret']}")
    session.out.one(shape, lines)
    for warning in warnings:
        session.out.note(f"note: {warning}")


@command.command("list", examples=["alert-gateway users list", "alert-gateway users list --json"])
@limited_late
@shared
def list_users(session: Session, limit: int) -> None:
    """List users, each contact with the secret that verifies what it is sent."""
    if session.lists_nothing():
        return

    async def work() -> list[Shape]:
        async with session.state() as state:
            return [user_shape(user, session.vault) for user in (await state.users())[:limit]]

    shapes = session.run(work())
    if session.out.as_json or not shapes:
        session.out.rows(shapes, (), empty="no users; `alert-gateway users add` adds one")
        return
    rows = [
        [shape["id"], shape["name"], contact["kind"], contact["address"], contact.get("signing_secret")]
        for shape in shapes
        for contact in shape["contacts"] or [{"kind": None, "address": None}]
    ]
    session.out.table(("ID", "NAME", "CONTACT", "ADDRESS", "SIGNING SECRET"), rows)
