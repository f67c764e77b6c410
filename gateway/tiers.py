"""
How far a template has come: bronze, silver, gold; worked out from its folder, never claimed in it.

    bronze   template.toml is right, README.md says where the URL goes, and a sample has an expected file
    silver   and a pair X_firing, X_resolved, documented or captured, shows that a recovery closes; every sample says where it
             comes from; every status and severity of the rules occurs in a sample; the sender is verified, or [exempt] says
             why nobody can
    gold     and a sample was captured, and what the vendor sends to try the URL is known: a test message or a handshake

None of the template's code is imported: the gallery asks this of every template. `gateway.testing` looks more closely.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from gateway.errors import TemplateError
from gateway.rules import Condition
from gateway.template import TemplateFile, TemplateFolder

Tier = Literal["none", "bronze", "silver", "gold"]
TIERS: tuple[Tier, ...] = ("none", "bronze", "silver", "gold")
_EXPECTED = ".expected.json"
_KINDS = frozenset({".json", ".http", ".xml", ".txt", ".form"})
_SOURCED = frozenset({"documented", "captured"})
_ORIGIN = re.compile(r'^\[\s*"?([^"\]]+?)"?\s*\]|^kind\s*=\s*["\'](\w+)', re.MULTILINE)
_TEST = "test message"
_MOST_NAMED = 5


def tier_of(folder: TemplateFolder) -> Tier:
    """The tier of a template."""
    facts = _Facts(folder)
    reached: Tier = "none"
    for tier, needed in ((TIERS[1], facts.bronze), (TIERS[2], facts.silver), (TIERS[3], facts.gold)):
        if next(needed(), None) is not None:
            break
        reached = tier
    return reached


def needs(folder: TemplateFolder) -> list[str]:
    """What the next tier needs, each in a sentence; nothing where it is gold."""
    facts = _Facts(folder)
    for needed in (facts.bronze, facts.silver, facts.gold):
        if missing := list(needed()):
            return missing
    return []


class _Facts:
    """What lies in a folder, read once."""

    def __init__(self, folder: TemplateFolder) -> None:
        self._folder = folder
        samples = folder.path / "samples"
        names = sorted(path.name for path in samples.iterdir()) if samples.is_dir() else []
        self._expected = {name.removesuffix(_EXPECTED) for name in names if name.endswith(_EXPECTED)}
        self._samples = [name for name in names if name[name.rfind(".") :] in _KINDS and not name.endswith(_EXPECTED)]

    def bronze(self) -> Iterator[str]:
        try:
            self._folder.file  # noqa: B018  # reads it
        except TemplateError as error:
            yield f"a template.toml that can be read: {error}"
        try:
            readme = self._folder.readme
        except (OSError, UnicodeDecodeError) as error:
            yield f"a README.md that can be read: {error}"
        else:
            if "{endpoint_url}" not in readme:
                yield "a README.md with the vendor's steps, which says with {endpoint_url} where the URL goes"
        if not any(_case(name) in self._expected for name in self._samples):
            yield f"a sample with its expected file: samples/NAME_firing.json and samples/NAME_firing{_EXPECTED}"

    def silver(self) -> Iterator[str]:
        file = self._folder.file
        cases = {_case(name) for name in self._samples}
        pairs = [case[: -len("_firing")] for case in cases if case.endswith("_firing")]
        pairs = [case for case in pairs if case + "_resolved" in cases]
        if "recovery_closes" not in file.exempt:
            if not pairs:
                yield "a pair of samples X_firing and X_resolved, of one problem and its recovery"
            elif not any({self._origin(case + "_firing"), self._origin(case + "_resolved")} <= _SOURCED for case in pairs):
                yield f"a pair of samples from the vendor's pages or from the wire: that of {_some(sorted(pairs))} is adapted"
        untold = [name for name in self._samples if name not in self._origins]
        if untold:
            yield f"in samples/provenance.toml, where these come from: {_some(untold)}"
        if "words_occur" not in file.exempt:
            unmet = [word for word, edges in dict(_words(file)).items() if not _occurs(self._text, word.casefold(), *edges)]
            if unmet:
                yield f"samples in which the words of its rules occur: {_some(unmet)}"
        if file.verification.kind == "none" and not file.exempt.get("sender_verified", "").strip():
            yield "a [verification] of who sent it, or under [exempt] sender_verified the reason why nobody can know"

    def gold(self) -> Iterator[str]:
        if "captured" not in self._origins.values():
            yield "a sample that was captured, from a real installation or in public"
        if not self._folder.file.handshakes and not self._has_test():
            yield f"a sample of the vendor's test message, ignored for {_TEST!r}; or a [handshake]"

    def _origin(self, case: str) -> str | None:
        return next((self._origins.get(name) for name in self._samples if _case(name) == case), None)

    @functools.cached_property
    def _origins(self) -> dict[str, str]:
        """The kind of each sample's origin. Read line by line: TOML in full takes as long as all the rest."""
        found: dict[str, str] = {}
        name = ""
        for table, kind in _ORIGIN.findall(self._content("provenance.toml").decode("utf-8", "replace")):
            if table:
                name = table
            else:
                found[name] = kind
        return found

    @functools.cached_property
    def _text(self) -> str:
        texts = [self._content(name) for name in self._samples]
        texts += [self._content(case + _EXPECTED) for case in sorted(self._expected)]
        return b"\n".join(texts).decode("utf-8", "replace").casefold()

    def _has_test(self) -> bool:
        for case in sorted(self._expected):
            try:
                expected = msgspec.json.decode(self._content(case + _EXPECTED), type=_Expected)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if any(event.action == "ignore" and _TEST in (event.reason or "") for event in expected.events):
                return True
        return False

    def _content(self, name: str) -> bytes:
        try:
            return (self._folder.path / "samples" / name).read_bytes()
        except OSError:
            return b""


class _ExpectedEvent(msgspec.Struct):
    action: str = ""
    reason: str | None = None


class _Expected(msgspec.Struct):
    events: list[_ExpectedEvent]


def _case(name: str) -> str:
    return name[: name.rfind(".")]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def _occurs(text: str, word: str, left: bool, right: bool) -> bool:  # noqa: FBT001  # the edges at which a word ends
    at = text.find(word)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(word) : at + len(word) + 1]
        if not (left and before.isalnum()) and not (right and after.isalnum()):
            return True
        at = text.find(word, at + 1)
    return False


def _words(file: TemplateFile) -> Iterator[tuple[str, tuple[bool, bool]]]:
    """
    The vendor's words in the rules, each with whether it begins and ends as a word.

    What only a pattern says is left to the conformance suite.
    """
    for rule in (file.open, file.close, file.update, *file.ignore):
        if rule is not None:
            yield from _words_in(rule)
    for severity in (file.severity.critical, file.severity.error, file.severity.warning, file.severity.info):
        if severity is not None:
            yield from _words_in(severity if isinstance(severity, Condition) else Condition(is_one_of=severity))


def _words_in(condition: Condition) -> Iterator[tuple[str, tuple[bool, bool]]]:
    for part in (*(condition.all or ()), *(condition.any or ())):
        yield from _words_in(part)
    for words, edges in (
        (condition.is_one_of, (True, True)),
        (condition.starts_with, (True, False)),
        (condition.contains, (False, False)),
    ):
        for word in words or ():
            yield str(word), edges
