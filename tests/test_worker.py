"""
The worker: every message takes effect once, in order per endpoint, whatever templates, the store and restarts do.

First against a store in memory and readers that do as they are told, with schedules drawn at random; then against the real
store, real processes and hostile templates.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

import gateway.worker
from gateway.clock import ManualClock, SystemClock
from gateway.config import Settings
from gateway.errors import StoreBusyError, StoreError
from gateway.lane import reader_environ
from gateway.models import SELF, Alert, AlertKey, Deferred, Endpoint, Event, EventRecord, Integration, Message, Reading
from gateway.reader import Job, Reply
from gateway.store.base import Changes, Draft, Journal, Receipt, State
from gateway.store.sqlite import SqliteJournal, SqliteState
from gateway.wake import Wake
from gateway.worker import Worker

pytestmark = pytest.mark.anyio

HOSTILE = Path(__file__).parent / "hostile_plugins"
SAFETY = 60


def integration(name: str, template: str = "good", **changes: Any) -> Integration:
    """An integration on an endpoint of its own."""
    made = {
        "id": f"int_{name}",
        "endpoint_id": name,
        "name": name,
        "template": template,
        "created_at": 0,
        "updated_at": 0,
    }
    return Integration(**{**made, **changes})


# a world in memory


class Dice:
    """Lets others run, now and then, for as long as it likes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    async def roll(self, most: int = 6) -> None:
        """Give way some number of times."""
        for _ in range(self.random.randrange(most)):
            await asyncio.sleep(0)


class MemoryJournal:
    """Messages in a list."""

    def __init__(self, dice: Dice) -> None:
        self.messages: list[Message] = []
        self.dice = dice

    def add(self, endpoint_id: str) -> Message:
        """One more message."""
        message = Message(id=len(self.messages) + 1, endpoint_id=endpoint_id, received_at=0)
        self.messages.append(message)
        return message

    async def read(self, after: int, limit: int) -> list[Message]:
        """The next ones, sometimes fewer, sometimes later."""
        await self.dice.roll()
        if self.dice.random.random() < 0.1:
            raise StoreBusyError
        return self.messages[after : after + self.dice.random.randint(1, limit)]

    async def get(self, ids: Sequence[int]) -> list[Message]:
        """Those that exist."""
        await self.dice.roll()
        if self.dice.random.random() < 0.1:
            raise StoreBusyError
        return [self.messages[number - 1] for number in ids if number <= len(self.messages)]


class MemoryState:
    """A state whose changes are written at once or not at all, and whose answers may be old when they arrive."""

    def __init__(self, dice: Dice, integrations: Sequence[Integration]) -> None:
        self.dice = dice
        self.version = 1
        self.all = list(integrations)
        self.at = 0
        self.open: dict[AlertKey, Alert] = {}
        self.next_id = 1
        self.records: list[EventRecord] = []
        self.waiting: dict[int, Deferred] = {}
        self.lock = asyncio.Lock()
        self.transactions = 0
        self.timer: int | None = None

    async def config_version(self) -> int:
        await self.dice.roll(2)
        return self.version

    async def integrations(self) -> list[Integration]:
        await self.dice.roll(2)
        return list(self.all)

    async def policies(self) -> list[Any]:
        return []

    async def users(self) -> list[Any]:
        return []

    async def groups(self) -> list[Any]:
        return []

    async def windows(self) -> list[Any]:
        return []

    async def next_timer(self) -> int | None:
        await self.dice.roll(2)
        return self.timer

    async def endpoints(self) -> list[Any]:
        return []

    async def cursor(self) -> int:
        return self.at

    async def deferred(self, limit: int = 100, endpoint_ids: Sequence[str] = ()) -> list[Deferred]:
        found = [self.waiting[number] for number in sorted(self.waiting)][:limit]
        await self.dice.roll(12)
        return found

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryState]:
        async with self.lock:
            await self.dice.roll()
            if self.dice.random.random() < 0.1:
                raise StoreBusyError
            self.staged: Changes | None = None
            yield self
            await self.dice.roll()
            if self.staged is not None:
                self._commit(self.staged)
                self.transactions += 1
        await self.dice.roll()

    async def open_alerts(self, keys: Sequence[AlertKey]) -> dict[AlertKey, Alert]:
        return {key: self.open[key] for key in keys if key in self.open}

    async def next_alert_id(self) -> int:
        return self.next_id

    async def write(self, changes: Changes) -> None:
        await self.dice.roll()
        self.staged = changes

    def _commit(self, changes: Changes) -> None:
        for alert in changes.alerts:
            self.next_id = max(self.next_id, alert.id + 1)
            if alert.status == "closed":
                self.open.pop(alert.key, None)
            else:
                self.open[alert.key] = alert
        self.records += changes.events
        for number in changes.done:
            self.waiting.pop(number, None)
        for deferred in changes.deferred:
            self.waiting[deferred.message_id] = deferred
        if changes.cursor is not None:
            assert changes.cursor > self.at
            self.at = changes.cursor


