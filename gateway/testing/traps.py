"""
JMESPath that is right as it stands and can find nothing, since it binds otherwise than it reads.

Only what finds nothing in every message is told: a trap that is none would teach authors to look away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jmespath
import msgspec

from gateway.mapping import Hole, Text
from gateway.template import TemplateFile

_GO_INTO = ("subexpression", "filter_projection", "value_projection", "projection", "flatten", "index_expression")
_TRUTHS = ("not_expression", "comparator")
_HEADER = "header:"
_SHOWN = 80


def trapped(file: TemplateFile) -> Iterator[str]:
    """What is wrong with the holes of a template, each with its place."""
    for where, expression in _expressions(file):
        for problem in traps_in(expression):
            shown = " ".join(expression.split())
            yield f"{where}: {{{shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}}}: {problem}"


def traps_in(expression: str) -> Iterator[str]:
    """What of an expression finds nothing in any message, and what to write instead."""
    waiting: list[Mapping[str, Any]] = [jmespath.compile(expression).parsed]
    while waiting:
        node = waiting.pop()
        children = [child for child in node["children"] if isinstance(child, Mapping)]
        waiting += children
        if node["type"] in _GO_INTO and children[0]["type"] in _TRUTHS:
            yield _of_a_truth(node, children)
        if node["type"] == "projection" and children[0]["type"] == "flatten" and _is_filter_of_each(children[1]):
            yield (
                "a filter right after `[]` looks into each element, not at the list, and finds nothing: write `[] | [?…]`"
            )


def _of_a_truth(node: Mapping[str, Any], children: list[Mapping[str, Any]]) -> str:
    truth, *rest = children
    names = [_name(child) for child in (*truth["children"], *rest)]
    if truth["type"] == "not_expression" and node["type"] == "subexpression" and all(names):
        head, tail = names[0], ".".join(names)
        return f"`!{tail}` is `(!{head})` and then a key of true or false, which has none: write `!({tail})`"
    return "`!` and comparisons give true or false, which have nothing inside: put all that `!` is for into parentheses"


def _name(node: Mapping[str, Any]) -> str:
    """A key as it is written; the empty text where it is more than a key."""
    return str(node["value"]) if node["type"] == "field" and str(node["value"]).isidentifier() else ""


def _is_filter_of_each(node: Mapping[str, Any]) -> bool:
    """Whether each element itself is filtered, and no list in it."""
    while node["type"] in ("subexpression", "projection", "index_expression"):
        node = node["children"][0]
    return bool(node["type"] == "filter_projection" and node["children"][0]["type"] == "identity")


def _expressions(file: TemplateFile) -> Iterator[tuple[str, str]]:
    """Every expression in a template.toml: those that stand alone, and those in holes."""
    for key in ("each", "delivery_id"):
        expression = getattr(file, key)
        if expression and not expression.startswith(_HEADER):
            yield key, expression
    fields = msgspec.to_builtins(file.fields)
    for key, text in fields.items():
        for one in text if isinstance(text, list) else [text]:
            yield from ((f"[fields] {key}", hole) for hole in _holes(one))
    for key in ("open", "close", "update", "ignore", "filters", "severity"):
        yield from (
            (f"[{key}]", hole) for text in _looked_at(msgspec.to_builtins(getattr(file, key))) for hole in _holes(text)
        )


def _holes(text: object) -> Iterator[str]:
    if isinstance(text, str):
        yield from (part.expression for part in Text(text).parts if isinstance(part, Hole))


def _looked_at(rules: object) -> Iterator[str]:
    """The `field` of every condition in a table of rules."""
    if isinstance(rules, list):
        for rule in rules:
            yield from _looked_at(rule)
    elif isinstance(rules, dict):
        for key, inner in rules.items():
            if key == "field" and isinstance(inner, str) and "{" in inner:
                yield inner
            else:
                yield from _looked_at(inner)
