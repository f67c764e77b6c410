"""Users' patterns, in RE2: it takes time in proportion to the text, whatever the pattern."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import re2

from gateway.errors import TemplateError

MAX_PATTERN = 1024
MAX_SUBJECT = 64 * 1024
_MEMORY = 1 << 20
_MEMORY_OF_MANY = 8 << 20


class Pattern:
    """One pattern, compiled."""

    def __init__(self, source: str, *, case_sensitive: bool) -> None:
        """Compile it; raises TemplateError that says what RE2 refuses."""
        if not source or len(source) > MAX_PATTERN:
            msg = f"a pattern has 1 to {MAX_PATTERN} characters; this one has {len(source)}"
            raise TemplateError(msg)
        try:
            self._compiled = _compiled(source, _MEMORY, case_sensitive=case_sensitive)
        except re2.error as error:
            text = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
            msg = f"RE2 refuses the pattern {source!r}: {text} (look-around and back-references are not in RE2)"
            raise TemplateError(msg) from None

    def found(self, text: str) -> bool:
        """Whether it is found in the first 64 Ki characters of a text."""
        return _found(self._compiled, text)


class Patterns:
    """Many patterns, compiled into one: RE2 looks for hundreds of them in one go as fast as for one."""

    def __init__(self, sources: Sequence[str], *, case_sensitive: bool) -> None:
        joint = "|".join(f"(?:{source})" for source in sources)
        self._compiled = _compiled(joint, _MEMORY_OF_MANY, case_sensitive=case_sensitive)

    def found(self, text: str) -> bool:
        """Whether any of them is found in the first 64 Ki characters of a text."""
        return _found(self._compiled, text)


def any_of(sources: Sequence[str], *, case_sensitive: bool) -> Patterns | None:
    """Patterns that are good by themselves, compiled into one; None where they are not together (two groups of one name)."""
    try:
        return Patterns(sources, case_sensitive=case_sensitive)
    except re2.error:
        return None


def _compiled(source: str, memory: int, *, case_sensitive: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = case_sensitive
    options.max_mem = memory
    return re2.compile(source, options)


def _found(compiled: Any, text: str) -> bool:
    text = text[:MAX_SUBJECT]
    return compiled.search(text if text.isascii() else _utf8(text)) is not None


@functools.lru_cache(maxsize=4)
def _utf8(text: str) -> bytes:
    """What RE2 reads, which knows no lone surrogates; kept for the next pattern over the same text."""
    return text.encode("utf-8", "replace")