class ScriptedLane:
    """Reads as it is told: `kills` says how often a message stops the process before it is read."""

    def __init__(self, dice: Dice, kills: dict[int, int], reads: list[int]) -> None:
        self.dice = dice
        self.kills = kills
        self.reads = reads
        self.busy = False

    async def start(self) -> None:
        """There is nothing to start."""

    async def stop(self) -> None:
        """There is nothing to stop."""
        await self.dice.roll(2)

    async def read(self, jobs: Sequence[Job], *, until_killed: bool = False) -> list[Reply]:
        """Replies, in order."""
        assert not self.busy, "one batch at a time"
        self.busy = True
        try:
            replies = []
            for job in jobs:
                await self.dice.roll()
                number = job.message.id
                self.reads.append(number)
                killed = self.kills.get(number, 0) > 0
                self.kills[number] = self.kills.get(number, 0) - 1
                event = Event(source_id=str(number), source="A", source_status="down")
                readings = [] if killed else [Reading(action="open", event=event)]
                replies.append(Reply(number, readings=readings, error="hung" if killed else None, killed=killed))
                if killed and until_killed:
                    break
            return replies
        finally:
            self.busy = False


class World:
    """A worker in memory, which can be stopped and started again."""

    def __init__(self, seed: int, integrations: Sequence[Integration], clock: ManualClock | None = None) -> None:
        self.dice = Dice(seed)
        self.journal = MemoryJournal(self.dice)
        self.state = MemoryState(self.dice, integrations)
        self.kills: dict[int, int] = {}
        self.reads: list[int] = []
        self.clock = clock or ManualClock()
        self.worker = self.new_worker()

    def new_worker(self) -> Worker:
        """A worker as after a restart: it knows nothing."""
        worker = Worker(
            cast("Journal", self.journal), cast("State", self.state), Settings(), self.clock,
            reader_environ={}, heard=Wake(), tell=Wake(),
        )  # fmt: skip
        worker._fast = cast("Any", ScriptedLane(self.dice, self.kills, self.reads))
        worker._aside = cast("Any", ScriptedLane(self.dice, self.kills, self.reads))
        self.worker = worker
        return worker

    def settled(self) -> bool:
        """Whether everything has taken effect."""
        return self.state.at == len(self.journal.messages) and not self.state.waiting

    async def run(self, until: Callable[[], bool] | None = None) -> None:
        """Work until all is settled."""
        await run(self.worker, until or self.settled)

    def outcomes(self) -> dict[int, str]:
        """What became of each message; each has exactly one outcome a run."""
        seen = [(record.message_id, record.run) for record in self.state.records]
        assert len(set(seen)) == len(seen), "a message took effect twice"
        return {record.message_id: record.outcome for record in self.state.records if not record.run}

    def check(self) -> None:
        """Each message once, in order per endpoint, failed only where it was tried twice."""
        outcomes = self.outcomes()
        assert sorted(outcomes) == [message.id for message in self.journal.messages]
        by_endpoint: dict[str, list[int]] = {}
        for record in self.state.records:
            if not record.run:
                by_endpoint.setdefault(record.endpoint_id, []).append(record.message_id)
        for endpoint, order in by_endpoint.items():
            assert order == sorted(order), f"the order of {endpoint} is lost: {order}"
        for number, kills in self.first_kills.items():
            if kills != 2:  # a worker that is killed takes its count of tries with it
                assert outcomes[number] == ("failed" if kills > 2 else "opened"), f"message {number}, {kills} kills"

    def fill(self, endpoints: Sequence[str], count: int, hostile: float) -> None:
        """Messages for random endpoints, some of which stop a process once, twice or always."""
        for _ in range(count):
            message = self.journal.add(self.dice.random.choice(list(endpoints)))
            kills = self.dice.random.choice([1, 2, 9]) if self.dice.random.random() < hostile else 0
            self.kills[message.id] = kills
        self.first_kills = dict(self.kills)


