"""Tables of TOML and JSON as structs: what is wrong is said in words of TOML, with the nearest key."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from gateway.errors import TemplateError
from gateway.tables import struct_of


class Leaf(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    from_: str = ""
    count: int = 0
    day: Literal["mon", "tue"] = "mon"


class Branch(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    leaf: Leaf | None = None
    leaves: list[Leaf] = []
    either: Leaf | list[Leaf] = []
    by_name: dict[str, Leaf] = {}


class Tree(msgspec.Struct, forbid_unknown_fields=True):
    branch: Branch | None = None
    height: int = 0
    words: list[str | int] | None = None
    days: tuple[Literal["mon", "tue"], ...] = ()
    forks: list[Leaf] = []
    either: Leaf | list[str] | None = None


def test_tables_that_are_good_are_structs() -> None:
    made = struct_of({"branch": {"name": "a", "leaf": {"from": "x"}, "either": [{"count": 1}]}}, Tree, "settings")
    assert made == Tree(Branch("a", Leaf("x"), either=[Leaf(count=1)]))


@pytest.mark.parametrize(
    "raw, words",
    [
        ({"hieght": 1}, 'unknown key "hieght" in the top level; did you mean height?'),
        ({"branch": {"name": "a", "leef": {}}}, 'unknown key "leef" in [branch]; did you mean leaf?'),
        ({"branch": {"name": "a", "leaf": {"form": "x"}}}, 'unknown key "form" in [branch.leaf]; did you mean from?'),
        ({"branch": {"name": "a", "leaf": {"from_": "x"}}}, 'unknown key "from_" in [branch.leaf]; did you mean from?'),
        ({"branch": {"name": "a", "leaves": [{}, {"cuont": 1}]}}, 'unknown key "cuont" in [branch.leaves'),
        ({"branch": {"name": "a", "leaves": [{}, {"cuont": 1}]}}, "did you mean count?"),
        ({"branch": {"name": "a", "either": {"cuont": 1}}}, "did you mean count?"),
        ({"branch": {"name": "a", "either": [{"cuont": 1}]}}, "did you mean count?"),
        ({"branch": {"name": "a", "by_name": {"x.y": {"cuont": 1}}}}, "did you mean count?"),
        ({"zzz": 1}, 'unknown key "zzz" in the top level'),
        ({"branch": {}}, 'the key "name" is missing in [branch]'),
        ({"height": "tall"}, "height is a text; write a whole number"),
        ({"branch": {"name": "a", "leaf": {"count": None}}}, "branch.leaf.count is nothing; write a whole number"),
        ({"branch": 3}, "branch is a whole number; write a table, [branch]"),
        ({"branch": []}, "branch is a list; write [branch], with one bracket"),
        ({"branch": {"name": 5}}, 'branch.name is a whole number; write a text, "…"'),
        ({"branch": {"name": "a", "leaf": []}}, "branch.leaf is a list; write a table, { … }"),
        ({"branch": {"name": "a", "leaves": {}}}, "branch.leaves is a table; write a list of tables, [{ … }]"),
        ({"words": "x"}, 'words is a text; write a list, ["…"]'),
        ({"words": [[]]}, 'words[0] is a list; write a text, "…" or a whole number'),
        ({"forks": {}}, "forks is a table; write [[forks]], with two brackets"),
        ({"forks": ["x"]}, "forks[0] is a text; write a table, { … }"),
        ({"either": "x"}, 'either is a text; write a list, ["…"] or a table, [either]'),
        ({"days": ["tuesday"]}, "days[0] is 'tuesday'; it is one of mon, tue; did you mean tue?"),
        ({"days": ["x"]}, "days[0] is 'x'; it is one of mon, tue"),
        ({"branch": {"name": "a", "height": 5}}, "; height belongs at the top level, before the first [table]"),
        ({"branch": {"name": "a", "other": 5}}, "; other belongs at the top level, before the first [table]"),
        ({"`": 1}, "unknown key"),
        ({"": 1}, 'unknown key ""'),
        ({"a - at `$.b`": 1}, "unknown key"),
    ],
)
def test_what_is_wrong_names_the_key_and_the_nearest(raw: dict[str, Any], words: str) -> None:
    with pytest.raises(TemplateError) as refused:
        struct_of(raw, Tree, "settings", ("other",))
    assert str(refused.value).startswith("settings: ")
    assert words in str(refused.value)


@pytest.mark.parametrize("either", [{"day": "x"}, [{"day": "x"}]])
def test_what_may_stand_in_two_ways_says_its_choices_once(either: Any) -> None:
    with pytest.raises(TemplateError) as refused:
        struct_of({"branch": {"name": "a", "either": either}}, Tree, "settings")
    assert str(refused.value).endswith("is 'x'; it is one of mon, tue")


def test_nothing_near_is_no_guess() -> None:
    with pytest.raises(TemplateError) as refused:
        struct_of({"qqqq": 1}, Tree, "settings")
    assert "did you mean" not in str(refused.value)
