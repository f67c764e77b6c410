"""
Which URLs out of a message may be followed: those whose host a template's pattern names, and nothing beside.

A URL is not parsed but matched: https, a plain host name, a path. What a parser would have to make sense of (a user, a
backslash, a name in other letters) does not match, so that no two parsers can see two hosts in it.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import re2

MAX_URL = 2048
MAX_PATTERN = 1024
_URL = re.compile(r"https://(?P<host>[a-z0-9.-]{1,253}(?::[0-9]{1,5})?)(?P<path>/[!-\[\]-~]*)?")


def url_flaw(url: object, host: str, *, ending: str = "") -> str | None:
    """
    Why a URL is not followed, None where it may be: for a log, without anything of the URL.

    `host` is the pattern for the whole host, and for its port where the URL has one, so that a pattern without ports
    allows none. With an `ending` the URL has no query, and ends so.
    """
    if not isinstance(url, str) or not url:
        return "there is no URL"
    found = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if found is None:
        return "the URL is not https://, a plain host name and a path"
    if _compiled(host).fullmatch(found["host"]) is None:
        return "the URL's host is not one that the template allows"
    if ending and (re.search(r"[?#]", url) or not url.endswith(ending)):
        return f"the URL does not end in {ending}"
    return None


def pattern_flaw(key: str, pattern: str) -> str | None:
    """What is wrong with a pattern for hosts, if anything; `key` is what template.toml calls it."""
    if not 1 <= len(pattern) <= MAX_PATTERN:
        return f"`{key}` is a pattern of 1 to {MAX_PATTERN} characters, not of {len(pattern)}"
    try:
        _compiled(pattern)
    except re2.error as error:
        text = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        return f"`{key}` is no RE2 pattern: {pattern!r}: {text}"
    return None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)
