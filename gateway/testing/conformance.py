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

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from gateway.config import nearest
from gateway.errors import GatewayError, TemplateError, UnreadableError
from gateway.models import AlertKey, Event, Reading
from gateway.pipeline import key_of
from gateway.rulebook import Rulebook, compile_rulebook
from gateway.rules import EVENT_FIELDS, Condition, compile_condition
from gateway.template import Request, TemplateFile, TemplateFolder, describe
from gateway.testing.mutations import NOTHING, mutations, paths, spoken
from gateway.testing.mutations import Path as Place
from gateway.testing.privacy import domain_of, hosts_in, private_in
from gateway.testing.samples import (
    EXPECTED,
    MEDIA_TYPES,
    PROVENANCE,
    Provenance,
    Sample,
    expected_of,
    read_provenance,
    read_sample,
)

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
_NO_IDS = frozenset({"", "None", "null", "[]", "{}", "undefined", "N/A"})
_MOST_SHOWN = 10
_TIMES_IN_FULL = 3
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
        problems = list(_unpaired(folder))
        _law(problems, folder, "samples come in pairs", "add what is missing, take out what is left over")

    def test_provenance_is_told(self, template: TemplateFolder) -> None:
        """provenance.toml says of every sample where it comes from, and of nothing else."""
        where = template.path / "samples" / PROVENANCE
        with _told(where, "every sample says where it comes from", "correct the entry that is named"):
            told = read_provenance(template)
        names = {path.name for path in template.samples()}
        problems = [f'["{name}"] is missing' for name in sorted(names - told.keys())]
        problems += [f'["{name}"] speaks of a sample that is not there' for name in sorted(told.keys() - names)]
        problems += [problem for name, one in told.items() for problem in _unsourced(name, one)]
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
            problems += _unclosed(template, read_sample(firing), read_sample(path))
        if not pairs and template.file.close is not None:
            problems.append(f"[close] is there, but no pair X{_FIRING}.json and X{_RESOLVED}.json shows that it works")
        fix = "give both the same source_id, source_name and source: the vendor's id of the condition, not of the message"
        _law(problems, template.path, LAWS["recovery_closes"], fix, _exempt(template.file, "recovery_closes"))

    def test_words_of_the_rules_occur(self, template: TemplateFolder) -> None:
        """Every word in [open], [close], [update] and [severity] is met by a sample, and every [[ignore]] ignores one."""
        seen = list(_seen(template))
        problems = list(_words_unseen(template.file, seen))
        reasons = {reading.reason for reading, _ in seen if reading.action == "ignore"}
        problems += [
            f"[[ignore]] {rule.reason!r}: no sample is ignored for it"
            for rule in template.file.ignore
            if rule.reason not in reasons
        ]
        fix = "add a sample from the vendor's documentation that holds the word, or take the word out"
        _law(
            problems, template.path / "template.toml", LAWS["words_occur"], fix, _exempt(template.file, "words_occur")
        )

    # each sample

    def test_expected_outcome(self, template: TemplateFolder, sample: Path) -> None:
        """The sample is read as its expected file says."""
        one = read_sample(sample)
        with _told(sample, "a sample is read as expected", "correct the template, or the sample"):
            found = expected_of(_read(template, one))
            expected = one.expected()
        problems = list(_differences(found, expected))
        fix = "correct the template; or, where it is right and you have read the difference, the expected file"
        _law(problems, one.expected_path, "a sample is read as expected", fix)

    def test_same_twice(self, template: TemplateFolder, sample: Path) -> None:
        """Reading depends on the message alone: not on the time, on chance, or on what was read before."""
        one = read_sample(sample)
        with _told(sample, "the same message gives the same events", "correct the template"):
            first, again = _read(template, one), _read(template, one)
        problems = [] if first == again else list(_differences(expected_of(again), expected_of(first))) or ["the times"]
        fix = "keep nothing between two messages, and ask neither the clock nor chance"
        _law(problems, template.path, "the same message gives the same events", fix)

    def test_mutations_are_read_or_refused(self, template: TemplateFolder, sample: Path) -> None:
        """With any one field dropped, empty, huge or of a wrong type the message is an event or a named refusal."""
        book = book_of(template)
        request = read_sample(sample).request(book)
        problems = list(_crashes(book, request, sample, _often_seen(template).get(sample, frozenset())))
        fix = "declare what is read as optional, or raise gateway.UnreadableError that says what is missing"
        _law(problems, template.path, "a message with one field changed is an event or a named refusal", fix)

    def test_nothing_private(self, template: TemplateFolder, sample: Path) -> None:
        """No real person, host, address or key stands in a sample."""
        domains = _domains(template)
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


