"""
Text with holes: `"{monitor.name} is {state}"`, where a hole holds a JMESPath expression.

A text that is one hole keeps the value it finds; any other becomes text, what is missing leaving nothing behind. A text all
of whose holes find nothing finds nothing itself; empty lists and objects are nothing as text. `{{` and `}}` are braces.

JMESPath's own truth applies to `||`: empty texts, lists and objects, `false` and `null` count as nothing. Beside the
standard functions there are `split(text, separator)`, `lower(x)`, `upper(x)`, `trim(x)`, `replace(text, old, new)`,
`quote(x)` for a part of a URL, and `from_json(x)` for JSON within a text. They pass `null` on. An expression that does not fit
the message, such as `length()` of a number, finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import jmespath
import jmespath.exceptions
import jmespath.functions
import jmespath.visitor
import msgspec

from gateway.body import too_deep
from gateway.config import nearest
from gateway.errors import TemplateError

MAX_TEXT = 4096
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_LOOSE_PATH = re.compile(r"[\w$@^/:.-]+")
_QUOTES = "'\"`"


class _Functions(jmespath.functions.Functions):
    """What templates need beyond the standard functions."""

    @jmespath.functions.signature({"types": []}, {"types": ["string"]})
    def _func_split(self, text: Any, separator: str) -> list[str] | None:
        if text is None or not separator:
            return None
        return [part for part in (part.strip() for part in to_text(text).split(separator)) if part]

    @jmespath.functions.signature({"types": []})
    def _func_lower(self, text: Any) -> str | None:
        return None if text is None else to_text(text).lower()

    @jmespath.functions.signature({"types": []})
    def _func_upper(self, text: Any) -> str | None:
        return None if text is None else to_text(text).upper()

    @jmespath.functions.signature({"types": []})
    def _func_trim(self, text: Any) -> str | None:
        return None if text is None else to_text(text).strip()

    @jmespath.functions.signature({"types": []}, {"types": ["string"]}, {"types": ["string"]})
    def _func_replace(self, text: Any, old: str, new: str) -> str | None:
        return None if text is None else to_text(text).replace(old, new) if old else to_text(text)

    @jmespath.functions.signature({"types": []})
    def _func_quote(self, text: Any) -> str | None:
        return None if text is None else quote(to_text(text).encode("utf-8", "replace"), safe="")

    @jmespath.functions.signature({"types": []})
    def _func_from_json(self, text: Any) -> Any:
        if not isinstance(text, str):
            return text if isinstance(text, dict | list) else None
        try:
            value = msgspec.json.decode(text.encode("utf-8", "replace"))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return value if isinstance(value, dict | list) and not too_deep(value) else None


class Hole:
    """One JMESPath expression, compiled."""

    def __init__(self, expression: str) -> None:
        """Compile it; raises TemplateError that quotes the expression and says what is wrong with it."""
        self.expression = expression.strip()
        self._paths: list[tuple[str, ...]] | None = None
        try:
            parsed = jmespath.compile(self.expression)
        except jmespath.exceptions.JMESPathError as error:
            msg = f"{{{self.expression}}} is not JMESPath: {' '.join(str(error).split())}{_meant(self.expression)}"
            raise TemplateError(msg) from None
        except RecursionError:
            msg = f"{{{self.expression[:40]}…}} is nested too deeply"
            raise TemplateError(msg) from None
        _check_functions(parsed.parsed, self.expression)
        # Nearly all holes are a path or a choice of paths; walking those directly takes a tenth of the time.
        choices = [choice.strip() for choice in self.expression.split("||")]
        if all(_PATH.fullmatch(choice) for choice in choices):
            self._paths = [tuple(choice.split(".")) for choice in choices]
        self._tree = parsed.parsed
        self._options = jmespath.Options(custom_functions=_Functions())

    def find(self, scope: Any) -> Any:
        """The value in this scope, None where there is nothing."""
        if self._paths is not None:
            value = None
            for path in self._paths:
                value = scope
                for name in path:
                    value = value.get(name) if isinstance(value, dict | MappingProxyType) else None
                    if value is None:
                        break
                if value or (value is not None and not isinstance(value, str | list | dict | bool)):
                    return value
            return value
        try:
            return jmespath.visitor.TreeInterpreter(self._options).visit(self._tree, scope)
        except (jmespath.exceptions.JMESPathError, RecursionError, ValueError, TypeError, OverflowError):
            return None


class Text:
    """A text with holes, compiled; `source` is what was written."""

    def __init__(self, source: str) -> None:
        """Compile it; raises TemplateError that says where the text goes wrong."""
        if len(source) > MAX_TEXT:
            msg = f"a text with holes has {len(source)} characters; at most {MAX_TEXT} are allowed"
            raise TemplateError(msg)
        self.source = source
        self.parts: tuple[str | Hole, ...] = tuple(_parts(source))
        self._hole = self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Hole) else None
        self._literal = "".join(part for part in self.parts if isinstance(part, str))
        self._has_holes = any(isinstance(part, Hole) for part in self.parts)

    @property
    def is_hole(self) -> bool:
        """Whether the text is one hole and nothing else."""
        return self._hole is not None

    def find(self, scope: Any) -> Any:
        """The value in this scope; None where there is nothing."""
        if self._hole is not None:
            return self._hole.find(scope)
        if not self._has_holes:
            return self._literal
        found = False
        words: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                words.append(part)
                continue
            value = part.find(scope)
            if not _is_nothing(value):
                found = True
                words.append(to_text(value))
        return "".join(words).strip() if found else None

    def text(self, scope: Any) -> str | None:
        """The value as text; None where there is nothing or nothing but white space."""
        value = self.find(scope)
        if _is_nothing(value):
            return None
        text = to_text(value).strip()
        return text or None


class Texts:
    """A list of texts, read into one flat list: lists are spread, objects become `key:value`, comma text is split."""

    def __init__(self, sources: list[str]) -> None:
        self.texts = [Text(source) for source in sources]

    def find(self, scope: Any) -> tuple[str, ...]:
        """All that was found, in order, each once."""
        found: dict[str, None] = {}
        for text in self.texts:
            value = text.find(scope)
            if isinstance(value, str) and text.is_hole:
                value = value.split(",")
            for item in flat(value):
                if item:
                    found.setdefault(item)
        return tuple(found)


def _meant(expression: str) -> str:
    """A hint for a path with names that JMESPath wants in quotes, or written as AlertOps (`issue^id`) or JSONPath has it."""
    names = expression.removeprefix("$.").replace("^", ".").split(".")
    if not _LOOSE_PATH.fullmatch(expression) or not all(names):
        return ""
    path = ".".join(name if _PATH.fullmatch(name) else f'"{name}"' for name in names)
    return f"; for the value at that path write '{{{path}}}'"


def flat(value: Any) -> list[str]:
    """A value as a list of texts: `{"a": 1}` is `["a:1"]`, `["x", 2]` is `["x", "2"]`, nothing is `[]`."""
    if value is None or value == "":
        return []
    if isinstance(value, Mapping):
        return [f"{key}:{to_text(item)}".strip() for key, item in value.items() if item is not None]
    if isinstance(value, list | tuple):
        return [
            text for item in value for text in (flat(item) if isinstance(item, Mapping) else [to_text(item).strip()])
        ]
    return [to_text(value).strip()]


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def to_text(value: Any) -> str:
    """A JSON value as people write it: `true`, `12`, `0.5`, lists and objects as JSON, nothing as the empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else repr(value)
    return msgspec.json.encode(value).decode()


