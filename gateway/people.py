"""Users and escalation policies, added for the command line and whatever else will do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from gateway.clock import Clock
from gateway.config import nearest
from gateway.errors import GatewayError, NotFoundError
from gateway.models import Contact, Policy, PolicyStep, User
from gateway.names import check_free, checked_name
from gateway.store.base import State
from gateway.vault import new_id

_T = TypeVar("_T", User, Policy)


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
    made = tuple(Contact(id=new_id("con"), kind=kind, address=address) for kind, address in dict.fromkeys(contacts))
    user = User(id=new_id("usr"), name=name, contacts=made, created_at=clock.now())
    await state.add_user(user)
    return user


async def add_policy(state: State, clock: Clock, *, name: str, users: Sequence[User]) -> Policy:
    """Add a policy of one step that notifies these users at once; raises ConflictError where the name is taken."""
    name = checked_name("a policy", name)
    if not users:
        msg = "a policy without users would tell nobody; name at least one"
        raise GatewayError(msg)
    check_free("a policy", name, [known.name for known in await state.policies()])
    step = PolicyStep(user_ids=tuple(dict.fromkeys(user.id for user in users)))
    policy = Policy(id=new_id("pol"), name=name, steps=(step,), created_at=clock.now())
    await state.add_policy(policy)
    return policy


def _found(what: str, command: str, ref: str, known: Sequence[_T]) -> _T:
    for thing in known:
        if ref in (thing.id, thing.name):
            return thing
    msg = (
        f"there is no {what} {ref!r}{nearest(ref, [thing.name for thing in known])}; "
        f"`alert-gateway {command} list` shows all"
    )
    raise NotFoundError(msg)
