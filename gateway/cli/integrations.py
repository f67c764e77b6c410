"""`alert-gateway integrations`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cautions import LOOKED_AT
from gateway.cli.cautions import caution_lines, cautions_for
from gateway.cli.files import read_secret, read_settings
from gateway.cli.once import made_shape, url_lines
from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Directory, Shape, integration_shape
from gateway.cli.words import Group, Span, limited_late, shared
from gateway.errors import GatewayError, SettingsError
from gateway.integrations import (
    Made,
    add_integration,
    change_integration,
    clone_integration,
    find_endpoint,
    find_integration,
    replace_secret,
    rotate_token,
    set_fan_out,
)
from gateway.models import Group as RecipientGroup
from gateway.models import Integration, User
from gateway.people import find_group, find_policy, find_user
from gateway.store.base import State

COLUMNS = ("id", "name", "template", "enabled", "policy", "groups", "verified", "endpoint_hint")
_SECRET = click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    metavar="FILE",
    help="Verify the sender with the secret in this file (`-` is the standard input), as the template says how.",
)
_GROUPS = click.option(
    "--group",
    "groups",
    metavar="REF",
    multiple=True,
    help="A recipient group that is told in addition; again for more.",
)
_USERS = click.option(
    "--user", "users", metavar="REF", multiple=True, help="A user who is told in addition; again for more."
)
_SETTINGS = click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    metavar="FILE",
    help="What it does otherwise than its template, and its Advanced Settings, as TOML (docs/rules.md).",
)


@click.group(cls=Group)
def command() -> None:
    """
    Add, show and change integrations: endpoints that webhooks are posted to.

    An integration is a template, a name and an endpoint URL. The URL holds a token and is shown once, since only a hash of
    the token is kept; `rotate` makes a new one.
    """


@command.command(
    examples=[
        "alert-gateway integrations add custom --name Backups",
        "alert-gateway integrations add datadog --name Datadog --policy Storage --secret-file token.txt",
        "alert-gateway integrations add custom --name Doors --settings doors.toml --json",
    ]
)
@click.argument("template")
@click.option("--name", required=True, help="What it is called; a part of the URL.")
@click.option("--policy", metavar="REF", help="Who is notified: an escalation policy, by name or id.")
@_GROUPS
@_USERS
@_SETTINGS
@_SECRET
@shared
def add(
    session: Session,
    template: str,
    name: str,
    policy: str | None,
    groups: Sequence[str],
    users: Sequence[str],
    settings_file: Path | None,
    secret_file: Path | None,
) -> None:
    """Add an integration of a TEMPLATE, print its endpoint URL (this once) and a curl to try it."""
    settings = read_settings(settings_file)
    secret = read_secret(secret_file)

    async def work() -> tuple[Made, str | None, list[str]]:
        async with session.state(make=True) as state:
            chosen = await find_policy(state, policy) if policy else None
            try:
                made = await add_integration(
                    state,
                    session.vault,
                    session.plugins,
                    session.clock,
                    template=template,
                    name=name,
                    policy_id=chosen.id if chosen else None,
                    group_ids=await _ids(state, find_group, groups),
                    user_ids=await _ids(state, find_user, users),
                    settings=settings,
                    secret=secret,
                )
            except SettingsError as error:
                raise GatewayError(str(error)) from None  # it is the secret that is wrong, not a setting
            cautions = await cautions_for(session, state, made.integration, [])
            return made, chosen.name if chosen else None, cautions

    made, policy_name, cautions = session.run(work())
    shape = made_shape(session, made, policy_name) | {"warnings": cautions}
    lines = [f"integration {cell(made.integration.name)} is added ({made.integration.id})", *url_lines(shape)]
    session.out.one(shape, [*lines, *caution_lines(cautions)])


@command.command("list", examples=["alert-gateway integrations list", "alert-gateway integrations list --json"])
@limited_late
@shared
def list_integrations(session: Session, limit: int) -> None:
    """List integrations by name."""
    if session.lists_nothing():
        return

    async def work() -> list[Shape]:
        async with session.state() as state:
            return await _shapes(session, state, (await state.integrations())[:limit])

    empty = "no integrations; `alert-gateway integrations add` adds one"
    session.out.rows(session.run(work()), COLUMNS, empty=empty)


@command.command(examples=["alert-gateway integrations show Backups"])
@click.argument("ref", metavar="NAME_OR_ID")
@shared
def show(session: Session, ref: str) -> None:
    """Show one integration, with its own settings."""

    async def work() -> Shape:
        async with session.state() as state:
            (shape,) = await _shapes(session, state, [await find_integration(state, ref)])
            return shape

    shape = session.run(work())
    if session.out.as_json:
        session.out.json(shape)
        return
    session.out.pairs(shape)
    if shape["settings"]:
        import msgspec

        session.out.lines(
            ["", "settings", *(f"  {line}" for line in msgspec.toml.encode(shape["settings"]).decode().splitlines())]
        )


@command.command(examples=["alert-gateway integrations enable Backups"])
@click.argument("ref", metavar="NAME_OR_ID")
@shared
def enable(session: Session, ref: str) -> None:
    """Let an integration take messages again."""
    _switch(session, ref, enabled=True)


@command.command(examples=["alert-gateway integrations disable Backups"])
@click.argument("ref", metavar="NAME_OR_ID")
@shared
def disable(session: Session, ref: str) -> None:
    """Keep an integration, and answer its URL with 404 as if it were not there. Its open alerts stay open."""
    _switch(session, ref, enabled=False)


@command.command(
    "set",
    examples=[
        "alert-gateway integrations set Datadog --policy Storage --group Databases",
        "alert-gateway integrations set Doors --settings doors.toml",
        "alert-gateway integrations set Datadog --fan-out      every integration of its endpoint may take an event",
    ],
)
@click.argument("ref", metavar="NAME_OR_ID")
@click.option("--policy", metavar="REF", help="Who is notified: an escalation policy, by name or id.")
@click.option("--no-policy", is_flag=True, help="Let no policy decide who is notified.")
@_GROUPS
@click.option("--no-groups", is_flag=True, help="Notify no groups in addition.")
@_USERS
@click.option("--no-users", is_flag=True, help="Notify no users in addition.")
@click.option(
    "--fan-out/--first-match",
    default=None,
    help="Whether every integration of its endpoint takes the events that pass its filters, or only the first.",
)
@_SETTINGS
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
    settings_file: Path | None,
) -> None:
    """
    Change who is notified, or the settings; the URL stays. The next message is read with them.

    --group and --user replace the groups and users that were there. `alert-gateway dry-run` shows first what new settings
    would do. What is likely a mistake is said, and saved all the same.
    """
    _check_flags(("policy", policy, no_policy), ("groups", groups, no_groups), ("users", users, no_users))
    if not any((policy, no_policy, groups, no_groups, users, no_users, settings_file)) and fan_out is None:
        msg = "nothing to set: give --policy, --group, --user, --fan-out or --settings"
        raise click.UsageError(msg, click.get_current_context())

    async def work() -> tuple[Shape, list[str]]:
        async with session.store() as (journal, state):
            integration = await find_integration(state, ref)
            changes: dict[str, Any] = {} if settings_file is None else {"settings": read_settings(settings_file)}
            if policy or no_policy:
                changes["policy_id"] = (await find_policy(state, policy)).id if policy else None
            if groups or no_groups:
                changes["group_ids"] = await _ids(state, find_group, groups)
            if users or no_users:
                changes["user_ids"] = await _ids(state, find_user, users)
            if changes:
                integration = await change_integration(state, session.plugins, session.clock, integration, **changes)
            if fan_out is not None:
                await set_fan_out(state, integration, fan_out=fan_out)
            newest = await journal.newest(LOOKED_AT, endpoint_id=integration.endpoint_id)
            cautions = await cautions_for(session, state, integration, newest)
            (shape,) = await _shapes(session, state, [integration])
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


@command.command(
    examples=[
        'alert-gateway integrations clone "Datadog" --name "Datadog staging" --settings staging.toml --policy Developers'
    ]
)
@click.argument("ref", metavar="NAME_OR_ID")
@click.option("--name", required=True, help="What the clone is called; the URL stays that of the first.")
@click.option(
    "--policy", metavar="REF", help="Who is notified: an escalation policy; that of the first where it is left out."
)
@_SETTINGS
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
            (shape,) = await _shapes(session, state, [made])
            return shape, cautions

    shape, cautions = session.run(work())
    session.out.one(
        shape | {"warnings": cautions},
        [f"integration {cell(shape['name'])} is added to the endpoint of {cell(ref)}", *caution_lines(cautions)],
    )


@command.command(
    examples=[
        "alert-gateway integrations rotate Backups",
        "alert-gateway integrations rotate Backups --overlap 0          the URL has leaked",
        "alert-gateway integrations rotate Backups --secret-file new.txt   the secret; the URL stays",
    ]
)
@click.argument("ref", metavar="NAME_OR_ID")
@click.option(
    "--overlap",
    type=Span(),
    default="24h",
    show_default=True,
    metavar="SPAN",
    help="How long the URL before works beside the new one; 0 ends it at once. (A secret before holds until the next one.)",
)
@_SECRET
@shared
def rotate(session: Session, ref: str, overlap: float, secret_file: Path | None) -> None:
    """Give an integration a new endpoint URL and print it (this once); or with --secret-file, a new secret."""
    secret = read_secret(secret_file)

    async def work() -> tuple[Made | None, Shape]:
        async with session.state() as state:
            integration = await find_integration(state, ref)
            made = None
            if secret is None:
                made = await rotate_token(state, session.vault, session.clock, integration, overlap=overlap)
            else:
                keep = overlap > 0
                try:
                    await replace_secret(state, session.vault, session.plugins, integration, secret, keep_previous=keep)
                except SettingsError as error:
                    raise GatewayError(str(error)) from None
            (shape,) = await _shapes(session, state, [integration])
            return made, shape

    made, shape = session.run(work())
    if made is None:
        before = "the one before holds too, until the next" if overlap else "the one before no longer holds"
        session.out.one(shape, [f"the secret of {cell(shape['name'])} is replaced; {before}"])
        return
    shape = made_shape(session, made, shape["policy"]) | {"previous_token_until": shape["previous_token_until"]}
    until = shape["previous_token_until"]
    lines = [f"integration {cell(shape['name'])} has a new URL", *url_lines(shape), ""]
    lines.append(f"The URL before works until {until}." if until else "The URL before no longer works.")
    session.out.one(shape, lines)


@command.command(examples=["alert-gateway integrations delete Backups --yes"])
@click.argument("ref", metavar="NAME_OR_ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared
def delete(session: Session, ref: str, yes: bool) -> None:
    """
    Delete an integration and its URL. Its messages and alerts are kept.

    It asks first on a terminal; elsewhere, --yes is not needed.
    """

    async def work() -> Shape | None:
        async with session.state() as state:
            integration = await find_integration(state, ref)
            if not yes and not session.out.as_json and sys.stdin.isatty():
                question = (
                    f"Delete {cell(integration.name)}? Senders that use its URL will get 404, and there is no way back"
                )
                if not click.confirm(question):
                    return None
            (shape,) = await _shapes(session, state, [integration])
            await state.delete_integration(integration.id)
            return shape

    shape = session.run(work())
    if shape is None:
        session.out.note("nothing was deleted")
    else:
        session.out.one(shape, [f"integration {cell(shape['name'])} is deleted"])


def _switch(session: Session, ref: str, *, enabled: bool) -> None:
    async def work() -> Shape:
        async with session.state() as state:
            found = await find_integration(state, ref)
            changed = await change_integration(state, session.plugins, session.clock, found, enabled=enabled)
            (shape,) = await _shapes(session, state, [changed])
            return shape

    shape = session.run(work())
    session.out.one(shape, [f"integration {cell(shape['name'])} is {'enabled' if enabled else 'disabled'}"])


def _check_flags(*flags: tuple[str, object, bool]) -> None:
    for name, given, none in flags:
        if given and none:
            msg = f"--{name.removesuffix('s')} and --no-{name} contradict each other"
            raise click.UsageError(msg, click.get_current_context())


async def _ids(
    state: State, find: Callable[[State, str], Awaitable[User | RecipientGroup]], refs: Sequence[str]
) -> tuple[str, ...]:
    return tuple([(await find(state, ref)).id for ref in refs])


async def _shapes(session: Session, state: State, integrations: list[Integration]) -> list[Shape]:
    directory = Directory(await state.policies(), await state.groups(), await state.users())
    if len(integrations) == 1:
        endpoints = {integrations[0].endpoint_id: await find_endpoint(state, integrations[0])}
    else:
        endpoints = {endpoint.id: endpoint for endpoint in await state.endpoints()}
    base_url = session.base_url
    return [integration_shape(one, endpoints.get(one.endpoint_id), directory, base_url) for one in integrations]
