"""What is likely a mistake in settings that were just saved, worked out on the last messages and said to whoever saved them."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.cautions import cautions_of
from gateway.cli.output import cell
from gateway.cli.reading import Bench
from gateway.cli.session import Session
from gateway.directory import directory_of
from gateway.errors import GatewayError
from gateway.models import Integration, Message, Reading
from gateway.reader import Job
from gateway.store.base import State


async def cautions_for(
    session: Session, state: State, integration: Integration, messages: Sequence[Message]
) -> list[str]:
    """What is likely wrong with an integration as it was saved."""
    try:
        file = session.plugins.template(integration.template).merged(integration.settings)
    except GatewayError as error:
        return [f"its template {integration.template} cannot be used: {error}"]
    bench = Bench(session.plugins_with_code, session.settings, {}) if messages else None

    def read(message: Message) -> Sequence[Reading]:
        return bench.reply(Job(message, integration)).readings if bench is not None else ()

    return cautions_of(integration, file, await directory_of(state), messages, read)


def caution_lines(cautions: Sequence[str]) -> list[str]:
    """The same as lines under what a command says."""
    return ["", *(f"warning: {cell(caution)}" for caution in cautions)] if cautions else []
