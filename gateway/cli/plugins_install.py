"""`alert-gateway plugins install`, `uninstall`, `upgrade`: the operator's, and nobody else's."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.words import Command, shared
from gateway.errors import GatewayError, NotFoundError

if TYPE_CHECKING:
    from gateway.installing import Change, Installer, Wanted

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
dry_option = click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")


def installer() -> Installer:
    """What installs for the interpreter that runs this; tests put another in its place."""
    from gateway.installing import Installer

    return Installer()


@click.command(
    "install",
    cls=Command,
    examples=[
        "alert-gateway plugins install alert-gateway-acme             from the package index",
        "alert-gateway plugins install 'alert-gateway-acme>=1,<2'",
        "alert-gateway plugins install ./alert_gateway_acme-1.0-py3-none-any.whl",
        "alert-gateway plugins install -e ./alert-gateway-acme        a link to a folder that is being worked on",
        "alert-gateway plugins install -r gateway-data/plugins.txt    what was installed before, in a new image",
    ],
)
@click.argument("requirements", nargs=-1, metavar="[NAME|WHEEL|FOLDER]...")
@click.option(
    "-e",
    "--editable",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Link to a package's folder.",
)
@click.option(
    "-r",
    "--requirement",
    "files",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What this file names.",
)
@click.option("--allow-url", is_flag=True, help="Allow https and git URLs.")
@click.option("--index-url", metavar="URL", help="Another package index.")
@click.option("--find-links", multiple=True, metavar="DIR", help="A folder of wheels to look in.")
@click.option("--no-index", is_flag=True, help="Look in no package index: only in --find-links.")
@dry_option
@yes_option
@shared
def install(
    session: Session,
    requirements: tuple[str, ...],
    editable: tuple[Path, ...],
    files: tuple[Path, ...],
    allow_url: bool,
    index_url: str | None,
    find_links: tuple[str, ...],
    no_index: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """
    Install plugins, with pip or uv, into the environment that this command runs in.

    A plugin is code that runs with all the gateway's rights: install what you trust. It says what will change and asks first
    on a terminal. The gateway itself is not changed along. What was installed is kept in plugins.txt of the data folder.
    """
    from gateway.installing import Wanted, check_editable, check_file, check_requirement

    if not requirements and not editable and not files:
        msg = "name a plugin to install, or -e DIR, or -r FILE"
        raise click.UsageError(msg, click.get_current_context())
    _check_places(index_url, find_links)
    wanted = Wanted(
        requirements=tuple(check_requirement(text, allow_url=allow_url) for text in requirements),
        editable=tuple(map(check_editable, editable)),
        files=tuple(check_file(path, allow_url=allow_url) for path in files),
        index_url=index_url,
        find_links=find_links,
        no_index=no_index,
    )
    _carry_out(session, wanted, dry_run=dry_run, yes=yes)


@click.command(
    "upgrade",
    cls=Command,
    examples=["alert-gateway plugins upgrade alert-gateway-acme", "alert-gateway plugins upgrade --all --dry-run"],
)
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="Upgrade every plugin that is installed.")
@click.option("--index-url", metavar="URL", help="Another package index.")
@click.option("--find-links", multiple=True, metavar="DIR", help="A folder of wheels to look in.")
@click.option("--no-index", is_flag=True, help="Look in no package index: only in --find-links.")
@dry_option
@yes_option
@shared
def upgrade(
    session: Session,
    names: tuple[str, ...],
    every: bool,
    index_url: str | None,
    find_links: tuple[str, ...],
    no_index: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Upgrade plugins to the newest version that the gateway's own version allows."""
    from gateway.installing import Wanted

    if bool(names) == every:
        msg = "name the plugins to upgrade, or say --all"
        raise click.UsageError(msg, click.get_current_context())
    _check_places(index_url, find_links)
    found = _installed(session) if every else [_distribution(session, name) for name in names]
    if not found:
        session.out.note("no plugin is installed")
    wanted = Wanted(
        requirements=tuple(found), upgrade=True, index_url=index_url, find_links=find_links, no_index=no_index
    )
    if found:
        _carry_out(session, wanted, dry_run=dry_run, yes=yes)
    elif session.out.as_json:
        session.out.json(_shape([], [], done=False))


