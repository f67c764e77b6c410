"""Conditions: each operator, turned round, grouped; and the severities made of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import TemplateError
from gateway.patterns import MAX_PATTERN
from gateway.rules import Condition, SeverityRules, compile_condition, compile_severities


def condition(**keys: Any) -> Condition:
    """A condition, as it stands in template.toml."""
    return msgspec.convert(keys, Condition)


def holds(written: dict[str, Any], fields: dict[str, Any] | None = None, scope: Any = None) -> bool:
    """Whether it holds; the sentence that says so must be there either way."""
    verdict, sentence = compile_condition(condition(**written), "[open]")(fields or {}, scope or {})
    assert sentence
    return verdict


# what is refused


@pytest.mark.parametrize(
    "written, words",
    [
        ({}, "this one has none"),
        ({"field": "subject"}, "this one has none"),
        ({"is_one_of": ["a"], "contains": ["b"]}, "this one has is_one_of, contains"),
        ({"is_one_of": ["a"], "all": [{"contains": ["b"]}]}, "this one has all, is_one_of"),
        ({"all": []}, "`all` has no conditions"),
        ({"any": []}, "`any` has no conditions"),
        ({"field": "subject", "any": [{"contains": ["a"]}]}, "`field` belongs to the conditions inside `any`"),
        ({"is_one_of": []}, "`is_one_of` has no values"),
        ({"contains": [""]}, "`contains` has no values, or an empty one"),
        ({"starts_with": [" "]}, "or an empty one"),
        ({"all": [{"contains": ["a"]}, {"contains": []}]}, "[open].all[1]: `contains` has no values"),
        ({"field": "sorce_status", "contains": ["a"]}, "there is no field 'sorce_status'; did you mean source_status?"),
        ({"field": "zzzzzz", "contains": ["a"]}, "for a value of the message write {zzzzzz}"),
        ({"field": "{a b}", "contains": ["a"]}, "[open]: {a b} is not JMESPath"),
        ({"matches": ""}, "this one has 0"),
        ({"matches": "x" * (MAX_PATTERN + 1)}, f"1 to {MAX_PATTERN} characters"),
        ({"matches": "("}, "RE2 refuses the pattern '(': missing )"),
        ({"matches": r"(a)\1"}, "RE2 refuses"),
        ({"matches": "(?<=a)b"}, "look-around and back-references are not in RE2"),
        ({"matches": "(?=a)b"}, "RE2 refuses"),
        ({"matches": "a{1001}"}, "RE2 refuses"),
        ({"matches": "((a{100}){100}){100}"}, "RE2 refuses"),
        ({"matches": "[z-a]"}, "RE2 refuses"),
    ],
)
def test_a_condition_that_is_wrong_names_key_and_fix(written: dict[str, Any], words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_condition(condition(**written), "[open]")
    assert words in str(caught.value)
    assert str(caught.value).startswith("[open]")


# each operator

STATUS = "source_status"


@pytest.mark.parametrize(
    "written, value, wanted",
    [
        ({"is_one_of": ["Triggered", "Warn"]}, "triggered", True),
        ({"is_one_of": ["Triggered"]}, "  TRIGGERED\n", True),
        ({"is_one_of": [" Triggered "]}, "triggered", True),
        ({"is_one_of": ["Triggered"]}, "Re-Triggered", False),
        ({"is_one_of": ["straße"]}, "STRASSE", True),
        ({"is_one_of": ["Warn"], "case_sensitive": True}, "warn", False),
        ({"is_one_of": ["Warn"], "case_sensitive": True}, " Warn ", True),
        ({"is_one_of": [1]}, "1", True),
        ({"is_one_of": [1.0]}, "1", True),
        ({"is_one_of": [0.5]}, "0.5", True),
        ({"is_one_of": [True]}, "true", True),
        ({"is_one_of": [True]}, "1", False),
        ({"is_one_of": ["*"]}, "anything", False),
        ({"contains": ["down", "FAIL"]}, "has failed", True),
        ({"contains": ["down"]}, "up", False),
        ({"contains": ["%"]}, "down", False),
        ({"contains": ["Down"], "case_sensitive": True}, "down", False),
        ({"starts_with": ["[P1]", "[p2]"]}, "[P2] disk", True),
        ({"starts_with": ["disk"]}, "the disk", False),
        ({"starts_with": ["disk"]}, "  Disk", True),
        ({"matches": r"^re-.*ed$"}, "Re-Triggered", True),
        ({"matches": r"^re-"}, "triggered", False),
        ({"matches": r"^Re-", "case_sensitive": True}, "re-triggered", False),
        ({"matches": r"\d+"}, "over 9000", True),
        ({"matches": r"ü"}, "Ü", True),
        ({"is_present": True}, "x", True),
        ({"is_present": False}, "x", False),
    ],
)
def test_an_operator_and_its_opposite(written: dict[str, Any], value: str, *, wanted: bool) -> None:
    assert holds(written, {STATUS: value}) is wanted
    assert holds({**written, "not": True}, {STATUS: value}) is not wanted


@pytest.mark.parametrize("operator", ["is_one_of", "contains", "starts_with", "matches"])
@pytest.mark.parametrize("value", [None, [], {}])
def test_what_is_absent_meets_nothing_and_every_negation(operator: str, value: object) -> None:
    words: Any = "x" if operator == "matches" else ["x"]
    assert not holds({operator: words}, {STATUS: value})
    assert holds({operator: words, "not": True}, {STATUS: value})


@pytest.mark.parametrize("value", [None, "", " \t", [], {}, [None], [""], {"a": None}])
def test_nothing_is_not_present(value: object) -> None:
    assert not holds({"field": "{v}", "is_present": True}, scope={"v": value})
    assert holds({"field": "{v}", "is_present": False}, scope={"v": value})
    assert holds({"field": "{v}", "is_present": True, "not": True}, scope={"v": value})


@pytest.mark.parametrize("value", [0, False, "x", ["", "x"], {"a": 0}])
def test_zero_and_false_are_present(value: object) -> None:
    assert holds({"field": "{v}", "is_present": True}, scope={"v": value})


def test_a_list_meets_a_condition_where_one_item_does() -> None:
    tags = {"tags": ("env:prod", "team:db")}
    assert holds({"field": "tags", "is_one_of": ["TEAM:DB"]}, tags)
    assert not holds({"field": "tags", "is_one_of": ["team"]}, tags)
    assert holds({"field": "tags", "starts_with": ["env:"]}, tags)
    assert not holds({"field": "tags", "starts_with": ["env:"], "not": True}, tags)


def test_an_object_is_its_pairs() -> None:
    assert holds({"field": "{labels}", "is_one_of": ["env:prod"]}, scope={"labels": {"env": "prod"}})


@pytest.mark.parametrize("value, wanted", [(1, True), (1.0, True), ("1", True), (True, False), (10, False)])
def test_a_number_of_the_message(value: object, *, wanted: bool) -> None:
    assert holds({"field": "{level}", "is_one_of": [1]}, scope={"level": value}) is wanted


def test_the_default_field_is_the_status() -> None:
    assert holds({"is_one_of": ["a"]}, {STATUS: "a", "subject": "b"})
    assert holds({"field": "subject", "is_one_of": ["b"]}, {STATUS: "a", "subject": "b"})


# groups


def test_all_and_any_hold_others_to_any_depth() -> None:
    written = {
        "all": [
            {"is_one_of": ["down"]},
            {"any": [{"field": "subject", "contains": ["disk"]}, {"field": "tags", "contains": ["prod"], "not": True}]},
        ]
    }
    assert holds(written, {STATUS: "down", "subject": "disk", "tags": ("prod",)})
    assert holds(written, {STATUS: "down", "subject": "net", "tags": ("test",)})
    assert not holds(written, {STATUS: "down", "subject": "net", "tags": ("prod",)})
    assert not holds(written, {STATUS: "up", "subject": "disk"})
    assert holds({"any": [{"contains": ["a"]}], "not": True}, {STATUS: "b"})
    assert not holds({"all": [{"contains": ["a"]}], "not": True}, {STATUS: "a"})


@given(st.lists(st.booleans(), min_size=1, max_size=4), st.booleans())
def test_groups_are_pythons_all_and_any(truths: list[bool], negated: bool) -> None:
    parts = [{"field": "{v}", "is_present": truth} for truth in truths]
    scope = {"v": "x"}
    assert holds({"all": parts, "not": negated}, scope=scope) is (all(truths) != negated)
    assert holds({"any": parts, "not": negated}, scope=scope) is (any(truths) != negated)


# sentences


@pytest.mark.parametrize(
    "written, fields, sentence",
    [
        ({"is_one_of": ["a", "b"]}, {STATUS: "A"}, "source_status 'A' is one of a, b"),
        ({"is_one_of": ["a"]}, {STATUS: "c"}, "source_status 'c' is one of a: no"),
        ({"is_one_of": ["a"], "not": True}, {STATUS: "c"}, "source_status 'c' is not one of a"),
        ({"is_one_of": list("abcdefgh")}, {STATUS: "a"}, "source_status 'a' is one of a, b, c, d, e, f and 2 more"),
        ({"contains": ["a"], "not": True}, {STATUS: "c"}, "source_status 'c' does not: contains a"),
        ({"is_present": True}, {}, "source_status is absent"),
        (
            {"any": [{"contains": ["a"]}, {"contains": ["b"]}]},
            {STATUS: "c"},
            "source_status 'c' contains a: no and source_status 'c' contains b: no",
        ),
        ({"all": [{"contains": ["a"]}]}, {STATUS: "c"}, "source_status 'c' contains a: no"),
    ],
)
def test_the_sentence_says_what_was_compared(written: dict[str, Any], fields: dict[str, Any], sentence: str) -> None:
    assert compile_condition(condition(**written), "[open]")(fields, {})[1] == sentence


def test_a_sentence_is_short_and_carries_no_control_characters() -> None:
    sentence = compile_condition(condition(contains=["a"]), "[open]")({STATUS: "\x1b[2J\r\n" * 1000}, {})[1]
    assert len(sentence) < 300
    assert sentence.isprintable()


def test_patterns_are_linear() -> None:
    """A pattern that keeps Python's `re` busy for years; RE2 does not back-track, so this ends."""
    test = compile_condition(condition(matches="^(a+)+$"), "[open]")
    assert not test({STATUS: "a" * 60_000 + "!"}, {})[0]
    assert test({STATUS: "a" * 60_000}, {})[0]


