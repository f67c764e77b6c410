"""
The worker: takes messages from the journal in order, has them read, and applies what they mean to the state.

Two lanes. In the fast one a batch is read while the one before is applied. A message that hangs or crashes its reader is
set aside: it is tried once more in the other lane, where it holds up nobody but its own kind, and is `failed` after that. As
long as a template is suspect, or messages of an endpoint wait aside, later ones of theirs go aside as well, so that order is
kept. Replays take that lane too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from gateway.clock import Clock
from gateway.config import Settings
from gateway.errors import StoreBusyError
from gateway.lane import Lane
from gateway.models import Deferred, Integration, Message
from gateway.pipeline import Directory, Plan, Read, keys_of, set_aside
from gateway.reader import Job, Reply
from gateway.store.base import Changes, Journal, State
from gateway.wake import Wake

BATCH = 256
TRIES = 2
SUSPECT_FOR = 600_000
"""How long (ms) a template that stopped a reader is kept out of the fast lane."""
BREAKER_KILLS = 5
BREAKER_WINDOW = 60_000
"""A template that stopped readers this often within this time (ms) is not tried until the time is over."""
_IDLE = 0.5
_PAUSE = 0.2
_log = logging.getLogger("gateway.worker")


class Worker:
    """Moves the cursor. One at a time for a state."""

    def __init__(
        self,
        journal: Journal,
        state: State,
        settings: Settings,
        clock: Clock,
        *,
        reader_environ: Mapping[str, str],
        heard: Wake,
        tell: Wake,
    ) -> None:
        """`heard` rings when messages come; `tell` is rung when notifications are due."""
        self._journal = journal
        self._state = state
        self._clock = clock
        self._heard = heard
        self._tell = tell
        self._fast = Lane(reader_environ, deadline=settings.read_deadline, name="reader")
        self._aside = Lane(reader_environ, deadline=settings.read_deadline, name="reader of messages set aside")
        self._directory = Directory(version=-1)
        self._suspects: dict[str, int] = {}
        self._kills: dict[str, deque[int]] = {}
        self._waiting: set[str] = set()
        self._unwritten = 0
        self._something_aside = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what was read by then is applied."""
        self._waiting = {deferred.endpoint_id for deferred in await self._state.deferred(10_000) if not deferred.run}
        self._something_aside.set()
        await self._fast.start()
        lanes = [asyncio.create_task(self._run_fast(stop)), asyncio.create_task(self._run_aside(stop))]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await self._fast.stop()
            await self._aside.stop()

    # the fast lane

    async def _run_fast(self, stop: asyncio.Event) -> None:
        cursor = await self._state.cursor()
        reading: asyncio.Task[list[Read | Deferred]] | None = None
        while True:
            results = await reading if reading is not None else []
            reading = None
            if not stop.is_set():
                try:
                    await self._refresh()
                    messages = await self._journal.read(cursor, BATCH)
                except StoreBusyError as error:
                    await self._complain(error)
                    messages = []
                if messages:
                    cursor = messages[-1].id
                    reading = asyncio.create_task(self._read_batch(messages))
                    await asyncio.sleep(0)  # so that its jobs are out before this loop is busy applying the last ones
            if results:
                await self._apply(results, cursor=_message_id(results[-1]))
            elif reading is None:
                if stop.is_set():
                    return
                await self._heard.wait(_IDLE)

    async def _read_batch(self, messages: Sequence[Message]) -> list[Read | Deferred]:
        jobs: list[Job] = []
        results: list[Read | Deferred | None] = []
        for message in messages:
            integration = self._integration_of(message)
            if integration is None:
                results.append(Read(message=message, integration=None))
            elif self._goes_aside(message, integration):
                results.append(set_aside(message, tries=0, reason="earlier messages of its kind wait aside"))
            else:
                jobs.append(Job(message, integration))
                results.append(None)
        replies = iter(await self._fast.read(jobs))
        done: list[Read | Deferred] = []
        held: set[str] = set()
        for message, result in zip(messages, results, strict=True):
            if result is None:
                reply = next(replies)
                integration = self._integration_of(message)
                assert integration is not None  # noqa: S101  # it had one when the job was made
                if reply.killed:
                    self._suspect(integration, reply)
                    result = set_aside(message, tries=1, reason=reply.error or "")  # noqa: PLW2901
                elif message.endpoint_id in held:
                    result = set_aside(message, tries=0, reason="an earlier message waits aside")  # noqa: PLW2901
                else:
                    result = _read(message, integration, reply)  # noqa: PLW2901
            if isinstance(result, Deferred):
                held.add(message.endpoint_id)
                self._waiting.add(message.endpoint_id)
                self._unwritten += 1
            done.append(result)
        return done

    def _goes_aside(self, message: Message, integration: Integration) -> bool:
        if message.endpoint_id in self._waiting:
            return True
        until = self._suspects.get(integration.template)
        if until is None:
            return False
        if until < self._clock.now():
            del self._suspects[integration.template]
            return False
        return True

    def _suspect(self, integration: Integration, reply: Reply) -> None:
        now = self._clock.now()
        _log.warning("template %s was stopped at message %d: %s", integration.template, reply.message_id, reply.error)
        self._suspects[integration.template] = now + SUSPECT_FOR
        self._kills.setdefault(integration.template, deque(maxlen=BREAKER_KILLS)).append(now)

    # the lane of what was set aside

    async def _run_aside(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                waiting = await self._state.deferred(BATCH)
            except StoreBusyError as error:
                await self._complain(error)
                continue
            if not waiting:
                if not self._unwritten:
                    self._waiting.clear()
                await self._aside.stop()
                self._something_aside.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE):
                        await self._something_aside.wait()
                continue
            for deferred in waiting:
                if stop.is_set():
                    return
                await self._read_aside(deferred)

    async def _read_aside(self, deferred: Deferred) -> None:
        await self._refresh()
        found = await self._journal.get([deferred.message_id])
        if not found:
            _log.warning("message %d is no longer kept; it cannot be read again", deferred.message_id)
            await self._apply([], done=deferred.message_id)
            return
        message = found[0]
        integration = self._integration_of(message)
        if integration is None:
            result: Read | Deferred = Read(message=message, integration=None, run=deferred.run)
        elif self._is_broken(integration):
            error = f"not read: the template {integration.template} was stopped {BREAKER_KILLS} times within a minute"
            result = Read(message=message, integration=integration, error=error, run=deferred.run)
        else:
            reply = (await self._aside.read([Job(message, integration)]))[0]
            result = _read(message, integration, reply, deferred.run)
            if reply.killed:
                self._suspect(integration, reply)
                if deferred.tries + 1 < TRIES:
                    result = msgspec.structs.replace(deferred, tries=deferred.tries + 1, reason=reply.error or "")
                    self._unwritten += 1
        await self._apply([result], done=None if isinstance(result, Deferred) else message.id)

    def _is_broken(self, integration: Integration) -> bool:
        kills = self._kills.get(integration.template)
        if kills is None:
            return False
        return len(kills) == BREAKER_KILLS and self._clock.now() - kills[0] < BREAKER_WINDOW

    # both

    def _integration_of(self, message: Message) -> Integration | None:
        integrations = self._directory.integrations.get(message.endpoint_id, ())
        return integrations[0] if integrations else None

    async def _apply(self, results: Sequence[Read | Deferred], *, cursor: int | None = None, done: int | None = None) -> None:
        """Write what these change, as often as it takes until the store has it."""
        reads = [result for result in results if isinstance(result, Read)]
        deferred = [result for result in results if isinstance(result, Deferred)]
        while True:
            try:
                changes = await self._write(reads, deferred, cursor, done)
            except StoreBusyError as error:
                await self._complain(error)
            else:
                break
        self._unwritten -= len(deferred)
        if changes.notifications:
            self._tell.ring()
        if deferred:
            self._something_aside.set()

    async def _write(
        self, reads: Sequence[Read], deferred: list[Deferred], cursor: int | None, done: int | None
    ) -> Changes:
        async with self._state.transaction() as transaction:
            open_alerts = await transaction.open_alerts(keys_of(reads))
            plan = Plan(open_alerts, await transaction.next_alert_id(), self._directory, self._clock.now())
            for read in reads:
                plan.apply(read)
            changes = plan.finish()
            changes.cursor = cursor
            changes.deferred = deferred
            changes.done = [] if done is None else [done]
            await transaction.write(changes)
        return changes

    async def _refresh(self) -> None:
        version = await self._state.config_version()
        if version == self._directory.version:
            return
        by_endpoint: dict[str, list[Integration]] = {}
        for integration in sorted(await self._state.integrations(), key=lambda one: (one.sequence, one.created_at, one.id)):
            by_endpoint.setdefault(integration.endpoint_id, []).append(integration)
        self._directory = Directory(
            version=version,
            integrations=by_endpoint,
            policies={policy.id: policy for policy in await self._state.policies()},
            users={user.id: user for user in await self._state.users()},
        )

    async def _complain(self, error: Exception) -> None:
        _log.warning("the store is busy, trying again: %s", error)
        await asyncio.sleep(_PAUSE)


def _read(message: Message, integration: Integration, reply: Reply, run: int = 0) -> Read:
    error = reply.error
    if reply.killed:
        error = f"{error}; it was tried {TRIES} times"
    return Read(message=message, integration=integration, readings=reply.readings, error=error, run=run)


def _message_id(result: Read | Deferred) -> int:
    return result.message.id if isinstance(result, Read) else result.message_id