async def run(worker: Worker, until: Callable[[], bool]) -> None:
    """Run a worker until this holds, then stop it politely."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    try:
        async with asyncio.timeout(SAFETY):
            while not until() and not running.done():  # there is no event for it
                await asyncio.sleep(0.001)
            stop.set()
            await running
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here waits for long."""
    monkeypatch.setattr(gateway.worker, "_IDLE", 0.002)
    monkeypatch.setattr(gateway.worker, "_PAUSE", 0.001)
    monkeypatch.setattr(gateway.worker, "LOOK", 1e9)  # the gateway looks after itself in tests/test_own_alerts.py


@pytest.fixture
def no_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message is tried."""
    monkeypatch.setattr(gateway.worker, "GIVEN_UP", 10_000)


ENDPOINTS = ["a", "b", "c", "d"]


def four(*templates: str) -> list[Integration]:
    """An integration for each endpoint."""
    return [integration(name, template) for name, template in zip(ENDPOINTS, templates, strict=True)]


@pytest.mark.usefixtures("no_breaker")
@pytest.mark.parametrize("seed", range(40))
async def test_any_schedule_keeps_the_order_and_takes_each_message_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.worker, "BATCH", 1 + seed % 8)
    monkeypatch.setattr(gateway.worker, "ASIDE_BATCH", 1 + seed % 5)
    clock = ManualClock()
    monkeypatch.setattr(gateway.worker, "SUSPECT_FOR", 5)
    world = World(seed, four("x", "y", "y", "z"), clock)
    world.fill(ENDPOINTS, 60, hostile=0.15)
    while not world.settled():
        mark = world.dice.random.randint(1, 30)
        began = len(world.state.records)

        def later(began: int = began, mark: int = mark) -> bool:
            clock.advance(0.001)  # suspicion ends, again and again, at any moment
            return world.settled() or len(world.state.records) >= began + mark

        if world.dice.random.random() < 0.5:
            await world.run(later)
        else:
            await killed(world.worker, later)
        world.new_worker()
    world.check()


async def killed(worker: Worker, until: Callable[[], bool]) -> None:
    """Run a worker until this holds, then let go of it at once, wherever it is."""
    running = asyncio.create_task(worker.run(asyncio.Event()))
    async with asyncio.timeout(SAFETY):
        while not until() and not running.done():  # there is no event for it
            await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert [task for task in asyncio.all_tasks() if "Worker" in task.get_coro().__qualname__] == []  # type: ignore[union-attr]


@pytest.mark.usefixtures("no_breaker")
async def test_a_batch_full_of_hostile_messages_costs_the_others_one_try() -> None:
    """Were each of them tried in the fast lane, 255 deadlines would pass before the good message is read."""
    world = World(1, four("bad", "bad", "bad", "good"))
    for number in range(255):
        world.kills[world.journal.add("abc"[number % 3]).id] = 9
    world.journal.add("d")
    world.journal.read = lambda after, _: _later(world.journal.messages[after:])  # type: ignore[method-assign,assignment]
    fast = cast("Any", world.worker._fast)
    tried: list[int] = []
    fast.reads = tried
    await world.run(lambda: len(world.state.open) > 0)
    assert tried == [1, 256]
    assert any(record.message_id == 256 and record.outcome == "opened" for record in world.state.records)


async def _later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@pytest.mark.usefixtures("no_breaker")
async def test_a_message_that_is_tried_again_holds_up_the_later_ones_of_its_endpoint() -> None:
    world = World(2, four("x", "x", "x", "x"))
    for endpoint in "aaab":
        world.kills[world.journal.add(endpoint).id] = 0
    world.kills |= {1: 1, 2: 1}
    world.first_kills = dict(world.kills)
    await world.run()
    world.check()


@pytest.mark.usefixtures("no_breaker")
@pytest.mark.parametrize("seed", range(10))
async def test_a_list_of_what_waits_that_is_old_lets_nobody_overtake(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The aside lane is told that nothing waits, while the fast one sets a message aside, and writes that."""
    monkeypatch.setattr(gateway.worker, "SUSPECT_FOR", -1)  # only what waits keeps the later ones back
    world = World(seed, four("x", "x", "x", "x"))
    world.kills[world.journal.add("a").id] = 1
    deferred, read_aside = world.state.deferred, cast("Any", world.worker._aside).read

    async def old_list(limit: int) -> list[Deferred]:
        found = await deferred(limit)
        if limit == gateway.worker.ASIDE_BATCH and len(world.journal.messages) == 1:
            assert not found
            while not world.state.waiting or world.worker._unwritten:
                await asyncio.sleep(0)
            for _ in range(9):
                world.journal.add("a")
        elif limit == gateway.worker.ASIDE_BATCH:
            for _ in range(100):
                await asyncio.sleep(0)
        return found

    async def soon(_: float) -> bool:
        await asyncio.sleep(0)
        return True

    async def slowly(jobs: Sequence[Job], **flags: Any) -> list[Reply]:
        for _ in range(300):
            await asyncio.sleep(0)
        return cast("list[Reply]", await read_aside(jobs, **flags))

    world.state.deferred = old_list  # type: ignore[method-assign,assignment]
    cast("Any", world.worker._aside).read = slowly
    cast("Any", world.worker._heard).wait = soon
    await world.run()
    world.first_kills = dict.fromkeys(range(1, 11), 0)
    world.check()


