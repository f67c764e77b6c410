"""The laws themselves: each finds the template that breaks it, and says law, file and fix."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import TemplateError
from gateway.template import TemplateFolder
from gateway.testing import TemplateConformance, expected_of, read_provenance, read_sample, written
from gateway.testing.mutations import VALUES, mutations, spoken
from gateway.testing.privacy import private_in
from gateway.testing.reading import book_of

TOML = """
api = 1
name = "Acme"
docs_url = "https://docs.acme.dev/webhooks"
categories = ["x"]
accepts = ["json", "form", "text"]
[fields]
source_id = "{id}"
source_status = "{status}"
source_severity = "{severity}"
subject = "{title}"
[open]
is_one_of = ["down"]
[close]
is_one_of = ["up"]
[[ignore]]
reason = "a test"
field = "{test}"
is_present = true
[severity]
critical = ["high"]
[verification]
kind = "token"
header = "X-Token"
"""
README = "# Acme\n\n1. Enter `{endpoint_url}`.\n"
BODIES = {
    "disk_firing": {"id": 7, "status": "down", "severity": "high", "title": "disk is full"},
    "disk_resolved": {"id": 7, "status": "up", "title": "disk is fine"},
    "test_message": {"test": True},
}
HOME = "/" + "home"  # in two words: nothing here may look like a place of one machine
IN_PROCESSES = "test_a_real_gateway_reads_the_same"
"""The law that needs a gateway: `bad_templates/` has one that breaks it."""
Change = Callable[[Path], object]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A template that keeps every law."""
    folder = tmp_path / "acme"
    samples = folder / "samples"
    samples.mkdir(parents=True)
    (folder / "template.toml").write_text(TOML)
    (folder / "README.md").write_text(README)
    for name, body in BODIES.items():
        (samples / f"{name}.json").write_text(json.dumps(body))
    (samples / "provenance.toml").write_text(
        "".join(
            f'["{name}.json"]\nkind = "documented"\nurl = "https://docs.acme.dev"\ndate = 2026-11-22\n'
            for name in BODIES
        )
    )
    expect(folder)
    return folder


def expect(folder: Path) -> None:
    """Write what is read as what is expected, where it can be read."""
    template = TemplateFolder(folder)
    for path in template.samples():
        sample = read_sample(path)
        sample.expected_path.write_text(written(book_of(template).readings(sample.request(book_of(template)))))


def broken(folder: Path) -> dict[str, str]:
    """The laws that a template breaks, by the name of the test, with what is said."""
    suite, template = TemplateConformance(), TemplateFolder(folder)
    found: dict[str, str] = {}
    for name in [name for name in dir(suite) if name.startswith("test_") and name != IN_PROCESSES]:
        test = getattr(suite, name)
        by_sample = "sample" in inspect.signature(test).parameters
        for case in [{"sample": sample} for sample in template.samples()] if by_sample else [{}]:
            try:
                test(template=template, **case)
            except pytest.fail.Exception as failure:
                found[name] = found.get(name, "") + str(failure)
            except pytest.skip.Exception:
                pass  # another law says why
    return found


def code(text: str) -> Change:
    """Adds a template.py."""

    def change(folder: Path) -> None:
        (folder / "template.py").write_text(f"from gateway import Event, Ignored, UnreadableError\n{text}\n")

    return change


