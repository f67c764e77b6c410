"""`alert-gateway integrations`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from gateway.cli.cautions import caution_lines, cautions_for
from gateway.cli.files import read_secret, read_settings
from gateway.cli.integrations_change import clone, set_integration
from gateway.cli.integrations_common import GROUPS, SECRET, SETTINGS, USERS, ids, shapes_of
from gateway.cli.once import made_shape, url_lines
from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Shape
from gateway.cli.templates import rules_in_words
from gateway.cli.words import Group, Span, limited_late, shared
from gateway.errors import GatewayError, SettingsError
from gateway.integrations import (
    Made,
    add_integration,
    change_integration,
    find_integration,
    replace_secret,
    rotate_token,
)
from gateway.people import find_group, find_policy, find_user
from gateway.tables import toml_of

COLUMNS = ("id", "name", "template", "enabled", "policy", "groups", "sequence", "verified", "endpoint_hint")


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
@GROUPS
@USERS
@SETTINGS
@SECRET
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
    from gateway.trial import try_code

    settings = read_settings(settings_file)
    secret = read_secret(secret_file)
    plugins = try_code(session.plugins, session.settings, [template])

    async def work() -> tuple[Made, str | None, list[str]]:
        async with session.state(make=True) as state:
            chosen = await find_policy(state, policy) if policy else None
            try:
                made = await add_integration(
                    state,
                    session.vault,
                    plugins,
                    session.clock,
                    template=template,
                    name=name,
                    policy_id=chosen.id if chosen else None,
                    group_ids=await ids(state, find_group, groups),
                    user_ids=await ids(state, find_user, users),
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
            return await shapes_of(session, state, (await state.integrations())[:limit])

    empty = "no integrations; `alert-gateway integrations add` adds one"
    shapes = session.run(work())
    if not session.out.as_json:
        for shape in shapes:
            shape["template"] += " (cannot be used)" if shape["template_error"] else ""
    session.out.rows(shapes, COLUMNS, empty=empty)


@command.command(examples=["alert-gateway integrations show Backups"])
@click.argument("ref", metavar="NAME_OR_ID")
@shared
def show(session: Session, ref: str) -> None:
    """Show one integration: its rules, as its template and its own settings make them, and these settings."""

    async def work() -> Shape:
        async with session.state() as state:
            integration = await find_integration(state, ref)
            (shape,) = await shapes_of(session, state, [integration])
            try:
                file = session.plugins.template(integration.template).merged(integration.settings)
            except GatewayError as error:
                return shape | {"template_error": str(error), "rules": []}
            return shape | {"rules": [{"then": then, "when": when} for then, when in rules_in_words(file)]}

    shape = session.run(work())
    if session.out.as_json:
        session.out.json(shape)
        return
    session.out.pairs(shape)
    if shape["template_error"]:
        session.out.lines(
            ["", "as long as its template cannot be used, its messages are kept as failed, to be replayed then"]
        )
    else:
        session.out.lines(["", "what the sender's words mean"])
        session.out.table(("THEN", "WHEN"), [[rule["then"], rule["when"]] for rule in shape["rules"]])
    if shape["settings"]:
        session.out.lines(["", "settings", *(f"  {line}" for line in toml_of(shape["settings"]).splitlines())])


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
@SECRET
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
            (shape,) = await shapes_of(session, state, [integration])
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
            (shape,) = await shapes_of(session, state, [integration])
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
            (shape,) = await shapes_of(session, state, [changed])
            return shape

    shape = session.run(work())
    session.out.one(shape, [f"integration {cell(shape['name'])} is {'enabled' if enabled else 'disabled'}"])


for _one in (set_integration, clone):
    command.add_command(_one)
