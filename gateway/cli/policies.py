"""`alert-gateway policies`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Shape, policy_shape
from gateway.cli.words import Group, limited_late, shared
from gateway.people import add_policy, find_user


@click.group(cls=Group)
def command() -> None:
    """
    Add and list escalation policies: who is notified when an alert opens, and when it closes.

    An integration names one policy; without one its alerts are opened and nobody is told.
    """


@command.command(examples=["alert-gateway policies add Storage --user Ada --user Bo"])
@click.argument("name")
@click.option(
    "--user",
    "refs",
    metavar="USER",
    multiple=True,
    required=True,
    help="Whom to notify, by name or id; again for more.",
)
@shared
def add(session: Session, name: str, refs: Sequence[str]) -> None:
    """Add a policy that notifies these users at once."""

    async def work() -> Shape:
        async with session.state(make=True) as state:
            users = [await find_user(state, ref) for ref in refs]
            policy = await add_policy(state, session.clock, name=name, users=users)
            return policy_shape(policy, {user.id: user for user in users})

    shape = session.run(work())
    name = cell(shape["name"])
    session.out.one(
        shape,
        [
            f"policy {name} is added ({shape['id']}); it notifies {cell(shape['users'])}",
            f"an integration takes it with `alert-gateway integrations add TEMPLATE --name NAME --policy '{name}'`",
        ],
    )


@command.command("list", examples=["alert-gateway policies list"])
@limited_late
@shared
def list_policies(session: Session, limit: int) -> None:
    """List policies."""
    if session.lists_nothing():
        return

    async def work() -> list[Shape]:
        async with session.state() as state:
            users = {user.id: user for user in await state.users()}
            return [policy_shape(policy, users) for policy in (await state.policies())[:limit]]

    session.out.rows(
        session.run(work()), ("id", "name", "users"), empty="no policies; `alert-gateway policies add` adds one"
    )
