"""
Making a gateway what a configuration file says: first the steps, then, if asked to, each of them.

Applying a file twice changes nothing the second time. What is there and not in the file is left alone, unless it is pruned.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.advanced import advanced_of
from gateway.clock import Clock, span
from gateway.config import nearest
from gateway.configuration import KEPT, Configuration, IntegrationTable, UserTable, by_name, exported
from gateway.errors import GatewayError, NotFoundError
from gateway.integrations import (
    Made,
    add_integration,
    change_integration,
    check_fit,
    check_secret,
    clone_integration,
    find_endpoint,
    find_integration,
)
from gateway.maintenance import add_window, find_window
from gateway.models import Contact, User
from gateway.people import add_group, add_policy, add_user, find_group, find_policy, find_user, steps_of
from gateway.plugins import Plugins
from gateway.store.base import State
from gateway.vault import Vault, hint, is_token, new_id

Verb = Literal["add", "change", "delete"]
CheckContact = Callable[[str], Awaitable[tuple[str, str]]]
"""Kind and address of a contact, as its notifier wants it; raises GatewayError."""


class Step(msgspec.Struct, kw_only=True):
    """One thing to add, change or delete, and what is otherwise than in the file: `policy: Storage → Night`."""

    verb: Verb
    kind: Literal["user", "group", "policy", "integration"]
    name: str
    details: list[str] = []
    carry_out: Callable[[], Awaitable[Made | None]]


class Reconciliation:
    """One gateway and one file."""

    def __init__(
        self,
        state: State,
        vault: Vault,
        plugins: Plugins,
        clock: Clock,
        check_contact: CheckContact,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._state, self._vault, self._plugins, self._clock = state, vault, plugins, clock
        self._check_contact = check_contact
        self._environ = environ

    async def steps(self, wanted: Configuration, *, prune: bool = False) -> list[Step]:
        """
        What is to be done, in an order in which it can be.

        Raises GatewayError for what could not be: a name that is nowhere, a template that is not installed, settings that do
        not fit, a contact that is none, a secret that is not where it is to be had from.
        """
        there = await exported(self._state)
        await self._check(wanted, there)
        steps: list[Step] = []
        for kind in ("user", "group", "policy", "integration"):
            known = by_name(getattr(there, kind))
            for table in getattr(wanted, kind):
                details = self._differences(table, known.get(table.name))
                if kind == "integration":
                    details += await self._references_differ(table, known.get(table.name))
                if table.name not in known:
                    steps.append(self._step("add", kind, table))
                elif details:
                    steps.append(self._step("change", kind, table, details))
        if prune:
            for kind in ("integration", "policy", "group", "user"):
                kept = by_name(getattr(wanted, kind))
                gone = [table for table in getattr(there, kind) if table.name not in kept]
                gone.sort(key=lambda table: getattr(table, "clone_of", None) is None)  # clones before what they share
                steps += [self._step("delete", kind, table) for table in gone]
        return steps

    def _step(self, verb: Verb, kind: str, table: Any, details: Sequence[str] = ()) -> Step:
        action = getattr(self, f"_{verb}_{kind}")
        return Step(verb=verb, kind=kind, name=table.name, details=list(details), carry_out=lambda: action(table))  # type: ignore[arg-type]

    def _differences(self, wanted: Any, there: Any) -> list[str]:
        if there is None:
            return []
        found = []
        for field in msgspec.structs.fields(wanted):
            if field.name in ("token", "secret"):
                continue
            new, old = (msgspec.to_builtins(getattr(table, field.name)) for table in (wanted, there))
            if new != old:
                found += _difference(field.encode_name, old, new)
        return found

    # checks

    async def _check(self, wanted: Configuration, there: Configuration) -> None:
        users = {table.name for part in (wanted, there) for table in part.user}
        groups = {table.name for part in (wanted, there) for table in part.group}
        policies = {table.name for part in (wanted, there) for table in part.policy}
        integrations = {table.name for part in (wanted, there) for table in part.integration}
        for user in wanted.user:
            for contact in user.contacts:
                await self._check_contact(contact)
        for group in wanted.group:
            _known(f"[[group]] {group.name!r}", "user", group.users, users)
        for policy in wanted.policy:
            for step in policy.steps:
                _known(f"[[policy]] {policy.name!r}", "user", step.users, users)
        for table in wanted.integration:
            where = f"[[integration]] {table.name!r}"
            _known(where, "policy", [table.policy] if table.policy else [], policies)
            _known(where, "group", table.groups, groups)
            _known(where, "user", table.users, users)
            _known(where, "integration", [table.clone_of] if table.clone_of else [], integrations)
            try:
                self._check_settings(table, policies, groups)
            except GatewayError as error:
                msg = f"{where}: {error}"
                raise GatewayError(msg) from None

    def _check_settings(self, table: IntegrationTable, policies: set[str], groups: set[str]) -> None:
        folder = self._plugins.template(table.template)
        file = check_fit(folder, table.settings)
        advanced = advanced_of(table.settings)
        _known("[[override]]", "policy", [rule.policy for rule in advanced.override], policies)
        _known("[[recipients]]", "group", [rule.group for rule in advanced.recipients], groups)
        for key in ("token", "secret"):
            self._value(key, getattr(table, key))
        if table.secret not in (None, KEPT):
            check_secret(folder, file, self._value("secret", table.secret) or "")

    def _value(self, key: str, reference: str | None) -> str | None:
        """What a reference leads to; None where there is nothing to fetch."""
        if reference in (None, KEPT):
            return None
        kind, _, place = str(reference).partition(":")
        try:
            value = self._environ[place] if kind == "env" else Path(place).read_text(encoding="utf-8").strip("\r\n")
        except (KeyError, OSError, UnicodeDecodeError):
            msg = f"the {key} is to be had from {reference}, and nothing is there"
            raise GatewayError(msg) from None
        if not value:
            msg = f"the {key} in {reference} is empty"
            raise GatewayError(msg)
        if key == "token" and not is_token(value.encode()):
            msg = f"what is in {reference} is no token of an Alert Gateway (ag_…)"
            raise GatewayError(msg)
        return value

    async def _references_differ(self, table: IntegrationTable, there: IntegrationTable | None) -> list[str]:
        if there is None or table.clone_of is not None:
            return []
        endpoint = await find_endpoint(self._state, await find_integration(self._state, table.name))
        found = []
        token = self._value("token", table.token)
        if token is not None and (
            endpoint.token_from != table.token or endpoint.token_hash != self._vault.token_hash(token.encode())
        ):
            found.append(f"token: the one in {table.token}")
        if table.secret is None and endpoint.secret is not None:
            found.append("secret: none, so that nobody is verified")
        elif table.secret == KEPT and endpoint.secret is None:
            msg = f"[[integration]] {table.name!r}: its secret is to be kept, and it has none; write env:NAME or file:PATH"
            raise GatewayError(msg)
        elif table.secret not in (None, KEPT):
            known = endpoint.secret is not None and self._vault.unseal(endpoint.secret)
            if endpoint.secret_from != table.secret or known != self._value("secret", table.secret):
                found.append(f"secret: the one in {table.secret}")
        return found

    # users, groups, policies

    async def _add_user(self, table: UserTable) -> None:
        contacts = [await self._check_contact(contact) for contact in table.contacts]
        await add_user(self._state, self._clock, name=table.name, contacts=contacts)

    async def _change_user(self, table: UserTable) -> None:
        user = await find_user(self._state, table.name)
        known = {(contact.kind, contact.address): contact for contact in user.contacts}
        pairs = [await self._check_contact(contact) for contact in table.contacts]
        contacts = tuple(
            known.get(pair) or Contact(id=new_id("con"), kind=pair[0], address=pair[1]) for pair in dict.fromkeys(pairs)
        )
        await self._state.save_user(msgspec.structs.replace(user, contacts=contacts))

    async def _delete_user(self, table: UserTable) -> None:
        await self._state.delete_user((await find_user(self._state, table.name)).id)

    async def _add_group(self, table: Any) -> None:
        await add_group(self._state, self._clock, name=table.name, users=await self._users(table.users))

    async def _change_group(self, table: Any) -> None:
        group = await find_group(self._state, table.name)
        user_ids = tuple(user.id for user in await self._users(table.users))
        await self._state.save_group(msgspec.structs.replace(group, user_ids=user_ids))

    async def _delete_group(self, table: Any) -> None:
        await self._state.delete_group((await find_group(self._state, table.name)).id)

    async def _add_policy(self, table: Any) -> None:
        await add_policy(self._state, self._clock, name=table.name, steps=await self._steps_of(table))

    async def _change_policy(self, table: Any) -> None:
        policy = await find_policy(self._state, table.name)
        steps = steps_of(await self._steps_of(table))
        await self._state.save_policy(msgspec.structs.replace(policy, steps=steps))

    async def _delete_policy(self, table: Any) -> None:
        await self._state.delete_policy((await find_policy(self._state, table.name)).id)

    async def _steps_of(self, table: Any) -> list[tuple[int, list[User]]]:
        return [((span(step.after) or 0) // 1000, await self._users(step.users)) for step in table.steps]

    async def _users(self, names: Sequence[str]) -> list[User]:
        return [await find_user(self._state, name) for name in names]

    # integrations

    async def _fields(self, table: IntegrationTable) -> dict[str, Any]:
        return {
            "policy_id": (await find_policy(self._state, table.policy)).id if table.policy else None,
            "group_ids": tuple([(await find_group(self._state, name)).id for name in table.groups]),
            "user_ids": tuple([user.id for user in await self._users(table.users)]),
            "settings": table.settings,
        }

    async def _add_integration(self, table: IntegrationTable) -> Made | None:
        fields = await self._fields(table)
        made = None
        if table.clone_of is not None:
            first = await find_integration(self._state, table.clone_of)
            blank = msgspec.structs.replace(first, settings={}, template=table.template)
            await clone_integration(self._state, self._plugins, self._clock, blank, name=table.name, **fields)
        else:
            if table.secret == KEPT:
                msg = f"[[integration]] {table.name!r}: there is no secret to be kept; write env:NAME or file:PATH"
                raise GatewayError(msg)
            made = await add_integration(
                self._state,
                self._vault,
                self._plugins,
                self._clock,
                template=table.template,
                name=table.name,
                token=self._value("token", table.token),
                secret=self._value("secret", table.secret),
                **fields,
            )
        await self._change_integration(table)
        return made if table.token == KEPT else None

    async def _change_integration(self, table: IntegrationTable) -> None:
        integration = await find_integration(self._state, table.name)
        if integration.template != table.template:
            msg = (
                f"[[integration]] {table.name!r} has the template {integration.template}, which stays; "
                "delete it, or give the new one another name"
            )
            raise GatewayError(msg)
        integration = await change_integration(
            self._state,
            self._plugins,
            self._clock,
            integration,
            enabled=table.enabled,
            sequence=table.sequence,
            **await self._fields(table),
        )
        await self._change_windows(table)
        if table.clone_of is None:
            await self._change_endpoint(table)

    async def _change_endpoint(self, table: IntegrationTable) -> None:
        endpoint = await find_endpoint(self._state, await find_integration(self._state, table.name))
        changed = msgspec.structs.replace(endpoint, fan_out=table.fan_out)
        token, secret = self._value("token", table.token), self._value("secret", table.secret)
        if token is not None:
            token_hash = self._vault.token_hash(token.encode())
            changed = msgspec.structs.replace(
                changed, token_hash=token_hash, token_hint=hint(token), token_from=table.token
            )
        if table.secret != KEPT:
            sealed = None if secret is None else self._vault.seal(secret)
            changed = msgspec.structs.replace(changed, secret=sealed, previous_secret=None, secret_from=table.secret)
        if changed != endpoint:
            await self._state.save_endpoint(changed)

    async def _change_windows(self, table: IntegrationTable) -> None:
        integration = await find_integration(self._state, table.name)
        wanted = {one.name: one for one in table.maintenance}
        there = {one.name: one for one in (await self._windows_of(table.name))}
        for name, one in there.items():
            if wanted.get(name) != one:
                window = await find_window(self._state, integration, name)
                await self._state.delete_window(window.id, self._clock.now())
        for name, one in wanted.items():
            if there.get(name) != one:
                await add_window(self._state, self._clock, integration, one.window(), past=True)

    async def _windows_of(self, name: str) -> list[Any]:
        return by_name((await exported(self._state)).integration)[name].maintenance

    async def _delete_integration(self, table: IntegrationTable) -> None:
        await self._state.delete_integration((await find_integration(self._state, table.name)).id)


def _known(where: str, what: str, names: Sequence[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            msg = f"{where}: there is no {what} {name!r}, in the file or in the gateway{nearest(name, sorted(known))}"
            raise NotFoundError(msg)


def _difference(key: str, old: Any, new: Any) -> list[str]:
    """What is otherwise, in a line for each key of a table, however deep."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for name in dict.fromkeys([*old, *new]):
            if old.get(name) != new.get(name):
                lines += _difference(f"{key}.{name}", old.get(name), new.get(name))
        return lines
    return [f"{key}: {_said(old)} → {_said(new)}"]


def _said(value: Any) -> str:
    if value in (None, [], {}, ""):
        return "none"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else text[:200] + "…"  # noqa: PLR2004 - what fits in a line or two
