"""`alert-gateway config`."""

from __future__ import annotations

import contextlib
import secrets
import sys
from pathlib import Path

import click

from gateway.applying import Applying
from gateway.cli.cautions import caution_lines, cautions_in
from gateway.cli.contacts import contact_checks
from gateway.cli.files import content_of
from gateway.cli.output import cell
from gateway.cli.root import FAILED, OK
from gateway.cli.session import Session
from gateway.cli.shapes import Shape, user_shape
from gateway.cli.words import Group, shared
from gateway.configuration import Configuration, plain
from gateway.configuration_file import parse, to_toml
from gateway.errors import GatewayError, StoreError
from gateway.inventory import Inventory, exported, inventory_of
from gateway.reconciliation import Reconciliation, Step, merged
from gateway.references import References
from gateway.vault import Vault

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True))
_PRUNE = click.option("--prune", is_flag=True, help="Delete what is not in the file, too.")
_VERBS = {"add": "+", "change": "~", "delete": "-"}


@click.group(cls=Group)
def command() -> None:
    """
    The configuration as one TOML file: users, groups, policies, integrations with all their settings.

    Tokens and secrets are not in it, only where they are to be had from: `env:NAME` of the environment, `file:PATH`, or
    `kept`, the one that the gateway has. See what a file looks like with `export`, what it would change with `diff`.
    """


@command.command(examples=["alert-gateway config export > gateway.toml"])
@shared
def export(session: Session) -> None:
    """
    Print the configuration as TOML; with --json as JSON.

    What is as it would be anyway is left out. A secret that a file did not bring is `kept`: to apply the file to another
    gateway, say there where the secret is to be had from.
    """

    async def work() -> Configuration:
        async with session.state() as state:
            return await exported(state)

    configuration = session.run(work())
    if session.out.as_json:
        session.out.json(plain(configuration))
    else:
        session.out.lines([to_toml(configuration).rstrip()])


@command.command(examples=["alert-gateway config check gateway.toml"])
@_FILE
@shared
def check(session: Session, file: Path) -> None:
    """Say whether a file could be applied here, and what is likely a mistake in it; nothing is changed."""
    steps, warnings = session.run(_planned(session, file, warn=True))
    session.out.one(
        {"ok": True, "changes": len(steps), "warnings": warnings},
        [f"{file} is good; {_count(steps)} would be made", *caution_lines(warnings)],
    )


@command.command(examples=["alert-gateway config diff gateway.toml", "alert-gateway config diff gateway.toml --prune"])
@_FILE
@_PRUNE
@shared
def diff(session: Session, file: Path, prune: bool) -> int:
    """
    Show what applying a file would change; nothing is changed.

    + is added, ~ is changed, - is deleted (with --prune). The exit code is 1 where anything would be changed, else 0.
    """
    steps, warnings = session.run(_planned(session, file, prune=prune))
    _print(session, steps, empty="nothing would be changed")
    for warning in warnings:
        session.out.note(f"warning: {cell(warning)}")
    return FAILED if steps else OK


@command.command(
    examples=["alert-gateway config apply gateway.toml", "alert-gateway config apply gateway.toml --prune --yes"]
)
@_FILE
@_PRUNE
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared
def apply(session: Session, file: Path, prune: bool, yes: bool) -> int:
    """
    Make this gateway what a file says.

    The plan is shown first, with what is likely a mistake, and asked about on a terminal. Applying the file again changes
    nothing. What is not in the file is left alone, unless --prune is given. The URLs of new integrations are printed, this
    once; those whose `token` is said in the file keep theirs. Where a file brings another token, the one before works for
    24h more; a secret before holds until the next. What receivers of new webhook contacts verify signatures with is printed,
    too: it is the same as in another gateway only where that has the same secret.key.
    """
    steps, warnings = session.run(_planned(session, file, prune=prune))
    if not session.out.as_json:
        _print(session, steps, empty="nothing is to be changed")
        session.out.lines(caution_lines(warnings))
    if steps and not yes and not session.out.as_json and sys.stdin.isatty() and not click.confirm("Do it?"):
        session.out.note("nothing was changed")
        return OK
    urls, signing = session.run(_carried_out(session, steps)) if steps else ([], [])
    if session.out.as_json:
        shape = {"changes": [_shape(step) for step in steps], "urls": urls}
        session.out.json(shape | {"signing_secrets": signing, "warnings": warnings})
    elif steps:
        session.out.lines(["", f"done: {_count(steps)}"])
        if urls:
            session.out.lines(["URLs of new integrations, shown this once:", ""])
            session.out.lines([f"  {cell(one['name'])}  {one['endpoint_url']}" for one in urls])
        if signing:
            session.out.lines(["What receivers of new webhook contacts verify signatures with:", ""])
            session.out.lines(
                [f"  {cell(one['user'])}  {cell(one['address'])}  {one['signing_secret']}" for one in signing]
            )
    return OK


