"""`alert-gateway integrations set` and `clone`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cautions import LOOKED_AT
from gateway.cli.cautions import caution_lines, cautions_for
from gateway.cli.files import read_settings
from gateway.cli.integrations_common import GROUPS, SETTINGS, USERS, ids, shapes_of
from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Shape
from gateway.cli.words import Command, shared
from gateway.integrations import change_integration, clone_integration, find_integration, set_fan_out
from gateway.people import find_group, find_policy, find_user


@click.command(
    "set",
    cls=Command,
    examples=[
        "alert-gateway integrations set Datadog --policy Storage --group Databases",
        "alert-gateway integrations set Doors --settings doors.toml",
        "alert-gateway integrations set Datadog --fan-out      every integration of its endpoint may take an event",
        'alert-gateway integrations set "Datadog staging" --sequence 1',
    ],
)
@click.argument("ref", metavar="NAME_OR_ID")
@click.option("--policy", metavar="REF", help="Who is notified: an escalation policy, by name or id.")
@click.option("--no-policy", is_flag=True, help="Let no policy decide who is notified.")
@GROUPS
@click.option("--no-groups", is_flag=True, help="Notify no groups in addition.")
@USERS
@click.option("--no-users", is_flag=True, help="Notify no users in addition.")
@click.option(
    "--fan-out/--first-match",
    default=None,
    help="Whether every integration of its endpoint takes the events that pass its filters, or only the first.",
)
@click.option(
    "--sequence",
    type=click.IntRange(min=0),
    metavar="N",
    help="Its place among those of its endpoint: the lowest is asked first.",
)
@click.option("--name", help="Another name; the URL stays.")
@SETTINGS
@shared
def set_integration(
    session: Session,
    ref: str,
    policy: str | None,
    no_policy: bool,
    groups: Sequence[str],
    no_groups: bool,
    users: Sequence[str],
    no_users: bool,
    fan_out: bool | None,
    sequence: int | None,
    name: str | None,
    settings_file: Path | None,
) -> None:
    """
    Change who is notified, its place in the sequence, its name or its settings; the URL stays.

    The next message is read with them.

    --group and --user replace the groups and users that were there. `alert-gateway dry-run` shows first what new settings
    would do. What is likely a mistake is said, and saved all the same.
    """
    _check_flags(("policy", policy, no_policy), ("groups", groups, no_groups), ("users", users, no_users))
    plain = {key: value for key, value in (("sequence", sequence), ("name", name)) if value is not None}
    if not any((policy, no_policy, groups, no_groups, users, no_users, settings_file, plain)) and fan_out is None:
        msg = "nothing to set: give --policy, --group, --user, --fan-out, --sequence, --name or --settings"
        raise click.UsageError(msg, click.get_current_context())

    async def work() -> tuple[Shape, list[str]]:
        async with session.store() as (journal, state):
            integration = await find_integration(state, ref)
            changes: dict[str, Any] = dict(plain)
            if settings_file is not None:
                changes["settings"] = read_settings(settings_file)
            if policy or no_policy:
                changes["policy_id"] = (await find_policy(state, policy)).id if policy else None
            if groups or no_groups:
                changes["group_ids"] = await ids(state, find_group, groups)
            if users or no_users:
                changes["user_ids"] = await ids(state, find_user, users)
            if changes:
                integration = await change_integration(state, session.plugins, session.clock, integration, **changes)
            if fan_out is not None:
                await set_fan_out(state, integration, fan_out=fan_out)
            newest = await journal.newest(LOOKED_AT, endpoint_id=integration.endpoint_id)
            cautions = await cautions_for(session, state, integration, newest)
            (shape,) = await shapes_of(session, state, [integration])
            return shape, cautions

    shape, cautions = session.run(work())
    told = [cell(shape[key]) for key in ("policy", "groups", "users") if shape[key]]
    session.out.one(
        shape | {"warnings": cautions},
        [
            f"integration {cell(shape['name'])} is changed; it notifies {', '.join(told) or 'nobody'}",
            *caution_lines(cautions),
        ],
    )


@click.command(
    cls=Command,
    examples=[
        'alert-gateway integrations clone "Datadog" --name "Datadog staging" --settings staging.toml --policy Developers'
    ],
)
@click.argument("ref", metavar="NAME_OR_ID")
@click.option("--name", required=True, help="What the clone is called; the URL stays that of the first.")
@click.option(
    "--policy", metavar="REF", help="Who is notified: an escalation policy; that of the first where it is left out."
)
@SETTINGS
@shared
def clone(session: Session, ref: str, name: str, policy: str | None, settings_file: Path | None) -> None:
    """
    Add an integration on the endpoint of another, next in its sequence.

    An event belongs to the first whose [filters] it passes; what no integration takes is listed as filtered, with the
    reason of each. With `integrations set --fan-out` each takes what passes its filters.
    """
    settings = read_settings(settings_file)

    async def work() -> tuple[Shape, list[str]]:
        async with session.store() as (journal, state):
            first = await find_integration(state, ref)
            policy_id = (await find_policy(state, policy)).id if policy else first.policy_id
            made = await clone_integration(
                state, session.plugins, session.clock, first, name=name, policy_id=policy_id, settings=settings
            )
            newest = await journal.newest(LOOKED_AT, endpoint_id=made.endpoint_id)
            cautions = await cautions_for(session, state, made, newest)
            (shape,) = await shapes_of(session, state, [made])
            return shape, cautions

    shape, cautions = session.run(work())
    session.out.one(
        shape | {"warnings": cautions},
        [f"integration {cell(shape['name'])} is added to the endpoint of {cell(ref)}", *caution_lines(cautions)],
    )


def _check_flags(*flags: tuple[str, object, bool]) -> None:
    for name, given, none in flags:
        if given and none:
            msg = f"--{name.removesuffix('s')} and --no-{name} contradict each other"
            raise click.UsageError(msg, click.get_current_context())
