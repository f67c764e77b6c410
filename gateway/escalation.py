"""
Who is told of a change, and when: a pure decision.

    opened      the contacts of every user of each step of the policy, `after` seconds from when people are to be told
                (`Alert.told_at`), and those of the recipient groups and users at once
    closed      at once, those whose time had come by then, and before somebody took it (`Routing.until`): who was not told
                that it began need not hear that it is over
    appended    where a delay says so, the same people as at a close
    else        nobody

Whoever is named twice by the same contact is told once, at the earliest time.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from gateway.models import Alert, Change, ChangeKind, Contact, Group, Integration, Notification, Policy, Routing, User

_ID_LENGTH = 32


class People(msgspec.Struct, frozen=True, kw_only=True):
    """Everyone who may be told, by id."""

    policies: Mapping[str, Policy] = {}
    groups: Mapping[str, Group] = {}
    users: Mapping[str, User] = {}


def notifications_of(
    change: Change,
    alert: Alert,
    integration: Integration | None,
    people: People,
    *,
    now: int,
    kind: ChangeKind | None = None,
) -> list[Notification]:
    """
    The notifications that a change causes, whoever made it, in the order of the policy's steps.

    `alert` is as the change left it; `now`, in milliseconds since 1970, is when they are created; `kind` is what people are
    told, the change's own kind where it is None. A policy, group or user that no longer exists is passed over. Of an
    integration that was deleted nobody is told.
    """
    kind = kind or change.kind
    if integration is None or alert.told_at is None or kind not in ("opened", "appended", "closed"):
        return []
    told = _told(alert.routing, people, alert.told_at)
    until = alert.routing.until
    if until is not None:
        told = ((user, contact, due_at) for user, contact, due_at in told if due_at <= until)
    if kind != "opened":
        reached = max(now, alert.updated_at)  # where the clock was set back, what was told stays told
        told = ((user, contact, now) for user, contact, due_at in told if due_at <= reached)
    return [
        Notification(
            id=notification_id(alert.id, change.seq, contact.id),
            alert_id=alert.id,
            seq=change.seq,
            kind=kind,
            contact=contact,
            user=user.name,
            integration=integration.name,
            alert=alert,
            due_at=due_at,
            created_at=now,
        )
        for user, contact, due_at in _once(told)
    ]


def notification_id(alert_id: int, seq: int, contact_id: str) -> str:
    """The idempotency key: the same for the same change and contact, however often the change is worked out again."""
    parts = (str(alert_id).encode(), str(seq).encode(), contact_id.encode())
    digest = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
    return "ntf_" + base64.b32encode(digest).decode().lower()[:_ID_LENGTH]


def names_told(routing: Routing, people: People) -> str:
    """Whom a routing tells, in words: `policy Storage, group Databases, user ann`."""
    named: list[tuple[str, Policy | Group | User | None]] = [("policy", people.policies.get(routing.policy_id or ""))]
    named += [("group", people.groups.get(number)) for number in routing.group_ids]
    named += [("user", people.users.get(number)) for number in routing.user_ids]
    return ", ".join(f"{what} {one.name}" for what, one in named if one is not None) or "nobody"


def _told(routing: Routing, people: People, start: int) -> Iterator[tuple[User, Contact, int]]:
    policy = people.policies.get(routing.policy_id or "")
    for step in policy.steps if policy is not None else ():
        yield from _of_users(step.user_ids, people, start + step.after * 1000)
    for group_id in routing.group_ids:
        group = people.groups.get(group_id)
        if group is not None:
            yield from _of_users(group.user_ids, people, start)
    yield from _of_users(routing.user_ids, people, start)


def _of_users(user_ids: Iterable[str], people: People, due_at: int) -> Iterator[tuple[User, Contact, int]]:
    for user_id in user_ids:
        user = people.users.get(user_id)
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
