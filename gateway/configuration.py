"""
The whole configuration as tables: users, recipient groups, policies, integrations with all their settings.

What they hold is what there is to configure; tokens and secrets are never in them, only where they are to be had from:
`env:NAME`, `file:PATH`, or `kept`, the one that the gateway has already. `configuration_file` reads and writes them,
`inventory` says what a gateway has, `reconciliation` what is otherwise in a file, and `applying` does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from gateway.clock import span
from gateway.hours import Day, Repeat, Window

KEPT = "kept"
Named = TypeVar("Named", bound="UserTable | GroupTable | PolicyTable | IntegrationTable | WindowTable")


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


KINDS: dict[str, type[UserTable | GroupTable | PolicyTable | IntegrationTable]] = {
    "user": UserTable,
    "group": GroupTable,
    "policy": PolicyTable,
    "integration": IntegrationTable,
}
"""The tables of a file, in an order in which each may name those before it."""


def plain(value: Any) -> Any:
    """Structs as tables, without what is as it would be anyway; msgspec leaves that out only where it is the same object."""
    if isinstance(value, msgspec.Struct):
        pairs = ((field, getattr(value, field.name)) for field in msgspec.structs.fields(value))
        return {field.encode_name: plain(one) for field, one in pairs if one != _default(field)}
    return [plain(one) for one in value] if isinstance(value, list) else value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def by_name(tables: Iterable[Named]) -> dict[str, Named]:
    """Tables by their names."""
    return {table.name: table for table in tables}


def tidied(configuration: Configuration) -> Configuration:
    """The same as a gateway has it once it is applied: each name once, steps and windows in order, spans in one way."""
    replace = msgspec.structs.replace
    return Configuration(
        user=[replace(user, contacts=_once(user.contacts)) for user in configuration.user],
        group=[replace(group, users=_once(group.users)) for group in configuration.group],
        policy=[
            replace(
                policy,
                steps=[
                    StepTable(after=said_span(seconds(step)), users=_once(step.users))
                    for step in sorted(policy.steps, key=seconds)
                ],
            )
            for policy in configuration.policy
        ],
        integration=[
            replace(
                table,
                groups=_once(table.groups),
                users=_once(table.users),
                maintenance=sorted(table.maintenance, key=lambda window: window.name),
            )
            for table in configuration.integration
        ],
    )


def seconds(step: StepTable) -> int:
    """How long after people are first told, in whole seconds."""
    return (span(step.after) or 0) // 1000


def said_span(length: int) -> str:
    """Seconds as a file says them: `5m`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if length and length % size == 0:
            return f"{length // size}{unit}"
    return f"{length}s" if length else "0"


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
