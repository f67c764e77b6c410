"""
Who is told of an alert that opens, and when: what the integration says, and what its Advanced Settings make of it.

A pure decision from what was read, the configuration and the time. Each step leaves a sentence in the explanation.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.directory import Directory
from gateway.hours import said as hours_said
from gateway.hours import within_any
from gateway.models import Integration, Reading, Routing


def routing_of(reading: Reading, integration: Integration, directory: Directory, now: int) -> tuple[Routing, list[str]]:
    """The policy, groups and users that are told of an alert which this opens, and the sentences that say why."""
    trace: list[str] = []
    policy_id = integration.policy_id
    for override in reading.overrides:
        hours = within_any(override.hours, now)
        if override.hours and hours is None:
            trace.append(f"override to {override.policy}: not within {' or '.join(map(hours_said, override.hours))}")
            continue
        policy = directory.policy_named(override.policy)
        if policy is None:
            trace.append(f"override to {override.policy}: there is no such policy")
            continue
        policy_id = policy.id
        if hours is not None:
            trace.append(f"override to {override.policy}: within {hours_said(hours)}")
        break
    group_ids = _groups(reading.recipient_groups, integration, directory, trace)
    routing = Routing(policy_id=policy_id, group_ids=group_ids, user_ids=integration.user_ids)
    return routing, trace


def _groups(names: Sequence[str], integration: Integration, directory: Directory, trace: list[str]) -> tuple[str, ...]:
    found = list(integration.group_ids)
    for name in names:
        group_id = directory.group_named(name)
        if group_id is None:
            trace.append(f"recipients {name}: there is no such group")
        else:
            found.append(group_id)
    return tuple(dict.fromkeys(found))
