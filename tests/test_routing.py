"""Who is told of an alert that opens: overrides in order, groups that add up, and a sentence for each step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from gateway.directory import Directory
from gateway.escalation import People, names_told
from gateway.hours import Hours
from gateway.models import Group, Integration, Override, Policy, Reading, Routing, User
from gateway.routing import routing_of

NOON = round(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp() * 1000)
DAY = Hours(zone="UTC", from_="08:00", to="18:00")
NIGHT = Hours(zone="UTC", from_="18:00", to="08:00")
DIRECTORY = Directory(
    people=People(
        policies={f"pol_{name}": Policy(id=f"pol_{name}", name=name, created_at=0) for name in ("own", "dba", "night")},
        groups={f"grp_{name}": Group(id=f"grp_{name}", name=name, created_at=0) for name in ("db", "web")},
        users={"usr_ann": User(id="usr_ann", name="ann", created_at=0)},
    )
)
SHOP = Integration(
    id="int_1", endpoint_id="end_1", name="shop", template="acme", policy_id="pol_own", created_at=0, updated_at=0
)


def routed(*overrides: Override, groups: tuple[str, ...] = (), **fields: Any) -> tuple[Routing, list[str]]:
    reading = Reading(action="open", overrides=overrides, recipient_groups=groups)
    return routing_of(reading, msgspec.structs.replace(SHOP, **fields), DIRECTORY, NOON)


@pytest.mark.parametrize(
    "overrides, policy_id, lines",
    [
        ((), "pol_own", []),
        ((Override(policy="dba"),), "pol_dba", []),
        ((Override(policy="dba"), Override(policy="night")), "pol_dba", []),
        (
            (Override(policy="night", hours=(NIGHT,)), Override(policy="dba", hours=(NIGHT, DAY))),
            "pol_dba",
            [
                "override to night: not within every day 18:00-08:00 UTC",
                "override to dba: within every day 08:00-18:00 UTC",
            ],
        ),
        (
            (Override(policy="night", hours=(NIGHT,)),),
            "pol_own",
            ["override to night: not within every day 18:00-08:00 UTC"],
        ),
        (
            (Override(policy="gone"), Override(policy="dba")),
            "pol_dba",
            ["override to gone: there is no such policy"],
        ),
    ],
)
def test_the_first_override_that_holds_now_decides(
    overrides: tuple[Override, ...], policy_id: str, lines: list[str]
) -> None:
    routing, trace = routed(*overrides)
    assert routing.policy_id == policy_id
    assert trace == lines


def test_groups_add_up_once_each_and_one_that_is_gone_is_said() -> None:
    routing, trace = routed(groups=("web", "gone", "db", "web"), group_ids=("grp_db",), user_ids=("usr_ann",))
    assert routing == Routing(policy_id="pol_own", group_ids=("grp_db", "grp_web"), user_ids=("usr_ann",))
    assert trace == ["recipients gone: there is no such group"]
    assert names_told(routing, DIRECTORY.people) == "policy own, group db, group web, user ann"


def test_where_nobody_is_told_that_is_said() -> None:
    for fields in ({"policy_id": None}, {"policy_id": "pol_gone", "user_ids": ("usr_gone",)}):
        assert names_told(routed(**fields)[0], DIRECTORY.people) == "nobody"


def test_an_override_stands_in_where_the_integration_has_no_policy() -> None:
    routing, _ = routed(Override(policy="dba", hours=(DAY,)), policy_id=None)
    assert routing == Routing(policy_id="pol_dba")
