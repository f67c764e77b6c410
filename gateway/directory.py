"""The configuration as the pipeline needs it: who takes what, who is told, and which windows there are."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gateway.advanced import NONE, Advanced, advanced_of
from gateway.errors import TemplateError
from gateway.escalation import People
from gateway.hours import Window, active_until
from gateway.models import SELF, AlertKey, Event, Integration, Policy
from gateway.store.base import State

_log = logging.getLogger("gateway.directory")


class Directory(msgspec.Struct, kw_only=True):
    """
    One version of it. `integrations` are by endpoint, in sequence; `advanced` and `windows` by integration.

    `fan_out` holds the endpoints whose events go to every integration that lets them pass.
    """

    version: int = 0
    integrations: Mapping[str, Sequence[Integration]] = {}
    people: People = People()
    advanced: Mapping[str, Advanced] = {}
    windows: Mapping[str, Sequence[Window]] = {}
    fan_out: frozenset[str] = frozenset()

    def integration(self, endpoint_id: str, integration_id: str | None) -> Integration | None:
        """One integration of an endpoint."""
        integrations = self.integrations.get(endpoint_id, ()) if integration_id is not None else ()
        return next((one for one in integrations if one.id == integration_id), None)

    def advanced_of(self, integration: Integration) -> Advanced:
        """The Advanced Settings of an integration."""
        return self.advanced.get(integration.id, NONE)

    def policy_named(self, name: str) -> Policy | None:
        """The policy of this name."""
        return next((policy for policy in self.people.policies.values() if policy.name == name), None)

    def group_named(self, name: str) -> str | None:
        """The id of the recipient group of this name."""
        return next((group.id for group in self.people.groups.values() if group.name == name), None)

    def window_at(self, integration: Integration, now: int) -> tuple[Window, int] | None:
        """The maintenance window that lasts now, and when it ends; the one that ends last, where several do."""
        found: tuple[Window, int] | None = None
        for window in self.windows.get(integration.id, ()):
            until = active_until(window, now)
            if until is not None and (found is None or until > found[1]):
                found = window, until
        return found

    def keys(self, endpoint_id: str, event: Event, taker: Integration) -> tuple[AlertKey, ...]:
        """
        The keys that the alert of an event may have, that of a new one first.

        Where an endpoint fans out, each integration has alerts of its own; what opened before it did so, or while it
        did, is still found.
        """
        shared = key_of(endpoint_id, event)
        own = msgspec.structs.replace(shared, scope=taker.id)
        return (own, shared) if endpoint_id in self.fan_out else (shared, own)


def key_of(endpoint_id: str, event: Event) -> AlertKey:
    """The key of the alert that an event speaks of, where its endpoint does not fan out."""
    return AlertKey(endpoint_id, event.source or "", event.source_name or "", event.source_id)


async def directory_of(state: State, own_policy: str = "") -> Directory:
    """
    The configuration as it is now; where it changes meanwhile, a version older than what is in it.

    `own_policy` names who is told of the gateway's own alerts.
    """
    version = await state.config_version()
    by_endpoint: dict[str, list[Integration]] = {}
    advanced: dict[str, Advanced] = {}
    # A disabled one comes last: what was accepted while it was enabled is still read by it, if by no other.
    for integration in sorted(
        await state.integrations(), key=lambda one: (not one.enabled, one.sequence, one.created_at, one.id)
    ):
        by_endpoint.setdefault(integration.endpoint_id, []).append(integration)
        try:
            advanced[integration.id] = advanced_of(integration.settings)
        except TemplateError as error:  # they were good when they were saved, by another version
            _log.warning("the Advanced Settings of %s are passed over: %s", integration.name, error)
    policies = {policy.id: policy for policy in await state.policies()}
    by_endpoint[SELF] = [_itself(own_policy, policies.values())]
    windows: dict[str, list[Window]] = {}
    for window in await state.windows():
        windows.setdefault(window.integration_id, []).append(window)
    return Directory(
        version=version,
        integrations=by_endpoint,
        people=People(
            policies=policies,
            groups={group.id: group for group in await state.groups()},
            users={user.id: user for user in await state.users()},
        ),
        advanced=advanced,
        windows=windows,
        fan_out=frozenset(endpoint.id for endpoint in await state.endpoints() if endpoint.fan_out),
    )


def _itself(own_policy: str, policies: Iterable[Policy]) -> Integration:
    """What stands for an integration where the gateway's own alerts are concerned."""
    policy_id = next((policy.id for policy in policies if policy.name == own_policy), None)
    if own_policy and policy_id is None:
        _log.warning(
            "nobody is told of the gateway's own alerts: GATEWAY_OWN_POLICY: there is no policy %r", own_policy
        )
    return Integration(
        id=SELF, endpoint_id=SELF, name=SELF, template="", policy_id=policy_id, created_at=0, updated_at=0
    )
