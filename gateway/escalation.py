"""
Who is told of a change, and when: a pure decision.

    opened      every contact of every user of each step, `after` seconds from the change
    closed      at once, those whose step had come by then: who was not told that it began need not hear that it is over
    appended, updated, assigned      nobody

Whoever is named twice by the same contact is told once, at the earliest time. Recipient groups, schedules and response
plays will be other ways to find users; all of them end in `_once`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping

from gateway.models import Alert, Change, Contact, Integration, Notification, Policy, User

_ID_LENGTH = 32


def notifications_for(
    policy: Policy | None,
    users: Mapping[str, User],
    change: Change,
    alert: Alert,
    integration: str,
    now: int,
) -> list[Notification]:
    """
    The notifications that a change causes, in the order of the policy's steps.

    `users` are by id; one that a step names and that no longer exists is passed over. `alert` is as the change left it,
    `integration` the name of its integration. `now`, in milliseconds since 1970, is when they are created.
    """
    if policy is None:
        return []
    if change.kind == "opened":
        told = _once(_of_steps(policy, users, change.at))
    elif change.kind == "closed":
        begun = _of_steps(policy, users, alert.opened_at)
        told = _once((user, contact, now) for user, contact, due_at in begun if due_at <= now)
    else:
        return []
    return [
        Notification(
            id=notification_id(alert.id, change.seq, contact.id),
            alert_id=alert.id,
            seq=change.seq,
            kind=change.kind,
            contact=contact,
            user=user.name,
            integration=integration,
            alert=alert,
            due_at=due_at,
            created_at=now,
        )
        for user, contact, due_at in told
    ]


def notifications_of(
    change: Change,
    alert: Alert,
    integration: Integration | None,
    *,
    policies: Mapping[str, Policy],
    users: Mapping[str, User],
    now: int,
) -> list[Notification]:
    """
    The notifications that a change causes by the policy of its integration, whoever made the change.

    Of an integration that was deleted nobody is told: its policy went with it. `policies` and `users` are by id.
    """
    if integration is None:
        return []
    policy = policies.get(integration.policy_id or "")
    return notifications_for(policy, users, change, alert, integration.name, now)


def notification_id(alert_id: int, seq: int, contact_id: str) -> str:
    """The idempotency key: the same for the same change and contact, however often the change is worked out again."""
    parts = (str(alert_id).encode(), str(seq).encode(), contact_id.encode())
    digest = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
    return "ntf_" + base64.b32encode(digest).decode().lower()[:_ID_LENGTH]


def _of_steps(policy: Policy, users: Mapping[str, User], start: int) -> Iterator[tuple[User, Contact, int]]:
    for step in policy.steps:
        due_at = start + step.after * 1000
        for user_id in step.user_ids:
            user = users.get(user_id)
            if user is not None:
                for contact in user.contacts:
                    yield user, contact, due_at


def _once(told: Iterable[tuple[User, Contact, int]]) -> list[tuple[User, Contact, int]]:
    earliest: dict[str, tuple[User, Contact, int]] = {}
    for user, contact, due_at in told:
        known = earliest.get(contact.id)
        if known is None or due_at < known[2]:
            earliest[contact.id] = (user, contact, due_at)
    return list(earliest.values())
