"""
What every store must do, whatever it is made of: `gateway/store/base.py` as tests.

A store's own test module subclasses `JournalConformance` and `StateConformance` and gives them a fixture `store`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import pytest

from gateway.clock import ManualClock
from gateway.errors import ConflictError, NotFoundError, StoreBusyError, StoreError
from gateway.hours import Window
from gateway.models import (
    Alert,
    AlertKey,
    AlertStatus,
    Attempt,
    Change,
    Contact,
    Deferred,
    Endpoint,
    Event,
    EventRecord,
    Group,
    Integration,
    Notification,
    Outcome,
    Policy,
    PolicyStep,
    Reading,
    Routing,
    Suppressed,
    User,
)
from gateway.store.base import Changes, Draft, Journal, Receipt, State

ODD = ["", "%", "_", "*", "a\x00b", "\ufeff", "é", "e\u0301", "𝛀👩‍👩‍👧", "' OR 1=1 --", "\u202e", "x" * 10_240]
NOW = 1_750_000_000_000
replace = msgspec.structs.replace


class Store(Protocol):
    """One place where data is kept; each call opens it anew, and what is open is closed when the test ends."""

    clock: ManualClock

    async def journal(self, *, max_waiting: int = 10_000) -> Journal: ...

    async def state(self) -> State: ...


def draft(body: bytes = b"{}", *, endpoint_id: str = "e1", delivery_id: str | None = None) -> Draft:
    return Draft(endpoint_id, NOW, b"a=1", b"content-type: application/json", body, delivery_id)


async def append(journal: Journal, *drafts: Draft) -> list[Receipt | StoreError]:
    """Append all of them at once; what each was told."""
    loop = asyncio.get_running_loop()
    told: list[asyncio.Future[Receipt | StoreError]] = [loop.create_future() for _ in drafts]
    for item, future in zip(drafts, told, strict=True):
        journal.append(item, future.set_result)  # a second call of `done` would raise
    async with asyncio.timeout(5):
        return await asyncio.gather(*told)


async def ids(journal: Journal, *drafts: Draft) -> list[int]:
    receipts = await append(journal, *drafts)
    return [receipt.id for receipt in receipts if isinstance(receipt, Receipt)]


def endpoint(number: str = "e1", **fields: Any) -> Endpoint:
    base = Endpoint(id=number, name=number, token_hash=number.encode(), token_hint="…ab", created_at=NOW)
    return replace(base, **fields)


def integration(number: str = "i1", **fields: Any) -> Integration:
    base = Integration(id=number, endpoint_id="e1", name=number, template="custom", created_at=NOW, updated_at=NOW)
    return replace(base, **fields)


def alert(number: int = 1, **fields: Any) -> Alert:
    base = Alert(
        id=number,
        endpoint_id="e1",
        integration_id="i1",
        status="open",
        source="Prometheus",
        source_name="cluster",
        source_id=f"f{number}",
        severity="error",
        subject="CPU",
        opened_at=NOW,
        updated_at=NOW,
    )
    return replace(base, **fields)


def event(message_id: int, outcome: Outcome = "opened", **fields: Any) -> EventRecord:
    base = EventRecord(message_id=message_id, endpoint_id="e1", action="open", outcome=outcome, at=NOW)
    return replace(base, **fields)


def notification(
    number: str, *, alert_id: int = 1, contact: str = "c1", address: str = "", **fields: Any
) -> Notification:
    base = Notification(
        id=number,
        alert_id=alert_id,
        seq=1,
        kind="opened",
        contact=Contact(id=contact, kind="webhook", address=address or f"https://{contact}.example"),
        user="Ann",
        integration="i1",
        alert=alert(alert_id),
        due_at=NOW,
        created_at=NOW,
    )
    return replace(base, **fields)


def attempt(number: str, count: int = 1, error: str | None = None) -> Attempt:
    return Attempt(notification_id=number, number=count, at=NOW, duration_ms=12, code=200, error=error, response="ok")


def window(number: str = "w1", **fields: Any) -> Window:
    base = Window(
        id=number,
        integration_id="i1",
        name="patching",
        starts="2026-11-25T22:00",
        ends="2026-11-25T23:00",
        zone="UTC",
        created_at=NOW,
    )
    return replace(base, **fields)


def suppressed(number: int, **fields: Any) -> Suppressed:
    reading = Reading(
        action="open", event=Event(source_id=f"f{number}", tags=("a", "𝛀")), severity="error", trace=("x",)
    )
    key = alert(number).key
    base = Suppressed(key=key, integration_id="i1", window_id="w1", until=NOW, message_id=number, reading=reading)
    return replace(base, **fields)


async def write(state: State, **changes: Any) -> None:
    async with state.transaction() as change:
        await change.write(Changes(**changes))


async def claimed(state: State, now: int = NOW, limit: int = 100, per_target: int = 10) -> list[str]:
    found = await state.claim(now, limit=limit, per_target=per_target, lease_until=now + 30_000)
    return [item.id for item in found]


async def delivered(state: State, *numbers: str) -> None:
    every = {item.id: item for item in await state.notifications(limit=10_000)}
    settled = [replace(every[number], status="delivered", attempts=1, finished_at=NOW) for number in numbers]
    await state.settle([(attempt(item.id), item) for item in settled])


class JournalConformance:
    """The journal: what is receipted is there, once, in order, byte for byte."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    async def test_full_queue_refuses_at_once_and_takes_more_later(self, store: Store) -> None:
        journal = await store.journal(max_waiting=3)
        told: list[Receipt | StoreError] = []
        for _ in range(3):
            journal.append(draft(), told.append)
        with pytest.raises(StoreBusyError, match="wait"):
            journal.append(draft(), told.append)
        while len(told) < 3:
            await asyncio.sleep(0.01)
        assert await ids(journal, draft()) == [4]

    async def test_closed_journal_refuses(self, store: Store) -> None:
        journal = await store.journal()
        await journal.close()
        with pytest.raises(StoreError):
            journal.append(draft(), print)

    async def test_sender_that_fails_costs_no_other_its_answer(self, store: Store) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        journal = await store.journal()
        told: list[Receipt | StoreError] = []

        def broken(_outcome: Receipt | StoreError) -> None:
            msg = "the connection is gone"
            raise ConnectionResetError(msg)

        journal.append(draft(), broken)
        journal.append(draft(), told.append)
        assert await ids(journal, draft()) == [3]
        assert told == [Receipt(2)]

    async def test_empty(self, store: Store) -> None:
        journal = await store.journal()
        assert await journal.head() == 0
        assert await journal.read(0, 10) == await journal.newest(10) == await journal.get([1]) == []

    async def test_what_was_receipted_is_there_byte_for_byte_also_after_reopening(self, store: Store) -> None:
        journal = await store.journal()
        bodies = [b"", b"\x00\xff\xfe", b"x" * 100_000, "é".encode("latin-1")]
        assert await ids(journal, *map(draft, bodies)) == [1, 2, 3, 4]
        await journal.close()
        messages = await (await store.journal()).read(0, 10)
        assert [message.body for message in messages] == bodies
        assert (messages[0].query, messages[0].received_at) == (b"a=1", NOW)
        assert messages[0].headers == b"content-type: application/json"

    async def test_close_commits_what_was_accepted(self, store: Store) -> None:
        journal = await store.journal()
        told: list[Receipt | StoreError] = []
        for _ in range(2000):
            journal.append(draft(), told.append)
        await journal.close()
        assert told == [Receipt(number) for number in range(1, 2001)]
        assert await (await store.journal()).head() == 2000

    async def test_read_goes_on_after_an_id(self, store: Store) -> None:
        journal = await store.journal()
        await ids(journal, *[draft() for _ in range(10)])
        assert [message.id for message in await journal.read(3, 4)] == [4, 5, 6, 7]
        assert [message.id for message in await journal.read(8, 100)] == [9, 10]
        assert await journal.read(10, 100) == []

    async def test_read_ends_early_where_bodies_are_large_and_gives_one_at_least(self, store: Store) -> None:
        journal = await store.journal()
        await ids(journal, draft(b"x" * (5 << 20)), *[draft(b"y" * (1 << 20)) for _ in range(6)])
        assert [message.id for message in await journal.read(0, 100)] == [1]
        assert 2 <= len(await journal.read(1, 100)) <= 4

    async def test_get_and_newest(self, store: Store) -> None:
        journal = await store.journal()
        await ids(journal, *[draft(endpoint_id="quiet" if n in {1, 299} else "loud") for n in range(1, 301)])
        assert [message.id for message in await journal.get([7, 999, 3, 7])] == [3, 7]
        assert [message.id for message in await journal.newest(3)] == [300, 299, 298]
        assert [message.id for message in await journal.newest(2, before=299)] == [298, 297]
        assert [message.id for message in await journal.newest(5, endpoint_id="quiet")] == [299, 1]
        assert [message.id for message in await journal.newest(5, before=299, endpoint_id="quiet")] == [1]
        loud = [message.id for message in await journal.newest(400, endpoint_id="loud")]
        assert loud == [number for number in range(300, 0, -1) if number not in {1, 299}]
        assert await journal.newest(5, endpoint_id="unknown") == []

    async def test_delivery_is_recorded_once(self, store: Store) -> None:
        journal = await store.journal()
        twice = [draft(b"1", delivery_id="d"), draft(b"2", delivery_id="d"), draft(b"3")]
        assert await append(journal, *twice) == [Receipt(1), Receipt(1, duplicate=True), Receipt(2)]
        assert await append(journal, draft(b"4", delivery_id="d")) == [Receipt(1, duplicate=True)]
        assert await append(journal, draft(b"5", delivery_id="d", endpoint_id="e2")) == [Receipt(3)]
        await journal.close()
        journal = await store.journal()
        assert await append(journal, draft(b"6", delivery_id="d")) == [Receipt(1, duplicate=True)]
        assert [message.body for message in await journal.read(0, 10)] == [b"1", b"3", b"5"]
        assert [message.delivery_id for message in await journal.read(0, 10)] == ["d", None, "d"]

    async def test_32_copies_of_100_deliveries_at_once(self, store: Store) -> None:
        journal = await store.journal()

        async def sender() -> list[int]:
            found = []
            for number in range(100):
                found += await ids(journal, draft(delivery_id=f"d{number}"))
            return found

        every = await asyncio.gather(*[sender() for _ in range(32)])
        assert all(found == every[0] for found in every)
        assert await journal.head() == len(set(every[0])) == 100

    async def test_odd_ids_are_kept_verbatim_and_apart(self, store: Store) -> None:
        journal = await store.journal()
        drafts = [draft(endpoint_id=odd, delivery_id=odd) for odd in ODD]
        assert await ids(journal, *drafts) == list(range(1, len(ODD) + 1))
        assert [message.delivery_id for message in await journal.read(0, 100)] == ODD
        for number, odd in enumerate(ODD, 1):
            assert [message.id for message in await journal.newest(9, endpoint_id=odd)] == [number]

    async def test_ids_are_never_given_twice(self, store: Store) -> None:
        journal = await store.journal()
        await ids(journal, *[draft(delivery_id=f"d{number}") for number in range(5)])
        assert await journal.forget(2, limit=1) == 1
        assert [message.id for message in await journal.read(0, 10)] == [2, 3, 4, 5]
        assert await journal.forget(5) == 4
        assert await journal.head() == 5
        await journal.close()
        journal = await store.journal()
        assert await journal.head() == 5
        assert await ids(journal, draft(delivery_id="d1")) == [6]


