"""Users, recipient groups and escalation policies, added for the command line and whatever else will do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from gateway.clock import Clock
from gateway.config import nearest
from gateway.errors import GatewayError, NotFoundError
from gateway.models import Contact, Group, Policy, PolicyStep, User
from gateway.names import check_free, checked_name
from gateway.store.base import State
from gateway.vault import id_of, new_id

_T = TypeVar("_T", User, Group, Policy)


async def find_user(state: State, ref: str) -> User:
    """The user of this id or name; raises NotFoundError that names the nearest."""
    return _found("user", "users", ref, await state.users())


async def find_policy(state: State, ref: str) -> Policy:
    """The policy of this id or name; raises NotFoundError that names the nearest."""
    return _found("policy", "policies", ref, await state.policies())


async def add_user(state: State, clock: Clock, *, name: str, contacts: Sequence[tuple[str, str]]) -> User:
    """
    Add a user who is reached by these contacts, each a kind and an address that its notifier has checked.

    Raises ConflictError where the name is taken.
    """
    name = checked_name("a user", name)
    check_free("a user", name, [known.name for known in await state.users()])
    made = tuple(contact_of(name, kind, address) for kind, address in dict.fromkeys(contacts))
    user = User(id=new_id("usr"), name=name, contacts=made, created_at=clock.now())
    await state.add_user(user)
    return user


def contact_of(user: str, kind: str, address: str) -> Contact:
    """
    A contact of the user of this name, at an address that its notifier has checked.

    What it is sent is signed with a secret that follows from its id, and the id from all three: a gateway that is configured
    anew, with the same key, signs as before.
    """
    return Contact(id=id_of("con", user, kind, address), kind=kind, address=address)


async def find_group(state: State, ref: str) -> Group:
    """The recipient group of this id or name; raises NotFoundError that names the nearest."""
    return _found("recipient group", "groups", ref, await state.groups())


async def add_group(state: State, clock: Clock, *, name: str, users: Sequence[User]) -> Group:
    """Add a recipient group of these users; raises ConflictError where the name is taken."""
    name = checked_name("a recipient group", name)
    if not users:
        msg = "a recipient group without users would tell nobody; name at least one"
        raise GatewayError(msg)
    check_free("a recipient group", name, [known.name for known in await state.groups()])
    group = Group(id=new_id("grp"), name=name, user_ids=_ids(users), created_at=clock.now())
    await state.add_group(group)
    return group


async def add_policy(state: State, clock: Clock, *, name: str, steps: Sequence[tuple[int, Sequence[User]]]) -> Policy:
    """
    Add a policy of these steps: how many seconds after an alert opens, and who is notified then.

    Raises ConflictError where the name is taken, GatewayError where nobody would be told.
    """
    name = checked_name("a policy", name)
    check_free("a policy", name, [known.name for known in await state.policies()])
    policy = Policy(id=new_id("pol"), name=name, steps=steps_of(steps), created_at=clock.now())
    await state.add_policy(policy)
    return policy


def steps_of(steps: Sequence[tuple[int, Sequence[User]]]) -> tuple[PolicyStep, ...]:
    """Steps of a policy, earliest first; raises GatewayError where one has no users, or there are none."""
    if not steps or not all(users for _, users in steps):
        msg = "a policy without users would tell nobody; name at least one for each step"
        raise GatewayError(msg)
    return tuple(
        PolicyStep(after=after, user_ids=_ids(users)) for after, users in sorted(steps, key=lambda step: step[0])
    )


def _ids(users: Sequence[User]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(user.id for user in users))


def _found(what: str, command: str, ref: str, known: Sequence[_T]) -> _T:
    for thing in known:
        if ref in (thing.id, thing.name):
            return thing
    msg = (
        f"there is no {what} {ref!r}{nearest(ref, [thing.name for thing in known])}; "
        f"`alert-gateway {command} list` shows all"
    )
    raise NotFoundError(msg)
