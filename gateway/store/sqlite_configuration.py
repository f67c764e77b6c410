"""The part of the state that people configure: endpoints, integrations, users and policies."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import apsw

from gateway.errors import ConflictError, NotFoundError
from gateway.hours import Window
from gateway.models import Contact, Endpoint, Group, Integration, Policy, PolicyStep, User
from gateway.store.sqlite_base import StateFile, Statements
from gateway.store.sqlite_rows import (
    endpoint_of,
    endpoint_row,
    group_of,
    group_row,
    integration_of,
    integration_row,
    json,
    texts,
    window_of,
    window_row,
)


class Configuration:
    """What `base.State` says under configuration."""

    _file: StateFile

    async def config_version(self) -> int:
        """Grows with each change of the configuration."""
        return int(self._file.read_value("meta", "config_version"))

    async def endpoints(self) -> list[Endpoint]:
        """All endpoints, oldest first."""
        return [endpoint_of(row) for row in self._file.read("endpoints")]

    async def endpoint_by_token(self, token_hash: bytes) -> Endpoint | None:
        """The endpoint whose token, or previous token, has this hash."""
        found = self._file.read("endpoint_by_token", token_hash)
        return endpoint_of(found[0]) if found else None

    async def save_endpoint(self, endpoint: Endpoint) -> None:
        """Replace an endpoint. Raises NotFoundError where there is none, ConflictError where its token is another's."""
        async with self._configure() as statements:
            with _naming("endpoint", endpoint.name):
                if not statements.run("save_endpoint", *endpoint_row(endpoint)):
                    raise _missing(endpoint.id, "endpoint")

    async def integrations(self) -> list[Integration]:
        """All integrations, by name."""
        return [integration_of(row) for row in self._file.read("integrations")]

    async def integration(self, ref: str) -> Integration | None:
        """By id or by name; an id goes first."""
        found = self._file.read("integration", ref)
        return integration_of(found[0]) if found else None

    async def add_integration(self, integration: Integration, endpoint: Endpoint | None) -> None:
        """
        Add an integration, with its endpoint where that is new.

        Raises ConflictError where the name is taken, NotFoundError where its endpoint or policy does not exist.
        """
        async with self._configure() as statements:
            with _naming("integration", integration.name):
                if endpoint is not None:
                    statements.run("add_endpoint", *endpoint_row(endpoint))
                statements.run("add_integration", *integration_row(integration))

    async def save_integration(self, integration: Integration) -> None:
        """Replace an integration. Raises NotFoundError where there is none, ConflictError where the name is taken."""
        async with self._configure() as statements:
            with _naming("integration", integration.name):
                if not statements.run("save_integration", *integration_row(integration)):
                    raise _missing(integration.id, "integration")

    async def delete_integration(self, integration_id: str) -> None:
        """Delete it, and its endpoint with the last one on it. Raises NotFoundError where there is none."""
        async with self._configure() as statements:
            endpoint_id = statements.value("delete_integration", integration_id)
            if endpoint_id is None:
                raise _missing(integration_id, "integration")
            statements.run("delete_endpoint_if_unused", endpoint_id)

    async def users(self) -> list[User]:
        """All users, by name, with their contacts in order."""
        contacts: dict[str, list[Contact]] = {}
        for user_id, number, kind, address in self._file.read("contacts"):
            contacts.setdefault(user_id, []).append(Contact(id=number, kind=kind, address=address))
        return [
            User(id=number, name=name, contacts=tuple(contacts.get(number, ())), created_at=created_at)
            for number, name, created_at in self._file.read("users")
        ]

    async def add_user(self, user: User) -> None:
        """Add a user with contacts. Raises ConflictError where the name is taken."""
        async with self._configure() as statements:
            with _naming("user", user.name):
                statements.run("add_user", user.id, user.name, user.created_at)
                _add_contacts(statements, user)

    async def save_user(self, user: User) -> None:
        """Replace a user. Raises NotFoundError where there is none, ConflictError where the name is taken."""
        async with self._configure() as statements:
            with _naming("user", user.name):
                if not statements.run("save_user", user.id, user.name, user.created_at):
                    raise _missing(user.id, "user")
                statements.run("delete_contacts", user.id)
                _add_contacts(statements, user)

    async def delete_user(self, user_id: str) -> None:
        """Delete a user with contacts; what was to be told there still is. Raises NotFoundError where there is none."""
        await self._delete("user", user_id)

    async def policies(self) -> list[Policy]:
        """All policies, by name, with their steps in order."""
        steps: dict[str, list[PolicyStep]] = {}
        for policy_id, user_ids, after in self._file.read("policy_steps"):
            steps.setdefault(policy_id, []).append(PolicyStep(user_ids=texts(user_ids), after=after))
        return [
            Policy(id=number, name=name, steps=tuple(steps.get(number, ())), created_at=created_at)
            for number, name, created_at in self._file.read("policies")
        ]

    async def add_policy(self, policy: Policy) -> None:
        """Add a policy with steps. Raises ConflictError where the name is taken."""
        async with self._configure() as statements:
            with _naming("policy", policy.name):
                statements.run("add_policy", policy.id, policy.name, policy.created_at)
                _add_steps(statements, policy)

    async def save_policy(self, policy: Policy) -> None:
        """Replace a policy. Raises NotFoundError where there is none, ConflictError where the name is taken."""
        async with self._configure() as statements:
            with _naming("policy", policy.name):
                if not statements.run("save_policy", policy.id, policy.name, policy.created_at):
                    raise _missing(policy.id, "policy")
                statements.run("delete_policy_steps", policy.id)
                _add_steps(statements, policy)

    async def delete_policy(self, policy_id: str) -> None:
        """Delete a policy. Raises NotFoundError where there is none, ConflictError where an integration has it."""
        async with self._configure() as statements:
            try:
                found = statements.run("delete_policy", policy_id)
            except apsw.ConstraintError:
                msg = f"the policy {policy_id!r} is that of an integration; give that another one first"
                raise ConflictError(msg) from None
            if not found:
                raise _missing(policy_id, "policy")

    async def groups(self) -> list[Group]:
        """All recipient groups, by name."""
        return [group_of(row) for row in self._file.read("groups")]

    async def add_group(self, group: Group) -> None:
        """Add a recipient group. Raises ConflictError where the name is taken."""
        async with self._configure() as statements:
            with _naming("recipient_group", group.name):
                statements.run("add_group", *group_row(group))

    async def save_group(self, group: Group) -> None:
        """Replace a recipient group. Raises NotFoundError where there is none, ConflictError where the name is taken."""
        async with self._configure() as statements:
            with _naming("recipient_group", group.name):
                if not statements.run("save_group", *group_row(group)):
                    raise _missing(group.id, "recipient group")

    async def delete_group(self, group_id: str) -> None:
        """Delete a recipient group. Raises NotFoundError where there is none."""
        await self._delete("group", group_id)

    async def windows(self) -> list[Window]:
        """All maintenance windows, by integration and name."""
        return [window_of(row) for row in self._file.read("windows")]

    async def add_window(self, window: Window) -> None:
        """Add a maintenance window. Raises ConflictError where its integration has one of that name."""
        async with self._configure() as statements:
            with _naming("maintenance_window", window.name):
                statements.run("add_window", *window_row(window))

    async def delete_window(self, window_id: str, now: int) -> None:
        """Delete a maintenance window; it ends `now` for what came in it. Raises NotFoundError where there is none."""
        async with self._configure() as statements:
            if not statements.run("delete_window", window_id):
                raise _missing(window_id, "maintenance window")
            statements.run("end_suppression", window_id, now)

    async def _delete(self, what: str, number: str) -> None:
        async with self._file.change() as statements:
            if not statements.run(f"delete_{what}", number):
                raise _missing(number, what)
            statements.run("config_changed")

    @contextlib.asynccontextmanager
    async def _configure(self) -> AsyncIterator[Statements]:
        async with self._file.change() as statements:
            yield statements
            statements.run("config_changed")


