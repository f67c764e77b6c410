"""JMESPath over a request, `{"body": …, "query": …, "headers": …}`: what verification and handshakes look at."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import jmespath
from jmespath.exceptions import JMESPathError

View = Callable[[], Mapping[str, Any]]
"""Makes `{"body": …, "query": …, "headers": …}` of a request when an expression asks for it."""
NO_VIEW: Mapping[str, Any] = {}


def search(expression: str, given: Mapping[str, Any]) -> object:
    """What JMESPath finds; None also where it does not fit what it is given."""
    try:
        return cast("object", _compiled(expression).search(given))
    except (JMESPathError, TypeError, ValueError, RecursionError):  # a function met a value it does not take
        return None


def expression_flaw(key: str, expression: str | None) -> str | None:
    """What is wrong with an expression, if anything; `key` is what template.toml calls it."""
    if expression is None:
        return None
    try:
        _compiled(expression)
    except (JMESPathError, RecursionError) as error:
        return f"`{key}` is not JMESPath: {expression!r}: {str(error).splitlines()[0]}"
    if not re.search(r"\b(body|query|headers)\b", expression):
        return f"`{key}` looks at nothing that was sent: begin with body, query or headers, `body.{expression}`"
    return None


@functools.lru_cache(maxsize=4096)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)
