"""`alert-gateway groups`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Shape, group_shape
from gateway.cli.words import Group, limited_late, shared
from gateway.people import add_group, find_user


@click.group(cls=Group)
def command() -> None:
    """
    Add and list recipient groups: users who are told together, in addition to a policy.

    An integration names its groups (`integrations set --group`), and adds others by what a message says (`[[recipients]]` in
    its settings).
    """


@command.command(examples=["alert-gateway groups add Databases --user Ada --user Bo"])
@click.argument("name")
@click.option(
    "--user", "refs", metavar="USER", multiple=True, required=True, help="Who is in it, by name or id; again for more."
)
@shared
def add(session: Session, name: str, refs: Sequence[str]) -> None:
    """Add a recipient group of these users."""

    async def work() -> Shape:
        async with session.state(make=True) as state:
            users = [await find_user(state, ref) for ref in refs]
            group = await add_group(state, session.clock, name=name, users=users)
            return group_shape(group, {user.id: user for user in users})

    shape = session.run(work())
    session.out.one(shape, [f"group {cell(shape['name'])} is added ({shape['id']}): {cell(shape['users'])}"])


@command.command("list", examples=["alert-gateway groups list"])
@limited_late
@shared
def list_groups(session: Session, limit: int) -> None:
    """List recipient groups."""
    if session.lists_nothing():
        return

    async def work() -> list[Shape]:
        async with session.state() as state:
            users = {user.id: user for user in await state.users()}
            return [group_shape(group, users) for group in (await state.groups())[:limit]]

    session.out.rows(
        session.run(work()), ("id", "name", "users"), empty="no groups; `alert-gateway groups add` adds one"
    )
