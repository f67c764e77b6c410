"""`alert-gateway policies`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Shape, policy_shape
from gateway.cli.words import Group, limited_late, shared
from gateway.clock import in_words, span
from gateway.people import add_policy, find_user


@click.group(cls=Group)
def command() -> None:
    """
    Add and list escalation policies: who is notified when an alert opens, who after that, and when it closes.

    An integration names one policy; without one its alerts are opened and only its groups and users are told. A step is told
    only if the alert is neither assigned nor closed by then.
    """


@command.command(
    examples=[
        "alert-gateway policies add Storage --user Ada --user Bo",
        "alert-gateway policies add Night --user Ada --then 5m:Bo --then 15m:Cleo,Dan",
    ]
)
@click.argument("name")
@click.option(
    "--user",
    "refs",
    metavar="USER",
    multiple=True,
    required=True,
    help="Whom to notify, by name or id; again for more.",
)
@click.option(
    "--then",
    "later",
    metavar="SPAN:USER,…",
    multiple=True,
    help="Whom to notify so long after the first, unless it is assigned or closed by then; again for more.",
)
@shared
def add(session: Session, name: str, refs: Sequence[str], later: Sequence[str]) -> None:
    """Add a policy that notifies these users at once, and others later."""
    wanted = [(0, list(refs)), *(_step(text) for text in later)]

    async def work() -> Shape:
        async with session.state(make=True) as state:
            steps = [(after, [await find_user(state, ref) for ref in named]) for after, named in wanted]
            policy = await add_policy(state, session.clock, name=name, steps=steps)
            return policy_shape(policy, {user.id: user for _, users in steps for user in users})

    shape = session.run(work())
    name = cell(shape["name"])
    session.out.one(
        shape,
        [
            f"policy {name} is added ({shape['id']}); it notifies {cell(_in_words(shape))}",
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

    shapes = session.run(work())
    if session.out.as_json or not shapes:
        session.out.rows(shapes, (), empty="no policies; `alert-gateway policies add` adds one")
        return
    session.out.table(("ID", "NAME", "NOTIFIES"), [[shape["id"], shape["name"], _in_words(shape)] for shape in shapes])


def _in_words(shape: Shape) -> str:
    """Who is told, and when: `Ada, after 5 min Bo`."""
    steps = [(in_words(step["after"] * 1000), ", ".join(step["users"])) for step in shape["steps"]]
    return ", ".join(f"after {after} {users}" if after != "0 ms" else users for after, users in steps)


def _step(text: str) -> tuple[int, list[str]]:
    when, _, names = text.partition(":")
    after = span(when)
    users = [name.strip() for name in names.split(",") if name.strip()]
    if after is None or after < 1000 or not users:  # noqa: PLR2004 - a second, the least there is
        msg = f"--then {text!r}: write how long after the first (1s at least), and who: 5m:Bo or 15m:Cleo,Dan"
        raise click.UsageError(msg, click.get_current_context())
    return after // 1000, users
