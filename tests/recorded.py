"""A gateway on a real store and a clock that is moved by hand: configured by a file, sent messages, asked what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.actions import replay
from gateway.applying import Applying
from gateway.clock import ManualClock
from gateway.config import Settings
from gateway.configuration import Configuration
from gateway.configuration_file import parse, to_toml
from gateway.directory import Directory, directory_of
from gateway.errors import GatewayError
from gateway.integrations import Made, find_integration
from gateway.inventory import exported, inventory_of
from gateway.loader import load_plugins
from gateway.models import Message, Notification
from gateway.pipeline import Plan, Read
from gateway.reader import Job, Readings, Reply, answer
from gateway.recall import of_messages
from gateway.reconciliation import Reconciliation, Step
from gateway.references import References
from gateway.store.base import Draft, Receipt
from gateway.store.sqlite import SqliteJournal, SqliteState
from gateway.timers import carry_out
from gateway.vault import Vault

NOON = 1_795_608_000_000
"""Wednesday, 2026-11-25, 12:00 UTC."""
PLUGINS = load_plugins(Settings(), code=True)


async def check_contact(contact: str) -> tuple[str, str]:
    """As a notifier looks at one: an address may be written in more than one way."""
    kind, colon, address = contact.partition(":")
    if not colon or kind not in ("webhook", "email"):
        msg = f"the contact {contact!r} is none"
        raise GatewayError(msg)
    return kind, address.strip()


class Recorded:
    """One data folder."""

    def __init__(self, data: Path, clock: ManualClock, environ: Mapping[str, str] | None = None) -> None:
        self.data, self.clock = data, clock
        data.mkdir(parents=True, exist_ok=True)
        self.vault = Vault.open(data)
        self.environ = dict(environ or {})
        self.references = References(self.environ)
        self.state = SqliteState.open(data, clock=clock)
        self.journal = SqliteJournal.open(data, clock=clock)
        self._readings = Readings(PLUGINS, 1 << 20)

    async def close(self) -> None:
        await self.journal.close()
        await self.state.close()

    # configuration

    async def steps(self, file: str | Configuration, *, prune: bool = False) -> list[Step]:
        """What is to be done to make it what a file says."""
        wanted = parse(file, "gateway.toml") if isinstance(file, str) else file
        inventory = await inventory_of(self.state)
        reconciliation = Reconciliation(inventory, self.vault, PLUGINS, check_contact, self.references)
        return await reconciliation.steps(wanted, prune=prune)

    async def apply(self, file: str | Configuration, *, prune: bool = False) -> list[Made]:
        """Do it; the integrations that were made with a new token."""
        applying = Applying(self.state, self.vault, PLUGINS, self.clock, self.references)
        made = [await applying.carry_out(step) for step in await self.steps(file, prune=prune)]
        return [one for one in made if one is not None]

    async def export(self) -> str:
        return to_toml(await exported(self.state))

    # messages

    def read(self, job: Job) -> Reply:
        """What a process of its own reads, that sees these settings for the first time."""
        return answer(Readings(PLUGINS, 1 << 20).read, job)

    async def post(self, integration: str, body: bytes | Mapping[str, Any]) -> int:
        """Store a message and have it read at once; its id."""
        await self.tick()
        endpoint_id = (await find_integration(self.state, integration)).endpoint_id
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        draft = Draft(endpoint_id, self.clock.now(), b"", b"content-type: application/json", data)
        self.journal.append(draft, told.set_result)
        receipt = await told
        assert isinstance(receipt, Receipt)
        (message,) = await self.journal.get([receipt.id])
        await self._take(await directory_of(self.state), message, 0, receipt.id)
        return receipt.id

    async def replay(self, *ids: int) -> None:
        await replay(self.journal, self.state, ids, reason="replayed by a test")
        for deferred in await self.state.deferred():
            (message,) = await self.journal.get([deferred.message_id])
            await self._take(await directory_of(self.state), message, deferred.run, None)

    async def tick(self) -> None:
        """Do what is due by now, each at its own time, as a gateway that runs all the while would."""
        now = self.clock.now()
        while (due := await self.state.next_timer()) is not None and due <= now:
            await carry_out(self.state, await directory_of(self.state), due, until=due)

    async def _take(self, directory: Directory, message: Message, run: int, cursor: int | None) -> None:
        first, *others = directory.integrations[message.endpoint_id]
        fan_out = message.endpoint_id in directory.fan_out
        reply = answer(self._readings.read, Job(message, first, tuple(one for one in others if one.enabled), fan_out))
        read = Read(message=message, integration=first, readings=reply.readings, error=reply.error, run=run)
        async with self.state.transaction() as transaction:
            known = await of_messages(transaction, [read], directory, self.clock.now())
            plan = Plan(known, await transaction.next_alert_id(), directory, self.clock.now())
            plan.apply(read)
            changes = plan.finish()
            changes.cursor, changes.done = cursor, [message.id]
            await transaction.write(changes)

    # what came of it

    async def came(self, *ids: int) -> list[tuple[Any, ...]]:
        """What became of messages at their newest reading: message, action, outcome, reason, alert."""
        events = await self.state.events(ids or range(1, 1 + await self.journal.head()))
        last = {event.message_id: event.run for event in events}  # by message, run, position
        return [
            (event.message_id, event.action, event.outcome, event.reason, event.alert_id)
            for event in events
            if event.run == last[event.message_id]
        ]

    async def everything(self) -> list[Any]:
        """All that people see of it, without the ids that a gateway makes up."""
        names = {one.id: one.name for one in await self.state.integrations()}
        alerts = [
            (names.get(one.integration_id), one.status, re.sub("int_.*", "…", one.source_id), one.subject,
             one.severity, one.count, one.custom, one.told_at, one.leader_id, one.closed_at)
            for one in await self.state.alerts(limit=1000)
        ]  # fmt: skip
        notifications = sorted(
            (one.alert_id, one.seq, one.kind, one.user, one.contact.address, one.due_at, one.status)
            for one in await self.state.notifications(limit=1000)
        )
        traces = [event.trace for event in await self.state.events(range(1, 1 + await self.journal.head()))]
        return [await self.came(), alerts, notifications, traces]

    def contents(self) -> dict[str, bytes]:
        """Every file of the folder, byte for byte."""
        return {path.name: path.read_bytes() for path in sorted(self.data.iterdir())}


@contextlib.asynccontextmanager
async def recorded(
    data: Path, *, clock: ManualClock | None = None, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Recorded]:
    """A gateway for the length of a block."""
    made = Recorded(data, clock or ManualClock(NOON), environ)
    try:
        yield made
    finally:
        await made.close()


def told(notifications: Sequence[Notification]) -> list[tuple[Any, ...]]:
    """Who is told of what, and when."""
    return sorted((one.kind, one.user, one.contact.address, one.due_at) for one in notifications)
