"""
How well a template is looked after: none, bronze, silver or gold. Computed from its files, never claimed.

    bronze    template.toml is right; README.md has the steps, with `{endpoint_url}`; a sample says what is expected of it
    silver    a problem and its recovery are among the samples; every sample is expected to be something, and says where it
              comes from; every word in the rules stands in a sample; the vendor's page is named; the sender is verified
    gold      a sample was captured, not only documented; what the vendor sends to test the URL is known: a handshake, or a
              sample that is ignored

Each tier holds what the one before it holds. What `[exempt]` waives counts as held. No code of the template is imported, and
no sample is read by it: whether samples are read as expected is what the conformance suite tests.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Literal
from urllib.parse import unquote_plus

from gateway.errors import TemplateError
from gateway.mapping import to_text
from gateway.rules import Condition
from gateway.template import TemplateFile, TemplateFolder

Tier = Literal["none", "bronze", "silver", "gold"]

_EXPECTED = ".expected.json"
_FIRING, _RESOLVED = "_firing", "_resolved"
_ENTRY = re.compile(r'^\["([^"\]]+)"\]\nkind = "(\w+)"$', re.MULTILINE)
_SAMPLES = {"json", "http", "xml", "form", "txt"}
_KINDS = ("captured", "documented", "adapted")


def tier_of(folder: TemplateFolder) -> Tier:
    """The tier of a template; `none` also where template.toml is wrong."""
    look = _Look(folder)
    reached: Tier = "none"
    for tier, lacks in _TIERS:
        if next(lacks(look), None) is not None:
            break
        reached = tier
    return reached


def needs(folder: TemplateFolder) -> list[str]:
    """What the next tier needs, each with the file to change; nothing for gold."""
    look = _Look(folder)
    for tier, lacks in _TIERS:
        missing = list(lacks(look))
        if missing:
            return [f"{tier}: {sentence}" for sentence in missing]
    return []


def evidence_of(folder: TemplateFolder) -> dict[str, int]:
    """How many of a template's samples are of each kind, as provenance.toml says: captured, documented, adapted."""
    look = _Look(folder)
    found = [look.kinds.get(name) for name in look.names]
    return {kind: found.count(kind) for kind in _KINDS if kind in found}


class _Look:
    """One look at a folder, each file read once at most: a list of 250 templates waits for it."""

    def __init__(self, folder: TemplateFolder) -> None:
        self.folder = folder
        self.samples = folder.path / "samples"

    @property
    def file(self) -> TemplateFile:
        return self.folder.file

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """The samples by their files' names, each with the name of what is expected of it, empty where that is missing."""
        try:
            found = {path.name for path in self.samples.iterdir()}
        except OSError:
            return {}
        stems = {name: name.rpartition(".") for name in sorted(found) if not name.endswith(_EXPECTED)}
        expected = {name: stem + _EXPECTED for name, (stem, _, kind) in stems.items() if kind in _SAMPLES}
        return {name: beside if beside in found else "" for name, beside in expected.items()}

    @functools.cached_property
    def kinds(self) -> dict[str, str]:
        """What provenance.toml says of each sample; empty where the file is missing or wrong."""
        try:
            text = (self.samples / "provenance.toml").read_text(encoding="utf-8")
            kinds = dict(_ENTRY.findall(text))  # as everyone writes it
            if any(name not in kinds for name in self.names):
                tables = tomllib.loads(text).items()
                kinds = {name: str(table.get("kind")) for name, table in tables if isinstance(table, dict)}
        except (OSError, ValueError):
            return {}
        return kinds

    def text(self, name: str) -> str:
        """A file among the samples, a form as people read it."""
        try:
            text = (self.samples / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return unquote_plus(text) if name.endswith((".http", ".form")) else text


def _bronze(look: _Look) -> Iterator[str]:
    try:
        look.file  # noqa: B018  # reads it
    except TemplateError as error:
        yield str(error)
        return
    if "{endpoint_url}" not in look.folder.readme:
        yield "README.md says where the integration's URL goes, as {endpoint_url}"
    if not any(look.names.values()):
        yield "samples/ has a payload NAME.json and beside it NAME.expected.json"


def _silver(look: _Look) -> Iterator[str]:
    file = look.file
    cases = {name.rpartition(".")[0] for name in look.names}
    pairs = any(case.endswith(_RESOLVED) and case.removesuffix(_RESOLVED) + _FIRING in cases for case in cases)
    if not pairs and "recovery_closes" not in file.exempt:
        yield f"samples/ has a problem X{_FIRING}.json and its recovery X{_RESOLVED}.json"
    alone = [name for name, expected in look.names.items() if not expected]
    if alone:
        yield f"samples/ has an expected file for {_some(alone)}"
    untold = [name for name in look.names if look.kinds.get(name) not in _KINDS]
    if untold:
        yield f"samples/provenance.toml says where {_some(untold)} comes from: documented, captured or adapted"
    unseen = [] if "words_occur" in file.exempt else _unseen(look)
    if unseen:
        yield f"samples/ has a sample with {_some([repr(word) for word in unseen])}, which template.toml's rules name"
    if not file.docs_url and "generic" not in file.categories:
        yield "template.toml names the vendor's own page in docs_url"
    if not file.is_verified and "sender_verified" not in file.exempt:
        yield "template.toml says in [verification] how the vendor signs, or under [exempt] why nobody can know"


def _gold(look: _Look) -> Iterator[str]:
    if not any(look.kinds.get(name) == "captured" for name in look.names):
        yield "samples/ has a payload that was captured, and provenance.toml says so"
    if not look.file.handshakes and not any('"ignore"' in look.text(name) for name in look.names.values() if name):
        yield "samples/ has what the vendor sends to test the URL, expected to be ignored; or template.toml has [handshake]"


_TIERS: tuple[tuple[Tier, Callable[[_Look], Iterator[str]]], ...] = (
    ("bronze", _bronze),
    ("silver", _silver),
    ("gold", _gold),
)


def _unseen(look: _Look) -> list[str]:
    """The words of the rules that stand in no sample; nor, where the words are made by code, in what is expected of one."""
    file = look.file
    severities = [getattr(file.severity, name) for name in ("critical", "error", "warning", "info")]
    words = [to_text(word) for rule in (file.open, file.close, file.update, *severities) for word in _words(rule)]
    names = [*look.names, *filter(None, look.names.values())] if look.folder.has_code else list(look.names)
    text = "\n".join(look.text(name) for name in names).casefold()
    return [word for word in dict.fromkeys(words) if word.strip().casefold() not in text]


def _words(rule: Condition | list[str | int | float] | None) -> Iterator[object]:
    if rule is None:
        return
    if isinstance(rule, list):
        yield from rule
        return
    for part in [*(rule.all or ()), *(rule.any or ())]:
        yield from _words(part)
    for values in (rule.is_one_of, rule.contains, rule.starts_with):
        yield from values or ()


def _some(names: list[str]) -> str:
    most = 3
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
