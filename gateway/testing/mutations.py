"""
One-field mutations of a payload: what vendors, proxies and other people's templates do to it sooner or later.

Each field, at any depth, is dropped, null, empty, of each wrong type, an emoji and a huge text, one at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

HUGE = "x" * 100_000
EMOJI = "🔥 \U0001f469\u200d\U0001f692 \u202etxet"
DROPPED = "dropped"
VALUES: tuple[tuple[str, Any], ...] = (
    ("null", None),
    ("an empty text", ""),
    ("white space", " \t"),
    ("an empty list", []),
    ("an empty object", {}),
    ("false", False),
    ("a number", 7),
    ("a negative fraction", -0.5),
    ("a number over 64 bits", 1 << 70),
    ("a list", ["a", None, {"b": 1}]),
    ("an object", {"a": {"b": [1]}}),
    ("a text", "text"),
    ("an emoji", EMOJI),
    ("NUL", "a\0b"),
    ("100 KB of text", HUGE),
)
FEW = frozenset({DROPPED, "null", "a number", "an object"})
"""Mutations that find most of what there is to find."""
NOTHING = frozenset({DROPPED, "null", "an empty text", "white space", "an empty list", "an empty object"})
"""Mutations that leave nothing where a value was."""
Path = tuple[str | int, ...]
_EACH_LIST_ITEM = 3


def mutations(data: Any, briefly: Collection[Path] = ()) -> Iterator[tuple[Path, str, Any]]:
    """
    Where, what, and the payload with this one field changed. What is not changed is shared: do not write into it.

    At the places of `briefly` only the mutations of FEW are made.
    """
    for path in paths(data):
        brief = path in briefly
        if path:
            yield path, DROPPED, mutated(data, path, drop=True)
        for name, value in VALUES:
            if not brief or name in FEW:
                yield path, name, mutated(data, path, value)


def paths(data: Any, at: Path = ()) -> Iterator[Path]:
    """The way to every value, the whole included; of a long list only the first three items."""
    yield at
    if isinstance(data, dict):
        for key, value in data.items():
            yield from paths(value, (*at, key))
    elif isinstance(data, list):
        for index, value in enumerate(data[:_EACH_LIST_ITEM]):
            yield from paths(value, (*at, index))


def spoken(path: Path) -> str:
    """A way as people write it, `alerts[0].status`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the whole message"


def mutated(data: Any, path: Path, value: Any = None, *, drop: bool = False) -> Any:
    """The payload with another value at this place, or with none there. The rest is shared with it."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    copy = data.copy()
    if rest or not drop:
        copy[head] = mutated(data[head], rest, value, drop=drop)
    else:
        del copy[head]
    return copy
