"""
What the vendor's words mean, as data: conditions, and the rules to open, close, update and rank.

A condition looks at one field and has one operator: *is one of, contains, starts with, matches (RE2), is present*; `not`
turns it round. Texts are compared without regard to case, and to white space at their ends, unless `case_sensitive` says
otherwise. `all` and `any` hold further conditions.

The order is: ignore, open, close, update; where none holds the status is in no list, and the event is ignored. (Open comes
before close: where a value is in both lists, an alert too many is better than one too few.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from gateway.errors import TemplateError
from gateway.mapping import Text, flat, to_text
from gateway.models import SEVERITIES, Severity
from gateway.patterns import Pattern, any_of

_MANY_PATTERNS = 8
_SHOWN_VALUES = 6
_SHOWN_CONDITIONS = 4


class Condition(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"not_": "not"}):
    """
    A condition as it is written in template.toml.

    `field` is a field of the event (`source_status` where it is not said) or a text with holes, `{monitor.state}`. A field
    that holds a list meets a condition where one of its items does.
    """

    field: str | None = None
    """What is looked at: a field of the event, or a text with holes over the message."""
    is_one_of: list[str | int | float | bool] | None = None
    """The whole value is one of these."""
    contains: list[str] | None = None
    """One of these is somewhere in the value."""
    starts_with: list[str] | None = None
    """The value begins with one of these."""
    matches: str | None = None
    """An RE2 pattern is found in the value; 1 to 1024 characters, no look-around, no back-references."""
    is_present: bool | None = None
    """Whether there is a value at all."""
    not_: bool = False
    """Turn the condition round."""
    case_sensitive: bool = False
    """Heed upper and lower case."""
    all: list[Condition] | None = None
    """Every one of these conditions holds."""
    any: list[Condition] | None = None
    """At least one of these conditions holds."""

    operators: ClassVar[tuple[str, ...]] = ("is_one_of", "contains", "starts_with", "matches", "is_present")


class Filters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which events are an integration's: every condition of `all` holds, and one of `any` where there are some."""

    all: list[Condition] = []
    """Every one of these holds."""
    any: list[Condition] = []
    """At least one of these holds, where there are some."""


class IgnoreRule(Condition, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"not_": "not"}):
    """A condition under which an event is ignored, and the reason that the Inbound Log gives."""

    reason: str
    """Why, in plain words: `test message`."""