def _check_functions(tree: Mapping[str, Any], expression: str) -> None:
    """JMESPath itself looks at functions when they are called; a misspelt one would find nothing for ever."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        waiting += [child for child in node["children"] if isinstance(child, Mapping)]
        if node["type"] != "function_expression":
            continue
        name, given = node["value"], len(node["children"])
        known = _Functions.FUNCTION_TABLE.get(name)
        if known is None:
            msg = f"{{{expression}}}: there is no function {name}(){nearest(name, list(_Functions.FUNCTION_TABLE))}"
            raise TemplateError(msg)
        signature = known["signature"]
        variadic = bool(signature) and signature[-1].get("variadic", False)
        if given < len(signature) or (given > len(signature) and not variadic):
            least = "at least " if variadic else ""
            msg = f"{{{expression}}}: {name}() takes {least}{len(signature)} arguments, not {given}"
            raise TemplateError(msg)


def _parts(source: str) -> list[str | Hole]:
    parts: list[str | Hole] = []
    literal: list[str] = []
    at = 0
    while at < len(source):
        char = source[at]
        if char in "{}" and source[at : at + 2] == char * 2:
            literal.append(char)
            at += 2
        elif char == "{":
            end = _end_of_hole(source, at)
            if literal:
                parts.append("".join(literal))
                literal = []
            parts.append(Hole(source[at + 1 : end]))
            at = end + 1
        elif char == "}":
            msg = f"{source!r} has a }} at {at} with no {{ before it; write }}}} for a brace"
            raise TemplateError(msg)
        else:
            literal.append(char)
            at += 1
    if literal or not parts:
        parts.append("".join(literal))
    return parts


def _end_of_hole(source: str, start: int) -> int:
    depth = 0
    quote = ""
    at = start
    while at < len(source):
        char = source[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in _QUOTES:
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    msg = f"{source!r} has a {{ at {start} that is not closed"
    raise TemplateError(msg)