async def test_the_breaker_opens_and_closes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.worker, "GIVEN_UP", 3)
    world = World(3, four("bad", "bad", "good", "good"))
    for _ in range(6):
        world.kills[world.journal.add("a").id] = 9
    world.journal.add("b")
    world.journal.add("c")
    await world.run()
    outcomes = world.outcomes()
    assert [outcomes[number] for number in range(1, 9)] == ["failed"] * 6 + ["opened"] * 2  # b has the same template
    assert sum(number < 7 for number in world.reads) == 6  # two tries of three messages; then none was tried any more
    reasons = {record.message_id: record.reason for record in world.state.records}
    assert "it was tried 2 times" in (reasons[1] or "")
    assert reasons[6] == "not read: 3 before it were given up within a minute"
    world.clock.advance(61)
    world.new_worker()
    world.journal.add("a")
    await world.run()
    assert world.outcomes()[9] == "opened"


async def test_a_template_is_cleared_by_the_message_that_was_in_its_reader_when_it_died() -> None:
    """Something else killed the reader, so nobody is kept in the slow lane for it."""
    world = World(7, four("x", "x", "x", "x"))
    world.kills[world.journal.add("a").id] = 1
    await world.run()
    assert world.outcomes() == {1: "opened"}
    fast = cast("Any", world.worker._fast)
    fast.reads = []
    world.journal.add("b")
    await world.run()
    assert fast.reads == [2]


async def test_what_waits_aside_is_read_many_at_a_time() -> None:
    world = World(8, four("x", "x", "x", "x"))
    for number in range(1, 101):
        world.journal.add("a")
        world.state.waiting[number] = Deferred(message_id=number, endpoint_id="a")
    world.state.at = 100
    transactions = world.state.transactions
    await world.run()
    assert set(world.outcomes().values()) == {"opened"}
    assert world.state.transactions - transactions <= 4


async def test_suspicion_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(4, four("bad", "bad", "good", "good"))
    world.kills[world.journal.add("a").id] = 9
    await world.run()
    fast = cast("Any", world.worker._fast)
    fast.reads = []
    world.journal.add("b")
    await world.run()
    assert fast.reads == []  # it was read in the other lane
    world.clock.advance(601)
    world.journal.add("b")
    await world.run()
    assert fast.reads == [3]
    assert set(world.outcomes().values()) == {"failed", "opened"}


async def test_an_endpoint_leaves_the_slow_lane_while_others_still_wait() -> None:
    world = World(5, four("bad", "good", "good", "good"))
    worker = world.worker
    worker._waiting = {"a", "b"}
    world.state.waiting[900] = Deferred(message_id=900, endpoint_id="a")
    world.state.waiting[901] = Deferred(message_id=901, endpoint_id="c", run=1)
    world.journal.messages = [Message(id=n, endpoint_id="a", received_at=0) for n in range(1, 902)]
    world.state.at = 901
    seen: list[set[str]] = []
    original = worker._read_all_aside

    async def look(waiting: Sequence[Deferred]) -> None:
        seen.append(set(worker._waiting))
        await original(waiting)

    worker._read_all_aside = look  # type: ignore[method-assign]
    await world.run()
    assert {"a"} in seen  # b is free, and what is replayed holds up nobody
    assert {"a", "b"} not in seen[1:]


