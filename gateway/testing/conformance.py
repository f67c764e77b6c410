"""
The laws that hold for every template, as one suite of tests.

A template's whole test file:

    from gateway.testing import TemplateConformance

    class TestAcme(TemplateConformance):
        folder = "src/alert_gateway_acme"

`folders` takes many. A failure names the template, the law, the file and the fix. `[exempt]` in template.toml waives a law
of LAWS by its name, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from gateway.config import nearest
from gateway.errors import GatewayError
from gateway.template import TemplateFile, TemplateFolder, describe
from gateway.testing import laws
from gateway.testing.laws import book_of, read, template_at
from gateway.testing.privacy import private_in
from gateway.testing.samples import PROVENANCE, expected_of, read_provenance, read_sample

LAWS = {
    "sender_verified": "the sender is verified: [verification] says how",
    "recovery_closes": "a _resolved sample closes what its _firing sample opened",
    "words_occur": "every status and severity in the rules occurs in a sample",
    "nothing_private": "nothing private is in a sample",
}
"""The laws that `[exempt]` may waive. A crash on a strange message, or an expectation that is not met, nobody may."""
GENERIC = "generic"
"""The category of a template that is no vendor's: it has no vendor's page, and no vendor's steps."""
PLACEHOLDER = "{endpoint_url}"
_FIRING, _RESOLVED = "_firing", "_resolved"
_MOST_SHOWN = 10
_STEPS = re.compile(r"^\s*\d+\.\s", re.MULTILINE)


