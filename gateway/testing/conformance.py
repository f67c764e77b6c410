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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from gateway.config import nearest
from gateway.errors import GatewayError, TemplateError
from gateway.models import Reading
from gateway.template import TemplateFolder, describe
from gateway.testing import laws
from gateway.testing.laws import LAWS
from gateway.testing.passage import gateway_with, unlike
from gateway.testing.pytest_plugin import REWRITTEN, UPDATE
from gateway.testing.reading import compiled, file_of, flaw_of, is_generic, read, template_at
from gateway.testing.running import RunningGateway
from gateway.testing.samples import PROVENANCE, Sample, expected_of, read_provenance, read_sample, written
from gateway.testing.traps import trapped

PLACEHOLDER = "{endpoint_url}"
_WRITES = "`pytest --update-expected` writes"
_MOST_SHOWN = 10
_FEWEST_WORDS = 3  # no reason fits in fewer
_STEPS = re.compile(r"^\s*\d+\.\s", re.MULTILINE)


class TemplateConformance:
    """The suite. A subclass says which `folder`, or which `folders`."""

    folder: ClassVar[str | Path] = ""
    folders: ClassVar[Sequence[str | Path]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test for each template and law, and for each sample where the law is about one."""
        templates = self._templates(metafunc.module)
        if "sample" in metafunc.fixturenames:
            none = pytest.mark.skip(reason="there is no sample in samples/")
            cases = [
                pytest.param(template, path, id=f"{template.slug}/{path.name}")
                for template in templates
                for path in template.samples()
            ]
            metafunc.parametrize("template, sample", cases or [pytest.param(None, None, id="none", marks=none)])
        elif "template" in metafunc.fixturenames:
            metafunc.parametrize("template", templates, ids=[template.slug for template in templates])

    @classmethod
    def _templates(cls, module: ModuleType) -> list[TemplateFolder]:
        folders = [Path(folder) for folder in (cls.folders or [cls.folder]) if str(folder)]
        base = Path(module.__file__ or ".").parent
        return [template_at(folder if folder.is_absolute() else _found(folder, base)) for folder in folders]

    # the folder

    def test_template_toml_is_right(self, template: TemplateFolder) -> None:
        """template.toml is read, and its rules are compiled."""
        where = template.path / "template.toml"
        with _law("a template's metadata is right", template, where, "correct the key that is named") as problems:
            file = template.file
            compiled(template)
            problems.extend(trapped(file))
            if not file.docs_url.startswith("https://") and (file.docs_url or not is_generic(template)):
                problems.append(f"docs_url = {file.docs_url!r} is no https address of the vendor's own page")
            if not file.categories:
                problems.append("categories is empty: the gallery has no place for it")
            for law, reason in file.exempt.items():
                if law not in LAWS:
                    problems.append(f"[exempt] {law}: there is no such law{nearest(law, list(LAWS))}")
                elif len(reason.split()) < _FEWEST_WORDS:
                    problems.append(f"[exempt] {law} = {reason!r} is no reason")

    def test_template_py_is_imported(self, template: TemplateFolder) -> None:
        """template.py, if there is one, can be imported, and has a read()."""
        where, fix = (
            template.path / "template.py",
            "define read(request); import gateway, msgspec and the standard library",
        )
        with _law("a template's code can be imported", template, where, fix):
            template.load_read()

    def test_nothing_is_exempt_needlessly(self, template: TemplateFolder) -> None:
        """What [exempt] waives is not kept anyway."""
        where, fix = template.path / "template.toml", "take the line out of [exempt]"
        with _law("a waiver is needed", template, where, fix, whole=True) as problems:
            problems.extend(laws.needless(template))

    def test_readme_has_the_steps(self, template: TemplateFolder) -> None:
        """README.md says, step by step, what to do at the vendor's, and where the integration's URL goes."""
        where, fix = template.path / "README.md", f"write numbered steps with {PLACEHOLDER}"
        with _law("the setup steps are the vendor's own", template, where, fix) as problems:
            text = template.readme
            if not text:
                problems.append("there is no README.md")
            elif PLACEHOLDER not in text:
                problems.append(f"{PLACEHOLDER} is nowhere in it: the user does not learn where the URL goes")
            if text and not _STEPS.search(text) and not is_generic(template):
                problems.append("it has no numbered steps")

    def test_nothing_is_unpaired(self, template: TemplateFolder) -> None:
        """Every sample has an expected file, every expected file a sample, and nothing else lies beside them."""
        fix = f"add what is missing ({_WRITES} expected files), take out what is left over"
        where = template.path / "samples"
        with _law("samples come in pairs", template, where, fix) as problems:
            problems.extend(laws.unpaired(where))

    def test_provenance_is_told(self, template: TemplateFolder) -> None:
        """provenance.toml says of every sample where it comes from, and of nothing else."""
        where, fix = template.path / "samples" / PROVENANCE, 'write ["NAME.json"] with kind, url and date'
        with _law("every sample says where it comes from", template, where, fix) as problems:
            told = read_provenance(template)
            names = {path.name for path in template.samples()}
            problems.extend(f'["{name}"] is missing' for name in sorted(names - told.keys()))
            problems.extend(f'["{name}"] speaks of a sample that is not there' for name in sorted(told.keys() - names))
            problems.extend(problem for name, one in told.items() for problem in laws.unsourced(name, one))

    def test_sender_is_verified(self, template: TemplateFolder) -> None:
        """[verification] says how the vendor signs, or [exempt] why it cannot be known who sent it."""
        fix = "say how the vendor signs, or under [exempt] sender_verified why nobody can know"
        with _law("sender_verified", template, template.path / "template.toml", fix) as problems:
            file = file_of(template)
            if file is not None and not file.is_verified:
                problems.append("[verification] is missing, or its kind is none")

    def test_recovery_closes_what_fired(self, template: TemplateFolder) -> None:
        """A sample X_resolved closes the alerts that X_firing opened; where there is [close] there is such a pair."""
        fix = "give both the same source_id, source_name and source: the id of the condition, not of the message"
        with _law("recovery_closes", template, template.path, fix, whole=True) as problems:
            problems.extend(laws.unclosed(template))

    def test_words_of_the_rules_occur(self, template: TemplateFolder) -> None:
        """Every word in [open], [close], [update] and [severity] is met by a sample, and every [[ignore]] ignores one."""
        fix = "add a sample from the vendor's documentation that holds the word, or take the word out"
        with _law("words_occur", template, template.path / "template.toml", fix, whole=True) as problems:
            problems.extend(laws.unmet(template))

    def test_a_real_gateway_reads_the_same(self, template: TemplateFolder, request: pytest.FixtureRequest) -> None:
        """Each sample, posted to a real gateway, becomes what it becomes here."""
        fix = "depend on nothing but the message: not on the environment, nor on the process that reads it"
        with _law("a real gateway reads what is read here", template, template.path, fix, whole=True) as problems:
            problems.extend(unlike(request.getfixturevalue("gateway_with_templates"), template))

    @pytest.fixture(scope="class")
    @classmethod
    def gateway_with_templates(
        cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[RunningGateway]:
        """One for all templates of the class; it is started when the first of them can be used."""
        with gateway_with(cls._templates(request.module), tmp_path_factory.mktemp("gateway")) as gateway:
            yield gateway

    # each sample

    _told: list[tuple[str, object]] | None = None

    @pytest.fixture(autouse=True)
    def _updates_expected(self, request: pytest.FixtureRequest) -> None:
        """With `--update-expected`, where to tell which files were written anew."""
        if request.config.getoption(UPDATE, default=False):
            self._told = request.node.user_properties

    def test_expected_outcome(self, template: TemplateFolder, sample: Path) -> None:
        """The sample is read as its expected file says."""
        fix = (
            f"correct the template; or, where it is right, the expected file, which {_WRITES} anew: read the difference"
        )
        with _law("a sample is read as expected", template, sample, fix, whole=True) as problems:
            one = read_sample(sample)
            readings = read(template, one)
            if self._told is not None and _rewritten(one, readings):
                self._told.append((REWRITTEN, one.expected_path))
                problems.append(f"{one.expected_path.name} was written anew: read what changed, then run this again")
            if one.expected_path.is_file():  # else test_nothing_is_unpaired tells
                problems.extend(laws.differences(expected_of(readings), one.expected()))

    def test_same_twice(self, template: TemplateFolder, sample: Path) -> None:
        """Reading depends on the message alone: not on the time, on chance, or on what was read before."""
        fix = "keep nothing between two messages, and ask neither the clock nor chance"
        with _law("the same message gives the same events", template, sample, fix, whole=True) as problems:
            problems.extend(laws.changing(template, sample))

    def test_mutations_are_read_or_refused(self, template: TemplateFolder, sample: Path) -> None:
        """With any one field dropped, empty, huge or of a wrong type the message is an event or a named refusal."""
        fix = "declare what is read as optional, or raise gateway.UnreadableError that says what is missing"
        law = "a message with one field changed is an event or a named refusal"
        with _law(law, template, sample, fix, whole=True) as problems:
            problems.extend(laws.crashes(template, sample))

    def test_nothing_private(self, template: TemplateFolder, sample: Path) -> None:
        """No real person, host, address or key stands in a sample."""
        fix = "write what stands for it, in sample and expected file alike"
        with _law("nothing_private", template, sample, fix) as problems:
            problems.extend(laws.private(template, sample))


def _rewritten(sample: Sample, readings: Sequence[Reading]) -> bool:
    """Whether the expected file said otherwise, and was written anew."""
    try:
        if sample.expected() == expected_of(readings):
            return False
    except TemplateError:
        pass  # it is missing or broken
    sample.expected_path.write_text(written(readings), encoding="utf-8")
    return True


def _found(folder: Path, base: Path) -> Path:
    """A relative folder: beside the test's file or one of the folders above it, whichever has it."""
    for place in (base, *base.parents):
        if (place / folder / "template.toml").is_file():
            return place / folder
    return base / folder


@contextmanager
def _law(law: str, template: TemplateFolder, where: Path, fix: str, *, whole: bool = False) -> Iterator[list[str]]:
    """
    Gives a list for problems, and fails where there are any in the end; so does whatever the template raises.

    `law` is a sentence, or the name of one of LAWS, which passes where the template waives it. One that needs the `whole`
    template is not tried where template.toml or template.py cannot be used: that is a law of its own.
    """
    if whole and (flaw := flaw_of(template)) is not None:
        pytest.skip(f"the template cannot be used: {flaw}")
    problems: list[str] = []
    try:
        yield problems
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # a template's code may raise anything
        problems.append(str(error) if isinstance(error, GatewayError) else describe(error))
    if not problems or _is_waived(law, template):
        return
    shown = problems[:_MOST_SHOWN]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    lines = [f"{where}", f"  law: {LAWS.get(law, law)}", *(f"  - {line}" for line in shown), f"  fix: {fix}"]
    raise pytest.fail.Exception("\n".join(lines), pytrace=False) from None


def _is_waived(law: str, template: TemplateFolder) -> bool:
    file = file_of(template)
    return law in LAWS and file is not None and law in file.exempt