@functools.cache
def template_at(folder: Path) -> TemplateFolder:
    """The template of a folder, one for all tests."""
    return TemplateFolder(folder)


@functools.cache
def book_of(template: TemplateFolder) -> Rulebook:
    """Its rules without anybody's settings, compiled once."""
    return compile_rulebook(template, {})


def _read(template: TemplateFolder, sample: Sample) -> list[Reading]:
    book = book_of(template)
    return book.readings(sample.request(book))


def _found(folder: Path, base: Path) -> Path:
    """A relative folder: beside the test's file or one of the folders above it, whichever has it."""
    for place in (base, *base.parents):
        if (place / folder / "template.toml").is_file():
            return place / folder
    return base / folder


def _unpaired(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield "there are no samples"
        return
    kinds = (".http", *MEDIA_TYPES)
    names = {path.name for path in folder.iterdir()}
    expected = {name for name in names if name.endswith(EXPECTED)}
    samples = {name for name in names - expected if Path(name).suffix in kinds}
    if not samples:
        yield "there are no samples"
    for name in sorted(samples):
        if Path(name).stem + EXPECTED not in expected:
            yield f"{name}: there is no {Path(name).stem}{EXPECTED}"
        twins = [other for other in samples if other < name and Path(other).stem == Path(name).stem]
        if twins:
            yield f"{name} and {twins[0]} have one name: both would share one expected file"
    cases = {Path(name).stem for name in samples}
    for name in sorted(expected):
        if name.removesuffix(EXPECTED) not in cases:
            yield f"{name}: there is no sample of that name"
    for name in sorted(names - samples - expected - {PROVENANCE}):
        yield f"{name} is neither a sample ({', '.join(kinds)}) nor expected of one"


def _unsourced(name: str, provenance: Provenance) -> Iterator[str]:
    if not provenance.url.startswith("https://"):
        yield f'["{name}"] url = {provenance.url!r} is no https address'
    if provenance.kind != "documented" and not provenance.note:
        yield f'["{name}"] is {provenance.kind}, and no note says how it came about'


def _unclosed(template: TemplateFolder, firing: Sample, resolved: Sample) -> Iterator[str]:
    try:
        opened = _keys(_read(template, firing), "open")
        closed = _keys(_read(template, resolved), "close")
    except Exception as error:  # noqa: BLE001  # a template's code may raise anything
        yield f"{firing.path.name}, {resolved.path.name}: {describe(error)}"
        return
    if not opened:
        yield f"{firing.path.name} opens nothing"
    if not closed:
        yield f"{resolved.path.name} closes nothing"
    for key in opened - closed if opened and closed else ():
        ids = ", ".join(sorted(repr((other.source, other.source_name, other.source_id)) for other in closed))
        mine = (key.source, key.source_name, key.source_id)
        yield f"{firing.path.name} opens {mine!r}; {resolved.path.name} closes {ids}"


def _keys(readings: Iterable[Reading], action: str) -> set[AlertKey]:
    return {key_of("", reading.event) for reading in readings if reading.action == action and reading.event}


Seen = tuple[Reading, list[Any]]


def _seen(template: TemplateFolder) -> Iterator[Seen]:
    """Every reading of every sample, with what holes saw."""
    book = book_of(template)
    for path in template.samples():
        try:
            request = read_sample(path).request(book)
            readings = book.readings(request)
        except GatewayError:
            continue  # test_expected_outcome tells
        scopes: list[Any] = [request.scope]
        if book.file.each and isinstance(elements := request_elements(book, request), list):
            scopes = [request.scope_of(element) for element in elements]
        for reading in readings:
            yield reading, scopes


def request_elements(book: Rulebook, request: Request) -> Any:
    """What `each` finds in a message."""
    from gateway.mapping import Hole

    return Hole(book.file.each or "@").find(request.scope)


def _words_unseen(file: TemplateFile, seen: list[Seen]) -> Iterator[str]:
    for action in ("open", "close", "update"):
        rule = getattr(file, action)
        if rule is not None:
            yield from _unmet(rule, f"[{action}]", "source_status", seen)
    for severity in ("critical", "error", "warning", "info"):
        rule = getattr(file.severity, severity)
        if isinstance(rule, list):
            rule = Condition(is_one_of=rule)
        if rule is not None:
            yield from _unmet(rule, f"[severity] {severity}", "source_severity", seen)


def _unmet(condition: Condition, where: str, default_field: str, seen: list[Seen]) -> Iterator[str]:
    """The words of a condition that no sample meets, each tried as a condition of its own."""
    for part in [*(condition.all or []), *(condition.any or [])]:
        yield from _unmet(part, where, default_field, seen)
    for word, single in _singles(condition):
        test = compile_condition(single, where, default_field)
        if not any(_holds(test, reading, scopes) for reading, scopes in seen):
            yield f"{where} {word!r} occurs in no sample"


def _singles(condition: Condition) -> Iterator[tuple[object, Condition]]:
    bare = {"field": condition.field, "case_sensitive": condition.case_sensitive}
    for operator in ("is_one_of", "contains", "starts_with"):
        for word in getattr(condition, operator) or ():
            yield word, Condition(**bare, **{operator: [word]})  # type: ignore[arg-type]  # built by name
    if condition.matches is not None:
        yield condition.matches, Condition(**bare, matches=condition.matches)  # type: ignore[arg-type]  # the same


def _holds(test: Callable[[Any, Any], tuple[bool, str]], reading: Reading, scopes: list[Any]) -> bool:
    event = reading.event
    fields = {name: getattr(event, name) for name in EVENT_FIELDS} if event is not None else {}
    return any(test(fields, scope)[0] for scope in scopes)


@functools.cache
def _often_seen(template: TemplateFolder) -> dict[Path, frozenset[Place]]:
    """For each sample the fields that several samples before it have too: those are changed in a few ways only."""
    book = book_of(template)
    times: Counter[Place] = Counter()
    often = {}
    for sample in template.samples():
        try:
            places = set(paths(read_sample(sample).request(book).data))
        except GatewayError:
            continue  # test_expected_outcome tells
        often[sample] = frozenset(place for place in places if times[place] >= _TIMES_IN_FULL)
        times.update(places)
    return often


def _crashes(book: Rulebook, request: Request, sample: Path, briefly: frozenset[Place]) -> Iterator[str]:
    for path, what, data in mutations(request.data, briefly):
        changed = Request(data, headers=request.headers, query=request.query, body=msgspec.json.encode(data))
        try:
            readings = book.readings(changed)
            msgspec.msgpack.encode(readings)
        except UnreadableError:
            continue
        except BaseException as error:  # noqa: BLE001  # a template's code may raise anything
            if isinstance(error, KeyboardInterrupt):
                raise
            yield f"{sample.name} with {what} at {spoken(path)}: {describe(error)}"
            continue
        if what in NOTHING:
            ids = {reading.event.source_id for reading in readings if isinstance(reading.event, Event)}
            for identity in ids & _NO_IDS:
                yield f"{sample.name} with {what} at {spoken(path)}: {identity!r} is no id; all such messages would share it"


def _domains(template: TemplateFolder) -> frozenset[str]:
    """The domains that the template itself speaks of: the vendor's."""
    try:
        urls = [provenance.url for provenance in read_provenance(template).values()]
    except TemplateError:
        urls = []
    return frozenset({domain_of("github.com")}) | hosts_in("\n".join([template.file.docs_url, template.readme, *urls]))


def _differences(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> Iterator[str]:
    if len(found) != len(expected):
        yield f"{len(found)} events are read, {len(expected)} are expected"
    for at, (one, other) in enumerate(zip(found, expected, strict=False)):
        for key in [*one, *(key for key in other if key not in one)]:
            if key not in one:
                yield f"events[{at}].{key}: there is no such key{nearest(key, list(one))}"
            elif key not in other:
                yield f"events[{at}].{key}: read {one[key]!r}, and nothing is expected"
            elif one[key] != other[key]:
                yield f"events[{at}].{key}: read {one[key]!r}, expected {other[key]!r}"


def _exempt(file: TemplateFile, law: str) -> str | None:
    return file.exempt.get(law)


def _law(problems: list[str], where: Path, law: str, fix: str, exempt: str | None = None) -> None:
    """Fail with every problem, or skip nothing: what is exempt passes with its reason."""
    if not problems or exempt is not None:
        return
    shown = problems[:_MOST_SHOWN]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    pytest.fail("\n".join([f"{where}", f"  law: {law}", *(f"  - {line}" for line in shown), f"  fix: {fix}"]), pytrace=False)


class _told:  # noqa: N801  # reads as a statement
    """Turns whatever a template raises into a failure that says where, which law, and what to do."""

    def __init__(self, where: Path, law: str, fix: str) -> None:
        self._where, self._law, self._fix = where, law, fix

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt | pytest.fail.Exception):
            _law([str(error) if isinstance(error, GatewayError) else describe(error)], self._where, self._law, self._fix)
