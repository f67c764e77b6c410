"""`alert-gateway plugins`: what is installed, switched on and off; the other commands lie beside this file."""

from __future__ import annotations

import contextlib
import importlib.metadata
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gateway.cli.output import cell
from gateway.cli.plugins_check import check, preview
from gateway.cli.plugins_install import install, uninstall, upgrade
from gateway.cli.plugins_new import new
from gateway.cli.session import Session
from gateway.cli.words import Group, limited_late, shared
from gateway.errors import ConflictError, NotFoundError, PluginError, SettingsError

if TYPE_CHECKING:
    from gateway.plugins import PluginInfo

_MANY = 4
_SHORT_HASH = 19


@click.group(cls=Group)
def command() -> None:
    """
    Make, check, install and list plugins.

    A plugin is a pip package of the entry-point group `gateway.plugins`, or lies in GATEWAY_PLUGINS_DIR. One that is broken
    is listed with its error and stops nothing else.
    """


@command.command("list", examples=["alert-gateway plugins list", "alert-gateway plugins list --json"])
@limited_late
@shared
def list_plugins(session: Session, limit: int) -> None:
    """List plugins, what they bring, and what is wrong with them. Their code is imported to find out."""
    shapes = [plugin_shape(session, info) for info in session.plugins_tried.infos[:limit]]
    columns = ("name", "origin", "distribution", "version", "api", "templates", "hooks", "hash", "error")
    if not session.out.as_json:
        for shape in shapes:
            count = len(shape["templates"])
            shape["templates"] = f"{count} templates" if count > _MANY else shape["templates"]
            shape["hash"] = shape["hash"] and shape["hash"][:_SHORT_HASH]
    session.out.rows(shapes, columns, empty="no plugins")
    if not session.out.as_json and (off := _disabled(session)):
        session.out.note(f"note: disabled: {', '.join(map(cell, off))}")


@command.command(examples=["alert-gateway plugins info alert-gateway-acme", "alert-gateway plugins info acme --json"])
@click.argument("name")
@shared
def info(session: Session, name: str) -> None:
    """Show all that is known of a plugin, and the line that allows it and its hash alone (GATEWAY_LOAD_PLUGINS)."""
    from gateway.roster import disabled, normal, recorded

    found = _named(session.plugins_tried.infos, name)
    shape = plugin_shape(session, found)
    is_package = found.origin == "installed"
    metadata = _metadata(found.distribution) if is_package else {}
    key = normal(found.distribution) if is_package else found.name
    settings = session.settings
    shape |= {
        "enabled": key not in disabled(settings.data),
        "summary": metadata.get("Summary"),
        "author": metadata.get("Author") or metadata.get("Author-email"),
        "license": metadata.get("License-Expression") or metadata.get("License"),
        "folder": str(_place(found) or "") or None,
        "recorded": recorded(settings.data).get(key),
        "allow": f"{key}@{shape['hash']}" if is_package and shape["hash"] else None,
    }
    session.out.one(shape)
    if shape["allow"] and not session.out.as_json:
        session.out.lines(
            ["", "to load this and nothing else, exactly as it is:", f"  GATEWAY_LOAD_PLUGINS={shape['allow']}"]
        )


@command.command(examples=["alert-gateway plugins disable alert-gateway-acme", "alert-gateway plugins disable acme"])
@click.argument("name")
@shared
def disable(session: Session, name: str) -> None:
    """Leave a plugin installed, and do not load it. Messages to integrations that use its templates are kept as failed."""
    _switch(session, _key(session, name), on=False)


@command.command(examples=["alert-gateway plugins enable alert-gateway-acme"])
@click.argument("name")
@shared
def enable(session: Session, name: str) -> None:
    """Load a plugin again that was disabled."""
    from gateway.roster import disabled, normal

    known = disabled(session.settings.data)
    _switch(session, normal(name) if normal(name) in known else _key(session, name), on=True)


for _one in (new, check, preview, install, uninstall, upgrade):
    command.add_command(_one)


