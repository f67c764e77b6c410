"""Has no read()."""

from __future__ import annotations


def reed() -> None:
    """Is misspelt."""