async def test_where_more_waits_than_is_looked_at_everyone_goes_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.worker, "_MOST_WAITING", 3)
    world = World(6, four("x", "x", "x", "x"))
    for endpoint in "aaaabb":
        world.journal.add(endpoint)
    world.state.at = 5
    world.state.waiting = {
        number: Deferred(message_id=number, endpoint_id="aaaab"[number - 1]) for number in range(1, 6)
    }
    await world.run()
    assert [record.message_id for record in world.state.records] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("seed", range(5))
async def test_an_integration_that_is_deleted_while_its_message_is_read(seed: int) -> None:
    world = World(seed, four("x", "x", "x", "x"))
    message = world.journal.add("a")
    fast = cast("Any", world.worker._fast)
    original = fast.read

    async def read(jobs: Sequence[Job], **flags: Any) -> list[Reply]:
        if jobs:
            world.state.all = [one for one in world.state.all if one.endpoint_id != "a"]
            world.state.version += 1
            await world.worker._refresh()  # as the other lane does at any moment
        return cast("list[Reply]", await original(jobs, **flags))

    fast.read = read
    await world.run()
    assert world.outcomes() == {message.id: "opened"}  # it was there when the message was taken up
    world.journal.add("a")
    await world.run()
    assert world.outcomes()[2] == "failed"
    assert world.state.records[-1].reason == "the integration was deleted"


