"""
What breaks a law, one function for each: every problem is a sentence that names its file or its place.

`conformance.py` makes tests of them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.config import nearest
from gateway.directory import key_of
from gateway.errors import GatewayError, TemplateError, UnreadableError
from gateway.mapping import Hole
from gateway.models import AlertKey, Event, Reading
from gateway.rulebook import Rulebook
from gateway.rules import EVENT_FIELDS, Condition, compile_condition
from gateway.template import Request, TemplateFile, TemplateFolder, describe
from gateway.testing.mutations import NOTHING, mutations, paths, spoken
from gateway.testing.mutations import Path as Place
from gateway.testing.privacy import domain_of, hosts_in, private_in
from gateway.testing.reading import book_of, file_of, read_or_none
from gateway.testing.samples import (
    EXPECTED,
    MEDIA_TYPES,
    PROVENANCE,
    Provenance,
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
_FIRING, _RESOLVED = "_firing", "_resolved"
_SIGNATURES = ("hmac", "standard_webhooks", "certificate")
_NO_IDS = frozenset({"", "None", "null", "[]", "{}", "undefined", "N/A"})
_TIMES_IN_FULL = 2  # a problem and its recovery
RAISED = (Exception, SystemExit, GeneratorExit)
"""What a template's code may raise; an interrupt is the tester's."""


def unpaired(folder: Path) -> Iterator[str]:
    """What lies in samples/ without its other half, or is no sample at all."""
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


def unsourced(name: str, provenance: Provenance) -> Iterator[str]:
    """What is wrong with what is told of where a sample comes from."""
    if not provenance.url.startswith("https://"):
        yield f'["{name}"] url = {provenance.url!r} is no https address'
    if provenance.kind != "documented" and not provenance.note:
        yield f'["{name}"] is {provenance.kind}, and no note says how it came about'


def unclosed(template: TemplateFolder) -> Iterator[str]:
    """What recoveries leave open of what their problems opened, and that none is shown."""
    cases = {path.stem: path for path in template.samples()}
    recoveries = [case.removesuffix(_RESOLVED) for case in cases if case.endswith(_RESOLVED)]
    for case in recoveries:
        firing, resolved = cases.get(case + _FIRING), cases[case + _RESOLVED]
        if firing is None:
            yield f"{resolved.name}: there is no {case}{_FIRING}"
        else:
            yield from _unclosed(template, firing, resolved)
    if cases and not recoveries and template.file.close is not None:
        yield f"[close] is there, but no pair X{_FIRING}.json and X{_RESOLVED}.json shows it at work"


def _unclosed(template: TemplateFolder, firing: Path, resolved: Path) -> Iterator[str]:
    fired, recovered = read_or_none(template, firing), read_or_none(template, resolved)
    if fired is None or recovered is None:
        return
    opened, closed = _keys(fired, "open"), _keys(recovered, "close")
    if not opened:
        yield f"{firing.name} opens nothing"
    if not closed:
        yield f"{resolved.name} closes nothing"
    for key in opened - closed if opened and closed else ():
        ids = ", ".join(sorted(repr((other.source, other.source_name, other.source_id)) for other in closed))
        mine = (key.source, key.source_name, key.source_id)
        yield f"{firing.name} opens {mine!r}; {resolved.name} closes {ids}"


def _keys(readings: Iterable[Reading], action: str) -> set[AlertKey]:
    return {key_of("", reading.event) for reading in readings if reading.action == action and reading.event}


Seen = tuple[Reading, list[Any]]


def unmet(template: TemplateFolder) -> Iterator[str]:
    """The words of the rules that no sample meets; nothing where there are no samples at all."""
    seen = list(_seen_in(template))
    if not template.samples():
        return
    yield from _words_unseen(template.file, seen)
    reasons = {reading.reason for reading, _ in seen if reading.action == "ignore"}
    for rule in template.file.ignore:
        if rule.reason not in reasons:
            yield f"[[ignore]] {rule.reason!r}: no sample is ignored for it"


def _seen_in(template: TemplateFolder) -> Iterator[Seen]:
    """Every reading of every sample, with what holes saw."""
    book = book_of(template)
    for path in template.samples():
        readings = read_or_none(template, path)
        if readings is None:
            continue
        request = read_sample(path).request(book)
        scopes: list[Any] = [request.scope]
        if book.file.each and isinstance(elements := _elements(book, request), list):
            scopes = [request.scope_of(element) for element in elements]
        for reading in readings:
            yield reading, scopes


def _elements(book: Rulebook, request: Request) -> Any:
    """What `each` finds in a message."""
    return Hole(book.file.each or "@").find(request.scope)


def _words_unseen(file: TemplateFile, seen: list[Seen]) -> Iterator[str]:
    """The words in the rules for actions and severities that no sample meets."""
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
def often_seen(template: TemplateFolder) -> dict[Path, frozenset[Place]]:
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


def changing(template: TemplateFolder, path: Path) -> Iterator[str]:
    """Where a sample is not read the second time as it was the first time."""
    first = read_or_none(template, path)
    again = first and read_or_none(template, path)
    if first is None or first == again:
        return
    if again is None or len(first) != len(again):
        yield "the second time it is not read, or gives another number of events"
        return
    for at, (one, other) in enumerate(zip(first, again, strict=True)):
        mine, yours = msgspec.structs.asdict(one), msgspec.structs.asdict(other)
        if one.event is not None and other.event is not None:
            mine, yours = mine | msgspec.structs.asdict(one.event), yours | msgspec.structs.asdict(other.event)
        for key in mine:
            if key not in ("event", "trace") and mine[key] != yours.get(key):
                yield f"events[{at}].{key}: first {mine[key]!r}, then {yours.get(key)!r}"


def crashes(template: TemplateFolder, path: Path) -> Iterator[str]:
    """What neither was read nor was refused by name, of a message with one field changed."""
    if read_or_none(template, path) is not None:
        book = book_of(template)
        briefly = often_seen(template).get(path, frozenset())
        yield from _crashes(book, read_sample(path).request(book), path, briefly)


def _crashes(book: Rulebook, request: Request, sample: Path, briefly: frozenset[Place]) -> Iterator[str]:
    for path, what, data in mutations(request.data, briefly):
        changed = Request(data, headers=request.headers, query=request.query, body=msgspec.json.encode(data))
        try:
            readings = book.readings(changed)
            msgspec.msgpack.encode(readings)
        except UnreadableError:
            continue
        except BaseException as error:  # a template's code may raise anything
            if isinstance(error, KeyboardInterrupt):
                raise
            yield f"{sample.name} with {what} at {spoken(path)}: {describe(error)}"
            continue
        if what in NOTHING:
            ids = {reading.event.source_id for reading in readings if isinstance(reading.event, Event)}
            for identity in ids & _NO_IDS:
                yield f"{sample.name} with {what} at {spoken(path)}: {identity!r} is no id; all such messages would share it"


def private(template: TemplateFolder, path: Path) -> Iterator[str]:
    """What looks private in a sample and in what is expected of it."""
    domains = _domains_of(template)
    for file in (path, path.with_name(path.stem + EXPECTED)):
        if file.is_file():
            for problem in sorted(set(private_in(file.read_text(encoding="utf-8", errors="replace"), domains))):
                yield f"{file.name}: {problem}"


def _domains_of(template: TemplateFolder) -> frozenset[str]:
    """The domains that the template itself speaks of: the vendor's."""
    try:
        urls = [provenance.url for provenance in read_provenance(template).values()]
    except TemplateError:
        urls = []
    file = file_of(template)
    texts = [file.docs_url if file else "", template.readme, *urls]
    return frozenset({domain_of("github.com")}) | hosts_in("\n".join(texts))


def differences(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> Iterator[str]:
    """Key by key, where two lists of events are not the same."""
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


def _shows_recovery(template: TemplateFolder) -> bool:
    return any(path.stem.endswith(_RESOLVED) for path in template.samples())


def needless(template: TemplateFolder) -> Iterator[str]:
    """
    Waivers of laws that the template keeps.

    A sender's password beside the message is not a signature of it, so a reason may stand there too.
    """
    signed = any(spec.kind in _SIGNATURES for spec in template.file.verifications)
    kept = {
        "sender_verified": signed,
        "recovery_closes": _shows_recovery(template) and not any(unclosed(template)),
        "words_occur": not any(unmet(template)),
        "nothing_private": not any(problem for path in template.samples() for problem in private(template, path)),
    }
    for law in template.file.exempt:
        if kept.get(law):
            yield f"[exempt] {law}: the template keeps this law"