class TemplateConformance:
    """The suite. A subclass says which `folder`, or which `folders`."""

    folder: ClassVar[str | Path] = ""
    folders: ClassVar[Sequence[str | Path]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test for each template and law, and for each sample where the law is about one."""
        folders = [Path(folder) for folder in (self.folders or [self.folder]) if str(folder)]
        base = Path(metafunc.module.__file__ or ".").parent
        templates = [template_at(folder if folder.is_absolute() else _found(folder, base)) for folder in folders]
        if "sample" in metafunc.fixturenames:
            cases = [(template, path) for template in templates for path in template.samples()]
            ids = [f"{template.slug}/{path.name}" for template, path in cases]
            metafunc.parametrize("template, sample", cases, ids=ids)
        elif "template" in metafunc.fixturenames:
            metafunc.parametrize("template", templates, ids=[template.slug for template in templates])

    # the folder

    def test_template_toml_is_right(self, template: TemplateFolder) -> None:
        """template.toml is read, its rules are compiled, and template.py, if there is one, is imported."""
        where = template.path / "template.toml"
        with _told(where, "a template's metadata is right", "correct the key that is named"):
            file = template.file
            book_of(template)
        problems = []
        if not file.docs_url.startswith("https://") and (file.docs_url or GENERIC not in file.categories):
            problems.append(f"docs_url = {file.docs_url!r} is no https address of the vendor's own page")
        if not file.categories:
            problems.append("categories is empty: the gallery has no place for it")
        for law, reason in file.exempt.items():
            if law not in LAWS:
                problems.append(f"[exempt] {law}: there is no such law{nearest(law, list(LAWS))}")
            elif len(reason.split()) < 3:  # noqa: PLR2004  # no reason fits in fewer words
                problems.append(f"[exempt] {law} = {reason!r} is no reason")
        _law(problems, where, "a template's metadata is right", "correct the key that is named")

    def test_readme_has_the_steps(self, template: TemplateFolder) -> None:
        """README.md says, step by step, what to do at the vendor's, and where the integration's URL goes."""
        where = template.path / "README.md"
        text = template.readme
        problems = []
        if not text:
            problems.append("there is no README.md")
        elif PLACEHOLDER not in text:
            problems.append(f"{PLACEHOLDER} is nowhere in it: the user does not learn where the URL goes")
        if text and not _STEPS.search(text) and GENERIC not in template.file.categories:
            problems.append("it has no numbered steps")
        _law(problems, where, "the setup steps are the vendor's own", f"write numbered steps with {PLACEHOLDER}")

    def test_nothing_is_unpaired(self, template: TemplateFolder) -> None:
        """Every sample has an expected file, every expected file a sample, and nothing else lies beside them."""
        folder = template.path / "samples"
        problems = list(laws.unpaired(folder))
        _law(problems, folder, "samples come in pairs", "add what is missing, take out what is left over")

    def test_provenance_is_told(self, template: TemplateFolder) -> None:
        """provenance.toml says of every sample where it comes from, and of nothing else."""
        where = template.path / "samples" / PROVENANCE
        with _told(where, "every sample says where it comes from", "correct the entry that is named"):
            told = read_provenance(template)
        names = {path.name for path in template.samples()}
        problems = [f'["{name}"] is missing' for name in sorted(names - told.keys())]
        problems += [f'["{name}"] speaks of a sample that is not there' for name in sorted(told.keys() - names)]
        problems += [problem for name, one in told.items() for problem in laws.unsourced(name, one)]
        _law(problems, where, "every sample says where it comes from", 'write ["NAME.json"] with kind, url and date')

    def test_sender_is_verified(self, template: TemplateFolder) -> None:
        """[verification] says how the vendor signs, or [exempt] why it cannot be known who sent it."""
        file = template.file
        problems = [] if file.verification.kind != "none" else ["[verification] is missing, or its kind is none"]
        fix = "say how the vendor signs, or under [exempt] sender_verified why nobody can know"
        _law(problems, template.path / "template.toml", LAWS["sender_verified"], fix, _exempt(file, "sender_verified"))

    def test_recovery_closes_what_fired(self, template: TemplateFolder) -> None:
        """A sample X_resolved closes the alerts that X_firing opened; where there is [close] there is such a pair."""
        cases = {path.stem: path for path in template.samples()}
        problems = []
        pairs = 0
        for case, path in cases.items():
            if not case.endswith(_RESOLVED):
                continue
            firing = cases.get(case.removesuffix(_RESOLVED) + _FIRING)
            if firing is None:
                problems.append(f"{path.name}: there is no {case.removesuffix(_RESOLVED) + _FIRING}")
                continue
            pairs += 1
            problems += laws.unclosed(template, read_sample(firing), read_sample(path))
        if not pairs and template.file.close is not None:
            problems.append(f"[close] is there, but no pair X{_FIRING}.json and X{_RESOLVED}.json shows that it works")
        fix = (
            "give both the same source_id, source_name and source: the vendor's id of the condition, not of the message"
        )
        _law(problems, template.path, LAWS["recovery_closes"], fix, _exempt(template.file, "recovery_closes"))

    def test_words_of_the_rules_occur(self, template: TemplateFolder) -> None:
        """Every word in [open], [close], [update] and [severity] is met by a sample, and every [[ignore]] ignores one."""
        seen = list(laws.seen_in(template))
        problems = list(laws.words_unseen(template.file, seen))
        reasons = {reading.reason for reading, _ in seen if reading.action == "ignore"}
        problems += [
            f"[[ignore]] {rule.reason!r}: no sample is ignored for it"
            for rule in template.file.ignore
            if rule.reason not in reasons
        ]
        fix = "add a sample from the vendor's documentation that holds the word, or take the word out"
        _law(problems, template.path / "template.toml", LAWS["words_occur"], fix, _exempt(template.file, "words_occur"))

    # each sample

    def test_expected_outcome(self, template: TemplateFolder, sample: Path) -> None:
        """The sample is read as its expected file says."""
        one = read_sample(sample)
        with _told(sample, "a sample is read as expected", "correct the template, or the sample"):
            found = expected_of(read(template, one))
            expected = one.expected()
        problems = list(laws.differences(found, expected))
        fix = "correct the template; or, where it is right and you have read the difference, the expected file"
        _law(problems, one.expected_path, "a sample is read as expected", fix)

    def test_same_twice(self, template: TemplateFolder, sample: Path) -> None:
        """Reading depends on the message alone: not on the time, on chance, or on what was read before."""
        one = read_sample(sample)
        with _told(sample, "the same message gives the same events", "correct the template"):
            first, again = read(template, one), read(template, one)
        problems = (
            [] if first == again else list(laws.differences(expected_of(again), expected_of(first))) or ["the times"]
        )
        fix = "keep nothing between two messages, and ask neither the clock nor chance"
        _law(problems, template.path, "the same message gives the same events", fix)

    def test_mutations_are_read_or_refused(self, template: TemplateFolder, sample: Path) -> None:
        """With any one field dropped, empty, huge or of a wrong type the message is an event or a named refusal."""
        book = book_of(template)
        request = read_sample(sample).request(book)
        problems = list(laws.crashes(book, request, sample, laws.often_seen(template).get(sample, frozenset())))
        fix = "declare what is read as optional, or raise gateway.UnreadableError that says what is missing"
        _law(problems, template.path, "a message with one field changed is an event or a named refusal", fix)

    def test_nothing_private(self, template: TemplateFolder, sample: Path) -> None:
        """No real person, host, address or key stands in a sample."""
        domains = laws.domains_of(template)
        files = [path for path in (sample, read_sample(sample).expected_path) if path.is_file()]
        problems = [
            f"{path.name}: {problem}"
            for path in files
            for problem in sorted(set(private_in(path.read_text(encoding="utf-8", errors="replace"), domains)))
        ]
        _law(
            problems,
            sample,
            LAWS["nothing_private"],
            "write what stands for it, in sample and expected file alike",
            _exempt(template.file, "nothing_private"),
        )


def _found(folder: Path, base: Path) -> Path:
    """A relative folder: beside the test's file or one of the folders above it, whichever has it."""
    for place in (base, *base.parents):
        if (place / folder / "template.toml").is_file():
            return place / folder
    return base / folder


def _exempt(file: TemplateFile, law: str) -> str | None:
    return file.exempt.get(law)


def _law(problems: list[str], where: Path, law: str, fix: str, exempt: str | None = None) -> None:
    """Fail with every problem, or skip nothing: what is exempt passes with its reason."""
    if not problems or exempt is not None:
        return
    shown = problems[:_MOST_SHOWN]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    pytest.fail(
        "\n".join([f"{where}", f"  law: {law}", *(f"  - {line}" for line in shown), f"  fix: {fix}"]), pytrace=False
    )


class _told:  # noqa: N801  # reads as a statement
    """Turns whatever a template raises into a failure that says where, which law, and what to do."""

    def __init__(self, where: Path, law: str, fix: str) -> None:
        self._where, self._law, self._fix = where, law, fix

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt | pytest.fail.Exception):
            _law(
                [str(error) if isinstance(error, GatewayError) else describe(error)], self._where, self._law, self._fix
            )