class SeverityRules(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    Which of the vendor's severities is which of ours: a list of values of `source_severity`, or a condition.

    The first that holds decides, from critical down; `default` where none does.
    """

    critical: list[str | int | float] | Condition | None = None
    """Somebody must be woken."""
    error: list[str | int | float] | Condition | None = None
    """Something is broken."""
    warning: list[str | int | float] | Condition | None = None
    """Something will break."""
    info: list[str | int | float] | Condition | None = None
    """What the vendor itself calls information."""
    default: Severity = "warning"
    """What a new alert has where none of these holds, or the message names none."""


Fields = Mapping[str, Any]
Test = Callable[[Fields, Any], tuple[bool, str]]
"""(fields of the event, scope of the message) → (holds, the sentence that says so)"""


def compile_condition(condition: Condition, where: str, default_field: str = "source_status") -> Test:
    """
    A test of this condition.

    `where` is how errors call it, `[open]`. Raises TemplateError where the condition has no operator or several, an operator
    without values, or a pattern that RE2 refuses.
    """
    groups = [name for name in ("all", "any") if getattr(condition, name) is not None]
    operators = [name for name in Condition.operators if getattr(condition, name) is not None]
    if len(groups) + len(operators) != 1:
        found = ", ".join(groups + operators) or "none"
        msg = f"{where}: a condition takes one of {', '.join(Condition.operators)}, all or any; this one has {found}"
        raise TemplateError(msg)
    if groups:
        if condition.field is not None:
            msg = f"{where}: `field` belongs to the conditions inside `{groups[0]}`"
            raise TemplateError(msg)
        inner = [
            compile_condition(part, f"{where}.{groups[0]}[{at}]", default_field)
            for at, part in enumerate(getattr(condition, groups[0]))
        ]
        if not inner:
            msg = f"{where}: `{groups[0]}` has no conditions"
            raise TemplateError(msg)
        hint = _any_matches(condition.any or [], where, default_field)
        return _group(groups[0], inner, negated=condition.not_, hint=hint)
    return _single(condition, operators[0], where, default_field)


def compile_filters(filters: Filters) -> Test | None:
    """A test whether an event passes; None where all do. Raises TemplateError as `compile_condition`."""
    conditions = list(filters.all)
    if filters.any:
        conditions.append(Condition(any=filters.any))
    if not conditions:
        return None
    return compile_condition(Condition(all=conditions), "[filters]")


def of_message(filters: Filters) -> Filters:
    """Those filters that look at the message alone, and at no field of the event."""
    together = filters.any if all(map(_is_of_message, filters.any)) else []
    return Filters(all=[condition for condition in filters.all if _is_of_message(condition)], any=together)


def _is_of_message(condition: Condition) -> bool:
    parts = condition.all or condition.any
    return all(map(_is_of_message, parts)) if parts else condition.field is not None and "{" in condition.field


def compile_severities(
    rules: SeverityRules, where: str = "[severity]"
) -> Callable[[Fields, Any], tuple[Severity | None, str]]:
    """
    A function from fields and scope to a severity and the sentence that says why.

    The severity is None where the vendor said none, and the alert keeps the one it had.
    """
    tests: list[tuple[Severity, Test]] = []
    for severity in reversed(SEVERITIES):
        rule = getattr(rules, severity)
        if rule is None:
            continue
        condition = rule if isinstance(rule, Condition) else Condition(is_one_of=list(rule))
        tests.append((severity, compile_condition(condition, f"{where}.{severity}", "source_severity")))

    def decide(fields: Fields, scope: Any) -> tuple[Severity | None, str]:
        for severity, test in tests:
            holds, sentence = test(fields, scope)
            if holds:
                return severity, f"severity {severity}: {sentence}"
        said = fields.get("source_severity")
        if said is None:
            return None, f"severity {rules.default}: the message names none"
        return rules.default, f"severity {rules.default}: {said!r} is in no list"

    return decide


def _any_matches(conditions: list[Condition], where: str, default_field: str) -> Test | None:
    """
    A test whether one of many patterns over one field is found at all; None where they are few, or not of that kind.

    RE2 looks for hundreds of patterns in one go as fast as for one; which of them it is, the conditions themselves say.
    """
    first = conditions[0] if len(conditions) >= _MANY_PATTERNS else None
    if first is None or any(
        one.matches is None or one.not_ or (one.field, one.case_sensitive) != (first.field, first.case_sensitive)
        for one in conditions
    ):
        return None
    pattern = any_of([one.matches or "" for one in conditions], case_sensitive=first.case_sensitive)
    if pattern is None:
        return None
    find = value_of(first.field or default_field, where)

    def test(fields: Fields, scope: Any) -> tuple[bool, str]:
        texts = flat(find(fields, scope))
        shown = ", ".join(texts)[:100]
        sentence = f"{first.field or default_field} {shown!r} matches none of {len(conditions)} patterns: no"
        return any(pattern.found(text) for text in texts), sentence

    return test


def _group(kind: str, tests: list[Test], *, negated: bool, hint: Test | None) -> Test:
    def test(fields: Fields, scope: Any) -> tuple[bool, str]:
        if hint is not None:
            possible, sentence = hint(fields, scope)
            if not possible:
                return negated, f"not ({sentence})" if negated else sentence
        sentences: list[str] = []
        for inner in tests:
            holds, sentence = inner(fields, scope)
            if holds != (kind == "all"):
                break  # this one decides, and its sentence says why
            sentences.append(sentence)
        else:
            holds = kind == "all"
            more = len(sentences) - _SHOWN_CONDITIONS
            sentence = " and ".join(sentences[:_SHOWN_CONDITIONS]) + (f" and {more} more" if more > 0 else "")
        return holds != negated, f"not ({sentence})" if negated else sentence

    return test


def _single(condition: Condition, operator: str, where: str, default_field: str) -> Test:
    field = condition.field or default_field
    find = value_of(field, where)
    matches, words = _operator(condition, operator, where, default_field)
    negated = condition.not_
    if operator == "is_present":
        wanted = condition.is_present != negated

        def test_present(fields: Fields, scope: Any) -> tuple[bool, str]:
            present = any(flat(find(fields, scope)))
            return present == wanted, f"{field} is {'present' if present else 'absent'}"

        return test_present

    verb = ("is not " if negated else "is ") if operator == "is_one_of" else ("does not: " if negated else "")
    phrase = f"{verb}{words}"

    def test(fields: Fields, scope: Any) -> tuple[bool, str]:
        value = find(fields, scope)
        texts = (value,) if isinstance(value, str) else flat(value)
        holds = any(matches(text) for text in texts) != negated
        shown = value if isinstance(value, str) else ", ".join(texts)
        return holds, f"{field} {shown[:100]!r} {phrase}{'' if holds else ': no'}"

    return test


def value_of(field: str, where: str) -> Callable[[Fields, Any], Any]:
    """
    What finds a value: a field of the event, `custom.NAME`, or a text with holes over the message.

    Raises TemplateError with the nearest field where there is none of that name.
    """
    if "{" in field:
        try:
            text = Text(field)
        except TemplateError as error:
            msg = f"{where}: {error}"
            raise TemplateError(msg) from None
        return lambda _, scope: text.find(scope)
    custom = field.removeprefix("custom.")
    if custom != field and custom:
        return lambda fields, _: (fields.get("custom") or {}).get(custom)
    if field not in EVENT_FIELDS:
        from gateway.config import nearest

        hint = nearest(field, list(EVENT_FIELDS))
        msg = f"{where}: there is no field {field!r}{hint}; for a value of the message write {{{field}}}"
        raise TemplateError(msg)
    return lambda fields, _: fields.get(field)


def _operator(condition: Condition, operator: str, where: str, default_field: str) -> tuple[Callable[[str], bool], str]:
    fold: Callable[[str], str] = str.strip if condition.case_sensitive else _fold
    if operator == "matches":
        return _pattern(condition, where)
    if operator == "is_present":
        return bool, "present"
    values = [to_text(value) for value in getattr(condition, operator)]
    if (not values and default_field != "source_severity") or not all(value.strip() for value in values):
        msg = f"{where}: `{operator}` has no values, or an empty one"
        raise TemplateError(msg)
    more = len(values) - _SHOWN_VALUES
    shown = ", ".join(values[:_SHOWN_VALUES]) + (f" and {more} more" if more > 0 else "")
    if operator == "is_one_of":
        wanted = frozenset(fold(value) for value in values)
        return lambda text: fold(text) in wanted, f"one of {shown}"
    parts = tuple(fold(value) for value in values)
    if operator == "contains":
        return lambda text: any(part in fold(text) for part in parts), f"contains {shown}"
    return lambda text: fold(text).startswith(parts), f"starts with {shown}"


def _pattern(condition: Condition, where: str) -> tuple[Callable[[str], bool], str]:
    source = condition.matches or ""
    try:
        pattern = Pattern(source, case_sensitive=condition.case_sensitive)
    except TemplateError as error:
        msg = f"{where}: {error}"
        raise TemplateError(msg) from None
    return pattern.found, f"matches {source!r}"


def _fold(text: str) -> str:
    return text.strip().casefold()


EVENT_FIELDS = (
    "source",
    "source_name",
    "source_id",
    "source_url",
    "source_status",
    "source_severity",
    "subject",
    "description",
    "short_text",
    "assignee",
    "topic",
    "tags",
)
