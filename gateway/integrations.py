"""
What is done to integrations, for the command line and whatever else will do it: add, change, rotate, delete.

A token is made here, handed out once inside the endpoint's URL, and kept only as a hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.advanced import advanced_of
from gateway.clock import Clock
from gateway.errors import ConflictError, NotFoundError, SettingsError, TemplateError
from gateway.models import Endpoint, Integration
from gateway.names import check_free, checked_name, url_name
from gateway.people import find_group, find_policy
from gateway.plugins import Plugins
from gateway.rulebook import Rulebook
from gateway.store.base import State
from gateway.template import Request, TemplateFile, TemplateFolder
from gateway.vault import Vault, hint, new_id, new_token
from gateway.verify import ways_of

ENDPOINT_PATH = "/POSTAlert/"


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """An integration with an endpoint whose token is known for this once."""

    integration: Integration
    endpoint: Endpoint
    token: str

    def __repr__(self) -> str:
        """Without the token."""
        return f"<Made {self.integration.id} {self.integration.name!r}>"

    def url(self, base_url: str) -> str:
        """Where messages are posted to; it holds the token."""
        return endpoint_url(base_url, self.token, self.endpoint.name)


def endpoint_url(base_url: str, token: str, name: str) -> str:
    """The URL of an endpoint: `{base_url}/POSTAlert/{token}/{name}`."""
    return f"{base_url.rstrip('/')}{ENDPOINT_PATH}{token}/{quote(name, safe='')}"


async def find_integration(state: State, ref: str) -> Integration:
    """The integration of this id or name; raises NotFoundError that names the nearest."""
    found = await state.integration(ref)
    if found is None:
        from gateway.config import nearest

        near = nearest(ref, [integration.name for integration in await state.integrations()])
        msg = f"there is no integration {ref!r}{near}; `alert-gateway integrations list` shows all"
        raise NotFoundError(msg)
    return found


async def find_endpoint(state: State, integration: Integration) -> Endpoint:
    """The endpoint of an integration."""
    for endpoint in await state.endpoints():
        if endpoint.id == integration.endpoint_id:
            return endpoint
    msg = f"the integration {integration.name!r} has lost its endpoint; delete it and add it anew"
    raise NotFoundError(msg)


async def add_integration(
    state: State,
    vault: Vault,
    plugins: Plugins,
    clock: Clock,
    *,
    template: str,
    name: str,
    policy_id: str | None = None,
    group_ids: Sequence[str] = (),
    user_ids: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    secret: str | None = None,
    token: str | None = None,
) -> Made:
    """
    Add an integration with an endpoint of its own.

    `settings` are its differences to the template and its Advanced Settings, `secret` is what its sender is verified with,
    `token` that of its URL where it is not to be a new one. Raises NotFoundError where there is no such template, or no such
    policy or group as the settings name, TemplateError where the settings do not fit, ConflictError where the name is taken,
    and SettingsError where the secret cannot be one.
    """
    name = checked_name("an integration", name)
    folder = plugins.template(template)
    settings = dict(settings or {})
    file = check_fit(folder, settings)
    await check_references(state, settings)
    if secret is not None:
        check_secret(folder, file, secret)
    check_free("an integration", name, [known.name for known in await state.integrations()])
    now, token = clock.now(), token or new_token()
    endpoint = Endpoint(
        id=new_id("end"),
        name=url_name(name),
        token_hash=vault.token_hash(token.encode()),
        token_hint=hint(token),
        secret=None if secret is None else vault.seal(secret),
        created_at=now,
    )
    integration = Integration(
        id=new_id("int"),
        endpoint_id=endpoint.id,
        name=name,
        template=folder.slug,
        policy_id=policy_id,
        group_ids=tuple(group_ids),
        user_ids=tuple(user_ids),
        settings=settings,
        created_at=now,
        updated_at=now,
    )
    await state.add_integration(integration, endpoint)
    return Made(integration=integration, endpoint=endpoint, token=token)


async def first_integrations(state: State, vault: Vault, plugins: Plugins, clock: Clock) -> Sequence[Made]:
    """For a first start: one integration for each built-in template, named after it; none where there are any already."""
    if await state.integrations():
        return []
    own = [card for card in plugins.cards.values() if card.distribution == "alert-gateway"]
    return [
        await add_integration(state, vault, plugins, clock, template=card.slug, name=card.name)
        for card in sorted(own, key=lambda card: card.slug)
    ]


async def change_integration(
    state: State, plugins: Plugins, clock: Clock, integration: Integration, **changes: Any
) -> Integration:
    """
    Change fields of an integration; its URL stays.

    Raises TemplateError where settings do not fit its template, NotFoundError where they name what is not there, ConflictError
    where the name is taken, or its place in the sequence.
    """
    if "name" in changes:
        changes["name"] = checked_name("an integration", changes["name"])
        others = [one.name for one in await state.integrations() if one.id != integration.id]
        check_free("an integration", changes["name"], others)
    if "sequence" in changes:
        await _check_place(state, integration, changes["sequence"])
    changed = msgspec.structs.replace(integration, **changes, updated_at=max(clock.now(), integration.updated_at + 1))
    if "settings" in changes:
        check_fit(plugins.template(integration.template), changed.settings)
        await check_references(state, changed.settings)
    await state.save_integration(changed)
    return changed


async def _check_place(state: State, integration: Integration, sequence: int) -> None:
    """Raise ConflictError where another integration of its endpoint has this number."""
    others = [
        one
        for one in await state.integrations()
        if one.endpoint_id == integration.endpoint_id and one.id != integration.id
    ]
    taken = next((one for one in others if one.sequence == sequence), None)
    if taken is not None:
        numbers = ", ".join(str(one) for one in sorted(one.sequence for one in others))
        msg = (
            f"{integration.name!r} cannot be number {sequence} in the sequence of its endpoint: {taken.name!r} is; "
            f"take another number (taken: {numbers})"
        )
        raise ConflictError(msg)


async def clone_integration(
    state: State, plugins: Plugins, clock: Clock, integration: Integration, *, name: str, **changes: Any
) -> Integration:
    """
    Add an integration on the same endpoint, next in its sequence: an event that the ones before do not take is offered to it.

    It is as the first, with `changes`, whose `settings` go over those of the first key by key. Raises as `add_integration`.
    """
    name = checked_name("an integration", name)
    known = await state.integrations()
    check_free("an integration", name, [one.name for one in known])
    own = {**integration.settings, **changes.pop("settings", {})}
    check_fit(plugins.template(integration.template), own)
    await check_references(state, own)
    now = clock.now()
    clone = msgspec.structs.replace(
        integration,
        **{"enabled": True, **changes},
        id=new_id("int"),
        name=name,
        sequence=1 + max(one.sequence for one in known if one.endpoint_id == integration.endpoint_id),
        settings=own,
        created_at=now,
        updated_at=now,
    )
    await state.add_integration(clone, None)
    return clone


async def set_fan_out(state: State, integration: Integration, *, fan_out: bool) -> Endpoint:
    """Let every integration of an endpoint take the events that pass its filters, or only the first that lets them pass."""
    changed = msgspec.structs.replace(await find_endpoint(state, integration), fan_out=fan_out)
    await state.save_endpoint(changed)
    return changed


async def rotate_token(state: State, vault: Vault, clock: Clock, integration: Integration, *, overlap: float) -> Made:
    """A new token; the one before works for `overlap` seconds more. Integrations that share the endpoint change with it."""
    endpoint, token = await find_endpoint(state, integration), new_token()
    changed = msgspec.structs.replace(
        endpoint,
        token_hash=vault.token_hash(token.encode()),
        token_hint=hint(token),
        token_from=None,
        previous_token_hash=endpoint.token_hash if overlap else None,
        previous_until=clock.now() + round(overlap * 1000) if overlap else None,
    )
    await state.save_endpoint(changed)
    return Made(integration=integration, endpoint=changed, token=token)


async def replace_secret(
    state: State, vault: Vault, plugins: Plugins, integration: Integration, secret: str | None, *, keep_previous: bool
) -> Endpoint:
    """
    Verify the sender with another secret, or with none; the URL stays.

    With `keep_previous` the one before holds too, until the secret is replaced again. Raises SettingsError where it cannot
    be a secret of this template.
    """
    endpoint = await find_endpoint(state, integration)
    if secret is not None:
        folder = plugins.template(integration.template)
        check_secret(folder, folder.merged(integration.settings), secret)
    changed = msgspec.structs.replace(
        endpoint,
        secret=None if secret is None else vault.seal(secret),
        secret_from=None,
        previous_secret=endpoint.secret if keep_previous and secret is not None else None,
    )
    await state.save_endpoint(changed)
    return changed


def check_fit(folder: TemplateFolder, settings: Mapping[str, Any]) -> TemplateFile:
    """The template with these settings; raises TemplateError where they do not fit. No code of the template is run."""
    file = folder.merged(settings)
    advanced = advanced_of(settings)
    Rulebook(file, read=_nothing, has_code=folder.has_code, own_fields=settings.get("fields"), advanced=advanced)
    return file


async def check_references(state: State, settings: Mapping[str, Any]) -> None:
    """Raise NotFoundError that names the nearest where Advanced Settings name a policy or group that is not there."""
    advanced = advanced_of(settings)
    named = [(rule.policy, (await find_policy(state, rule.policy)).name) for rule in advanced.override]
    named += [(rule.group, (await find_group(state, rule.group)).name) for rule in advanced.recipients]
    for ref, name in named:
        if ref != name:  # whoever is told at night is looked up by name
            msg = f"settings: {ref!r} is an id; write the name, {name!r}"
            raise NotFoundError(msg)


def check_secret(folder: TemplateFolder, file: TemplateFile, secret: str) -> None:
    """Raise SettingsError where senders of this template could never be verified with this secret."""
    if not file.is_verified:
        msg = (
            f"the template {folder.slug} says of no way in which its sender is verified, so a secret would never be asked for; "
            "leave it out, or give [verification] in the settings"
        )
        raise SettingsError(msg)
    for verification in ways_of(file.verifications, secret):
        verification.check_secret(secret)


def _nothing(_request: Request) -> list[Any]:
    msg = "this rulebook is made to be checked, not to read"
    raise TemplateError(msg)
