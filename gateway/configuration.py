"""
The whole configuration as one TOML file: users, recipient groups, policies, integrations with all their settings.

What the file holds is what there is to configure; tokens and secrets are never in it, only where they are to be had from:
`env:NAME`, `file:PATH`, or `kept`, the one that the gateway has already. `reconciliation` makes a gateway what a file says.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from gateway.clock import span
from gateway.errors import GatewayError, SettingsError, TemplateError
from gateway.hours import Day, Repeat, Window, check_window
from gateway.models import Endpoint, Integration
from gateway.store.base import State
from gateway.tables import struct_of

KEPT = "kept"
HEAD = "# The configuration of an Alert Gateway: `alert-gateway config apply FILE`. No secrets are in it.\n\n"
_Named = TypeVar("_Named", bound="UserTable | GroupTable | PolicyTable | IntegrationTable | WindowTable")


class UserTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[[user]]`."""

    name: str
    """What the user is called."""
    contacts: list[str] = []
    """How they are reached, in order: `email:ada@example.com`, `webhook:https://…`."""


class GroupTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[[group]]`, a recipient group."""

    name: str
    """What it is called."""
    users: list[str]
    """Who is in it, by name."""


class StepTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A step of a policy."""

    after: str = "0"
    """How long after people are first told: `5m`."""
    users: list[str]
    """Who is told then, by name."""


class PolicyTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[[policy]]`, an escalation policy."""

    name: str
    """What it is called."""
    steps: list[StepTable]
    """Who is told, and when."""


class WindowTable(
    msgspec.Struct,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"from_": "from"},
):
    """`[[integration.maintenance]]`, a maintenance window."""

    name: str
    """What it is called."""
    from_: str
    """When it begins (first), local: `2026-12-01T22:00`."""
    to: str
    """When it ends, local."""
    zone: str
    """The time zone of both."""
    repeat: Repeat = "once"
    """How often it comes again."""
    days: list[Day] = []
    """The days of a weekly one; that of `from` where it is left out."""
    reopen: bool = False
    """Whether what came in it, and was not closed in it, opens at its end."""

    def window(self) -> Window:
        """The same as a window of no integration yet."""
        return Window(
            id="",
            integration_id="",
            name=self.name,
            starts=self.from_,
            ends=self.to,
            zone=self.zone,
            repeat=self.repeat,
            days=tuple(self.days),
            reopen=self.reopen,
            created_at=0,
        )


class IntegrationTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[[integration]]`."""

    name: str
    """What it is called; a part of its URL, when it is made."""
    template: str
    """The slug of its template."""
    clone_of: str | None = None
    """The integration whose endpoint it shares, by name; that one must come before it in sequence."""
    enabled: bool = True
    """Whether it takes messages."""
    sequence: int = 0
    """Its place among those that share an endpoint."""
    policy: str | None = None
    """Who is notified: an escalation policy, by name."""
    groups: list[str] = []
    """Recipient groups that are told in addition, by name."""
    users: list[str] = []
    """Users who are told in addition, by name."""
    fan_out: bool = False
    """Whether every integration of its endpoint takes the events that pass its filters; not for a clone."""
    token: str = KEPT
    """Where the token of its URL is to be had from; a new one is made where there is none to be kept. Not for a clone."""
    secret: str | None = None
    """Where the secret is to be had from that its sender is verified with; without it nobody is verified. Not for a clone."""
    settings: dict[str, Any] = {}
    """What it does otherwise than its template, and its Advanced Settings."""
    maintenance: list[WindowTable] = []
    """Its maintenance windows."""


