"""
The worker: takes messages from the journal in order, has them read, and applies what they mean to the state.

Two lanes. In the fast one a batch is read while the one before is applied. A message that hangs or crashes its reader is
set aside: it is tried once more in the other lane, where it holds up nobody but its own kind, and is `failed` after that. As
long as a template is suspect, or messages of an endpoint wait aside, later ones of theirs go aside as well, so that order is
kept. Replays take that lane too. Beside the lanes, alerts are closed for silence, maintenance windows end, and the gateway
looks after itself.
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
from gateway.directory import Directory, directory_of
from gateway.errors import StoreBusyError
from gateway.lane import Lane
from gateway.models import Deferred, Integration, Message
from gateway.own_alerts import look_after
from gateway.pipeline import Plan, Read, set_aside
from gateway.reader import Job, Reply
from gateway.recall import of_messages
from gateway.store.base import Changes, Journal, State
from gateway.timers import carry_out
from gateway.wake import Wake

BATCH = 256
ASIDE_BATCH = 64
TRIES = 2
SUSPECT_FOR = 600_000
"""How long (ms) a template that stopped a reader is kept out of the fast lane."""
GIVEN_UP = 3
BREAKER_WINDOW = 60_000
"""After so many messages of an endpoint were given up within this time (ms), its others are not tried until that is over."""
_MOST_WAITING = 10_000
LOOK = 5.0
"""How often (s) the gateway looks whether it has to open an alert about itself."""
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
        self._own_policy = settings.own_policy
        self._heard = heard
        self._tell = tell
        self._fast = Lane(reader_environ, deadline=settings.read_deadline, name="reader")
        self._aside = Lane(reader_environ, deadline=settings.read_deadline, name="reader of messages set aside")
        self._directory = Directory(version=-1)
        self._suspects: dict[str, int] = {}
        self._given_up: dict[str, deque[int]] = {}
        self._waiting: set[str] = set()
        self._set_aside = 0
        self._unwritten = 0
        self._something_aside = asyncio.Event()
        self._behind: int | None = 0  # until the journal was looked into, everything may be waiting in it

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what was read by then is applied."""
        await self._refresh()
        waiting = await self._state.deferred(_MOST_WAITING)
        self._waiting = {deferred.endpoint_id for deferred in waiting if not deferred.run}
        if len(waiting) == _MOST_WAITING:  # there may be more than were looked at
            self._waiting |= set(self._directory.integrations)
        self._something_aside.set()
        lanes: list[asyncio.Task[None]] = []
        try:
            await self._fast.start()
            lanes = [asyncio.create_task(work(stop)) for work in (self._run_fast, self._run_aside, self._run_timers)]
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            await self._fast.stop()
            await self._aside.stop()

    # the fast lane

    async def _run_fast(self, stop: asyncio.Event) -> None:
        cursor = await self._state.cursor()
        reading: asyncio.Task[list[Read | Deferred]] | None = None
        try:
            while True:
                results = await reading if reading is not None else []
                reading = None
                if not stop.is_set():
                    try:
                        await self._refresh()
                        messages = await self._journal.read(cursor, BATCH)
                        self._behind = _oldest(results, messages)
                    except StoreBusyError as error:
                        if self._behind is None:
                            self._behind = self._clock.now()
                        await self._complain(error)
                        messages = []
                    if messages:
                        cursor = messages[-1].id
                        reading = asyncio.create_task(self._read_batch(messages))
                        # So that its jobs are out before this loop is busy applying the last ones.
                        await asyncio.sleep(0)
                if results:
                    await self._apply(results, cursor=_message_id(results[-1]))
                elif reading is None:
                    if stop.is_set():
                        return
                    await self._heard.wait(_IDLE)
        finally:
            if reading is not None:
                reading.cancel()

    async def _read_batch(self, messages: Sequence[Message]) -> list[Read | Deferred]:
        """What is made of each message, in order. Whose it is, is settled once: the directory may change meanwhile."""
        integrations = [self._integration_of(message) for message in messages]
        jobs = [
            self._job(message, integration)
            for message, integration in zip(messages, integrations, strict=True)
            if integration is not None and not self._goes_aside(message, integration)
        ]
        replies = await self._replies(jobs)
        done: list[Read | Deferred] = []
        held: set[str] = set()
        for message, integration in zip(messages, integrations, strict=True):
            reply = replies.get(message.id)
            if integration is None:
                done.append(Read(message=message, integration=None))
            elif reply is not None and not reply.killed and message.endpoint_id not in held:
                done.append(_read(message, integration, reply))
            else:
                reason = (reply and reply.error) or "earlier messages of its kind wait aside"
                killed = reply is not None and reply.killed
                done.append(set_aside(message, tries=1 if killed else 0, reason=reason))
                held.add(message.endpoint_id)
                self._waiting.add(message.endpoint_id)
                self._set_aside += 1
                self._unwritten += 1
        return done

    async def _replies(self, jobs: Sequence[Job]) -> dict[int, Reply]:
        """Replies by message; none for what goes aside because an earlier message of its kind was killed."""
        replies: dict[int, Reply] = {}
        while jobs:
            read = await self._fast.read(jobs, until_killed=True)
            replies |= {reply.message_id: reply for reply in read}
            jobs, last = jobs[len(read) :], jobs[len(read) - 1]
            if read[-1].killed:
                self._suspect(last.integration, read[-1])
                jobs = [
                    job
                    for job in jobs
                    if job.message.endpoint_id != last.message.endpoint_id
                    and job.integration.template != last.integration.template
                ]
        return replies

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

    # the lane of what was set aside

    async def _run_aside(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._something_aside.clear()
            all_written, set_aside_before = not self._unwritten, self._set_aside
            try:
                waiting = await self._state.deferred(ASIDE_BATCH)
                if len(waiting) < ASIDE_BATCH and all_written and set_aside_before == self._set_aside:
                    self._waiting = {deferred.endpoint_id for deferred in waiting if not deferred.run}
                if waiting:
                    await self._read_all_aside(waiting)
            except StoreBusyError as error:
                await self._complain(error)
                continue
            if not waiting:
                await self._aside.stop()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE):
                        await self._something_aside.wait()

    async def _read_all_aside(self, waiting: Sequence[Deferred]) -> None:
        """Read these in order, up to and with the first that is killed; what comes after it is still there next time."""
        await self._refresh()
        messages = {message.id: message for message in await self._journal.get([one.message_id for one in waiting])}
        results: list[Read | Deferred] = []
        tried: list[tuple[Deferred, Job]] = []
        for deferred in waiting:
            message = messages.get(deferred.message_id)
            if message is None:
                _log.warning("message %d is no longer kept; it cannot be read again", deferred.message_id)
                continue
            integration = self._integration_of(message)
            if integration is None or self._is_broken(message):
                error = None if integration is None else f"not read: {GIVEN_UP} before it were given up within a minute"
                results.append(Read(message=message, integration=integration, error=error, run=deferred.run))
            else:
                tried.append((deferred, self._job(message, integration)))
        done = {one.message_id for one in waiting if one.message_id not in messages}
        if tried:
            replies = await self._aside.read([job for _, job in tried], until_killed=True)
            results += [
                self._tried_aside(deferred, job, reply) for (deferred, job), reply in zip(tried, replies, strict=False)
            ]
        done |= {_message_id(result) for result in results if isinstance(result, Read)}
        await self._apply(sorted(results, key=_message_id), done=sorted(done))

    def _tried_aside(self, deferred: Deferred, job: Job, reply: Reply) -> Read | Deferred:
        """What one reply in this lane means: the message is settled, or is tried once more."""
        if not reply.killed:
            if deferred.tries:  # the very message that stopped a reader is harmless: its template was not to blame
                self._suspects.pop(job.integration.template, None)
            return _read(job.message, job.integration, reply, deferred.run)
        self._suspect(job.integration, reply)
        if deferred.tries + 1 < TRIES:
            self._unwritten += 1
            return msgspec.structs.replace(deferred, tries=deferred.tries + 1, reason=reply.error or "")
        given_up = self._given_up.setdefault(job.message.endpoint_id, deque(maxlen=GIVEN_UP))
        given_up.append(self._clock.now())
        return _read(job.message, job.integration, reply, deferred.run)

    def _is_broken(self, message: Message) -> bool:
        given_up = self._given_up.get(message.endpoint_id)
        if given_up is None:
            return False
        return len(given_up) == GIVEN_UP and self._clock.now() - given_up[0] < BREAKER_WINDOW

    # timers

    async def _run_timers(self, stop: asyncio.Event) -> None:
        looked = self._clock.monotonic()
        while not stop.is_set():
            try:
                if self._clock.monotonic() - looked >= LOOK:
                    looked = self._clock.monotonic()
                    await self._refresh()
                    if await look_after(self._journal, self._state, self._directory, self._clock.now()):
                        self._tell.ring()
                # Silence is not heard before what waits in the journal was read.
                now = self._clock.now() if self._behind is None else self._behind
                due_at = await self._state.next_timer()
                if due_at is not None and due_at <= now:
                    await self._refresh()
                    if await carry_out(self._state, self._directory, self._clock.now(), until=now):
                        self._tell.ring()
                    continue
            except StoreBusyError as error:
                await self._complain(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE):
                    await stop.wait()

    # all

    def _integration_of(self, message: Message) -> Integration | None:
        integrations = self._directory.integrations.get(message.endpoint_id, ())
        return integrations[0] if integrations else None

    def _job(self, message: Message, first: Integration) -> Job:
        """The message, with the other integrations of its endpoint that may take its events, in sequence."""
        integrations = self._directory.integrations[first.endpoint_id]
        others = tuple(other for other in integrations if other.id != first.id and other.enabled)
        return Job(message, first, others, first.endpoint_id in self._directory.fan_out)

    async def _apply(
        self, results: Sequence[Read | Deferred], *, cursor: int | None = None, done: Sequence[int] = ()
    ) -> None:
        """Write what these change, as often as it takes until the store has it."""
        reads = [result for result in results if isinstance(result, Read)]
        deferred = [result for result in results if isinstance(result, Deferred)]
        while True:
            try:
                changes = await self._write(reads, deferred, cursor, done)
            except StoreBusyError as error:
                await self._complain(error)
                continue
            self._unwritten -= len(deferred)
            if changes.notifications:
                self._tell.ring()
            if deferred:
                self._something_aside.set()
            return

    async def _write(
        self, reads: Sequence[Read], deferred: list[Deferred], cursor: int | None, done: Sequence[int]
    ) -> Changes:
        async with self._state.transaction() as transaction:
            now = self._clock.now()
            known = await of_messages(transaction, reads, self._directory, now)
            plan = Plan(known, await transaction.next_alert_id(), self._directory, now)
            for read in reads:
                plan.apply(read)
            changes = plan.finish()
            changes.cursor = cursor
            changes.deferred = deferred
            changes.done = list(done)
            await transaction.write(changes)
        return changes

    async def _refresh(self) -> None:
        if await self._state.config_version() != self._directory.version:
            self._directory = await directory_of(self._state, self._own_policy)

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


def _oldest(results: Sequence[Read | Deferred], messages: Sequence[Message]) -> int | None:
    """When the oldest message was received that was taken and has not taken effect; None where there is none."""
    waiting = [result.message for result in results if isinstance(result, Read)]
    return next((message.received_at for message in (*waiting, *messages)), None)
