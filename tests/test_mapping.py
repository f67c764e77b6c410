"""Texts with holes: what is wrong is said when they are compiled; what is missing is nothing when they are read."""

from __future__ import annotations

import contextlib
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import TemplateError
from gateway.mapping import MAX_TEXT, Hole, Text, Texts, flat, to_text

SCOPE: dict[str, Any] = {
    "monitor": {"name": "disk", "state": "ALERT", "on-call": "ann"},
    "alerts": [{"id": 1, "tag": "a"}, {"id": 2, "tag": "b"}],
    "zero": 0,
    "no": False,
    "nothing": None,
    "empty": "",
    "blank": " \t",
    "none_of_them": [],
    "no_keys": {},
    "text": "  some text ",
    "half": 0.5,
    "whole": 3.0,
    "list": "a, b ,,c",
}


@pytest.mark.parametrize(
    "source, words",
    [
        ("{", "not closed"),
        ("a {b", "at 2 that is not closed"),
        ("a } b", "at 2 with no { before it"),
        ("{}", "cannot be empty"),
        ("{ }", "cannot be empty"),
        ("{a..b}", "{a..b} is not JMESPath"),
        ("{a b}", "is not JMESPath"),
        ("{'a}", "not closed"),
        ("{lenght(a)}", "there is no function lenght(); did you mean length?"),
        ("{a || nope(b)}", "there is no function nope()"),
        ("{length(a, b)}", "length() takes 1 arguments, not 2"),
        ("{split(a)}", "split() takes 2 arguments, not 1"),
        ("{merge()}", "merge() takes at least 1 arguments, not 0"),
        ("x" * (MAX_TEXT + 1), f"at most {MAX_TEXT} are allowed"),
    ],
)
def test_a_text_that_is_wrong_says_so_when_it_is_compiled(source: str, words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Text(source)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "packed, found",
    [
        ('{"a": [1]}', {"a": [1]}),
        (" [1] ", [1]),
        ('"text"', None),
        ("12", None),
        ("null", None),
        ("", None),
        ("{", None),
        ('{"a": "\\ud800"}', None),
        ("\ud800", None),
        ("[" * 65 + "]" * 65, None),
        ("[" * 100_000, None),
        (None, None),
        (12, None),
        (True, None),
        ({"a": 1}, {"a": 1}),
        ([], []),
    ],
)
def test_json_within_a_text(packed: object, found: object) -> None:
    assert Hole("from_json(packed)").find({"packed": packed}) == found


@pytest.mark.parametrize(
    "text, found",
    [
        ("a b/c?d=é&e", "a%20b%2Fc%3Fd%3D%C3%A9%26e"),
        ("a-b_c.d~e", "a-b_c.d~e"),
        (7, "7"),
        ("\ud800", "%3F"),
        (None, None),
    ],
)
def test_a_part_of_a_url(text: object, found: str | None) -> None:
    assert Hole("quote(text)").find({"text": text}) == found


def test_an_expression_nested_without_end_is_refused() -> None:
    with pytest.raises(TemplateError):
        Text("{" + "(" * 1500 + "a" + ")" * 1500 + "}")


@pytest.mark.parametrize(
    "source, found",
    [
        # one hole keeps its value
        ("{zero}", 0),
        ("{no}", False),
        ("{alerts}", SCOPE["alerts"]),
        ("{ monitor.name }", "disk"),
        ("{text}", "  some text "),
        ("{missing}", None),
        ("{monitor.name.deeper}", None),
        ("{alerts.id}", None),
        # anything else is text
        ("", ""),
        ("plain", "plain"),
        ("{monitor.name} is {monitor.state}", "disk is ALERT"),
        ("{zero} of {whole}, {half}, {no}", "0 of 3, 0.5, false"),
        ("n={zero}", "n=0"),
        ("see {alerts}", 'see [{"id":1,"tag":"a"},{"id":2,"tag":"b"}]'),
        # what is missing leaves nothing behind
        ("{monitor.name} {missing}", "disk"),
        ("{missing} is {missing}", None),
        ("{empty}{nothing}x", None),
        ("policy:{none_of_them}", None),
        ("policy:{no_keys}", None),
        # braces
        ("{{}}", "{}"),
        ("{{{monitor.name}}}", "{disk}"),
        ("{{monitor.name}}", "{monitor.name}"),
        # braces and quotes inside a hole
        ("{alerts[0].{i: id}}", {"i": 1}),
        ("{alerts[0].{i: {j: id}}}", {"i": {"j": 1}}),
        ("{ {i: zero} }", {"i": 0}),
        ("{{i: zero}}", "{i: zero}"),
        ('{monitor."on-call"}', "ann"),
        ("{'}'}", "}"),
        ("{join('{', ['a', 'b'])}", "a{b"),
        (r"{'it\'s }'}", "it's }"),
        ('{`{"a": "}"}`}', {"a": "}"}),
        ('{missing || `"}"`}!', "}!"),
    ],
)
def test_what_a_text_finds(source: str, found: object) -> None:
    value = Text(source).find(SCOPE)
    assert value == found
    assert type(value) is type(found)


@pytest.mark.parametrize("name", ["nothing", "empty", "no", "none_of_them", "no_keys", "missing"])
def test_a_choice_passes_over_what_counts_as_nothing(name: str) -> None:
    assert Text(f"{{{name} || monitor.name}}").find(SCOPE) == "disk"


def test_a_choice_takes_zero_and_white_space_and_ends_with_its_last() -> None:
    assert Text("{zero || monitor.name}").find(SCOPE) == 0
    assert Text("{blank || monitor.name}").find(SCOPE) == " \t"
    assert Text("{missing || empty}").find(SCOPE) == ""
    assert Text("{empty || missing}").find(SCOPE) is None


