"""
The steps that make a gateway what a configuration file says, carried out one by one.

Each leaves the gateway whole; where one fails, those before it are done, and applying the file again goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.configuration import KEPT, GroupTable, IntegrationTable, PolicyTable, UserTable, seconds
from gateway.integrations import (
    Made,
    add_integration,
    change_integration,
    clone_integration,
    find_endpoint,
    find_integration,
)
from gateway.inventory import window_table
from gateway.maintenance import add_window
from gateway.models import Integration, User
from gateway.people import add_group, add_policy, add_user, contact_of, find_group, find_policy, find_user, steps_of
from gateway.plugins import Plugins
from gateway.reconciliation import Step
from gateway.references import References
from gateway.store.base import State
from gateway.vault import Vault, hint

OVERLAP = 24 * 3_600_000
"""How long (ms) a token still works after another took its place, as with `integrations rotate`."""


class Applying:
    """One gateway that steps are carried out on."""

    def __init__(self, state: State, vault: Vault, plugins: Plugins, clock: Clock, references: References) -> None:
        self._state, self._vault, self._plugins, self._clock = state, vault, plugins, clock
        self._references = references

    async def carry_out(self, step: Step) -> Made | None:
        """Do one step; the integration that was made, where its token is a new one that must be shown."""
        made: Made | None = await getattr(self, f"_{step.verb}_{step.kind}")(step.table)
        return made

    # users, groups, policies

    async def _add_user(self, table: UserTable) -> None:
        await add_user(self._state, self._clock, name=table.name, contacts=_pairs(table))

    async def _change_user(self, table: UserTable) -> None:
        user = await find_user(self._state, table.name)
        known = {(contact.kind, contact.address): contact for contact in user.contacts}
        contacts = tuple(known.get(pair) or contact_of(user.name, *pair) for pair in _pairs(table))
        await self._state.save_user(msgspec.structs.replace(user, contacts=contacts))

    async def _delete_user(self, table: UserTable) -> None:
        await self._state.delete_user((await find_user(self._state, table.name)).id)

    async def _add_group(self, table: GroupTable) -> None:
        await add_group(self._state, self._clock, name=table.name, users=await self._users(table.users))

    async def _change_group(self, table: GroupTable) -> None:
        group = await find_group(self._state, table.name)
        user_ids = tuple(user.id for user in await self._users(table.users))
        await self._state.save_group(msgspec.structs.replace(group, user_ids=user_ids))

    async def _delete_group(self, table: GroupTable) -> None:
        await self._state.delete_group((await find_group(self._state, table.name)).id)

    async def _add_policy(self, table: PolicyTable) -> None:
        await add_policy(self._state, self._clock, name=table.name, steps=await self._steps_of(table))

    async def _change_policy(self, table: PolicyTable) -> None:
        policy = await find_policy(self._state, table.name)
        steps = steps_of(await self._steps_of(table))
        await self._state.save_policy(msgspec.structs.replace(policy, steps=steps))

    async def _delete_policy(self, table: PolicyTable) -> None:
        await self._state.delete_policy((await find_policy(self._state, table.name)).id)

    async def _steps_of(self, table: PolicyTable) -> list[tuple[int, list[User]]]:
        return [(seconds(step), await self._users(step.users)) for step in table.steps]

    async def _users(self, names: Sequence[str]) -> list[User]:
        return [await find_user(self._state, name) for name in names]

    # integrations

    async def _add_integration(self, table: IntegrationTable) -> Made | None:
        fields = await self._fields(table)
        made = None
        if table.clone_of is not None:
            first = await find_integration(self._state, table.clone_of)
            blank = msgspec.structs.replace(first, settings={}, template=table.template)
            await clone_integration(self._state, self._plugins, self._clock, blank, name=table.name, **fields)
        else:
            made = await add_integration(
                self._state,
                self._vault,
                self._plugins,
                self._clock,
                template=table.template,
                name=table.name,
                token=self._references.token(table.token),
                secret=self._references.secret(table.secret),
                **fields,
            )
        await self._change_integration(table)
        return made if table.token == KEPT else None

    async def _change_integration(self, table: IntegrationTable) -> None:
        found = await find_integration(self._state, table.name)
        integration = await change_integration(
            self._state,
            self._plugins,
            self._clock,
            # Two that change places have the same one in between; that the file's places fit has been looked at.
            msgspec.structs.replace(found, sequence=table.sequence),
            enabled=table.enabled,
            **await self._fields(table),
        )
        await self._change_windows(integration, table)
        if table.clone_of is None:
            await self._change_endpoint(integration, table)

    async def _delete_integration(self, table: IntegrationTable) -> None:
        await self._state.delete_integration((await find_integration(self._state, table.name)).id)

    async def _fields(self, table: IntegrationTable) -> dict[str, Any]:
        return {
            "policy_id": None if table.policy is None else (await find_policy(self._state, table.policy)).id,
            "group_ids": tuple([(await find_group(self._state, name)).id for name in table.groups]),
            "user_ids": tuple([user.id for user in await self._users(table.users)]),
            "settings": table.settings,
        }

    async def _change_endpoint(self, integration: Integration, table: IntegrationTable) -> None:
        """What is as it was stays untouched, so that a token or secret before it holds as long as it was going to."""
        endpoint = await find_endpoint(self._state, integration)
        changes: dict[str, Any] = {"fan_out": table.fan_out}
        token, secret = self._references.token(table.token), self._references.secret(table.secret)
        if token is not None:
            changes["token_from"] = table.token
            token_hash = self._vault.token_hash(token.encode())
            if token_hash != endpoint.token_hash:
                changes |= {
                    "token_hash": token_hash,
                    "token_hint": hint(token),
                    "previous_token_hash": endpoint.token_hash,
                    "previous_until": self._clock.now() + OVERLAP,
                }
        if table.secret is None:
            changes |= {"secret": None, "previous_secret": None, "secret_from": None}
        elif secret is not None:
            changes["secret_from"] = table.secret
            if endpoint.secret is None or self._vault.unseal(endpoint.secret) != secret:
                changes |= {"secret": self._vault.seal(secret), "previous_secret": endpoint.secret}
        changed = msgspec.structs.replace(endpoint, **changes)
        if changed != endpoint:
            await self._state.save_endpoint(changed)

    async def _change_windows(self, integration: Integration, table: IntegrationTable) -> None:
        wanted = {one.name: one for one in table.maintenance}
        for window in await self._state.windows():
            if window.integration_id != integration.id:
                continue
            if wanted.get(window.name) == window_table(window):
                del wanted[window.name]
            else:
                await self._state.delete_window(window.id, self._clock.now())
        for one in wanted.values():
            await add_window(self._state, self._clock, integration, one.window(), past=True)


def _pairs(table: UserTable) -> list[tuple[str, str]]:
    parts = (contact.partition(":") for contact in table.contacts)
    return [(kind, address) for kind, _, address in parts]
