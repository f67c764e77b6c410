"""
Names that people give to integrations, users and policies: what may be in one, and which two are the same.

Two names that look alike lead a page at night to the wrong team. So a name is stored in one form of Unicode, holds nothing
that cannot be seen, and is taken where another differs from it in nothing but case or the width of its letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from gateway.errors import ConflictError, GatewayError

MAX_NAME = 100
_ID = re.compile(r"[a-z]{3}_[a-z2-7]{12}")
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def checked_name(what: str, name: str) -> str:
    """
    The name as it is stored; `what` is the kind of thing, for the error.

    Raises GatewayError that says what is wrong with it.
    """
    name = " ".join(unicodedata.normalize("NFC", name.strip()).split(" "))
    problem = None
    if not name:
        problem = "is empty"
    elif len(name) > MAX_NAME:
        problem = f"has {len(name)} characters; at most {MAX_NAME} are allowed"
    elif "/" in name or "\\" in name:
        problem = "holds a slash, which would end it in a URL"
    elif name in (".", ".."):
        problem = "would be taken for a folder in a URL"
    elif _ID.fullmatch(name):
        problem = "looks like an id, and names and ids are looked up in one place"
    else:
        unseen = next((char for char in name if unicodedata.category(char) in _UNSEEN), None)
        if unseen is not None:
            problem = f"holds U+{ord(unseen):04X}, which cannot be seen"
    if problem is not None:
        msg = f"the name of {what} {problem}"
        raise GatewayError(msg)
    return name


def check_free(what: str, name: str, taken: Iterable[str]) -> None:
    """Raise ConflictError where one of the names that are taken is the same, or looks it."""
    wanted = _folded(name)
    for other in taken:
        if _folded(other) == wanted:
            like = "" if other == name else f" (as {other!r}, which is too much like it)"
            msg = f"there is {what} of the name {name!r} already{like}; choose another name"
            raise ConflictError(msg)


def url_name(name: str) -> str:
    """The name as the last part of an endpoint's URL, before it is percent-encoded: blanks become hyphens."""
    return re.sub(r"\s+", "-", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