class StateConformance:
    """The state: changes happen whole or not at all, names are unique, notifications keep their order."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    @pytest.fixture
    async def state(self, store: Store) -> State:
        return await store.state()

    # changes

    async def test_change_that_raises_leaves_nothing(self, state: State) -> None:
        async def fail() -> None:
            async with state.transaction() as change:
                await change.write(
                    Changes(cursor=7, alerts=[alert()], events=[event(1)], notifications=[notification("n1")])
                )
                assert await change.cursor() == 7
                assert await state.cursor() == 0, "what is not committed is not seen from outside"
                msg = "the worker fell over"
                raise RuntimeError(msg)

        with pytest.raises(RuntimeError, match="fell over"):
            await fail()
        assert await state.cursor() == 0
        assert await state.alerts() == await state.events([1]) == await state.notifications() == []
        assert (await state.counts()).alerts["open"] == 0

    async def test_change_that_is_cancelled_leaves_nothing_and_blocks_nobody(self, state: State) -> None:
        begun = asyncio.Event()

        async def hang() -> None:
            async with state.transaction() as change:
                await change.write(Changes(cursor=7))
                begun.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(hang())
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await write(state, cursor=1)
        assert await state.cursor() == 1

    async def test_changes_of_two_tasks_do_not_mix(self, state: State) -> None:
        async def count() -> None:
            for _ in range(20):
                async with state.transaction() as change:
                    before = await change.cursor()
                    await asyncio.sleep(0)
                    await change.write(Changes(cursor=before + 1))

        await asyncio.gather(*[count() for _ in range(5)])
        assert await state.cursor() == 100

    async def test_changes_of_two_openings_do_not_mix(self, store: Store) -> None:
        states = [await store.state() for _ in range(3)]

        async def count(state: State) -> None:
            for _ in range(10):
                async with state.transaction() as change:
                    before = await change.cursor()
                    await asyncio.sleep(0.001)
                    await change.write(Changes(cursor=before + 1))

        await asyncio.gather(*map(count, states))
        assert await states[0].cursor() == 30

    async def test_cursor_moves_with_its_rows_and_all_is_there_after_reopening(
        self, store: Store, state: State
    ) -> None:
        change = Change(alert_id=1, seq=1, at=NOW, kind="opened", actor="message 9", message_id=9, severity="error")
        record = event(9, alert_id=1, integration_id="i1", reason="x", trace=("one", "two\x00", "𝛀"))
        full = alert(
            tags=("a", "b,c", ""), description="d", occurred_at=NOW - 5, source_url="https://x", count=3, changes=4
        )
        sent = notification("n1", alert=full, error="e", attempts=2)
        waiting = Deferred(message_id=4, endpoint_id="e1", run=1, tries=2, reason="killed")
        changed = {"alerts": [full], "timeline": [change], "events": [record], "notifications": [sent]}
        await write(state, cursor=9, deferred=[waiting], **changed)
        await state.close()
        state = await store.state()
        assert await state.cursor() == 9
        assert await state.alert(1) == full
        assert await state.timeline(1) == [change]
        assert await state.events([9]) == [record]
        assert await state.notifications() == [sent]
        assert await state.deferred() == [waiting]

    # alerts

    async def test_key_has_one_alert_that_is_not_closed(self, state: State) -> None:
        await write(state, alerts=[alert(1, source_id="x")])
        with pytest.raises(StoreError):
            await write(state, alerts=[alert(2, source_id="x", status="assigned")], cursor=5)
        assert await state.cursor() == 0
        await write(state, alerts=[alert(2, source_id="x"), alert(1, source_id="x", status="closed", closed_at=NOW)])
        await write(state, alerts=[alert(3, source_id="x", status="closed")])
        async with state.transaction() as change:
            found = await change.open_alerts([alert(1, source_id="x").key])
            assert await change.next_alert_id() == 4
        assert [item.id for item in found.values()] == [2]

    async def test_odd_ids_find_their_own_alert_only(self, state: State) -> None:
        keys = [AlertKey("e1", "s", "n", odd) for odd in ODD]
        keys += [AlertKey("e1", "s", odd, "") for odd in ODD if odd] + [AlertKey("e2", "s", "n", "%")]
        keys += [AlertKey("e1", "a", "bc", "d"), AlertKey("e1", "ab", "c", "d"), AlertKey("e1a", "", "bc", "d")]
        rows = [
            alert(number, endpoint_id=k.endpoint_id, source=k.source, source_name=k.source_name, source_id=k.source_id)
            for number, k in enumerate(keys, 1)
        ]
        await write(state, alerts=rows)
        async with state.transaction() as change:
            assert await change.open_alerts(keys) == dict(zip(keys, rows, strict=True))
            assert (
                await change.open_alerts([AlertKey("e1", "s", "n", "X" * 10_240), AlertKey("e1", "s%", "n", "%")]) == {}
            )

    async def test_alert_rows_are_whole(self, state: State) -> None:
        await write(state, alerts=[alert(1, description="long", tags=("a",))])
        later = alert(1, subject="new", status="closed", closed_at=NOW + 1, count=2)
        await write(state, alerts=[alert(1, subject="between"), later])
        assert await state.alert(1) == later
        assert await state.alert(2) is None

    async def test_lists_of_alerts(self, state: State) -> None:
        statuses: list[AlertStatus] = ["open", "assigned", "closed"]
        rows = [alert(n, status=statuses[n % 3], integration_id=f"i{n % 2}") for n in range(1, 31)]
        await write(state, alerts=rows)

        async def listed(**which: Any) -> list[int]:
            return [item.id for item in await state.alerts(**which)]

        def expected(*wanted: str, which: str = "") -> list[int]:
            return [row.id for row in reversed(rows) if row.status in wanted and row.integration_id.startswith(which)]

        assert await listed() == expected(*statuses)
        assert await listed(limit=3) == [30, 29, 28]
        assert await listed(before=4) == [3, 2, 1]
        assert await listed(statuses=["open"]) == expected("open")
        assert await listed(statuses=["open", "assigned"], limit=5) == expected("open", "assigned")[:5]
        assert await listed(integration_id="i1") == expected(*statuses, which="i1")
        assert await listed(statuses=["closed"], integration_id="i1", before=20) == [17, 11, 5]
        assert (await state.counts()).alerts == {"open": 10, "assigned": 10, "closed": 10}

    async def test_events_and_messages_with_an_outcome(self, state: State) -> None:
        rows = [
            event(3, position=1),
            event(3),
            event(3, "failed", run=1),
            event(4, "failed"),
            event(4, "failed", position=1),
        ]
        rows.append(event(5, "failed", endpoint_id="e2"))
        await write(state, events=rows)
        assert await state.events([4, 3]) == [rows[1], rows[0], rows[2], rows[3], rows[4]]
        assert await state.messages_with("failed") == [5, 4, 3]
        assert await state.messages_with("failed", limit=2) == [5, 4]
        assert await state.messages_with("failed", endpoint_id="e1") == [4, 3]
        assert await state.messages_with("closed") == []
        outcomes = (await state.counts()).outcomes
        assert (outcomes["failed"], outcomes["opened"]) == (4, 2)

    async def test_deferred(self, state: State) -> None:
        first, second = Deferred(message_id=2, endpoint_id="e1", tries=1), Deferred(message_id=9, endpoint_id="e2")
        await state.defer(second)
        await state.defer(first)
        await state.defer(replace(first, run=3))
        assert await state.deferred() == [first, second]
        assert await state.deferred(1) == [first]
        assert await state.deferred(endpoint_ids=["e2", "e3"]) == [second]
        assert (await state.counts()).deferred == 2
        again = replace(first, tries=2, reason="killed")
        await write(state, deferred=[again], done=[9])
        assert await state.deferred() == [again]
        await write(state, done=[2, 2, 77])
        assert await state.deferred() == []

    # configuration

    async def test_names_are_unique(self, state: State) -> None:
        await state.add_integration(integration("i1", name="Prod"), endpoint("e1", secret=b"sealed"))
        await state.add_user(User(id="u1", name="Ann", created_at=NOW))
        await state.add_policy(Policy(id="p1", name="Day", created_at=NOW))
        version = await state.config_version()
        with pytest.raises(ConflictError, match="Prod"):
            await state.add_integration(integration("i2", name="Prod"), endpoint("e2", token_hash=b"canary-1"))
        with pytest.raises(ConflictError) as refused:
            await state.add_integration(integration("i2"), endpoint("e2", token_hash=b"e1", secret=b"canary"))
        assert "canary" not in str(refused.value)
        with pytest.raises(ConflictError):
            await state.add_user(User(id="u2", name="Ann", created_at=NOW))
        with pytest.raises(ConflictError):
            await state.add_policy(Policy(id="p2", name="Day", created_at=NOW))
        assert len(await state.endpoints()) == len(await state.integrations()) == 1, "all or nothing"
        assert await state.config_version() == version, "nothing changed"
        await state.add_integration(integration("i2", name="prod"), None)
        with pytest.raises(ConflictError):
            await state.save_integration(integration("i2", name="Prod"))

    async def test_what_does_not_exist_is_not_found(self, state: State) -> None:
        with pytest.raises(NotFoundError):
            await state.add_integration(integration(), None)
        with pytest.raises(NotFoundError):
            await state.save_endpoint(endpoint())
        with pytest.raises(NotFoundError):
            await state.save_integration(integration())
        with pytest.raises(NotFoundError):
            await state.delete_integration("i1")
        assert await state.integration("i1") is None
        assert await state.endpoint_by_token(b"e1") is None

    async def test_integrations_and_their_endpoint(self, state: State) -> None:
        versions = [await state.config_version()]
        first = integration("i1", name="zeta", enabled=False, sequence=2, settings={"open": {"status": ["a", 1, None]}})
        await state.add_integration(first, endpoint("e1"))
        versions.append(await state.config_version())
        clone = integration("i2", name="alpha")
        await state.add_integration(clone, None)
        versions.append(await state.config_version())
        assert await state.integrations() == [clone, first]
        assert await state.integration("i1") == await state.integration("zeta") == first
        renamed = replace(first, name="eta", enabled=True, updated_at=NOW + 1)
        await state.save_integration(renamed)
        versions.append(await state.config_version())
        assert await state.integrations() == [clone, renamed]
        await state.delete_integration("i1")
        versions.append(await state.config_version())
        assert len(await state.endpoints()) == 1, "the clone is still on it"
        await state.delete_integration("i2")
        versions.append(await state.config_version())
        assert await state.endpoints() == await state.integrations() == []
        assert versions == sorted(set(versions)), "each change is seen"

    async def test_rotated_token(self, state: State) -> None:
        await state.add_integration(integration(), endpoint("e1", token_hash=b"old", secret=b"s"))
        turned = endpoint("e1", token_hash=b"new", previous_token_hash=b"old", previous_until=NOW, previous_secret=b"s")
        version = await state.config_version()
        await state.save_endpoint(turned)
        assert await state.config_version() > version
        assert await state.endpoint_by_token(b"new") == await state.endpoint_by_token(b"old") == turned
        assert await state.endpoint_by_token(b"ne") is None

    async def test_users_and_policies_keep_their_order(self, state: State) -> None:
        version = await state.config_version()
        contacts = tuple(Contact(id=f"c{n}", kind="email", address=f"{n}@x") for n in (2, 1, 3))
        zoe, ann = (
            User(id="u1", name="Zoe", contacts=contacts, created_at=NOW),
            User(id="u2", name="Ann", created_at=NOW),
        )
        await state.add_user(zoe)
        await state.add_user(ann)
        steps = (PolicyStep(user_ids=("u2", "u1")), PolicyStep(user_ids=("u1",), after=300))
        night, day = (
            Policy(id="p1", name="Night", steps=steps, created_at=NOW),
            Policy(id="p2", name="Day", created_at=NOW),
        )
        await state.add_policy(night)
        await state.add_policy(day)
        assert await state.users() == [ann, zoe]
        assert await state.policies() == [day, night]
        assert await state.config_version() >= version + 4
        await state.add_integration(integration(policy_id="p1"), endpoint())
        assert [item.policy_id for item in await state.integrations()] == ["p1"]

    async def test_what_a_configuration_says_is_kept(self, store: Store, state: State) -> None:
        there = endpoint("e1", fan_out=True, token_from="env:T", secret_from="file:/s")
        first = integration(group_ids=("g2", "g1"), user_ids=("u1",))
        await state.add_integration(first, there)
        await state.close()
        state = await store.state()
        assert await state.endpoints() == [there]
        assert await state.endpoint_by_token(b"e1") == there
        assert await state.integration("i1") == first
        plain = replace(there, fan_out=False, token_from=None, secret_from=None)
        bare = replace(first, group_ids=(), user_ids=())
        await state.save_endpoint(plain)
        await state.save_integration(bare)
        assert (await state.endpoints(), await state.integrations()) == ([plain], [bare])

    async def test_users_and_policies_are_replaced_whole_and_deleted(self, state: State) -> None:
        contacts = tuple(Contact(id=f"c{n}", kind="email", address=f"{n}@x") for n in range(3))
        ann, bob = (
            User(id=f"u{n}", name=name, contacts=contacts[n:], created_at=n) for n, name in ((1, "Ann"), (3, "Bob"))
        )
        steps = (PolicyStep(user_ids=("u1",)), PolicyStep(user_ids=("u1", "u3"), after=60))
        day, night = (
            Policy(id=f"p{n}", name=name, steps=steps, created_at=n) for n, name in ((1, "Day"), (2, "Night"))
        )
        for user in (ann, bob):
            await state.add_user(user)
        for policy in (day, night):
            await state.add_policy(policy)
        version = await state.config_version()
        moved = replace(ann, name="Anna", contacts=(contacts[2], Contact(id="c9", kind="webhook", address="https://x")))
        shorter = replace(day, name="Dawn", steps=steps[1:])
        await state.save_user(moved)
        await state.save_policy(shorter)
        assert await state.users() == [moved, bob]
        assert await state.policies() == [shorter, night]
        assert await state.config_version() == version + 2
        with pytest.raises(ConflictError, match="Bob"):
            await state.save_user(replace(moved, name="Bob", contacts=()))
        with pytest.raises(ConflictError, match="Night"):
            await state.save_policy(replace(shorter, name="Night", steps=()))
        assert (await state.users(), await state.policies()) == ([moved, bob], [shorter, night]), "all or nothing"
        await state.delete_user("u1")
        await state.delete_policy("p1")
        assert (await state.users(), await state.policies()) == ([bob], [night])
        assert await state.config_version() == version + 4

    async def test_a_policy_that_an_integration_has_is_not_deleted(self, state: State) -> None:
        policy = Policy(id="p1", name="Day", steps=(PolicyStep(user_ids=("u1",)),), created_at=NOW)
        await state.add_policy(policy)
        await state.add_integration(integration(policy_id="p1"), endpoint())
        version = await state.config_version()
        with pytest.raises(ConflictError, match="give that another one first"):
            await state.delete_policy("p1")
        assert (await state.policies(), await state.config_version()) == ([policy], version)
        await state.save_integration(integration())
        await state.delete_policy("p1")
        assert await state.policies() == []

    async def test_a_user_who_is_deleted_is_still_told_what_was_to_be_told(self, state: State) -> None:
        await state.add_user(
            User(id="u1", name="Ann", contacts=(Contact(id="c1", kind="email", address="a"),), created_at=0)
        )
        await write(state, notifications=[notification("n1", contact="c1")])
        await state.delete_user("u1")
        assert await claimed(state) == ["n1"]

    async def test_groups(self, state: State) -> None:
        zoo, art = (
            Group(id=f"g{n}", name=name, user_ids=("u2", "u1"), created_at=n) for n, name in ((1, "zoo"), (2, "art"))
        )
        versions = [await state.config_version()]
        for group in (zoo, art):
            await state.add_group(group)
            versions.append(await state.config_version())
        assert await state.groups() == [art, zoo]
        with pytest.raises(ConflictError, match="'zoo': that name is taken"):
            await state.add_group(replace(zoo, id="g3"))
        with pytest.raises(ConflictError, match="'art': that name is taken"):
            await state.save_group(replace(zoo, name="art"))
        changed = replace(zoo, name="zap", user_ids=())
        await state.save_group(changed)
        versions.append(await state.config_version())
        assert await state.groups() == [art, changed]
        await state.delete_group("g2")
        versions.append(await state.config_version())
        assert await state.groups() == [changed]
        assert versions == sorted(set(versions)), "each change is seen"

    async def test_windows_go_with_their_integration(self, state: State) -> None:
        for number in ("i1", "i2"):
            await state.add_integration(integration(number, endpoint_id=number), endpoint(number))
        rows = [
            window("w1", integration_id="i2", name="b", repeat="weekly", days=("mon", "sun"), reopen=True),
            window("w2", integration_id="i2", name="a", zone="Europe/Berlin"),
            window("w3", integration_id="i1", name="b"),
        ]
        version = await state.config_version()
        for row in rows:
            await state.add_window(row)
        assert await state.windows() == [rows[2], rows[1], rows[0]]
        with pytest.raises(ConflictError, match="'b': that name is taken"):
            await state.add_window(window("w4", integration_id="i1", name="b"))
        with pytest.raises(NotFoundError, match="the integration that it names does not exist"):
            await state.add_window(window("w5", integration_id="i9"))
        assert await state.config_version() == version + 3
        await state.delete_integration("i2")
        assert await state.windows() == [rows[2]]
        await state.delete_window("w3", NOW)
        assert await state.windows() == []
        assert await state.config_version() == version + 5

    @pytest.mark.parametrize("what", ["user", "policy", "group"])
    async def test_what_was_never_there_is_neither_replaced_nor_deleted(self, state: State, what: str) -> None:
        made = {"user": User, "policy": Policy, "group": Group}[what](id="x", name="x", created_at=0)
        version = await state.config_version()
        with pytest.raises(NotFoundError, match="'x'"):
            await getattr(state, f"save_{what}")(made)
        with pytest.raises(NotFoundError, match="'x'"):
            await getattr(state, f"delete_{what}")("x")
        with pytest.raises(NotFoundError, match="'x'"):
            await state.delete_window("x", NOW)
        assert await state.config_version() == version

    # groups, silence, windows

    async def test_what_rules_know_of_an_alert_is_kept(self, store: Store, state: State) -> None:
        full = alert(
            custom={"team": "a", "\x00": "𝛀"},
            scope="i1",
            routing=Routing(policy_id="p1", group_ids=("g1",), user_ids=("u1", "u2"), until=NOW + 1),
            told_at=NOW + 2,
            openings=(NOW, NOW, NOW + 3),
            group_key='["a"]',
            leader_id=7,
            close_at=NOW + 4,
        )
        shared = alert(2, source_id=full.source_id)
        await write(state, alerts=[full, shared])
        await state.close()
        state = await store.state()
        assert await state.alert(1) == full
        async with state.transaction() as change:
            assert await change.open_alerts([full.key, shared.key]) == {full.key: full, shared.key: shared}
        bare = alert(scope="i1")
        await write(state, alerts=[bare])
        assert await state.alert(1) == bare

    async def test_the_leaders_of_a_group_are_those_that_are_open(self, state: State) -> None:
        rows = [
            alert(1, group_key="g", opened_at=NOW),
            alert(2, group_key="g", opened_at=NOW + 5, status="assigned"),
            alert(3, group_key="g", opened_at=NOW + 9, leader_id=2),
            alert(4, group_key="g", opened_at=NOW + 9, status="closed"),
            alert(5, group_key="h", opened_at=NOW + 9),
            alert(6, group_key="g", opened_at=NOW + 9, integration_id="i2"),
            alert(7, opened_at=NOW + 9),
        ]
        await write(state, alerts=rows)
        async with state.transaction() as change:
            assert await change.group_leaders("i1", "g", after=0) == rows[:2]
            assert await change.group_leaders("i1", "g", after=NOW) == [rows[1]]
            assert await change.group_leaders("i1", "g", after=NOW + 5) == []
            assert await change.group_leaders("i2", "g", after=0) == [rows[5]]
            assert await change.group_leaders("i1", "", after=0) == []
            await change.write(Changes(alerts=[replace(rows[1], status="closed")]))
            assert await change.group_leaders("i1", "g", after=0) == [rows[0]]

    async def test_members_of_a_group_are_those_that_are_open(self, state: State) -> None:
        rows = [
            alert(3, leader_id=1),
            alert(2, leader_id=1, status="assigned"),
            alert(4, leader_id=1, status="closed"),
            alert(5, leader_id=2),
            alert(1),
        ]
        await write(state, alerts=rows)
        async with state.transaction() as change:
            assert await change.group_members(1) == [rows[1], rows[0]]
            assert await change.group_members(9) == []

    async def test_openings_of_a_key_count_each_time_for_a_week(self, state: State) -> None:
        key, other = alert(1).key, replace(alert(1).key, scope="i1")
        await write(state, openings=[(key, NOW), (other, NOW + 1), (key, NOW), (key, NOW + 2)])
        async with state.transaction() as change:
            assert await change.openings(key, after=0) == [NOW, NOW, NOW + 2]
            assert await change.openings(key, after=NOW) == [NOW + 2]
            assert await change.openings(other, after=0) == [NOW + 1]
            assert await change.openings(alert(2).key, after=0) == []
        week = 7 * 86_400_000
        await write(state, openings=[(key, NOW + week + 1)])
        async with state.transaction() as change:
            assert await change.openings(key, after=0) == [NOW + 2, NOW + week + 1]

    async def test_silence_comes_earliest_first(self, state: State) -> None:
        assert await state.next_timer() is None
        rows = [
            alert(1, close_at=NOW + 3),
            alert(2, close_at=NOW + 1, status="assigned"),
            alert(3, close_at=NOW, status="closed"),
            alert(4),
            alert(5, close_at=NOW + 2),
        ]
        await write(state, alerts=rows)
        assert await state.next_timer() == NOW + 1
        async with state.transaction() as change:
            assert await change.silent(NOW, 9) == []
            assert await change.silent(NOW + 2, 9) == [rows[1], rows[4]]
            assert await change.silent(NOW + 9, 2) == [rows[1], rows[4]]
        await write(state, alerts=[replace(row, status="closed", close_at=None) for row in rows])
        assert await state.next_timer() is None

    async def test_what_a_window_keeps_back_is_there_once_until_it_ends(self, store: Store, state: State) -> None:
        first, second = suppressed(1), suppressed(2, until=NOW + 5, window_id="w2")
        again = suppressed(1, until=NOW + 9, message_id=8)
        await write(state, suppressed=[first, second])
        await write(state, suppressed=[again])
        await state.close()
        state = await store.state()
        assert await state.next_timer() == NOW + 5
        async with state.transaction() as change:
            assert await change.suppressed(NOW + 4, 9) == []
            assert await change.suppressed(NOW + 9, 9) == [second, again]
            assert await change.suppressed(NOW + 9, 1) == [second]
            await change.write(Changes(unsuppressed=[second.key, alert(7).key]))
            assert await change.suppressed(NOW + 9, 9) == [again]
        await write(state, alerts=[alert(close_at=NOW + 7)])
        assert await state.next_timer() == NOW + 7

    async def test_a_window_that_is_deleted_ends_for_what_came_in_it(self, state: State) -> None:
        await state.add_integration(integration(), endpoint())
        for number in ("w1", "w2"):
            await state.add_window(window(number, name=number))
        rows = [suppressed(1), suppressed(2, window_id="w2"), suppressed(3, until=NOW + 50)]
        await write(state, suppressed=rows)
        await state.delete_window("w1", NOW - 1)
        assert await state.next_timer() == NOW - 1
        async with state.transaction() as change:
            over = await change.suppressed(NOW, 9)
        assert over == [replace(rows[0], until=NOW - 1), replace(rows[2], until=NOW - 1), rows[1]]

    async def test_withdrawn_openings_are_not_told_and_hold_nothing_back(self, state: State) -> None:
        due, later = notification("due"), notification("later", contact="c2", due_at=NOW + 1)
        tried = notification("tried", contact="c3", due_at=NOW + 9, attempts=1)
        other = notification("other", alert_id=2, contact="c2", due_at=NOW + 1)
        update = notification("update", contact="c4", due_at=NOW + 9, kind="appended")
        await write(state, notifications=[due, later, tried, other, update])
        close = notification("close", seq=2, contact="c2", kind="closed")
        await write(state, withdrawn=[1, 1, 77], at=NOW, notifications=[close])
        gone = await state.notification("later")
        assert gone is not None
        assert (gone.status, gone.finished_at, gone.attempts) == ("withdrawn", NOW, 0)
        assert "before it was due" in (gone.error or "")
        assert {item.id for item in await state.notifications(status="withdrawn")} == {"later"}
        assert await claimed(state, NOW + 9) == ["due", "close", "other", "tried", "update"]
        assert await state.next_due() is None
        counts = (await state.counts()).notifications
        assert (counts["withdrawn"], counts["pending"]) == (1, 5)
        assert await state.retry(["later"], NOW) == 0

    async def test_what_is_written_in_the_step_that_withdraws_it_is_withdrawn(self, state: State) -> None:
        """An alert that opens and closes in one batch of messages: its later steps must not be told."""
        rows = [notification("now"), notification("later", contact="c2", due_at=NOW + 300)]
        await write(state, notifications=rows, withdrawn=[1], at=NOW)
        assert [item.id for item in await state.notifications(status="withdrawn")] == ["later"]
        assert await claimed(state, NOW + 300) == ["now"]

    # delivery

    async def test_claim_takes_what_is_due_earliest_first_once(self, state: State) -> None:
        rows = [notification(f"n{n}", alert_id=n, contact=f"c{n}", due_at=NOW - n) for n in range(5)]
        await write(state, notifications=[*rows, notification("later", alert_id=9, contact="c9", due_at=NOW + 500)])
        assert await state.next_due() == NOW - 4
        assert (await state.counts()).oldest_due_at == NOW - 4
        assert await claimed(state, limit=2) == ["n4", "n3"]
        assert await claimed(state) == ["n2", "n1", "n0"]
        assert await claimed(state) == []
        assert await state.next_due() == NOW + 500
        assert await claimed(state, NOW + 500) == ["later"]
        assert await state.next_due() is None
        assert await state.claim(NOW, limit=0, per_target=1, lease_until=NOW) == []

    async def test_lease_ends_with_time_or_with_a_new_start(self, store: Store, state: State) -> None:
        await write(state, notifications=[notification("n1")])
        assert await claimed(state) == ["n1"]
        assert await claimed(state, NOW + 29_999) == []
        assert await claimed(state, NOW + 30_000) == ["n1"]
        await state.close()
        state = await store.state()
        assert await claimed(state, NOW + 30_001) == []
        await state.release()
        assert await state.next_due() == NOW
        assert await claimed(state, NOW + 30_001) == ["n1"]

    async def test_few_of_one_address_are_out_at_a_time(self, state: State) -> None:
        rows = [notification(f"a{n}", alert_id=n, contact=f"c{n % 2}", address="https://sick") for n in range(6)]
        await write(state, notifications=[*rows, *[notification(f"b{n}", alert_id=n, contact="c9") for n in range(6)]])
        assert await claimed(state, per_target=2, limit=3) == ["a0", "a1", "b0"]
        assert await claimed(state, per_target=2) == ["b1"]
        assert await claimed(state, per_target=2) == []
        await delivered(state, "a0", "b0", "b1")
        assert await claimed(state, per_target=2) == ["a2", "b2", "b3"]

    async def test_an_open_arrives_before_its_close(self, state: State) -> None:
        late = notification("open", due_at=NOW + 100)
        await write(state, notifications=[late, notification("update", seq=2, kind="updated")])
        others = [notification("other-contact", seq=2, contact="c2"), notification("other-alert", seq=2, alert_id=2)]
        await write(state, notifications=[*others, notification("close", seq=3, kind="closed")])
        assert set(await claimed(state)) == {"other-contact", "other-alert"}
        assert await state.next_due() == NOW + 100
        assert await claimed(state, NOW + 100) == ["open"]
        assert await claimed(state, NOW + 101) == []
        failed = replace(late, attempts=1, due_at=NOW + 300, error="500")
        await state.settle([(attempt("open", error="500"), failed)])
        assert await claimed(state, NOW + 299) == []
        assert await claimed(state, NOW + 300) == ["open"]
        dead = replace(failed, status="dead", attempts=2, finished_at=NOW + 301)
        await state.settle([(attempt("open", 2, "500"), dead)])
        assert await claimed(state, NOW + 301) == ["update"], "a dead letter is settled"
        await delivered(state, "update")
        assert await claimed(state, NOW + 302) == ["close"]

    async def test_an_earlier_one_that_comes_later_goes_first(self, state: State) -> None:
        await write(state, notifications=[notification("close", seq=2)])
        await write(state, notifications=[notification("open", seq=1)])
        assert await claimed(state) == ["open"]

    async def test_notification_whose_id_exists_is_left_as_it_is(self, state: State) -> None:
        await write(state, notifications=[notification("n1"), notification("n2", alert_id=2)])
        assert await claimed(state, limit=1) == ["n1"]
        await delivered(state, "n1")
        assert await claimed(state) == ["n2"]
        repeated = [notification("n1", user="Eve", due_at=NOW - 9), notification("n2", alert_id=2, user="Eve")]
        await write(state, notifications=repeated)
        assert await claimed(state) == []
        assert {item.user for item in await state.notifications()} == {"Ann"}
        assert (await state.counts()).notifications == {
            "pending": 1,
            "delivered": 1,
            "dead": 0,
            "withdrawn": 0,
        }

    async def test_attempts_dead_letters_and_retry(self, state: State) -> None:
        sent = notification("n1")
        await write(state, notifications=[sent, notification("n2", alert_id=2)])
        await claimed(state)
        tries = [attempt("n1", 1, "500"), attempt("n1", 2, "410")]
        waiting = replace(sent, attempts=1, error="500", due_at=NOW + 5)
        dead = replace(sent, status="dead", attempts=2, error="410", finished_at=NOW + 9)
        await state.settle([(tries[0], waiting)])
        await state.settle([(tries[1], dead)])
        assert await state.attempts("n1") == tries
        assert await state.notifications(status="dead") == [dead]
        assert (await state.counts()).notifications["dead"] == 1
        assert await state.retry(["n1", "n1", "n2", "unknown"], NOW + 50) == 1
        [again] = await state.claim(NOW + 50, limit=9, per_target=9, lease_until=NOW + 60)
        assert (again.id, again.status, again.attempts, again.due_at, again.finished_at) == (
            "n1",
            "pending",
            0,
            NOW + 50,
            None,
        )
        await state.settle([(attempt("n1"), replace(again, status="delivered", attempts=1, error=None))])
        assert [item.number for item in await state.attempts("n1")] == [1, 2, 1]
        assert await state.retry([], NOW) == 0

    async def test_one_notification(self, state: State) -> None:
        waiting, sent = notification("n1"), notification("n2", alert_id=2, contact="c2")
        await write(state, notifications=[waiting, sent])
        await claimed(state)
        await delivered(state, "n2")
        assert await state.notification("n1") == waiting
        assert await state.notification("n2") == replace(sent, status="delivered", attempts=1, finished_at=NOW)
        assert await state.notification("n") is None
        assert await state.notification("") is None

    async def test_lists_of_notifications(self, state: State) -> None:
        rows = [notification(f"n{n}", alert_id=n % 2) for n in range(6)]
        for row in rows:
            await write(state, notifications=[row])
        await delivered(state, "n1", "n2")

        def named(found: Sequence[Notification]) -> list[str]:
            return [item.id for item in found]

        assert named(await state.notifications(limit=2)) == ["n5", "n4"]
        assert named(await state.notifications(status="delivered")) == ["n2", "n1"]
        assert named(await state.notifications(alert_id=1)) == ["n5", "n3", "n1"]
        assert named(await state.notifications(alert_id=1, status="pending")) == ["n5", "n3"]