# severities


def severities(**keys: Any) -> Any:
    """A function from the vendor's severity to ours."""
    decide = compile_severities(msgspec.convert(keys, SeverityRules))
    return lambda said, scope=None: decide({"source_severity": said}, scope or {})[0]


def test_the_first_that_holds_from_critical_down() -> None:
    decide = severities(critical=["P1", 1], error=["p1", "P2"], info={"starts_with": ["P"]}, default="error")
    assert decide("p1") == "critical"
    assert decide("1") == "critical"
    assert decide("P2") == "error"
    assert decide("P9") == "info"
    assert decide("unheard of") == "error"


def test_a_message_that_names_no_severity_leaves_the_alert_as_it_was() -> None:
    assert severities(critical=["P1"], default="error")(None) is None


def test_a_severity_may_look_at_the_message() -> None:
    decide = severities(critical={"field": "{labels.page}", "is_one_of": [True]})
    assert decide(None, {"labels": {"page": True}}) == "critical"
    assert decide(None, {"labels": {"page": False}}) is None


def test_a_severity_rule_that_is_wrong_is_named() -> None:
    with pytest.raises(TemplateError, match=r"^\[severity\]\.error: RE2 refuses"):
        severities(error={"matches": "("})
    with pytest.raises(TemplateError, match=r"there is no field 'severity'"):
        severities(error={"field": "severity", "contains": ["a"]})
    with pytest.raises(msgspec.ValidationError):
        severities(default="fatal")