def replaced(name: str, old: str, new: str = "") -> Change:
    """Changes a text in a file."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def put(name: str, content: str = "{}") -> Change:
    """Adds a file."""
    return lambda folder: (folder / name).write_text(content)


def removed(name: str) -> Change:
    """Removes a file."""
    return lambda folder: (folder / name).unlink()


def test_a_good_template_breaks_nothing(good: Path) -> None:
    assert broken(good) == {}


@pytest.mark.parametrize(
    "change, test, words",
    [
        (replaced("template.toml", 'categories = ["x"]'), "test_template_toml_is_right", "categories is empty"),
        (
            replaced("template.toml", "https://docs", "http://docs"),
            "test_template_toml_is_right",
            "is no https address",
        ),
        (replaced("template.toml", "docs_url", "dcs_url"), "test_template_toml_is_right", "did you mean docs_url?"),
        (replaced("template.toml", '"{id}"', '"{id id}"'), "test_template_toml_is_right", "is not JMESPath"),
        (put("template.py", "raise SystemExit"), "test_template_py_is_imported", "SystemExit"),
        (
            replaced("template.toml", "[verification]", '[exempt]\nwords_ocur = "no such law here"\n[verification]'),
            "test_template_toml_is_right",
            "there is no such law; did you mean words_occur?",
        ),
        (
            replaced("template.toml", "[verification]", '[exempt]\nwords_occur = "because"\n[verification]'),
            "test_template_toml_is_right",
            "is no reason",
        ),
        (removed("README.md"), "test_readme_has_the_steps", "there is no README.md"),
        (put("README.md", "1. Go."), "test_readme_has_the_steps", "{endpoint_url} is nowhere in it"),
        (put("README.md", "Enter {endpoint_url}."), "test_readme_has_the_steps", "no numbered steps"),
        (put("samples/new.json"), "test_nothing_is_unpaired", "new.json: there is no new.expected.json"),
        (put("samples/new.json"), "test_nothing_is_unpaired", "`pytest --update-expected` writes expected files"),
        (put("samples/new.expected.json"), "test_nothing_is_unpaired", "there is no sample of that name"),
        (put("samples/notes.md"), "test_nothing_is_unpaired", "notes.md is neither a sample"),
        (put("samples/test_message.txt"), "test_nothing_is_unpaired", "have one name"),
        (removed("samples/provenance.toml"), "test_provenance_is_told", "provenance.toml: No such file"),
        (put("samples/new.json"), "test_provenance_is_told", '["new.json"] is missing'),
        (
            replaced("samples/provenance.toml", '"test_message.json"', '"tset_message.json"'),
            "test_provenance_is_told",
            "speaks of a sample that is not there",
        ),
        (replaced("samples/provenance.toml", "kind", "knid"), "test_provenance_is_told", "did you mean kind?"),
        (replaced("samples/provenance.toml", "documented", "made up"), "test_provenance_is_told", "made up"),
        (replaced("samples/provenance.toml", "documented", "captured"), "test_provenance_is_told", "no note says how"),
        (replaced("samples/provenance.toml", "https:", "http:"), "test_provenance_is_told", "is no https address"),
        (replaced("samples/provenance.toml", "2026-11-22", '"today"'), "test_provenance_is_told", "date"),
        (
            replaced("template.toml", 'kind = "token"\nheader = "X-Token"', 'kind = "none"'),
            "test_sender_is_verified",
            "its kind is none",
        ),
        (
            replaced("samples/disk_resolved.json", "7", "8"),
            "test_recovery_closes_what_fired",
            "disk_firing.json opens ('Acme', '', '7'); disk_resolved.json closes",
        ),
        (replaced("samples/disk_resolved.json", "up", "odd"), "test_recovery_closes_what_fired", "closes nothing"),
        (replaced("samples/disk_firing.json", "down", "odd"), "test_recovery_closes_what_fired", "opens nothing"),
        (removed("samples/disk_firing.json"), "test_recovery_closes_what_fired", "there is no disk_firing"),
        (removed("samples/disk_resolved.json"), "test_recovery_closes_what_fired", "[close] is there, but no pair"),
        (
            replaced("template.toml", '["down"]', '["down", "broken"]'),
            "test_words_of_the_rules_occur",
            "[open] 'broken' occurs in no sample",
        ),
        (
            replaced("template.toml", 'is_one_of = ["up"]', 'any = [{ contains = ["up"] }, { matches = "^ok$" }]'),
            "test_words_of_the_rules_occur",
            "[close] '^ok$' occurs in no sample",
        ),
        (
            replaced("template.toml", '["high"]', '["high", 1]'),
            "test_words_of_the_rules_occur",
            "[severity] critical 1 occurs in no sample",
        ),
        (removed("samples/test_message.json"), "test_words_of_the_rules_occur", "no sample is ignored for it"),
        (
            replaced("samples/disk_firing.json", "full", "fool"),
            "test_expected_outcome",
            "events[0].subject: read 'disk is fool'",
        ),
        (
            replaced("samples/disk_firing.expected.json", '"subject"', '"subjet"'),
            "test_expected_outcome",
            "did you mean subject?",
        ),
        (
            put("samples/disk_firing.expected.json", '{"events": []}'),
            "test_expected_outcome",
            "1 events are read, 0 are",
        ),
        (
            put("samples/disk_firing.expected.json", '{"events": []}'),
            "test_expected_outcome",
            "`pytest --update-expected` writes anew",
        ),
        (put("samples/disk_firing.expected.json", "[]"), "test_expected_outcome", 'it is not {"events"'),
        (
            code("def read(request, seen=[]):\n    seen.append(1)\n    yield Event(source_id=str(len(seen)))"),
            "test_same_twice",
            "events[0].source_id",
        ),
        (
            code(
                "def read(request):\n    d = request.data if isinstance(request.data, dict) else {'title': 'x'}\n"
                "    yield Event(source_id='x', subject=str(d['title']))"
            ),
            "test_mutations_are_read_or_refused",
            "disk_resolved.json with dropped at title: KeyError: 'title'",
        ),
        (
            code(
                "def read(request):\n"
                "    d = request.data if isinstance(request.data, dict) else {}\n"
                "    yield Event(source_id=str(d.get('id')))"
            ),
            "test_mutations_are_read_or_refused",
            "with null at id: 'None' is no id; all such messages would share it",
        ),
        (
            code("def read(request):\n    raise SystemExit"),
            "test_expected_outcome",
            "SystemExit",
        ),
        (replaced("samples/disk_firing.json", "full", "full for ann@corp.io"), "test_nothing_private", "ann@corp.io"),
    ],
)
def test_what_breaks_a_law_is_found_with_file_and_fix(good: Path, change: Change, test: str, words: str) -> None:
    change(good)
    said = broken(good)
    assert words in said[test]
    assert str(good) in said[test]
    assert "  law: " in said[test]
    assert "  fix: " in said[test]


@pytest.mark.parametrize(
    "change, waiver",
    [
        (replaced("template.toml", 'kind = "token"\nheader = "X-Token"', 'kind = "none"'), "sender_verified"),
        (replaced("samples/disk_resolved.json", "7", "8"), "recovery_closes"),
        (replaced("template.toml", '["down"]', '["down", "broken"]'), "words_occur"),
        (replaced("samples/disk_firing.json", "full", "full for ann@corp.io"), "nothing_private"),
    ],
)
def test_a_law_may_be_waived_with_a_reason(good: Path, change: Change, waiver: str) -> None:
    change(good)
    with (good / "template.toml").open("a") as file:
        file.write(f'\n[exempt]\n{waiver} = "the vendor cannot do it"\n')
    expect(good)
    assert broken(good) == {}


def test_a_suite_is_three_lines(good: Path) -> None:
    (good.parent / "test_acme.py").write_text(
        'from gateway.testing import TemplateConformance\nclass TestAcme(TemplateConformance):\n    folder = "acme"\n'
    )
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", "test_acme.py"]
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, cwd=good.parent, env=environ, check=False, capture_output=True, text=True)
    assert f"{10 + 4 * len(BODIES)} passed" in done.stdout, done.stdout


# samples


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_an_http_sample(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "a.http"
    lines = ["POST /x?a=1&b=2 HTTP/1.1", "Content-Type: text/plain", "X-One:  1 ", "", "first", "second", ""]
    path.write_bytes(line_end.join(lines).encode())
    sample = read_sample(path)
    assert sample.query == b"a=1&b=2"
    assert sample.headers == b"content-type: text/plain\r\nx-one: 1"
    assert sample.body == f"first{line_end}second".encode()


def test_content_length_says_where_the_body_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.http"
    path.write_text("POST / HTTP/1.1\nContent-Length: 3\n\nab\n")
    assert read_sample(path).body == b"ab\n"
    path.write_text("POST / HTTP/1.1\nContent-Length: 9\n\nab\n")
    with pytest.raises(TemplateError, match="Content-Length is 9, and the body has 3 bytes"):
        read_sample(path)


@pytest.mark.parametrize("text", ["", "POST /", "POST / HTTP/1.1\nno header\n\n", "HELLO / HTTP/1.1\n\n", "{}"])
def test_a_sample_that_is_no_request_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.http"
    path.write_text(text)
    with pytest.raises(TemplateError, match=r"a\.http: "):
        read_sample(path)


def test_expected_files_are_rendered_as_they_are_read(good: Path) -> None:
    template = TemplateFolder(good)
    sample = read_sample(good / "samples" / "disk_firing.json")
    readings = book_of(template).readings(sample.request(book_of(template)))
    (event,) = expected_of(readings)
    assert list(event) == [
        "action",
        "reason",
        "source",
        "source_name",
        "source_id",
        "source_url",
        "source_status",
        "severity",
        "subject",
        "description",
        "tags",
    ]
    assert (event["action"], event["severity"], event["source_id"]) == ("open", "critical", "7")
    assert sample.expected() == [event]
    assert read_provenance(template)["disk_firing.json"].kind == "documented"


# mutations


def test_every_field_at_every_depth_is_changed_and_nothing_else() -> None:
    data = {"a": [{"b": 1}, 2, 3, 4], "c": None}
    seen = set()
    for path, what, changed in mutations(data):
        seen.add((spoken(path), what))
        if path and path[0] == "c":
            assert changed["a"] is data["a"]
    assert data == {"a": [{"b": 1}, 2, 3, 4], "c": None}
    places = {"the whole message", "a", "a[0]", "a[0].b", "a[1]", "a[2]", "c"}  # of a long list the first three
    assert {place for place, _ in seen} == places
    assert len(seen) == len(places) * (len(VALUES) + 1) - 1


# privacy


@pytest.mark.parametrize(
    "text",
    [
        "ann@corp.io",
        "https://jira.corp.io/x",
        "10.1.2.3",
        "8.8.8.8",
        "fe80::1ff:fe23:4567:890a",
        "arn:aws:sns:eu-1:998877665544:x",
        f"see {HOME}/ann/x",
        "C:\\Users\\ann",
        "Bearer abcdefghij0123456789",
        "AKIAABCDEFGHIJKLMNOP",
        "-----BEGIN RSA PRIVATE KEY-----",
        "xoxb-1234567890-abc",
        "ghp_" + "a1" * 18,
        "ag_" + "x" * 49,
        '"api_key": "0123456789abcdef01234567"',
        "mail%3Aann%40corp.io",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.x",
        "https://latest/",
        "https://a.latest/x",
    ],
)
def test_what_is_private_is_found(text: str) -> None:
    if text == "https://latest/":
        assert not list(private_in(text))  # no dot, no host
        return
    assert list(private_in(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.com",
        "ann@db.example.org",
        "https://jira.example.com/x",
        "https://a.test/x",
        "https://app.acme.dev/x",
        "192.0.2.7",
        "198.51.100.1",
        "127.0.0.1",
        "0.0.0.0",
        "::1",
        "2001:db8::1",
        "12:30:45",
        "00:11:22:33:44:55",
        "version 1.2.3",
        "arn:aws:sns:eu-1:123456789012:x",
        f"{HOME}/example/x",
        f"https://app.acme.dev/#{HOME}/monitors",
        "Bearer example-token-0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "2026-11-22T02:37:33.120Z",
        "1.2.3.4.5",
        "sha256=0123456789abcdef0123456789abcdef",
    ],
)
def test_what_is_made_up_is_left_alone(text: str) -> None:
    assert list(private_in(text, frozenset({"acme.dev"}))) == []
