from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from gateway import delivery as module
from gateway.clock import Clock, ManualClock, SystemClock
from gateway.config import Settings
from gateway.delivery import Delivery, backoff
from gateway.errors import (
    DeliveryError,
    PermanentDeliveryError,
    StoreBusyError,
    TemporaryDeliveryError,
)
from gateway.faults import Faults
from gateway.http import Client
from gateway.models import Alert, Attempt, ChangeKind, Contact, Notification
from gateway.notifiers.base import Notifier, Sent
from gateway.notifiers.webhook import WebhookNotifier
from gateway.store.base import Changes, State
from gateway.store.sqlite import SqliteState
from gateway.vault import Vault
from gateway.wake import Wake

pytestmark = pytest.mark.anyio

NOW = 1_750_000_000_000


def an_alert(identity: int = 1, **fields: Any) -> Alert:
    return msgspec.structs.replace(
        Alert(
            id=identity,
            endpoint_id="end_1",
            integration_id="int_1",
            status="open",
            source="s",
            source_name="n",
            source_id=f"i{identity}",
            severity="error",
            subject="broken",
            opened_at=NOW,
            updated_at=NOW,
        ),
        **fields,
    )


def a_notification(
    name: str = "ntf_1",
    address: str = "one",
    *,
    kind: str = "note",
    change: ChangeKind = "opened",
    seq: int = 1,
    alert: Alert | None = None,
    at: int = NOW,
    due_at: int | None = None,
) -> Notification:
    alert = alert or an_alert()
    return Notification(
        id=name,
        alert_id=alert.id,
        seq=seq,
        kind=change,
        contact=Contact(id=f"con_{address}", kind=kind, address=address),
        user="Ann",
        integration="prod",
        alert=alert,
        due_at=at if due_at is None else due_at,
        created_at=at,
    )


