"""What is likely a mistake in settings that are saved or to be applied, worked out on the last messages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

from gateway.cautions import LOOKED_AT, cautions_of, tells_nobody
from gateway.cli.output import cell
from gateway.cli.reading import Bench
from gateway.cli.session import Session
from gateway.configuration import Configuration
from gateway.directory import Directory, directory_of
from gateway.errors import GatewayError
from gateway.models import Endpoint, Integration, Message, Reading
from gateway.prospect import prospective
from gateway.reader import Job, Reply
from gateway.reconciliation import Step
from gateway.store.base import Journal, State

_NAMED = 5


async def cautions_for(
    session: Session, state: State, integration: Integration, messages: Sequence[Message]
) -> list[str]:
    """What is likely wrong with an integration as it was saved."""
    directory = await directory_of(state)
    try:
        return _cautions(session, integration, directory, messages)
    except GatewayError as error:
        return [f"its template {integration.template} cannot be used: {error}"]


async def cautions_in(
    session: Session,
    journal: Journal | None,
    endpoints: Mapping[str, Endpoint],
    wanted: Configuration,
    after: Configuration,
    steps: Sequence[Step] | None = None,
) -> list[str]:
    """
    What is likely wrong with the integrations of a file, each sentence once, with the names of those that it is about.

    `after` is all that there will be once `wanted` is applied; `endpoints` are those that there are, by the name of the
    first on each. With `steps`, only what these change is looked at: of an integration that has none, whether it still
    tells somebody, where people change.
    """
    directory, about = prospective(after), {table.name for table in wanted.integration}
    changed = about if steps is None else {step.name for step in steps if step.kind == "integration"}
    people_change = any(step.kind != "integration" for step in steps or ())
    found: dict[str, list[str]] = {}
    for endpoint_id, integrations in directory.integrations.items():
        them = [one for one in integrations if one.name in about]
        endpoint = endpoints.get(endpoint_id)
        messages: Sequence[Message] = ()
        if journal is not None and endpoint is not None and any(one.name in changed for one in them):
            messages = await journal.newest(LOOKED_AT, endpoint_id=endpoint.id)
        for integration in them:
            cautions: Iterable[str] = ()
            if integration.name in changed:
                with contextlib.suppress(GatewayError):  # of a template that is gone, the plan says so
                    cautions = _cautions(session, integration, directory, messages)
            elif people_change:
                cautions = tells_nobody(integration, directory)
            for caution in cautions:
                found.setdefault(caution, []).append(integration.name)
    return [f"{_listed(names)}: {caution}" for caution, names in found.items()]


def _cautions(
    session: Session, integration: Integration, directory: Directory, messages: Sequence[Message]
) -> list[str]:
    file = session.plugins.template(integration.template).merged(integration.settings)
    bench = Bench(session.plugins_with_code, session.settings, {}) if messages else None

    def read(message: Message) -> tuple[Sequence[Reading], str | None]:
        reply = bench.reply(Job(message, integration)) if bench is not None else Reply(message.id)
        return reply.readings, reply.error

    return cautions_of(integration, file, directory, messages, read)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def caution_lines(cautions: Sequence[str]) -> list[str]:
    """The same as lines under what a command says."""
    return ["", *(f"warning: {cell(caution)}" for caution in cautions)] if cautions else []
