from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.escalation import People, notification_id, notifications_of
from gateway.models import (
    Alert,
    Change,
    ChangeKind,
    Contact,
    Group,
    Integration,
    Policy,
    PolicyStep,
    Routing,
    User,
)

T0 = 1_750_000_000_000


def user(identity: str, *contacts: str) -> User:
    made = tuple(Contact(id=name, kind="webhook", address=f"https://{name}.example/") for name in contacts)
    return User(id=identity, name=identity.title(), contacts=made, created_at=T0)


USERS = {
    each.id: each for each in (user("ann", "ann-a", "ann-b"), user("bob", "bob-a"), user("cat"), user("dan", "dan-a"))
}


def policy(*steps: tuple[int, tuple[str, ...]]) -> Policy:
    made = tuple(PolicyStep(after=after, user_ids=ids) for after, ids in steps)
    return Policy(id="pol_1", name="on call", steps=made, created_at=T0)


def alert(**fields: Any) -> Alert:
    return msgspec.structs.replace(
        Alert(
            id=7,
            endpoint_id="end_1",
            integration_id="int_1",
            status="open",
            source="s",
            source_name="n",
            source_id="i",
            severity="error",
            subject="broken",
            opened_at=T0,
            updated_at=T0,
            routing=Routing(policy_id="pol_1"),
            told_at=T0,
        ),
        **fields,
    )


def change(kind: ChangeKind, *, seq: int = 1, at: int = T0) -> Change:
    return Change(alert_id=7, seq=seq, at=at, kind=kind, actor="test")


PROD = Integration(id="int_1", endpoint_id="end_1", name="prod", template="t", created_at=T0, updated_at=T0)


def people(policy: Policy | None) -> People:
    groups = {"grp_1": Group(id="grp_1", name="db", user_ids=("bob", "nobody"), created_at=T0)}
    return People(policies={} if policy is None else {policy.id: policy}, groups=groups, users=USERS)


def told(
    policy: Policy | None,
    kind: ChangeKind,
    *,
    at: int = T0,
    seq: int = 1,
    telling: ChangeKind | None = None,
    **fields: Any,
) -> list[tuple[str, int]]:
    made = notifications_of(change(kind, at=at, seq=seq), alert(**fields), PROD, people(policy), now=at, kind=telling)
    return [(each.contact.id, (each.due_at - T0) // 1000) for each in made]


LADDER = policy((0, ("ann",)), (300, ("bob", "cat")), (900, ("dan", "nobody")))


def test_an_open_tells_each_contact_of_each_step_in_its_time() -> None:
    assert told(LADDER, "opened") == [("ann-a", 0), ("ann-b", 0), ("bob-a", 300), ("dan-a", 900)]


@pytest.mark.parametrize("kind", ["updated", "assigned"])
def test_other_changes_tell_nobody(kind: ChangeKind) -> None:
    assert told(LADDER, kind) == []


def test_groups_and_users_are_told_at_once_and_in_addition() -> None:
    routing = Routing(policy_id="pol_1", group_ids=("grp_1", "grp_gone"), user_ids=("dan", "gone"))
    assert told(LADDER, "opened", routing=routing) == [("ann-a", 0), ("ann-b", 0), ("bob-a", 0), ("dan-a", 0)]


def test_a_delayed_opening_is_told_later_and_a_close_before_that_tells_nobody() -> None:
    later = T0 + 60_000
    assert told(LADDER, "opened", told_at=later) == [("ann-a", 60), ("ann-b", 60), ("bob-a", 360), ("dan-a", 960)]
    assert told(LADDER, "closed", at=T0 + 59_000, told_at=later) == []
    assert told(LADDER, "closed", at=later, told_at=later) == [("ann-a", 60), ("ann-b", 60)]


def test_until_people_are_to_be_told_nobody_is() -> None:
    assert told(LADDER, "opened", told_at=None) == told(LADDER, "closed", told_at=None) == []


def test_an_event_that_is_told_again_goes_to_whom_it_was_told() -> None:
    assert told(LADDER, "appended", at=T0 + 300_000, telling="appended") == [
        (c, 300) for c in ("ann-a", "ann-b", "bob-a")
    ]


@pytest.mark.parametrize(
    "until, contacts",
    [(0, ["ann-a", "ann-b"]), (299, ["ann-a", "ann-b"]), (300, ["ann-a", "ann-b", "bob-a"]), (-1, [])],
)
def test_whose_time_had_not_come_when_somebody_took_it_never_hears_of_it(until: int, contacts: list[str]) -> None:
    routing = Routing(policy_id="pol_1", until=T0 + until * 1000)
    assert told(LADDER, "closed", at=T0 + 4_000_000, routing=routing) == [(contact, 4000) for contact in contacts]
    assert [contact for contact, _ in told(LADDER, "opened", routing=routing)] == contacts


def test_without_a_policy_nobody_is_told() -> None:
    assert told(None, "opened") == []
    assert told(policy(), "opened") == []


@pytest.mark.parametrize(
    "after, contacts",
    [
        (0, ["ann-a", "ann-b"]),
        (299, ["ann-a", "ann-b"]),
        (300, ["ann-a", "ann-b", "bob-a"]),
        (4000, ["ann-a", "ann-b", "bob-a", "dan-a"]),
    ],
)
def test_a_close_tells_at_once_whose_step_had_come(after: int, contacts: list[str]) -> None:
    assert told(LADDER, "closed", at=T0 + after * 1000, seq=2) == [(contact, after) for contact in contacts]


def test_whoever_is_named_twice_is_told_once_and_early() -> None:
    twice = policy((600, ("ann", "bob")), (0, ("bob", "bob")), (60, ("ann",)))
    assert told(twice, "opened") == [("ann-a", 60), ("ann-b", 60), ("bob-a", 0)]


def test_what_a_notification_holds() -> None:
    left = alert(status="closed", closed_at=T0 + 5)
    made = notifications_of(change("closed", seq=3), left, PROD, people(policy((0, ("bob",)))), now=T0 + 5)
    assert len(made) == 1
    it = made[0]
    assert (it.alert, it.alert_id, it.seq, it.kind) == (left, 7, 3, "closed")
    assert (it.user, it.integration, it.contact) == ("Bob", "prod", USERS["bob"].contacts[0])
    assert (it.status, it.attempts, it.due_at, it.created_at) == ("pending", 0, T0 + 5, T0 + 5)


def test_of_an_integration_that_was_deleted_nobody_is_told() -> None:
    assert notifications_of(change("opened"), alert(), None, people(LADDER), now=T0) == []


def test_an_id_never_changes() -> None:
    """Receivers keep these ids: what this test says must stay true over versions."""
    assert notification_id(7, 1, "con_abc") == "ntf_5x3dwadl7gkqfbwnjgewasruiq7cm3vm"
    renamed = msgspec.structs.replace(PROD, name="renamed")
    first = notifications_of(change("opened"), alert(), PROD, people(LADDER), now=T0)
    later = notifications_of(change("opened"), alert(), renamed, people(LADDER), now=T0 + 99)
    assert [each.id for each in first] == [each.id for each in later]


def test_ids_differ_where_anything_differs() -> None:
    cases = [(1, 1, "a"), (1, 2, "a"), (2, 1, "a"), (1, 1, "b"), (11, 1, "a"), (1, 11, "a"), (1, 1, "1a"), (1, 1, "")]
    ids = {notification_id(*case) for case in cases}
    assert len(ids) == len(cases)
    assert all(len(each) == 36 and each.islower() and each.replace("_", "").isalnum() for each in ids)