class MemoryState:
    """The part of a state that delivery needs, as `store.base` says it, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Notification] = {}
        self.leases: dict[str, int] = {}
        self.tried: list[Attempt] = []
        self.alerts: dict[int, Alert] = {}
        self.settlements: list[int] = []
        self.claims = 0
        self.busy = 0

    async def put(self, alerts: Sequence[Alert], notifications: Sequence[Notification]) -> None:
        self.alerts |= {alert.id: alert for alert in alerts}
        for notification in notifications:
            self.kept.setdefault(notification.id, notification)

    async def claim(self, now: int, *, limit: int, per_target: int, lease_until: int) -> list[Notification]:
        self._be_busy()
        self.claims += 1
        claimed: list[Notification] = []
        leased = [self.kept[name].contact for name, until in self.leases.items() if until > now]
        for notification in sorted(self.kept.values(), key=lambda it: it.due_at):
            contact = notification.contact
            if len(claimed) == limit or notification.due_at > now:
                break
            held = self.leases.get(notification.id, 0) > now or any(
                (it.alert_id, it.contact, it.status) == (notification.alert_id, contact, "pending")
                and it.seq < notification.seq
                for it in self.kept.values()
            )
            out = sum(it.address == contact.address for it in [*leased, *(each.contact for each in claimed)])
            if notification.status == "pending" and not held and out < per_target:
                claimed.append(notification)
        self.leases |= {notification.id: lease_until for notification in claimed}
        return claimed

    async def settle(self, attempts: Sequence[tuple[Attempt | None, Notification]]) -> None:
        self._be_busy()
        self.settlements.append(len(attempts))
        for attempt, notification in attempts:
            if attempt is not None:
                self.tried.append(attempt)
            self.kept[notification.id] = notification
            del self.leases[notification.id]

    async def release(self) -> None:
        self._be_busy()
        self.leases.clear()

    async def next_due(self) -> int | None:
        waiting = (it.due_at for it in self.kept.values() if it.status == "pending" and it.id not in self.leases)
        return min(waiting, default=None)

    async def alert(self, alert_id: int) -> Alert | None:
        return self.alerts.get(alert_id)

    async def attempts(self, notification_id: str) -> list[Attempt]:
        return [attempt for attempt in self.tried if attempt.notification_id == notification_id]

    async def notifications(self, *, limit: int = 50) -> list[Notification]:
        return list(self.kept.values())

    def _be_busy(self) -> None:
        if self.busy:
            self.busy -= 1
            msg = "busy"
            raise StoreBusyError(msg)


async def put(state: State | MemoryState, *notifications: Notification, alerts: Sequence[Alert] = ()) -> None:
    known = {notification.alert.id: notification.alert for notification in notifications}
    known |= {alert.id: alert for alert in alerts}
    if isinstance(state, MemoryState):
        await state.put(list(known.values()), notifications)
        return
    async with state.transaction() as transaction:
        await transaction.write(Changes(alerts=list(known.values()), notifications=list(notifications)))


@pytest.fixture(params=["memory", "sqlite"])
async def state(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[State]:
    if request.param == "memory":
        yield cast("State", MemoryState())
        return
    opened = SqliteState.open(tmp_path, clock=SystemClock())
    yield opened
    await opened.close()


class Notes:
    """A notifier that does what it is told, by address."""

    kind = "note"

    def __init__(self, **scripts: Any) -> None:
        self.scripts = scripts
        self.sent: list[str] = []
        self.under_way = 0
        self.most = 0

    def check(self, address: str) -> str:
        return address

    async def send(self, notification: Notification) -> Sent:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            script = self.scripts.get(notification.contact.address)
            step = script.pop(0) if isinstance(script, list) and script else script
            if isinstance(step, BaseException):
                raise step
            if callable(step):
                await step()
            self.sent.append(notification.id)
            return Sent(200, "thanks")
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        pass


SETTINGS = Settings(retry_base=0.02, retry_cap=0.1, attempts=5, attempt_deadline=2)


@contextlib.asynccontextmanager
async def running(
    state: State,
    *notifiers: Notifier,
    settings: Settings = SETTINGS,
    clock: Clock | None = None,
    faults: Faults | None = None,
    wake: Wake | None = None,
) -> AsyncIterator[Delivery]:
    stop = asyncio.Event()
    it = Delivery(
        state,
        {notifier.kind: notifier for notifier in notifiers},
        settings,
        clock or SystemClock(),
        faults or Faults(),
        wake,
        jitter=lambda: 1.0,
    )
    run = asyncio.create_task(it.run(stop))
    try:
        yield it
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await run


async def settled(state: State, *names: str, within: float = 20.0) -> list[Notification]:
    """The notifications of these names, all of them if none is given, once none is pending."""
    async with asyncio.timeout(within):
        while True:
            found = {it.id: it for it in await state.notifications(limit=10_000)}
            wanted = [found[name] for name in names] if names else list(found.values())
            if all(it.status != "pending" for it in wanted):
                return wanted
            await asyncio.sleep(0.005)


async def until(happened: Callable[[], bool], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not happened():
            await asyncio.sleep(0)


# What becomes of a notification


async def test_it_is_delivered(state: State) -> None:
    await put(state, a_notification())
    notes = Notes()
    async with running(state, notes):
        (it,) = await settled(state)
    assert (it.status, it.attempts, it.error) == ("delivered", 1, None)
    assert it.finished_at is not None
    (attempt,) = await state.attempts("ntf_1")
    assert (attempt.number, attempt.code, attempt.error, attempt.response) == (1, 200, None, "thanks")
    assert notes.sent == ["ntf_1"]


async def test_it_is_tried_again_until_it_is_taken(state: State) -> None:
    failures = [TemporaryDeliveryError(f"no {n}", status=500, response="oops") for n in range(3)]
    await put(state, a_notification())
    async with running(state, Notes(one=[*failures, None])):
        (it,) = await settled(state)
    assert (it.status, it.attempts, it.error) == ("delivered", 4, None)
    tried = await state.attempts("ntf_1")
    assert [(each.number, each.code, each.error) for each in tried] == [
        (1, 500, "no 0"),
        (2, 500, "no 1"),
        (3, 500, "no 2"),
        (4, 200, None),
    ]
    pauses = [after.at - before.at for before, after in itertools.pairwise(tried)]
    assert pauses[0] >= 20
    assert pauses[1] >= 40
    assert pauses[2] >= 80


async def test_it_is_given_up_after_so_many_attempts(state: State) -> None:
    await put(state, a_notification())
    async with running(state, Notes(one=TemporaryDeliveryError("no", status=503, response="later"))):
        (it,) = await settled(state)
    assert (it.status, it.attempts, it.error) == ("dead", 5, "given up after 5 attempts: no")
    assert len(await state.attempts("ntf_1")) == 5


async def test_it_is_given_up_at_once_where_nothing_can_help(state: State) -> None:
    await put(state, a_notification())
    async with running(state, Notes(one=PermanentDeliveryError("gone", status=410, response="bye"))):
        (it,) = await settled(state)
    assert (it.status, it.attempts, it.error) == ("dead", 1, "gone")
    assert [(each.code, each.response) for each in await state.attempts("ntf_1")] == [(410, "bye")]


async def test_a_kind_that_nobody_brings(state: State) -> None:
    await put(state, a_notification(kind="pigeon"))
    async with running(state, Notes()):
        (it,) = await settled(state)
    assert it.status == "dead"
    assert it.error == "no notifier is called 'pigeon' (there are: note); install what brings it, or change the contact"


class UnspeakableError(DeliveryError):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("s3cret"),
        ValueError(),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        RecursionError(),
        asyncio.CancelledError(),
        TimeoutError("of its own"),
        DeliveryError("neither"),
        UnspeakableError(""),
        ExceptionGroup("several", [ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_notifier_raises_stops_nothing(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    state = cast("State", MemoryState())
    await put(state, a_notification("ntf_bad", "bad"), a_notification("ntf_good", "good"))
    async with running(state, Notes(bad=[error, None])):
        bad, good = await settled(state, "ntf_bad", "ntf_good")
    assert (bad.status, bad.attempts) == ("delivered", 2)
    assert (good.status, good.attempts) == ("delivered", 1)
    first = (await state.attempts("ntf_bad"))[0]
    assert first.error
    assert "s3cret" not in first.error + caplog.text
    if not isinstance(error, DeliveryError | TimeoutError):
        assert type(error).__name__ in first.error
        assert type(error).__name__ in caplog.text


async def test_a_notifier_that_gives_back_nonsense() -> None:
    class Nonsense(Notes):
        async def send(self, notification: Notification) -> Sent:
            return cast("Sent", None)

    state = cast("State", MemoryState())
    await put(state, a_notification())
    async with running(state, Nonsense()):
        (it,) = await settled(state)
    assert (it.status, it.error) == ("dead", "given up after 5 attempts: note: the notifier failed with TypeError")


async def test_an_attempt_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(module, "_SLACK", 0)
    state = cast("State", MemoryState())
    await put(state, a_notification())
    async with running(state, Notes(one=[hang, None]), settings=Settings(attempt_deadline=0.1, retry_base=0.01)):
        (it,) = await settled(state)
    assert it.status == "delivered"
    assert (await state.attempts("ntf_1"))[0].error == "note: not done within 0.1 seconds"


# When the next attempt is due


def test_back_off_doubles_up_to_its_cap() -> None:
    pauses = [backoff(n, base=5, cap=900, jitter=1) for n in range(1, 12)]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900]
    assert backoff(1000, base=3600, cap=86_400, jitter=1) == 86_400
    assert backoff(4, base=5, cap=900, jitter=0.25) == 10
    assert backoff(4, base=5, cap=900, jitter=0) == 0


@pytest.mark.parametrize("asked, pause", [(None, 5), (1, 5), (60, 60), (3600, 3600), (1e9, 3600), (0, 5)])
async def test_a_target_may_ask_for_a_longer_pause(asked: float | None, pause: float) -> None:
    state, clock = MemoryState(), ManualClock(NOW)
    await state.put([], [a_notification()])
    error = TemporaryDeliveryError("slow down", status=429, retry_after=asked)
    async with running(cast("State", state), Notes(one=error), settings=Settings(), clock=clock):
        await until(lambda: bool(state.tried))
    assert state.kept["ntf_1"].due_at == NOW + pause * 1000
    assert state.kept["ntf_1"].status == "pending"


async def test_what_is_not_due_yet_waits(state: State) -> None:
    now = SystemClock().now()
    await put(state, a_notification(at=now, due_at=now + 150))
    async with running(state, Notes()):
        (it,) = await settled(state)
    assert it.finished_at is not None
    assert it.finished_at >= now + 150


# Order and isolation


async def test_an_open_arrives_before_its_close(state: State) -> None:
    opened = a_notification("ntf_open", seq=1)
    closed = a_notification("ntf_close", seq=2, change="closed", alert=an_alert(status="closed", closed_at=NOW))
    await put(state, closed, opened)
    notes = Notes(one=[TemporaryDeliveryError("no"), TemporaryDeliveryError("no")])
    async with running(state, notes):
        await settled(state)
    assert notes.sent == ["ntf_open", "ntf_close"]


async def test_one_target_gets_few_at_a_time_and_all_get_their_share(state: State) -> None:
    many = [a_notification(f"ntf_{n}", "many", alert=an_alert(n)) for n in range(1, 41)]
    few = [a_notification(f"ntf_x{n}", f"few{n}", alert=an_alert(100 + n)) for n in range(5)]
    await put(state, *many, *few)

    class Watched(Notes):
        together = 0
        at_most = 0

        async def send(self, notification: Notification) -> Sent:
            if notification.contact.address != "many":
                return Sent()
            self.together += 1
            self.at_most = max(self.at_most, self.together)
            await asyncio.sleep(0.001)
            self.together -= 1
            return Sent()

    notes = Watched()
    async with running(state, notes):
        assert all(it.status == "delivered" for it in await settled(state))
    assert notes.at_most == module.PER_TARGET


async def test_a_target_that_hangs_delays_nobody_else(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(module, "STOP_DEADLINE", 0.01)

    sick = [a_notification(f"ntf_s{n}", "sick", alert=an_alert(n)) for n in range(1, 51)]
    well = [a_notification(f"ntf_w{n}", f"well{n % 20}", alert=an_alert(100 + n), at=NOW + 1) for n in range(100)]
    await put(state, *sick, *well)
    async with running(state, Notes(sick=hang), settings=Settings(attempt_deadline=60)):
        await settled(state, *[each.id for each in well])
        assert {it.status for it in await state.notifications(limit=1000) if it.contact.address == "sick"} == {
            "pending"
        }


async def test_no_more_than_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_FLIGHT", 10)
    state = MemoryState()
    await state.put([], [a_notification(f"ntf_{n}", f"to{n}", alert=an_alert(n)) for n in range(100)])
    notes = Notes()
    async with running(cast("State", state), notes):
        await settled(cast("State", state))
    assert notes.most == 10
    assert len(notes.sent) == 100


async def test_what_ended_together_is_settled_together() -> None:
    state = MemoryState()
    await state.put([], [a_notification(f"ntf_{n}", f"to{n}", alert=an_alert(n)) for n in range(200)])
    async with running(cast("State", state), Notes()):
        await settled(cast("State", state))
    assert sum(state.settlements) == 200
    assert len(state.settlements) < 20


# Later steps of an escalation


@pytest.mark.parametrize(
    "status, outcome", [("open", "delivered"), ("assigned", "withdrawn"), ("closed", "withdrawn"), (None, "delivered")]
)
async def test_a_later_step_wakes_nobody_for_an_alert_that_is_over(
    state: State, status: str | None, outcome: str
) -> None:
    now = SystemClock().now()
    later = a_notification(at=now, due_at=now + 30)
    after = [] if status is None else [an_alert(status=status)]
    await put(state, later, alerts=after)
    notes = Notes()
    async with running(state, notes):
        (it,) = await settled(state)
    assert it.status == outcome
    if outcome == "withdrawn":
        assert (it.error, it.attempts) == ("the alert was taken or closed before it was due", 0)
        assert notes.sent == []
        assert await state.attempts("ntf_1") == []


async def test_what_was_withdrawn_is_no_dead_letter(tmp_path: Path) -> None:
    clock = SystemClock()
    state = SqliteState.open(tmp_path, clock=clock)
    now = clock.now()
    await put(state, a_notification(at=now, due_at=now + 10), alerts=[an_alert(status="closed", closed_at=now)])
    async with running(state, Notes()):
        await settled(state)
        assert await state.retry(["ntf_1"], clock.now()) == 0
    await state.close()


# The loop


async def test_it_hears_the_bell(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL", 3600)  # by itself it would not look again
    wake = Wake.pipe()
    notes = Notes()
    async with running(state, notes, wake=wake):
        await asyncio.sleep(0.1)
        await put(state, a_notification(at=SystemClock().now()))
        wake.ring()
        await settled(state)
    loop = asyncio.get_running_loop()
    assert wake.read_fd is not None
    assert wake.write_fd is not None
    loop.remove_reader(wake.read_fd)
    os.close(wake.read_fd)
    os.close(wake.write_fd)


async def test_idle_it_does_next_to_nothing() -> None:
    state = MemoryState()
    await state.put([], [a_notification(due_at=SystemClock().now() + 3_600_000)])
    async with running(cast("State", state), Notes()):
        await asyncio.sleep(0.3)
    assert state.claims <= 2


async def test_due_but_blocked_it_does_not_spin() -> None:
    async def hang() -> None:
        await asyncio.sleep(0.4)

    state = MemoryState()
    await state.put([], [a_notification(f"ntf_{n}", alert=an_alert(n)) for n in range(20)])
    async with running(cast("State", state), Notes(one=hang)):
        await asyncio.sleep(0.35)
    assert state.claims < 8


async def test_a_busy_state_loses_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_PAUSE", 0.01)
    state = MemoryState()
    await state.put([], [a_notification(f"ntf_{n}", f"to{n}", alert=an_alert(n)) for n in range(20)])
    state.busy = 3
    notes = Notes()
    async with running(cast("State", state), notes):
        await until(lambda: len(notes.sent) >= 10)
        state.busy = 4
        await settled(cast("State", state))
    assert sorted(notes.sent) == sorted(state.kept)
    assert "busy" in caplog.text


async def test_leases_of_the_one_before_are_ended(state: State) -> None:
    await put(state, a_notification())
    assert await state.claim(NOW + 1, limit=1, per_target=4, lease_until=NOW * 2)
    async with running(state, Notes()):
        (it,) = await settled(state)
    assert it.status == "delivered"


async def test_told_to_stop_it_lets_attempts_end_and_settles_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow() -> None:
        await asyncio.sleep(0.1)

    async def hang() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(module, "STOP_DEADLINE", 1.5)
    state = MemoryState()
    await state.put([], [a_notification("ntf_slow", "slow"), a_notification("ntf_hang", "hang")])
    notes = Notes(slow=slow, hang=hang)
    async with running(cast("State", state), notes):
        await until(lambda: notes.under_way == 2)
    assert state.kept["ntf_slow"].status == "delivered"
    assert (state.kept["ntf_hang"].status, state.kept["ntf_hang"].attempts) == ("pending", 0)


async def test_an_error_of_the_state_ends_it() -> None:
    class Broken(MemoryState):
        async def claim(self, *_: Any, **__: Any) -> list[Notification]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Delivery(cast("State", Broken()), {}, SETTINGS, SystemClock()).run(asyncio.Event())


# Crashes

CRASHING = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from gateway.clock import SystemClock
    from gateway.config import Settings
    from gateway.delivery import Delivery
    from gateway.faults import Faults
    from gateway.notifiers.base import Sent
    from gateway.store.sqlite import SqliteState

    class Notes:
        kind = "note"
        async def send(self, notification):
            with open(sys.argv[2], "a") as file:
                file.write(notification.id + "\\n")
            return Sent(200)

    async def main():
        state = SqliteState.open(Path(sys.argv[1]), clock=SystemClock())
        stop = asyncio.Event()
        delivery = Delivery(state, {"note": Notes()}, Settings(), SystemClock(), Faults(sys.argv[3]))
        run = asyncio.create_task(delivery.run(stop))
        while not run.done() and any(it.status == "pending" for it in await state.notifications(limit=1000)):
            await asyncio.sleep(0.01)
        stop.set()
        await run

    asyncio.run(main())
""")


