"""
Texts of an alert in a team's own words, made with minijinja: `{{ source_name }}: {{ subject }}`.

minijinja counts what a text costs and stops it: a loop ends, and a gigabyte is never made. What is in the message is data,
never a template. A text that fails leaves the field as the template has it, and the explanation says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import minijinja

from gateway.errors import TemplateError

MAX_SOURCE = 16 << 10
MAX_RESULT = 64 << 10
_FUEL = 50_000


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
        except (TypeError, ValueError, OverflowError, RecursionError) as error:  # a value that it cannot take over
            return None, f"{type(error).__name__}: {error}"[:200]
        return text[:MAX_RESULT], None


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
