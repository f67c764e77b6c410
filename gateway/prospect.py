"""The directory of a configuration that is not applied yet: who would take what, and who would be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.advanced import NONE, Advanced, advanced_of
from gateway.configuration import Configuration, IntegrationTable, UserTable, seconds
from gateway.directory import Directory
from gateway.errors import TemplateError
from gateway.escalation import People
from gateway.models import Contact, Group, Integration, Policy, PolicyStep, User


def prospective(configuration: Configuration) -> Directory:
    """
    The directory that a gateway with just these tables would have.

    Names stand for ids, of an endpoint that of the first on it; instants are 0. Advanced Settings that another version of the
    gateway took are passed over, as they are when it runs.
    """
    by_endpoint: dict[str, list[Integration]] = {}
    for table in sorted(configuration.integration, key=lambda one: (not one.enabled, one.sequence, one.name)):
        by_endpoint.setdefault(table.clone_of or table.name, []).append(_integration(table))
    return Directory(
        integrations=by_endpoint,
        people=People(
            policies={
                table.name: Policy(
                    id=table.name,
                    name=table.name,
                    steps=tuple(PolicyStep(user_ids=tuple(one.users), after=seconds(one)) for one in table.steps),
                    created_at=0,
                )
                for table in configuration.policy
            },
            groups={
                table.name: Group(id=table.name, name=table.name, user_ids=tuple(table.users), created_at=0)
                for table in configuration.group
            },
            users={table.name: _user(table) for table in configuration.user},
        ),
        advanced={table.name: _advanced(table.settings) for table in configuration.integration},
        fan_out=frozenset(table.name for table in configuration.integration if table.fan_out),
    )


def _advanced(settings: Mapping[str, Any]) -> Advanced:
    try:
        return advanced_of(settings)
    except TemplateError:
        return NONE


def _integration(table: IntegrationTable) -> Integration:
    return Integration(
        id=table.name,
        endpoint_id=table.clone_of or table.name,
        name=table.name,
        template=table.template,
        enabled=table.enabled,
        sequence=table.sequence,
        policy_id=table.policy,
        group_ids=tuple(table.groups),
        user_ids=tuple(table.users),
        settings=table.settings,
        created_at=0,
        updated_at=0,
    )


def _user(table: UserTable) -> User:
    parts = (contact.partition(":") for contact in table.contacts)
    contacts = tuple(Contact(id=f"{kind}:{address}", kind=kind, address=address) for kind, _, address in parts)
    return User(id=table.name, name=table.name, contacts=contacts, created_at=0)