@pytest.mark.parametrize("seed", range(30))
async def test_silence_is_not_heard_before_what_waits_in_the_journal_took_effect(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart, or while the store is busy, the word that would keep an alert open may still wait to be read."""
    monkeypatch.setattr(gateway.worker, "BATCH", 1 + seed % 8)
    world = World(seed, four("x", "x", "x", "x"))
    now = world.clock.now()
    for number in range(20):
        message = world.journal.add(ENDPOINTS[number % 4])
        world.journal.messages[-1] = msgspec.structs.replace(message, received_at=now - 60_000 + number)
    world.state.timer = now - 30_000
    heard = []

    async def carry_out(state: Any, directory: Any, at: int, *, until: int) -> bool:
        heard.append((until, at, state.at))
        state.timer = None
        return False

    monkeypatch.setattr(gateway.worker, "carry_out", carry_out)
    await world.run(lambda: world.settled() and bool(heard))
    assert heard == [(now, now, 20)]


async def test_silence_up_to_the_oldest_message_that_waits_is_heard_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1, four("x", "x", "x", "x"))
    now = world.clock.now()
    message = world.journal.add("a")
    world.journal.messages = [msgspec.structs.replace(message, received_at=now - 1000)]
    world.state.timer = now - 2000
    heard = []
    rung: list[bool] = []
    monkeypatch.setattr(world.worker._tell, "ring", lambda: rung.append(True))
    fast = cast("Any", world.worker._fast)
    original = fast.read

    async def carry_out(state: Any, directory: Any, at: int, *, until: int) -> bool:
        heard.append((until, state.at))
        state.timer = None
        return True

    async def read_once_heard(jobs: Sequence[Job], **flags: Any) -> list[Reply]:
        while jobs and not heard:
            await asyncio.sleep(0)
        return cast("list[Reply]", await original(jobs, **flags))

    monkeypatch.setattr(gateway.worker, "carry_out", carry_out)
    fast.read = read_once_heard
    await world.run()
    assert heard == [(now - 1000, 0)]
    assert rung == [True], "somebody is to be told"


async def test_silence_is_not_heard_while_the_journal_cannot_be_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1, four("x", "x", "x", "x"))
    looks, heard = [], []

    async def read(after: int, limit: int) -> list[Message]:
        looks.append(world.worker._behind)
        await asyncio.sleep(0)
        if 3 < len(looks) < 30:
            if len(looks) == 5:  # what was due a minute after the journal failed
                world.clock.advance(120)
                world.state.timer = world.clock.now() - 60_000
            raise StoreBusyError
        return []

    async def carry_out(state: Any, directory: Any, at: int, *, until: int) -> bool:
        heard.append(len(looks))
        state.timer = None
        return False

    monkeypatch.setattr(world.journal, "read", read)
    monkeypatch.setattr(gateway.worker, "carry_out", carry_out)
    await world.run(lambda: bool(heard))
    assert heard[0] >= 30


async def test_where_events_fan_out_the_reader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clones = [integration("a", id=f"int_{number}", sequence=number, enabled=number != 1) for number in range(3)]
    for fan_out in (True, False):
        world = World(1, clones)
        endpoint = Endpoint(id="a", name="a", token_hash=b"", token_hint="", created_at=0, fan_out=fan_out)

        async def endpoints(endpoint: Endpoint = endpoint) -> list[Any]:
            return [endpoint]

        monkeypatch.setattr(world.state, "endpoints", endpoints)
        await world.worker._refresh()
        job = world.worker._job(world.journal.add("a"), clones[0])
        assert (job.integration.id, [other.id for other in job.others]) == ("int_0", ["int_2"])
        assert job.fan_out is fan_out


async def test_a_message_that_is_no_longer_kept_is_let_go() -> None:
    world = World(7, four("x", "x", "x", "x"))
    world.state.waiting[99] = Deferred(message_id=99, endpoint_id="a", run=1)
    await world.run()
    assert world.state.waiting == {}


async def test_a_replay_is_a_run_of_its_own_and_holds_up_nobody() -> None:
    world = World(8, four("x", "x", "x", "x"))
    for _ in range(3):
        world.journal.add("a")
    await world.run()
    world.state.waiting[2] = Deferred(message_id=2, endpoint_id="a", run=1)
    await world.run()
    assert [(record.message_id, record.run, record.outcome) for record in world.state.records[3:]] == [
        (2, 1, "appended")
    ]


async def test_a_failure_of_the_store_ends_the_worker_and_nothing_is_left_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(9, four("x", "x", "x", "x"))
    for _ in range(50):
        world.journal.add("a")
    monkeypatch.setattr(gateway.worker, "BATCH", 5)

    def commit(_: Changes) -> None:
        raise StoreError

    world.state._commit = commit  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreError):
        await world.run()
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if "Worker" in task.get_coro().__qualname__] == []  # type: ignore[union-attr]


# the real thing


class Stage:
    """A real journal and state, and real readers."""

    def __init__(self, data: Path, deadline: float) -> None:
        self.journal = SqliteJournal.open(data, clock=SystemClock())
        self.state = SqliteState.open(data, clock=SystemClock())
        self.settings = Settings(data=data, read_deadline=deadline)
        self.sent = 0

    async def add(self, name: str, template: str) -> None:
        """An integration on an endpoint of its own."""
        endpoint = Endpoint(id=name, name=name, token_hash=name.encode(), token_hint="", created_at=0)
        await self.state.add_integration(integration(name, template), endpoint)

    async def send(self, endpoint_id: str, body: object) -> int:
        """One message, on disk; its id."""
        done: asyncio.Future[Receipt | StoreError] = asyncio.get_running_loop().create_future()
        draft = Draft(endpoint_id, 0, b"", b"content-type: application/json", msgspec.json.encode(body))
        self.journal.append(draft, done.set_result)
        receipt = await done
        assert isinstance(receipt, Receipt)
        self.sent += 1
        return receipt.id

    def worker(self) -> Worker:
        """A worker as after a restart."""
        environ = {
            "PATH": os.environ.get("PATH", ""),
            "GATEWAY_PLUGINS_DIR": str(HOSTILE),
            "GATEWAY_LOG_LEVEL": "error",
        }
        return Worker(
            self.journal, self.state, self.settings, SystemClock(),
            reader_environ=reader_environ(environ), heard=Wake(), tell=Wake(),
        )  # fmt: skip

    async def run(self) -> None:
        """Work until all is settled."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.worker().run(stop))
        try:
            async with asyncio.timeout(SAFETY):
                while not running.done() and (await self.state.cursor() < self.sent or await self.state.deferred(1)):
                    await asyncio.sleep(0.02)
                stop.set()
                await running
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def outcomes(self) -> dict[int, list[tuple[str, str | None]]]:
        """What became of each event of each message."""
        found: dict[int, list[tuple[str, str | None]]] = {}
        for record in await self.state.events(range(1, self.sent + 1)):
            found.setdefault(record.message_id, []).append((record.outcome, record.reason))
        return found

    async def close(self) -> None:
        """Let go of the files."""
        await self.journal.close()
        await self.state.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage with a short deadline."""
    made = Stage(tmp_path, deadline=0.5)
    yield made
    await made.close()


async def test_hostile_templates_harm_only_their_own_messages(stage: Stage) -> None:
    hostile = [
        ("hangs", "loop"), ("hangs", "interpreter"), ("dies", "leaving"), ("dies", "killing_the_group"),
        ("eats", "at_once"), ("raises", "SystemExit"), ("raises", "WithoutTextError"), ("garbage", "cycle"),
        ("meddles", "forks"), ("hangs-at-import", ""), ("raises-at-import", ""),
    ]  # fmt: skip  # each template stops fewer readers than open the breaker
    for template in {template for template, _ in hostile} | {"good"}:
        await stage.add(template, template)
    good = [await stage.send("good", {"id": "0", "status": "down"})]
    bad = {}
    for number, (template, do) in enumerate(hostile, 1):
        bad[await stage.send(template, {"do": do})] = (template, do)
        good.append(await stage.send("good", {"id": str(number), "status": "down"}))
    await stage.run()
    outcomes = await stage.outcomes()
    assert sorted(outcomes) == list(range(1, stage.sent + 1))
    assert [outcomes[number] for number in good] == [[("opened", None)]] * len(good)
    reasons = {case: outcomes[number][0] for number, case in bad.items()}
    assert reasons.pop(("meddles", "forks"))[0] == "opened"
    assert {outcome for outcome, _ in reasons.values()} == {"failed"}
    assert all(reason for _, reason in reasons.values())
    twice = {case for case, (_, reason) in reasons.items() if "it was tried 2 times" in (reason or "")}
    assert twice == {case for case in reasons if case[0] in ("hangs", "dies", "eats", "hangs-at-import")}
    alerts = await stage.state.alerts(statuses=["open"], limit=1000)
    unread = {alert.subject for alert in alerts if alert.source == SELF}
    assert unread == {f"{template}: message could not be read" for template, _ in reasons}


async def test_what_could_not_be_read_is_closed_by_reading(stage: Stage) -> None:
    await stage.add("good", "good")
    await stage.send("good", {"id": "1"})
    await stage.run()
    (alert,) = await stage.state.alerts()
    assert (alert.subject, alert.status) == ("good: message could not be read", "open")
    await stage.send("good", {"id": "1", "status": "down"})
    await stage.run()
    alerts = await stage.state.alerts()
    assert [(one.source_id, one.status) for one in alerts] == [("1", "open"), ("unreadable:int_good", "closed")]
    assert (await stage.outcomes())[1][0][0] == "failed"


async def test_a_replay_reads_the_message_again(stage: Stage) -> None:
    await stage.add("good", "good")
    number = await stage.send("good", {"id": "1", "status": "down"})
    await stage.run()
    await stage.state.defer(Deferred(message_id=number, endpoint_id="good", run=1))
    await stage.run()
    records = await stage.state.events([number])
    assert [(record.run, record.outcome) for record in records] == [(0, "opened"), (1, "appended")]


async def test_stopped_anywhere_and_started_again_each_message_takes_effect_once(stage: Stage) -> None:
    for name in ("good", "hangs"):
        await stage.add(name, name)
    expected = {}
    for number in range(60):
        hostile = number in (7, 30)
        body = {"do": "sleep"} if hostile else {"id": "same", "status": "down" if number % 3 else "up"}
        expected[await stage.send("hangs" if hostile else "good", body)] = hostile
    pauses = random.Random(1)
    for _ in range(6):
        running = asyncio.create_task(stage.worker().run(asyncio.Event()))
        await asyncio.sleep(pauses.uniform(0.05, 0.7))
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    await stage.run()
    outcomes = await stage.outcomes()
    assert {number: len(events) for number, events in outcomes.items()} == dict.fromkeys(expected, 1)
    status = "closed"
    for number, hostile in expected.items():
        ((outcome, _),) = outcomes[number]
        if hostile:
            assert outcome == "failed"
            continue
        if (number - 1) % 3:
            wanted, status = ("opened" if status == "closed" else "appended"), "open"
        else:
            wanted, status = ("closed" if status == "open" else "ignored"), "closed"
        assert outcome == wanted, f"message {number}"
