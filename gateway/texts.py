"""
Texts of an alert in a team's own words, made with minijinja: `{{ source_name }}: {{ subject }}`.

minijinja counts what a text costs and stops it: a loop ends, and a gigabyte is never made. What it does not count is writing
out a list that is repeated (`[1] * 100000000`), or one within itself over and over: such a text is refused where it takes
long without any message, else whoever reads the message is stopped when its time is over. What is in the message is data, never
a template. A text that fails leaves the field as the template has it, and the explanation says why.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import minijinja

from gateway.config import nearest
from gateway.errors import TemplateError

MAX_SOURCE = 8 << 10  # to compile a longer one may take half a second
MAX_RESULT = 64 << 10
_FUEL = 50_000
_INTEGER_BITS = 127
_LONGEST_INTEGER = 14_000  # bits; Python writes longer ones in no base that people read
_LONGEST = 0.5  # seconds of the processor; all its fuel takes a text a tenth of that
_SHOWN = 3
_FILTERS = """
    abs attr batch bool capitalize chain count default dictsort escape filesizeformat first float format groupby indent int
    items join last length lines list lower map max min pprint reject rejectattr replace reverse round safe select
    selectattr slice sort split string striptags sum title tojson trim truncate unique upper urlencode wordwrap zip
"""
_TESTS = """
    boolean defined divisibleby endingwith false float integer iterable lower mapping none number odd even safe sequence
    startingwith string true undefined upper
"""

_STRING = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_CODE = re.compile(
    rf"\{{#.*?#\}}|\{{%[-+]?\s*raw\s*[-+]?%\}}.*?\bendraw\b|\{{[{{%]((?:{_STRING}|(?!\}}\}}|%\}}).)*)", re.DOTALL
)


class Text:
    """One text, compiled; `name` is the field that it makes."""

    def __init__(self, name: str, source: str, known: Collection[str] | None = None) -> None:
        """
        Compile it; raises TemplateError that says where it goes wrong, and what to write.

        `known` are the values that it may name, None where any may come.
        """
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
            problem: str | None = _first_line(error)
        else:
            problem = self._flaw(" ; ".join(_code(source)), known)
        if problem is not None:
            msg = f"[texts] {name}: {problem}"
            raise TemplateError(msg)

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

    def absent(self, context: Mapping[str, Any]) -> list[str]:
        """What the text asks for and does not find: `message.host`; at most three."""
        paths = self._environment.undeclared_variables_in_template(self.name, nested=True)
        return [path for path in sorted(paths) if not self._is("defined", path, context)][:_SHOWN]

    def _flaw(self, code: str, known: Collection[str] | None) -> str | None:
        """What would go wrong whatever the message says, if anything."""
        for kind, found, names in (
            ("filter", re.findall(r"\|\s*([A-Za-z_]\w*)", code), _FILTERS.split()),
            ("test", re.findall(r"\bis\s+(?:not\s+)?([A-Za-z_]\w*)", code), _TESTS.split()),
        ):
            for one in found:
                if not self._knows(kind, one):
                    return f"there is no {kind} {one}{nearest(one, names)}"
        made = re.findall(r"\bset\s+([A-Za-z_]\w*)", code)  # in one branch of an `if`, say
        for one in sorted(self._environment.undeclared_variables_in_template(self.name)):
            if known is None or one in known or one in made or self._is("defined", one, {}):
                continue
            if re.search(rf"(?<![.|\w]){one}\s*\(", code):
                return f"there is no function {one}(); a filter is written after what it changes, subject|upper"
            return f"there is no {one}{nearest(one, list(known))}; for a value of the message write message.{one}"
        started = time.thread_time()
        self.render({})
        spent = time.thread_time() - started
        return f"it takes {spent:.1f} s to make, whatever comes; make it of less" if spent > _LONGEST else None

    def _knows(self, kind: str, name: str) -> bool:
        try:
            self._environment.eval_expr(f"none|{name}" if kind == "filter" else f"none is {name}")
        except minijinja.TemplateError as error:
            return error.kind != f"Unknown{kind.title()}"
        return True

    def _is(self, test: str, path: str, context: Mapping[str, Any]) -> bool:
        try:
            return bool(self._environment.eval_expr(f"{path} is {test}", **context))
        except minijinja.TemplateError:
            return False


def _code(source: str) -> Iterator[str]:
    """What stands between braces, without comments and without what is in quotes."""
    for found in _CODE.finditer(source):
        if found[1] is not None:
            yield re.sub(_STRING, "''", found[1], flags=re.DOTALL)


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
