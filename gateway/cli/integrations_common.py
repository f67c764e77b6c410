"""What the commands on integrations share: options, and how integrations are shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click

from gateway.cli.session import Session
from gateway.cli.shapes import Directory, Shape, integration_shape
from gateway.errors import GatewayError
from gateway.integrations import find_endpoint
from gateway.models import Group, Integration, User
from gateway.store.base import State

SECRET = click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    metavar="FILE",
    help="Verify the sender with the secret in this file (`-` is the standard input), as the template says how.",
)
GROUPS = click.option(
    "--group",
    "groups",
    metavar="REF",
    multiple=True,
    help="A recipient group that is told in addition; again for more.",
)
USERS = click.option(
    "--user", "users", metavar="REF", multiple=True, help="A user who is told in addition; again for more."
)
SETTINGS = click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    metavar="FILE",
    help="What it does otherwise than its template, and its Advanced Settings, as TOML (docs/advanced.md).",
)


async def ids(
    state: State, find: Callable[[State, str], Awaitable[User | Group]], refs: Sequence[str]
) -> tuple[str, ...]:
    """The ids of those that are named."""
    return tuple([(await find(state, ref)).id for ref in refs])


async def shapes_of(session: Session, state: State, integrations: list[Integration]) -> list[Shape]:
    """Integrations as they are shown."""
    directory = Directory(await state.policies(), await state.groups(), await state.users())
    if len(integrations) == 1:
        endpoints = {integrations[0].endpoint_id: await find_endpoint(state, integrations[0])}
    else:
        endpoints = {endpoint.id: endpoint for endpoint in await state.endpoints()}
    base_url = session.base_url
    return [
        integration_shape(one, endpoints.get(one.endpoint_id), directory, base_url)
        | {"template_error": _template_error(session, one)}
        for one in integrations
    ]


def _template_error(session: Session, integration: Integration) -> str | None:
    """Why its template cannot be used: its plugin is gone, or broken."""
    try:
        session.plugins.template(integration.template)
    except GatewayError as error:
        return str(error)
    return None
