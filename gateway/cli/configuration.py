"""`alert-gateway config`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gateway.cli.contacts import checked_contact
from gateway.cli.files import content_of
from gateway.cli.output import cell
from gateway.cli.root import FAILED, OK
from gateway.cli.session import Session
from gateway.cli.shapes import Shape
from gateway.cli.words import Group, shared
from gateway.configuration import Configuration, exported, parse, to_toml
from gateway.errors import GatewayError
from gateway.reconciliation import Reconciliation, Step
from gateway.store.base import State

_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True))
_PRUNE = click.option("--prune", is_flag=True, help="Delete what is not in the file, too.")
_VERBS = {"add": "+", "change": "~", "delete": "-"}


@click.group(cls=Group)
def command() -> None:
    """
    The configuration as one TOML file: users, groups, policies, integrations with all their settings.

    Tokens and secrets are not in it, only where they are to be had from: `env:NAME`, `file:PATH`, or `kept`.
    """


@command.command(examples=["alert-gateway config export > gateway.toml"])
@shared
def export(session: Session) -> None:
    """Print the configuration of this gateway as TOML; with --json as JSON."""

    async def work() -> Configuration:
        async with session.state() as state:
            return await exported(state)

    configuration = session.run(work())
    if session.out.as_json:
        session.out.json(configuration)
    else:
        session.out.lines([to_toml(configuration).rstrip()])


@command.command(examples=["alert-gateway config check gateway.toml"])
@_FILE
@shared
def check(session: Session, file: Path) -> None:
    """Say whether a file could be applied here, and what is wrong with it; nothing is changed."""
    steps = session.run(_steps(session, file, prune=False))
    session.out.one({"ok": True, "changes": len(steps)}, [f"{file} is good; {len(steps)} changes would be made"])


@command.command(examples=["alert-gateway config diff gateway.toml", "alert-gateway config diff gateway.toml --prune"])
@_FILE
@_PRUNE
@shared
def diff(session: Session, file: Path, prune: bool) -> int:
    """Show what applying a file would change. The exit code is 1 where it would change anything, else 0."""
    steps = session.run(_steps(session, file, prune=prune))
    _print(session, steps, empty="nothing would be changed")
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
    Make this gateway what a file says: show the plan, ask on a terminal, then do it.

    Applying it again changes nothing. What is not in the file is left alone, unless --prune is given. The URLs of new
    integrations are printed, this once; those whose `token` is said in the file keep theirs.
    """

    async def work() -> tuple[list[Step], list[Shape]]:
        async with session.state(make=True) as state:
            steps = await _planned(session, state, file, prune=prune)
            if not session.out.as_json:
                _print(session, steps, empty="nothing is to be changed")
            if steps and not yes and sys.stdin.isatty() and not click.confirm("Do it?"):
                return [], []
            urls = []
            for step in steps:
                made = await step.carry_out()
                if made is not None:
                    urls.append({"name": step.name, "endpoint_url": made.url(session.base_url)})
            return steps, urls

    steps, urls = session.run(work())
    if session.out.as_json:
        session.out.json({"changes": [_shape(step) for step in steps], "urls": urls})
    elif steps:
        session.out.lines(["", f"{len(steps)} changes are made"])
        if urls:
            session.out.lines(["URLs of new integrations, shown this once:", ""])
            session.out.lines([f"  {cell(one['name'])}  {one['endpoint_url']}" for one in urls])
    return OK


async def _steps(session: Session, file: Path, *, prune: bool) -> list[Step]:
    async with session.state(make=True) as state:
        return await _planned(session, state, file, prune=prune)


async def _planned(session: Session, state: State, file: Path, *, prune: bool) -> list[Step]:
    try:
        text = content_of(file).decode("utf-8")
    except UnicodeDecodeError:
        msg = f"{file}: not UTF-8 text"
        raise GatewayError(msg) from None

    async def check_contact(contact: str) -> tuple[str, str]:
        return (await checked_contact(session, contact))[0]

    reconciliation = Reconciliation(state, session.vault, session.plugins, session.clock, check_contact)
    return await reconciliation.steps(parse(text, str(file)), prune=prune)


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