@given(
    st.dictionaries(
        st.sampled_from("ab"),
        st.none()
        | st.booleans()
        | st.integers(0, 1)
        | st.sampled_from(["", "x"])
        | st.sampled_from([[], {}, [0]])
        | st.dictionaries(st.sampled_from("ab"), st.none() | st.integers(0, 1) | st.just("")),
    ),
    st.lists(st.sampled_from(["a", "b", "a.b", "a.b.a", "c"]), min_size=1, max_size=3),
)
def test_the_short_way_finds_what_jmespath_finds(scope: dict[str, Any], choices: list[str]) -> None:
    short, long = Hole(" || ".join(choices)), Hole("(" + " || ".join(choices) + ")")
    assert short._paths is not None
    assert long._paths is None
    assert short.find(scope) == long.find(scope)


def test_a_read_only_mapping_is_walked_like_any_other() -> None:
    assert Text("{_headers.host}").find({"_headers": MappingProxyType({"host": "a"})}) == "a"


@pytest.mark.parametrize(
    "expression, found",
    [
        ("split(list, ',')", ["a", "b", "c"]),
        ("split(zero, ',')", ["0"]),
        ("split(text, '')", None),
        ("split(missing, ',')", None),
        ("split(list, missing)", None),
        ("lower(monitor.state)", "alert"),
        ("upper(monitor.name)", "DISK"),
        ("trim(text)", "some text"),
        ("replace(monitor.name, 'd', 'D')", "Disk"),
        ("replace(monitor.name, '', 'D')", "disk"),
        ("lower(missing)", None),
        ("upper(missing)", None),
        ("trim(missing)", None),
        ("replace(missing, 'a', 'b')", None),
        ("upper(no)", "FALSE"),
        # what does not fit the message finds nothing
        ("length(zero)", None),
        ("join(',', monitor)", None),
        ("sort(alerts)", None),
        ("max(text)", None),
        ("to_number(text)", None),
        ("alerts[::0]", None),
        ("sum(alerts)", None),
    ],
)
def test_functions(expression: str, found: object) -> None:
    assert Text(f"{{{expression}}}").find(SCOPE) == found


@pytest.mark.parametrize(
    "source, text",
    [
        ("{text}", "some text"),
        ("{blank}", None),
        ("{empty}", None),
        ("{none_of_them}", None),
        ("{no_keys}", None),
        ("{no}", "false"),
        ("{zero}", "0"),
        ("{whole}", "3"),
        ("{alerts[0]}", '{"id":1,"tag":"a"}'),
    ],
)
def test_a_value_as_text(source: str, text: str | None) -> None:
    assert Text(source).text(SCOPE) == text


@pytest.mark.parametrize(
    "value, text",
    [
        ("é", "é"),
        (None, ""),
        (True, "true"),
        (12, "12"),
        (1 << 70, str(1 << 70)),
        (-0.0, "0"),
        (2.5e-9, "2.5e-09"),
        (float(1 << 60), repr(float(1 << 60))),
        (["a", None], '["a",null]'),
    ],
)
def test_json_values_as_people_write_them(value: object, text: str) -> None:
    assert to_text(value) == text


def test_tags_are_one_flat_list_each_once() -> None:
    scope = {
        "list": ["a", " b ", None, "", {"env": "prod", "x": None}, ["n"], 3, "a"],
        "object": {"team": "db", "on": True, "gone": None},
        "text": "a, c ,, d",
        "number": 7,
    }
    tags = Texts(["{list}", "{object}", "{text}", "{number}", "host:{missing}", "fixed, as it is", "{missing}"])
    assert tags.find(scope) == (
        "a",
        "b",
        "env:prod",
        '["n"]',
        "3",
        "team:db",
        "on:true",
        "c",
        "d",
        "7",
        "fixed, as it is",
    )


@pytest.mark.parametrize("value", [None, "", [], {}, [None], [""], {"a": None}])
def test_nothing_makes_no_tags(value: object) -> None:
    assert Texts(["{v}"]).find({"v": value}) == ()
    assert not any(flat(value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_message_is_read_without_an_error(message: object) -> None:
    scope = {"a": message}
    for source in ("{a}", "{a.b || a}", "x {a} y", "{length(a)}", "{join(',', a)}", "{a[*].b}", "{lower(a)}"):
        text = Text(source).text(scope)
        assert text is None or text.strip() == text != ""
    assert all(isinstance(tag, str) and tag for tag in Texts(["{a}", "t:{a}"]).find(scope))


@given(st.text(max_size=40))
def test_any_text_compiles_or_says_what_is_wrong(source: str) -> None:
    with contextlib.suppress(TemplateError):
        Text(source).text(SCOPE)


@pytest.mark.parametrize(
    "expression, meant",
    [
        ("my-key", '"my-key"'),
        ("a.my-key.b", 'a."my-key".b'),
        ("issue^fields^id", "issue.fields.id"),
        ("$.issue.id", "issue.id"),
        ("@timestamp", '"@timestamp"'),
        ("a.1b", 'a."1b"'),
    ],
)
def test_a_path_written_otherwise_is_given_as_jmespath(expression: str, meant: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Text(f"{{{expression}}}")
    assert str(refused.value).endswith(f"; for the value at that path write '{{{meant}}}'")
    Text(f"{{{meant}}}")


@pytest.mark.parametrize("expression", ["a b", "a[0", "title ||", "a..b", ".", "a - b"])
def test_what_is_no_path_gets_no_guess(expression: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Text(f"{{{expression}}}")
    assert "write" not in str(refused.value)
