"""
What is otherwise in a configuration file than in a gateway: whether the file could be applied, and each step of it.

Applying a file twice changes nothing the second time. What is there and not in the file is left alone, unless it is pruned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from gateway.advanced import advanced_of
from gateway.config import nearest
from gateway.configuration import (
    KEPT,
    KINDS,
    Configuration,
    GroupTable,
    IntegrationTable,
    PolicyTable,
    UserTable,
    by_name,
    plain,
    tidied,
)
from gateway.configuration_file import clone_flaw
from gateway.errors import GatewayError, NotFoundError
from gateway.integrations import check_fit, check_secret
from gateway.inventory import Inventory, led_as_in
from gateway.names import check_free
from gateway.plugins import Plugins
from gateway.references import References
from gateway.vault import Vault

Verb = Literal["add", "change", "delete"]
Kind = Literal["user", "group", "policy", "integration"]
CheckContact = Callable[[str], Awaitable[tuple[str, str]]]
"""Kind and address of a contact, as its notifier wants it; raises GatewayError."""
_LONGEST = 200


class Step(msgspec.Struct, kw_only=True):
    """One thing to add, change or delete, and what is otherwise than in the file: `policy: Storage → Night`."""

    verb: Verb
    kind: Kind
    table: UserTable | GroupTable | PolicyTable | IntegrationTable
    details: list[str] = []

    @property
    def name(self) -> str:
        """What it is called."""
        return self.table.name


class Reconciliation:
    """
    One gateway, as `inventory` has it, and files.

    `warnings` is what `steps` has passed though it could not be looked at; `inventory` is then told as the file tells it.
    """

    def __init__(
        self,
        inventory: Inventory,
        vault: Vault,
        plugins: Plugins,
        check_contact: CheckContact,
        references: References,
    ) -> None:
        self.inventory = inventory
        self._vault, self._plugins = vault, plugins
        self._check_contact = check_contact
        self._references = references
        self.warnings: list[str] = []

    async def steps(self, wanted: Configuration, *, prune: bool = False) -> list[Step]:
        """
        What is to be done, in an order in which it can be.

        Raises GatewayError for what could not be: a name that is nowhere, a template that is not installed, settings that do
        not fit, a contact that is none, a secret that is not where it is to be had from. An integration that is there as the
        file has it, and whose template is gone, is passed with a warning.
        """
        wanted = tidied(wanted)
        self.inventory = led_as_in(wanted, self.inventory)
        for user in wanted.user:
            user.contacts = await self._contacts(user)
        self._check(wanted, prune=prune)
        steps: list[Step] = []
        for kind in KINDS:
            known = by_name(getattr(self.inventory.configuration, kind))
            tables = sorted(getattr(wanted, kind), key=lambda table: getattr(table, "clone_of", None) is not None)
            for table in tables:  # clones after what they share
                if table.name not in known:
                    steps.append(Step(verb="add", kind=kind, table=table))  # type: ignore[arg-type]
                elif details := self._differences(table, known[table.name]):
                    steps.append(Step(verb="change", kind=kind, table=table, details=details))  # type: ignore[arg-type]
        return [*steps, *self._gone(wanted)] if prune else steps

    def _gone(self, wanted: Configuration) -> list[Step]:
        steps: list[Step] = []
        for kind in reversed(KINDS):
            kept = by_name(getattr(wanted, kind))
            gone = [table for table in getattr(self.inventory.configuration, kind) if table.name not in kept]
            gone.sort(key=lambda table: getattr(table, "clone_of", None) is None)  # clones before what they share
            steps += [Step(verb="delete", kind=kind, table=table) for table in gone]  # type: ignore[arg-type]
        return steps

    async def _contacts(self, user: UserTable) -> list[str]:
        """The contacts of a user, as their notifiers want them."""
        found = []
        for contact in user.contacts:
            try:
                kind, address = await self._check_contact(contact)
            except GatewayError as error:
                msg = f"[[user]] {user.name!r}: {error}"
                raise GatewayError(msg) from None
            found.append(f"{kind}:{address}")
        return list(dict.fromkeys(found))

    # what is otherwise

    def _differences(self, wanted: Any, there: Any) -> list[str]:
        found: list[str] = []
        for field in msgspec.structs.fields(wanted):
            if field.name not in ("token", "secret"):
                old, new = (_comparable(getattr(table, field.name)) for table in (there, wanted))
                found += _difference(field.encode_name, old, new)
        return found + (self._references_differ(wanted) if isinstance(wanted, IntegrationTable) else [])

    def _references_differ(self, table: IntegrationTable) -> list[str]:
        endpoint = self.inventory.endpoints.get(table.name)
        if endpoint is None:  # that of a clone is the first's
            return []
        found = []
        token, secret = self._references.token(table.token), self._references.secret(table.secret)
        if token is not None and (endpoint.token_from, endpoint.token_hash) != (
            table.token,
            self._vault.token_hash(token.encode()),
        ):
            found.append(f"token: the one in {table.token}")
        if table.secret is None and endpoint.secret is not None:
            found.append("secret: none, so that nobody is verified")
        known = None if endpoint.secret is None else self._vault.unseal(endpoint.secret)
        if secret is not None and (endpoint.secret_from, known) != (table.secret, secret):
            found.append(f"secret: the one in {table.secret}")
        return found

    # what could not be

    def _check(self, wanted: Configuration, *, prune: bool) -> None:
        """Raise GatewayError where a step could not be carried out, so that none is before all can be."""
        after = wanted if prune else merged(self.inventory.configuration, wanted)
        known = {kind: {table.name for table in getattr(after, kind)} for kind in KINDS}
        for kind in KINDS:
            taken = by_name(getattr(self.inventory.configuration, kind))
            for table in getattr(wanted, kind):
                if table.name not in taken:
                    with _about(f"[[{kind}]] {table.name!r}"):
                        check_free(_a(kind), table.name, taken)
        for group in wanted.group:
            _known(f"[[group]] {group.name!r}", "user", group.users, known["user"])
        for policy in wanted.policy:
            for step in policy.steps:
                _known(f"[[policy]] {policy.name!r}", "user", step.users, known["user"])
        owners = {endpoint.token_hash: name for name, endpoint in self.inventory.endpoints.items()}
        for table in wanted.integration:
            where = f"[[integration]] {table.name!r}"
            _known(where, "policy", [table.policy] if table.policy is not None else [], known["policy"])
            _known(where, "group", table.groups, known["group"])
            _known(where, "user", table.users, known["user"])
            _known(where, "integration", [table.clone_of] if table.clone_of is not None else [], known["integration"])
            problem = clone_flaw(table, after.integration) or self._fixed_flaw(table)
            if problem is not None:
                msg = f"{where}: {problem}"
                raise GatewayError(msg)
            with _about(where):
                self._check_integration(table, known, owners)
        _check_left(wanted, after)

    def _fixed_flaw(self, table: IntegrationTable) -> str | None:
        """What of an integration that is there cannot be changed."""
        there = by_name(self.inventory.configuration.integration).get(table.name)
        remedy = "delete the integration first, or give the new one another name"
        if there is not None and there.template != table.template:
            return f"it has the template {there.template}, which stays; {remedy}"
        if there is not None and there.clone_of != table.clone_of:
            whose = "an endpoint of its own" if there.clone_of is None else f"the endpoint of {there.clone_of!r}"
            return f"it is on {whose}, which stays; {remedy}"
        if table.secret == KEPT and (there is None or self.inventory.endpoints[table.name].secret is None):
            return "its secret is to be kept, and there is none; write env:NAME or file:PATH"
        return None

    def _check_integration(self, table: IntegrationTable, known: dict[str, set[str]], owners: dict[bytes, str]) -> None:
        try:
            folder = self._plugins.template(table.template)
            file = check_fit(folder, table.settings)
        except GatewayError as error:
            there = by_name(self.inventory.configuration.integration).get(table.name)
            if there is None or self._differences(table, there):
                raise
            self.warnings.append(f"integration {table.name!r} stays as it is: {error}")
            return
        advanced = advanced_of(table.settings)
        _known("[[override]]", "policy", [rule.policy for rule in advanced.override], known["policy"])
        _known("[[recipients]]", "group", [rule.group for rule in advanced.recipients], known["group"])
        token, secret = self._references.token(table.token), self._references.secret(table.secret)
        if secret is not None:
            check_secret(folder, file, secret)
        owner = None if token is None else owners.setdefault(self._vault.token_hash(token.encode()), table.name)
        if owner not in (None, table.name):
            msg = f"the token in {table.token} is that of {owner!r}; each endpoint has its own, which clones share"
            raise GatewayError(msg)


def merged(there: Configuration, wanted: Configuration) -> Configuration:
    """What there will be where nothing is pruned."""
    both = {kind: by_name(getattr(there, kind)) | by_name(getattr(wanted, kind)) for kind in KINDS}
    return Configuration(**{kind: list(tables.values()) for kind, tables in both.items()})


def _check_left(wanted: Configuration, after: Configuration) -> None:
    """Raise GatewayError where what is not in the file would no longer be in its place on an endpoint of the file."""
    names = {table.name for table in wanted.integration}
    shared = {table.clone_of or table.name for table in wanted.integration}
    others = [table for table in after.integration if table.name in names or table.clone_of is None]
    for table in after.integration:
        if table.name not in names and table.clone_of in shared:
            problem = clone_flaw(table, others)
            if problem is not None:
                msg = f"the integration {table.name!r}, which is not in the file: {problem}; add it to the file"
                raise GatewayError(msg)


@contextlib.contextmanager
def _about(where: str) -> Iterator[None]:
    """Say of an error which table it is about."""
    try:
        yield
    except GatewayError as error:
        msg = f"{where}: {error}"
        raise GatewayError(msg) from None


def _a(kind: str) -> str:
    return f"{'an' if kind == 'integration' else 'a'} {kind}"


def _known(where: str, what: str, names: Sequence[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            msg = (
                f"{where}: there is no {what} {name!r}, in the file or in the gateway{nearest(name, sorted(known))}; "
                f"add it as [[{what}]]"
            )
            raise NotFoundError(msg)


def _comparable(value: Any) -> Any:
    """Lists of what has a name as tables of it."""
    value = plain(value)
    if isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        return {one["name"]: one for one in value}
    return value


def _difference(key: str, old: Any, new: Any) -> list[str]:
    """What is otherwise, in a line for each key of a table, however deep."""
    if _exactly(old) == _exactly(new):
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for name in dict.fromkeys([*old, *new])
            for line in _difference(f"{key}.{name}", old.get(name), new.get(name))
        ]
    return [f"{key}: {_said(old)} → {_said(new)}"]


def _exactly(value: Any) -> bytes:
    """A value so that true is not 1."""
    return msgspec.json.encode(value, order="deterministic")


def _said(value: Any) -> str:
    if value in (None, [], {}, ""):
        return "none"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