PATTERNS = ["disk", "^web", "full$", "[0-9]{3}", "a|b", "(?i)X", "é", r"\bcpu\b", "(?P<n>up)", "(?P<n>down)"]


@pytest.mark.parametrize("count", [7, 8, 9, 10])  # up to 9 they are looked for in one go; two of one name are not
@given(text=st.text("abcdeixw gfulkp0123é", max_size=12), negated=st.booleans())
def test_many_patterns_say_what_each_of_them_says(count: int, text: str, *, negated: bool) -> None:
    parts = [Condition(matches=pattern) for pattern in PATTERNS[:count]]
    many = compile_condition(Condition(any=parts, not_=negated), "[open]")
    fields = {"source_status": text}
    each = [compile_condition(part, "[open]")(fields, {}) for part in parts]
    holds, sentence = many(fields, {})
    first = next((words for held, words in each if held), None)
    assert holds == ((first is None) if negated else (first is not None))
    if first is not None:
        assert first in sentence, "the pattern that was found is named"


def test_none_of_many_patterns_is_one_sentence() -> None:
    many = compile_condition(Condition(any=[Condition(matches=f"x{n}y") for n in range(100)]), "[open]")
    assert many({"source_status": "fine"}, {}) == (False, "source_status 'fine' matches none of 100 patterns: no")