def _add_contacts(statements: Statements, user: User) -> None:
    rows = [(c.id, user.id, position, c.kind, c.address) for position, c in enumerate(user.contacts)]
    statements.each("add_contact", rows)


def _add_steps(statements: Statements, policy: Policy) -> None:
    rows = [(policy.id, place, json(step.user_ids), step.after) for place, step in enumerate(policy.steps)]
    statements.each("add_policy_step", rows)


@contextlib.contextmanager
def _naming(what: str, name: str) -> Iterator[None]:
    # SQLite says which column is taken, not that of which thing; a foreign key it does not name at all.
    try:
        yield
    except apsw.ConstraintError as error:
        column = f": {what}.name"
        what = what.replace("_", " ")
        if str(error).startswith("FOREIGN KEY"):
            needed = "integration" if what == "maintenance window" else "endpoint or the policy"
            msg = f"{what} {name!r}: the {needed} that it names does not exist; add that first"
            raise NotFoundError(msg) from None
        if str(error).endswith((column, ", maintenance_window.name")):
            msg = f"{what} {name!r}: that name is taken; choose another one"
            raise ConflictError(msg) from None
        column = str(error).rpartition(": ")[2]
        msg = f"{what} {name!r} could not be stored: its {column} is another's; make it anew"
        raise ConflictError(msg) from None


def _missing(ref: str, what: str) -> NotFoundError:
    return NotFoundError(f"there is no {what} {ref!r}")