@click.command("uninstall", cls=Command, examples=["alert-gateway plugins uninstall alert-gateway-acme --yes"])
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@dry_option
@yes_option
@shared
def uninstall(session: Session, names: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """
    Uninstall plugins. What they brought along stays, and so do integrations that use their templates.

    Messages to such an integration are kept as `failed`; after a reinstall, `messages replay --failed` reads them.
    """
    from gateway.installing import Change, version_of
    from gateway.roster import record

    found = list(dict.fromkeys(_distribution(session, name) for name in names))
    changes = [Change(name, version_of(name), None) for name in found]
    templates = {slug for info in session.plugins.infos if info.distribution in found for slug in info.templates}
    users = _integrations_with(session, templates)
    if users:
        session.out.note(
            f"note: in use by {', '.join(map(cell, users))}: their messages are kept, and can be replayed later"
        )
    if not _agreed(session, changes, dry_run=dry_run, yes=yes):
        return
    installer().uninstall(found)
    record(session.settings.data, dict.fromkeys(found))
    _finish(session, changes, [], "uninstalled")


def _carry_out(session: Session, wanted: Wanted, *, dry_run: bool, yes: bool) -> None:
    """Plan, show, ask, install, record, and say what the new plugins bring."""
    from gateway.cli.plugins_record import lines_of
    from gateway.roster import record

    tool = installer()
    changes = tool.plan(wanted)
    for text in wanted.requirements:
        if "/" not in text and not text.lower().replace("_", "-").startswith("alert-gateway-"):
            session.out.note(f"note: {cell(text)} is not called alert-gateway-…; is it what you mean?")
    if not _agreed(session, changes, dry_run=dry_run, yes=yes):
        return
    if changes:
        tool.install(wanted)
        changes = tool.done(changes)
    lines = lines_of(wanted, {change.name: change.after for change in changes})
    record(session.settings.data, dict(lines))
    _finish(session, changes, _brought(session, tool, set(lines)), "upgraded" if wanted.upgrade else "installed")


def _agreed(session: Session, changes: Sequence[Change], *, dry_run: bool, yes: bool) -> bool:
    """Show what will change; whether it is to be done."""
    if not session.out.as_json:
        if changes:
            session.out.table(
                ("NAME", "NOW", "THEN"), [[one.name, one.before, one.after or "(gone)"] for one in changes]
            )
        else:
            session.out.lines(["nothing has to change"])
    if dry_run:
        if session.out.as_json:
            session.out.json(_shape(changes, [], done=False))
        return False
    if changes and sys.stdin.isatty() and not yes and not session.out.as_json and not click.confirm("Do it?"):
        session.out.note("nothing was changed")
        return False
    return True


def _brought(session: Session, tool: Installer, names: set[str]) -> list[dict[str, Any]]:
    """What a new process finds of these distributions: this one would not see a link that was just made."""
    from gateway.roster import normal

    command = [tool.python, "-m", "gateway", "plugins", "list", "--json", "--limit", "10000"]
    done = tool.run([*command, "--data", str(session.settings.data)])
    try:
        found = json.loads(done.out if done.code == 0 else "")
    except ValueError:
        session.out.note("note: what it brings could not be looked at; `alert-gateway plugins list` says why")
        return []
    mine = [one for one in found if normal(one["distribution"]) in names]
    for name in names - {normal(one["distribution"]) for one in mine}:
        session.out.note(f"note: {cell(name)} brings no plugin: it has no entry point in gateway.plugins")
    return mine


def _finish(session: Session, changes: Sequence[Change], brought: Sequence[dict[str, Any]], verb: str) -> None:
    if session.out.as_json:
        session.out.json(_shape(changes, brought, done=True))
        return
    lines = [f"{verb} {cell(one.name)} {cell(one.after or one.before)}" for one in changes]
    for one in brought:
        bring = [f"template {slug}" for slug in one["templates"]] + [f"hook {hook}" for hook in one["hooks"]]
        lines.append(
            f"{cell(one['name'])}: {cell(one['error']) if one['error'] else ', '.join(map(cell, bring)) or 'nothing'}"
        )
    session.out.lines(lines)
    if session.running:
        session.out.note("note: the gateway that runs on this folder goes on with what it loaded; restart it")


def _shape(changes: Sequence[Change], brought: Sequence[dict[str, Any]], *, done: bool) -> dict[str, Any]:
    return {"done": done, "changes": [msgspec.to_builtins(one) for one in changes], "plugins": list(brought)}


def _installed(session: Session) -> list[str]:
    from gateway.roster import normal, recorded

    linked = {name for name, line in recorded(session.settings.data).items() if line.startswith("-e ")}
    names = {normal(info.distribution) for info in session.plugins.infos if info.origin == "installed"}
    return sorted(names - linked)


def _distribution(session: Session, name: str) -> str:
    """The distribution of an installed plugin, by its own name or the plugin's; raises NotFoundError."""
    from gateway.config import nearest
    from gateway.roster import normal

    infos = [info for info in session.plugins.infos if info.origin == "installed"]
    for info in infos:
        if normal(name) == normal(info.distribution) or name == info.name:
            return info.distribution
    known = [info.distribution for info in infos]
    msg = f"no plugin {name!r} is installed as a package{nearest(name, known)}; `alert-gateway plugins list` shows all"
    raise NotFoundError(msg)


def _integrations_with(session: Session, templates: set[str]) -> list[str]:
    if not templates or not session.has_data:
        return []

    async def work() -> list[str]:
        async with session.state() as state:
            return [one.name for one in await state.integrations() if one.template in templates]

    return session.run(work())


def _check_places(index_url: str | None, find_links: Sequence[str]) -> None:
    for text in (index_url or "https", *find_links):
        if text.startswith("-"):
            msg = f"{text!r} is an option, not a place"
            raise GatewayError(msg)