@pytest.mark.parametrize("point", ["claimed", "before_send", "after_send", "after_mark"])
async def test_killed_anywhere_it_delivers_all_and_repeats_little(tmp_path: Path, point: str) -> None:
    state = SqliteState.open(tmp_path / "data", clock=SystemClock())
    await put(state, *[a_notification(f"ntf_{n}", f"to{n % 5}", alert=an_alert(n + 1)) for n in range(30)])
    await state.close()
    journal = tmp_path / "sent"

    def run(faults: str) -> int:
        command = [sys.executable, "-c", CRASHING, str(tmp_path / "data"), str(journal), faults]
        return subprocess.run(command, check=False, timeout=30, cwd=Path(__file__).parent.parent).returncode

    assert run(f"delivery.{point}=kill:{1 if point in ('claimed', 'after_mark') else 5}") == -signal.SIGKILL
    assert run("") == 0
    sent = journal.read_text().split()
    assert set(sent) == {f"ntf_{n}" for n in range(30)}
    assert len(sent) <= 30 + 20  # what was under way: four to each of five


# All of it


async def test_from_the_store_to_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server answers nobody until enough wait for it, so that one at a time would never end."""
    got: list[bytes] = []
    held: list[asyncio.Transport] | None = []
    together = 50

    class Target(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)
            self.buffer = b""

        def data_received(self, data: bytes) -> None:
            self.buffer += data
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if end and len(rest) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
                self.buffer = b""
                got.append(head.lower().partition(b"webhook-id: ")[2].partition(b"\r\n")[0])
                answer(self.transport)

    def answer(transport: asyncio.Transport) -> None:
        nonlocal held
        waiting = [transport] if held is None else [*held, transport]
        if held is not None and len(waiting) < together:
            held = waiting
            return
        held = None
        for each in waiting:
            each.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Target, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    state = SqliteState.open(tmp_path, clock=SystemClock())
    count = 600
    url = f"http://127.0.0.1:{port}/"
    await put(
        state,
        *[a_notification(f"ntf_{n}", f"{url}{n % 50}", kind="webhook", alert=an_alert(n + 1)) for n in range(count)],
    )
    client = Client(allow_private=True)
    settlements: list[int] = []
    settle = state.settle

    async def counted(attempts: Sequence[tuple[Attempt, Notification]]) -> None:
        settlements.append(len(attempts))
        await settle(attempts)

    monkeypatch.setattr(state, "settle", counted)
    async with running(state, WebhookNotifier(client, Vault(b"k" * 32)), settings=Settings(attempt_deadline=60)):
        await until(lambda: len(got) == count, within=60)
    assert sorted(got) == sorted(f"ntf_{n}".encode() for n in range(count))
    assert sum(settlements) == count
    assert len(settlements) < count, "what ended together was not settled together"
    assert all(it.status == "delivered" for it in await state.notifications(limit=count))
    await client.close()
    await state.close()
    server.close()
    await asyncio.sleep(0.01)