def plugin_shape(session: Session, info: PluginInfo) -> dict[str, Any]:
    """A plugin as it is printed: what the loader knows, the API its templates were written for, and its hash."""
    shape: dict[str, Any] = msgspec.to_builtins(info)
    del shape["errors"]
    shape["error"] = info.error
    shape["api"] = _api(session, info)
    shape["hash"] = _hash(info)
    return shape


def _api(session: Session, info: PluginInfo) -> str | None:
    """Which `api` its templates say; read as plain TOML, since a template of another API is read no further."""
    found = set()
    for card in session.plugins_with_code.gallery():
        if card.distribution == info.distribution and card.slug in info.templates:
            with contextlib.suppress(OSError, ValueError):
                found.add(tomllib.loads((card.folder.path / "template.toml").read_text(encoding="utf-8")).get("api"))
    return ", ".join(str(api) for api in sorted(found, key=str) if api is not None) or None


def _hash(info: PluginInfo) -> str | None:
    from gateway import fingerprint

    with contextlib.suppress(PluginError, OSError, importlib.metadata.PackageNotFoundError, ValueError):
        if info.origin == "installed":
            return fingerprint.of_distribution(importlib.metadata.distribution(info.distribution))
        place = _place(info)
        if place is not None and place.exists():
            return fingerprint.of_path(place)
    return None


def _place(info: PluginInfo) -> Path | None:
    """Where it lies."""
    from gateway.loader import builtin_dir

    if info.origin == "built-in":
        return builtin_dir()
    if info.origin == "plugins_dir":
        return Path(info.distribution)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return Path(str(importlib.metadata.distribution(info.distribution).locate_file("")))
    return None


def _metadata(distribution: str) -> dict[str, str]:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found = importlib.metadata.metadata(distribution)
        return {key: found[key] for key in found}
    return {}


def _named(infos: list[PluginInfo], name: str) -> PluginInfo:
    """The plugin of this name, distribution or template; raises NotFoundError with the nearest."""
    from gateway.config import nearest
    from gateway.roster import normal

    for fits in (
        lambda one: name == one.name,
        lambda one: normal(name) == normal(one.distribution) and one.origin == "installed",
        lambda one: name in one.templates,
    ):
        found = next((one for one in infos if fits(one)), None)
        if found is not None:
            return found
    known = [text for one in infos for text in (one.name, one.distribution, *one.templates)]
    msg = f"there is no plugin {name!r}{nearest(name, known)}; `alert-gateway plugins list` shows all"
    raise NotFoundError(msg)


def _key(session: Session, name: str) -> str:
    """What stands in plugins.toml for it: the distribution; in GATEWAY_PLUGINS_DIR, the folder's or file's name."""
    from gateway.roster import normal

    found = _named(session.plugins.infos, name)
    if found.origin == "built-in":
        msg = f"{name} is built in; what is not wanted is the integration: `alert-gateway integrations disable NAME`"
        raise ConflictError(msg)
    if found.origin == "installed":
        return normal(found.distribution)
    if found.templates and name not in found.templates:
        msg = f"{name} is the whole folder; name one of {', '.join(found.templates[:10])}, or take away GATEWAY_PLUGINS_DIR"
        raise ConflictError(msg)
    return name


def _disabled(session: Session) -> list[str]:
    from gateway.roster import disabled

    with contextlib.suppress(SettingsError):  # then each plugin is listed with this as its error
        return sorted(disabled(session.settings.data))
    return []


def _switch(session: Session, key: str, *, on: bool) -> None:
    from gateway.roster import switch

    changed = switch(session.settings.data, key, on=on)
    word = "enabled" if on else "disabled"
    session.out.one(
        {"name": key, "enabled": on, "changed": changed}, [f"{cell(key)} is {word}{'' if changed else ' already'}"]
    )
    if changed and session.running:
        session.out.note("note: the gateway that runs on this folder goes on with what it loaded; restart it")
