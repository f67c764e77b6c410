"""`alert-gateway plugins`."""

from __future__ import annotations

import click
import msgspec

from gateway.cli.plugins_check import check, preview
from gateway.cli.plugins_new import new

from gateway.cli.session import Session
from gateway.cli.words import Group, limited, shared


@click.group(cls=Group)
def command() -> None:
    """
    Show which plugins are installed.

    A plugin is a pip package of the entry-point group `gateway.plugins`, or lies in GATEWAY_PLUGINS_DIR. One that is broken
    is listed with its error and stops nothing else.
    """


@command.command("list", examples=["alert-gateway plugins list", "alert-gateway plugins list --json"])
@limited
@shared
def list_plugins(session: Session, limit: int) -> None:
    """List plugins, what they bring, and what is wrong with them. Their code is imported to find out."""
    infos = session.plugins_with_code.infos[:limit]
    columns = ("name", "origin", "distribution", "version", "templates", "hooks", "error")
    session.out.rows([msgspec.to_builtins(info) for info in infos], columns, empty="no plugins")


for one in (new, check, preview):
    command.add_command(one)
