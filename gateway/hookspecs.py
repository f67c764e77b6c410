"""
All hooks, in the order in which a message meets them.

A plugin marks its functions with `gateway.hookimpl` and is found through the entry-point group `gateway.plugins` or in
`plugins_dir`. The gateway's own templates, notifiers and commands come through the same hooks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from gateway.models import Event, Ignored, Integration
    from gateway.notifiers.base import Notifier, Outbound
    from gateway.template import Request, TemplateFolder

hookspec = pluggy.HookspecMarker("gateway")
hookimpl = pluggy.HookimplMarker("gateway")


@hookspec
def register_templates() -> Iterable[TemplateFolder]:  # type: ignore[empty-body]
    """Templates that this plugin brings. Called once at start, in every process; must not import their code."""


@hookspec
def register_notifiers(outbound: Outbound) -> Iterable[Notifier]:  # type: ignore[empty-body]
    """Ways to reach people, made with the guarded HTTP client and the settings in `outbound`. Called in delivery."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to `alert-gateway`."""


@hookspec(firstresult=True)
def read(request: Request) -> Iterable[Event | Ignored] | None:
    """Read a message; a template's own. It is called for that template alone, inside whatever wrappers are installed."""


@hookspec
def enrich_event(event: Event, integration: Integration) -> Event | None:
    """Give back a better event, with tags from an inventory for example, or None. Called for each event that was read."""


@hookspec(firstresult=True)
def drop_event(event: Event, integration: Integration) -> str | None:
    """Give a reason to drop the event; its outcome is then `filtered`. The first that gives one decides."""