class Configuration(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of it. Names are unique among their kind."""

    user: list[UserTable] = []
    """Everyone who is notified."""
    group: list[GroupTable] = []
    """Recipient groups."""
    policy: list[PolicyTable] = []
    """Escalation policies."""
    integration: list[IntegrationTable] = []
    """Integrations."""


def parse(text: str, where: str) -> Configuration:
    """
    The configuration of a file's text, whose own parts fit each other.

    Raises GatewayError that says what is wrong, and in which table. `where` is how it calls the file.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{where}: not TOML: {error}"
        raise GatewayError(msg) from None
    try:
        configuration = struct_of(raw, Configuration, where)
    except TemplateError as error:
        raise GatewayError(str(error)) from None
    problem = _flaw(configuration)
    if problem is not None:
        msg = f"{where}: {problem}"
        raise GatewayError(msg)
    return configuration


def to_toml(configuration: Configuration) -> str:
    """The text of a file that holds it; `parse` gives the same back."""
    return HEAD + msgspec.toml.encode(configuration).decode()


def by_name(tables: Iterable[_Named]) -> dict[str, _Named]:
    """Tables by their names."""
    return {table.name: table for table in tables}


async def exported(state: State) -> Configuration:
    """The configuration of a gateway, in an order that does not depend on when things were made."""
    users, groups, policies = await state.users(), await state.groups(), await state.policies()
    names = {one.id: one.name for kind in (users, groups, policies) for one in kind}
    windows: dict[str, list[WindowTable]] = {}
    for window in await state.windows():
        windows.setdefault(window.integration_id, []).append(_window_table(window))
    endpoints = {endpoint.id: endpoint for endpoint in await state.endpoints()}
    integrations = await state.integrations()
    firsts: dict[str, Integration] = {}
    for integration in sorted(integrations, key=lambda one: (one.sequence, one.created_at, one.id)):
        firsts.setdefault(integration.endpoint_id, integration)
    tables = [
        _integration_table(one, firsts[one.endpoint_id], endpoints[one.endpoint_id], names, windows.get(one.id, []))
        for one in sorted(
            integrations,
            key=lambda one: (
                firsts[one.endpoint_id].name,
                one.id != firsts[one.endpoint_id].id,
                one.sequence,
                one.name,
            ),
        )
    ]
    return Configuration(
        user=[UserTable(name=user.name, contacts=[f"{c.kind}:{c.address}" for c in user.contacts]) for user in users],
        group=[GroupTable(name=group.name, users=_names(group.user_ids, names)) for group in groups],
        policy=[
            PolicyTable(
                name=policy.name,
                steps=[StepTable(after=_span(step.after), users=_names(step.user_ids, names)) for step in policy.steps],
            )
            for policy in policies
        ],
        integration=tables,
    )


def _integration_table(
    one: Integration, first: Integration, endpoint: Endpoint, names: dict[str, str], windows: list[WindowTable]
) -> IntegrationTable:
    table = IntegrationTable(
        name=one.name,
        template=one.template,
        enabled=one.enabled,
        sequence=one.sequence,
        policy=names.get(one.policy_id or ""),
        groups=_names(one.group_ids, names),
        users=_names(one.user_ids, names),
        settings=one.settings,
        maintenance=windows,
    )
    if one.id != first.id:
        table.clone_of = first.name
        return table
    table.fan_out = endpoint.fan_out
    table.token = endpoint.token_from or KEPT
    table.secret = endpoint.secret_from or (KEPT if endpoint.secret is not None else None)
    return table


def _window_table(window: Window) -> WindowTable:
    return WindowTable(
        name=window.name,
        from_=window.starts,
        to=window.ends,
        zone=window.zone,
        repeat=window.repeat,
        days=list(window.days),
        reopen=window.reopen,
    )


def _names(numbers: Sequence[str], names: dict[str, str]) -> list[str]:
    return [names[number] for number in numbers if number in names]


def _span(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s" if seconds else "0"


def _flaw(configuration: Configuration) -> str | None:
    """What does not fit within the file."""
    for kind in ("user", "group", "policy", "integration"):
        names = [table.name for table in getattr(configuration, kind)]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            return f"there are two tables [[{kind}]] of the name {double!r}"
    for policy in configuration.policy:
        for step in policy.steps:
            if span(step.after) is None:
                return f"[[policy]] {policy.name!r}: `after` is {step.after!r}; write a span of time, 5m or 1h"
    integrations = by_name(configuration.integration)
    for table in configuration.integration:
        problem = _integration_flaw(table, integrations)
        if problem is not None:
            return f"[[integration]] {table.name!r}: {problem}"
    return None


def _integration_flaw(table: IntegrationTable, integrations: dict[str, IntegrationTable]) -> str | None:
    if table.clone_of is not None:
        first = integrations.get(table.clone_of)
        if first is not None and (first.clone_of is not None or first.sequence > table.sequence):
            return f"it is a clone of {table.clone_of!r}, which is a clone itself or comes after it in sequence"
        if table.fan_out or table.token != KEPT or table.secret is not None:
            return f"fan_out, token and secret are those of the endpoint: set them for {table.clone_of!r}"
    for key, reference in (("token", table.token), ("secret", table.secret)):
        if reference is not None and reference != KEPT and not reference.startswith(("env:", "file:")):
            return f"`{key}` is to say where it is to be had from, not what it is: env:NAME, file:PATH, or {KEPT}"
    for window in table.maintenance:
        try:
            check_window(window.window())
        except SettingsError as error:
            return f"maintenance {window.name!r}: {error}"
    return None
