"""The configuration as the text of one TOML file: read, looked at for what does not fit within it, and written."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.clock import span
from gateway.config import nearest
from gateway.configuration import KEPT, KINDS, Configuration, IntegrationTable, plain
from gateway.errors import ConflictError, GatewayError, SettingsError, TemplateError
from gateway.hours import check_window
from gateway.names import check_free, checked_name
from gateway.tables import not_toml, struct_of, toml_of

HEAD = "# The configuration of an Alert Gateway: `alert-gateway config apply FILE`. No secrets are in it.\n\n"


def parse(text: str, where: str) -> Configuration:
    """
    The configuration of a file's text, whose own parts fit each other.

    Raises GatewayError that says what is wrong, and in which table. `where` is how it calls the file.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{where}: {not_toml(error)}"
        raise GatewayError(msg) from None
    try:
        configuration = Configuration(**_tables(raw))
    except GatewayError as error:
        msg = f"{where}: {error}"
        raise GatewayError(msg) from None
    problem = _flaw(configuration)
    if problem is not None:
        msg = f"{where}: {problem}"
        raise GatewayError(msg)
    return configuration


def _tables(raw: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Each table as its struct; one by one, so that what is wrong is said with the name of its table."""
    found: dict[str, list[Any]] = {}
    for key, tables in raw.items():
        if key not in KINDS:
            msg = f'unknown key "{key}" at the top level{nearest(key, list(KINDS))}'
            raise GatewayError(msg)
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            msg = f"there may be several of `{key}`; write [[{key}]], in two brackets each"
            raise GatewayError(msg)
        found[key] = []
        for number, table in enumerate(tables, 1):
            which = repr(table["name"]) if isinstance(table.get("name"), str) else f"number {number}"
            try:
                found[key].append(struct_of(table, KINDS[key], f"[[{key}]] {which}"))
            except TemplateError as error:
                msg = str(error).replace(" in the top level", "").replace(" at the top level", "")
                raise GatewayError(msg) from None
    return found


def to_toml(configuration: Configuration) -> str:
    """The text of a file that holds it; `parse` gives the same back."""
    return HEAD + toml_of(plain(configuration))


def _flaw(configuration: Configuration) -> str | None:
    """What does not fit within the file."""
    for kind in KINDS:
        problem = _names_flaw(kind, [table.name for table in getattr(configuration, kind)])
        if problem is not None:
            return problem
    problem = _people_flaw(configuration)
    if problem is not None:
        return problem
    for table in configuration.integration:
        problem = _integration_flaw(table) or clone_flaw(table, configuration.integration)
        if problem is not None:
            return f"[[integration]] {table.name!r}: {problem}"
    return None


def _people_flaw(configuration: Configuration) -> str | None:
    for group in configuration.group:
        if not group.users:
            return f"[[group]] {group.name!r}: without users it would tell nobody; name at least one"
    for policy in configuration.policy:
        if not policy.steps or not all(step.users for step in policy.steps):
            return f"[[policy]] {policy.name!r}: it would tell nobody; write [[policy.steps]] and name users in each"
        for step in policy.steps:
            if span(step.after) is None:
                return f"[[policy]] {policy.name!r}: `after` is {step.after!r}; write a span of time, 5m or 1h"
    return None


def _names_flaw(kind: str, names: Sequence[str]) -> str | None:
    what = f"{'an' if kind == 'integration' else 'a'} {kind}"
    for at, name in enumerate(names):
        if name in names[:at]:
            return f"there are two tables [[{kind}]] of the name {name!r}; give one another name, or leave it out"
        try:
            stored = checked_name(what, name)
            check_free(what, name, names[:at])
        except ConflictError as error:
            return f"[[{kind}]] {name!r}: {error}"
        except GatewayError as error:
            return f"[[{kind}]] number {at + 1}: {error}"
        if stored != name:
            return f"[[{kind}]] {name!r}: the name would be stored as {stored!r}; write it so"
    return None


def _integration_flaw(table: IntegrationTable) -> str | None:
    if table.clone_of is not None and (table.fan_out or table.token != KEPT or table.secret is not None):
        return f"fan_out, token and secret are those of the endpoint: set them for {table.clone_of!r}"
    for key, reference in (("token", table.token), ("secret", table.secret)):
        if reference is not None and reference != KEPT and not reference.startswith(("env:", "file:")):
            return f"`{key}` is to say where it is to be had from, not what it is: env:NAME, file:PATH, or {KEPT}"
    problem = _names_flaw("maintenance", [window.name for window in table.maintenance])
    if problem is not None:
        return problem
    for window in table.maintenance:
        try:
            check_window(window.window())
        except SettingsError as error:
            return f"maintenance {window.name!r}: {error}"
    return None


def clone_flaw(table: IntegrationTable, others: Sequence[IntegrationTable]) -> str | None:
    """What is wrong with an integration as one of several on an endpoint; `others` are all that there are or will be."""
    first = next((one for one in others if table.clone_of is not None and one.name == table.clone_of), None)
    if first is not None and first.clone_of is not None:
        return f"{table.clone_of!r} is a clone itself; write clone_of = {first.clone_of!r}"
    if first is not None and first.sequence >= table.sequence:
        return f"its `sequence` is {table.sequence}; it comes after {first.name!r}, so write more than {first.sequence}"
    for one in others:
        if (
            one.name < table.name
            and (one.clone_of, one.sequence) == (table.clone_of, table.sequence)
            and first is not None
        ):
            return (
                f"its `sequence` is {table.sequence}, as that of {one.name!r} on the same endpoint; write another one"
            )
    return None