async def _carried_out(session: Session, steps: list[Step]) -> tuple[list[Shape], list[Shape]]:
    """The URLs that were made, and the secrets of webhook contacts that were."""
    urls: list[Shape] = []
    async with session.state(make=True) as state:
        known = {contact.id for user in await state.users() for contact in user.contacts}
        applying = Applying(state, session.vault, session.plugins, session.clock, References())
        for number, step in enumerate(steps):
            try:
                made = await applying.carry_out(step)
            except StoreError:
                raise
            except GatewayError as error:
                msg = (
                    f"{step.kind} {step.name!r}: {error} ({number} of {len(steps)} changes were made before it; "
                    "applying the file again goes on from there)"
                )
                raise GatewayError(msg) from None
            if made is not None:
                urls.append({"name": step.name, "endpoint_url": made.url(session.base_url)})
        users = [user_shape(user, session.vault) for user in await state.users()]
    signing = [
        {"user": user["name"], "address": contact["address"], "signing_secret": contact["signing_secret"]}
        for user in users
        for contact in user["contacts"]
        if contact["id"] not in known and "signing_secret" in contact
    ]
    return urls, signing


async def _planned(
    session: Session, file: Path, *, prune: bool = False, warn: bool = False
) -> tuple[list[Step], list[str]]:
    """
    The steps from what is there to what the file says, and what is likely a mistake in it.

    What would change nothing is looked at for mistakes only if it is to `warn`. Where there is no store yet, none is made.
    """
    try:
        text = content_of(file).decode("utf-8")
    except UnicodeDecodeError:
        msg = f"{file}: not UTF-8 text"
        raise GatewayError(msg) from None
    wanted = parse(text, str(file))
    inventory, vault, journal = Inventory(), Vault(secrets.token_bytes(32)), None
    async with contextlib.AsyncExitStack() as stack:
        if session.has_data:
            vault = session.vault
            journal, state = await stack.enter_async_context(session.store())
            inventory = await inventory_of(state)
        checks = await stack.enter_async_context(contact_checks(session))

        async def check_contact(contact: str) -> tuple[str, str]:
            return (await checks(contact))[0]

        reconciliation = Reconciliation(inventory, vault, session.plugins, check_contact, References())
        try:
            steps = await reconciliation.steps(wanted, prune=prune)
        except StoreError:
            raise
        except GatewayError as error:
            msg = f"{file}: {error}"
            raise GatewayError(msg) from None
        warnings = list(reconciliation.warnings)
        if steps or warn:
            inventory = reconciliation.inventory
            after = wanted if prune else merged(inventory.configuration, wanted)
            changed = None if warn else steps
            warnings += await cautions_in(session, journal, inventory.endpoints, wanted, after, changed)
        return steps, warnings


def _count(steps: list[Step]) -> str:
    return "1 change" if len(steps) == 1 else f"{len(steps)} changes"


def _shape(step: Step) -> Shape:
    return {"verb": step.verb, "kind": step.kind, "name": step.name, "details": step.details}


def _print(session: Session, steps: list[Step], *, empty: str) -> None:
    if session.out.as_json:
        session.out.json([_shape(step) for step in steps])
        return
    for step in steps:
        session.out.lines([f"{_VERBS[step.verb]} {step.kind} {cell(step.name)}"])
        session.out.lines([f"    {cell(line)}" for line in step.details])
    if not steps:
        session.out.note(empty)
