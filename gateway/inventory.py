"""
What a gateway has: its configuration as the tables of a file, and the endpoints, whose tokens and secrets no file has.

In an order that does not depend on when things were made, so that two gateways of one configuration say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.configuration import (
    KEPT,
    Configuration,
    GroupTable,
    IntegrationTable,
    PolicyTable,
    StepTable,
    UserTable,
    WindowTable,
    said_span,
)
from gateway.hours import Window
from gateway.models import Endpoint, Integration
from gateway.store.base import State


class Inventory(msgspec.Struct, kw_only=True):
    """All of it; empty where there is no gateway yet. `endpoints` are by the name of the integration that is first on each."""

    configuration: Configuration = msgspec.field(default_factory=Configuration)
    endpoints: Mapping[str, Endpoint] = {}


async def inventory_of(state: State) -> Inventory:
    """What a gateway has now."""
    configuration = await exported(state)
    endpoints = {endpoint.id: endpoint for endpoint in await state.endpoints()}
    firsts = {table.name for table in configuration.integration if table.clone_of is None}
    return Inventory(
        configuration=configuration,
        endpoints={one.name: endpoints[one.endpoint_id] for one in await state.integrations() if one.name in firsts},
    )


async def exported(state: State) -> Configuration:
    """The configuration of a gateway, in an order that does not depend on when things were made."""
    users, groups, policies = await state.users(), await state.groups(), await state.policies()
    names = {one.id: one.name for kind in (users, groups, policies) for one in kind}
    windows: dict[str, list[WindowTable]] = {}
    for window in sorted(await state.windows(), key=lambda one: one.name):
        windows.setdefault(window.integration_id, []).append(window_table(window))
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
                steps=[
                    StepTable(after=said_span(step.after), users=_names(step.user_ids, names)) for step in policy.steps
                ],
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


def window_table(window: Window) -> WindowTable:
    """A maintenance window as a file has it."""
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
