"""
Texts of an alert in a team's own words, made with minijinja: `{{ source_name }}: {{ subject }}`.

minijinja counts what a text costs and stops it: a loop ends, and a gigabyte is never made. What is in the message is data,
never a template. A text that fails leaves the field as the template has it, and the explanation says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import minijinja

from gateway.errors import TemplateError

MAX_SOURCE = 8 << 10  # to compile a longer one may take half a second
MAX_RESULT = 64 << 10
_FUEL = 50_000
_INTEGER_BITS = 127
_LONGEST_INTEGER = 14_000  # bits; Python writes longer ones in no base that people read


class Text:
    """One text, compiled; `name` is the field that it makes."""

    def __init__(self, name: str, source: str) -> None:
        """Compile it; raises TemplateError that says where it goes wrong."""
        if len(source) > MAX_SOURCE:
            msg = f"[texts] {name}: it has {len(source)} characters; at most {MAX_SOURCE} are allowed"
            raise TemplateError(msg)
        self.name = name
        self._environment = minijinja.Environment()
        self._environment.fuel = _FUEL
        self._environment.undefined_behavior = "chainable"
        self._environment.auto_escape_callback = lambda _: False  # whoever shows it escapes it
        try:
            self._environment.add_template(name, source)
        except minijinja.TemplateError as error:
            msg = f"[texts] {name}: {_first_line(error)}"
            raise TemplateError(msg) from None

    def render(self, context: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """The text, and None; or None, and what is wrong."""
        try:
            text = self._environment.render_template(self.name, **context)
        except minijinja.TemplateError as error:
            return None, _first_line(error)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a value raises that the text asks something of
            return None, f"{type(error).__name__}: {error}"[:200]
        return text[:MAX_RESULT], None


def readable(value: Any) -> Any:
    """
    A value of a message as a text may have it: to be looked at, and not to be changed.

    A text reaches the methods of Python's own lists and tables, which nobody counts and which would change the message for
    all that is read after it. An integer of more than 128 bits is text, as minijinja would round it.
    """
    if isinstance(value, dict):
        return _Table({key: readable(one) for key, one in value.items()})
    if isinstance(value, list | tuple):
        return _List(map(readable, value))
    if isinstance(value, int) and value.bit_length() >= _INTEGER_BITS:
        return str(value) if value.bit_length() < _LONGEST_INTEGER else hex(value)
    return value


class _Table(dict[str, Any]):
    def __getattribute__(self, name: str) -> Any:
        return _allowed(super().__getattribute__, name, "get", "items", "keys", "values")


class _List(list[Any]):
    def __getattribute__(self, name: str) -> Any:
        return _allowed(super().__getattribute__, name, "count", "index")


def _allowed(find: Callable[[str], Any], name: str, *names: str) -> Any:
    if name not in names and not name.startswith("__"):
        msg = f"a text cannot use {name!r} of a value"
        raise AttributeError(msg)
    return find(name)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
