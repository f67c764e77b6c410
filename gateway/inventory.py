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
    by_name,
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


def led_as_in(wanted: Configuration, inventory: Inventory) -> Inventory:
    """
    The same, told as a file tells it: where the first on an endpoint is a clone of another one on it, that one leads.

    So a file moves a clone before the first, and back: they share what they shared, and only their numbers are otherwise.
    """
    there = by_name(inventory.configuration.integration)
    leaders = {
        table.name: there[table.clone_of]
        for table in wanted.integration
        if table.clone_of in there and there[table.clone_of].clone_of == table.name
    }
    tables = [_led(table, there, leaders) for table in inventory.configuration.integration]
    return Inventory(
        configuration=msgspec.structs.replace(inventory.configuration, integration=tables),
        endpoints={
            leaders[name].name if name in leaders else name: endpoint for name, endpoint in inventory.endpoints.items()
        },
    )


def _led(
    table: IntegrationTable, there: Mapping[str, IntegrationTable], leaders: Mapping[str, IntegrationTable]
) -> IntegrationTable:
    first = there[table.clone_of or table.name]
    leader = leaders.get(first.name)
    if leader is None:
        return table
    own = {"clone_of": None, "fan_out": first.fan_out, "token": first.token, "secret": first.secret}
    of_a_clone = {"clone_of": leader.name, "fan_out": False, "token": KEPT, "secret": None}
    return msgspec.structs.replace(table, **(own if table.name == leader.name else of_a_clone))


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
