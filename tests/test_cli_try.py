"""`try`: what a body would do, for one and for a stream of lines."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.cli.lines import answer_lines
from gateway.cli.reading import Bench
from gateway.config import Settings
from gateway.loader import builtin_dir, load_plugins

ROOT = Path(__file__).parent.parent
GOOD = b'{"template":"custom","body":{"source_id":"a","status":"open"}}'
SAMPLES = [
    path
    for path in sorted(builtin_dir().glob("*/samples/*"))
    if path.suffix in (".json", ".http") and not path.name.endswith(".expected.json")
]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(load_plugins(Settings()), Settings(), {})


def answers(bench: Bench, *lines: bytes) -> list[dict[str, Any]]:
    target = io.BytesIO()
    answer_lines(bench, io.BytesIO(b"\n".join(lines) + b"\n"), target)
    found = [json.loads(line) for line in target.getvalue().decode("utf-8").splitlines()]
    assert len(found) == len(lines), "a line in, a line out"
    assert all(set(answer) == {"template", "events", "error"} for answer in found)
    return found


HOSTILE = {
    "empty": b"",
    "no JSON": b"hello",
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "no template": b'{"body":{}}',
    "a template that is a number": b'{"template":5,"body":{}}',
    "no such template": b'{"template":"nope","body":{}}',
    "a path as template": b'{"template":"../custom","body":{}}',
    "no body": b'{"template":"custom"}',
    "two bodies": b'{"template":"custom","body":"x","body_base64":"eA=="}',
    "bad base64": b'{"template":"custom","body_base64":"%%%"}',
    "bad UTF-8": b'{"template":"custom","body":"\xff"}',
    "half a character": b'{"template":"custom","body":{"source_id":"\\ud800","status":"open"}}',
    "half a character inside": b'{"template":"custom","body":"{\\"source_id\\":\\"\\\\ud800\\",\\"status\\":\\"open\\"}"}',
    "deep": b'{"template":"custom","body":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep inside": b'{"template":"custom","body":"' + b"[" * 100_000 + b'"}',
    "too large": b'{"template":"custom","body":"' + b"x" * 1_100_000 + b'"}',
    "a broken header": b'{"template":"custom","body":{"source_id":"a","status":"open"},"headers":{"a\\nb":"c"}}',
    "headers that are a number": b'{"template":"custom","body":{"source_id":"a","status":"open"},"headers":5}',
    "a query that is a number": b'{"template":"custom","body":{"source_id":"a","status":"open"},"query":5}',
    "a gzip that ends early": b'{"template":"custom","body_base64":"H4sIAAAAAAAA","headers":{"content-encoding":"gzip"}}',
    "no id": b'{"template":"custom","body":{"status":"open"}}',
    "an endless id": b'{"template":"custom","body":{"source_id":"' + b"a" * 70_000 + b'","status":"open"}}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_line_gets_an_error_and_the_next_is_read(name: str, bench: Bench) -> None:
    bad, good = answers(bench, HOSTILE[name], GOOD)
    assert bad["error"]
    assert bad["events"] == []
    assert good["error"] is None
    assert good["events"][0]["source_id"] == "a"


def test_a_deep_line_still_says_whose_it_was(bench: Bench) -> None:
    assert answers(bench, HOSTILE["deep"])[0]["template"] == "custom"


def test_a_line_longer_than_any_is_passed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.lines.MAX_LINE", 200)
    long, good = answers(bench, b"x" * 999, GOOD)
    assert "over 200 bytes" in long["error"]
    assert good["error"] is None


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.parent.name}-{path.name}")
def test_a_sample_is_read_as_is_expected_of_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads(path.with_suffix(".expected.json").read_bytes())
    main(["try", path.parent.parent.name, str(path), "--json"])
    told = json.loads(capsys.readouterr().out)
    events = [{key: event[key] for key in event if key not in ("fields", "trace")} for event in told["events"]]
    assert events == expected.get("events", [])


def test_body_headers_and_query_in_every_form(bench: Bench) -> None:
    form = b'"body":"source_id=f&status=open"'
    lines = [
        b'{"template":"custom","body":"{\\"source_id\\":\\"f\\",\\"status\\":\\"open\\"}"}',
        b'{"template":"custom","body":null,"body_base64":"eyJzb3VyY2VfaWQiOiJmIiwic3RhdHVzIjoib3BlbiJ9"}',
        b'{"template":"custom",' + form + b',"headers":{"Content-Type":"application/x-www-form-urlencoded"}}',
        b'{"template":"custom",' + form + b',"headers":[["X","1"],["X","2"]],"query":"?a=b"}',
        b'{"template":"custom",' + form + b',"query":{"a":[1,2],"b":true},"more":"is passed over"}',
    ]
    for answer in answers(bench, *lines):
        assert answer["error"] is None
        assert answer["events"][0]["source_id"] == "f"


def test_big_numbers_stay_whole(bench: Bench) -> None:
    line = b'{"template":"custom","body":{"source_id":12345678901234567890123,"status":"open"}}'
    assert answers(bench, line)[0]["events"][0]["source_id"] == "12345678901234567890123"


# templates that misbehave

BAD_TEMPLATES = {
    "raises": "raise ValueError('\\ud800')",
    "exits": "raise SystemExit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "loops": "while True: pass",
    "gives-nothing": "return None",
    "gives-garbage": "return [1]",
    "has-no-words": "return [gateway.Ignored(object())]",
}


@pytest.fixture(scope="module")
def bad_templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins")
    for slug, code in {
        **BAD_TEMPLATES,
        "half": "return [gateway.Ignored('\\ud800')]",
        "prints": "print('noise'); return [gateway.Ignored('quiet')]",
    }.items():
        (folder / slug).mkdir()
        text = 'api = 1\nname = "Bad"\n[open]\nis_one_of = ["open"]\n'
        if slug == "prints":
            text += '[handshake]\necho = "query.challenge"\n'
        (folder / slug / "template.toml").write_text(text)
        (folder / slug / "template.py").write_text(f"import gateway\ndef read(request):\n    {code}\n")
    return folder


@pytest.fixture
def bad_bench(bad_templates: Path) -> Bench:
    settings = Settings(plugins_dir=bad_templates, read_deadline=0.2)
    return Bench(load_plugins(settings, code=True), settings, {})


@pytest.mark.parametrize("slug", BAD_TEMPLATES)
def test_a_bad_template_stops_nothing(slug: str, bad_bench: Bench) -> None:
    bad, good = answers(bad_bench, b'{"template":"%s","body":{}}' % slug.encode(), GOOD)
    assert bad["error"]
    assert good["error"] is None


def test_half_a_character_of_a_template_is_replaced(bad_bench: Bench) -> None:
    (answer,) = answers(bad_bench, b'{"template":"half","body":{}}')
    assert answer["events"][0]["reason"] == "?"


def test_what_a_template_prints_is_no_answer(bad_bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    (answer,) = answers(bad_bench, b'{"template":"prints","body":{}}')
    assert answer["events"][0]["reason"] == "quiet"
    assert "noise" in capfd.readouterr().err


def test_a_handshake_is_told_apart(bad_bench: Bench) -> None:
    (answer,) = answers(bad_bench, b'{"template":"prints","body":{},"query":"challenge=x"}')
    assert answer["events"][0]["action"] == "ignore"
    assert answer["events"][0]["reason"].startswith("handshake")


# the command


def test_each_line_is_answered_before_the_next_is_sent() -> None:
    command = [sys.executable, "-m", "gateway", "try", "--jsonl"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(GOOD + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["error"] is None
        process.stdin.close()
        assert process.wait(10) == 0


def test_it_explains_field_by_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body, own = tmp_path / "body.json", tmp_path / "own.toml"
    body.write_text('{"source_id":"x","status":"open","door":"front\\u001b[2J"}')
    own.write_text('[fields]\nsubject = "{door} is open"\n')
    assert main(["try", "custom", str(body), "--settings", str(own)]) == 0
    said = capsys.readouterr().out
    assert "{door} is open in this integration's settings" in said
    assert "source_status 'open' is one of open" in said
    assert "\x1b" not in said
    assert main(["try", "custom", str(body), "--settings", str(own), "--json"]) == 0
    (event,) = json.loads(capsys.readouterr().out)["events"]
    assert {"field": "source_id", "value": "x", "from": "{source_id}"} in event["fields"]


@pytest.mark.parametrize(("body", "code"), [(b'{"source_id":"x"}', 0), (b"{", 1), (b"", 1)])
def test_what_cannot_be_read_is_1(body: bytes, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "body").write_bytes(body)
    assert main(["try", "custom", str(tmp_path / "body")]) == code
    assert ("cannot be read" in capsys.readouterr().out) == bool(code)


def test_a_text_of_the_integration_s_own_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body, own = tmp_path / "body.json", tmp_path / "own.toml"
    body.write_text('{"source_id": "a", "status": "open", "subject": "disk", "short_text": "full"}')
    own.write_text('[texts]\nsubject = """{{ source_id }}:\n  {{ subject }}"""\nshort_text = \'{{ message.none }}\'\n')
    assert main(["try", "custom", str(body), "--settings", str(own), "--json"]) == 0
    fields = {row["field"]: row for row in json.loads(capsys.readouterr().out)["events"][0]["fields"]}
    assert fields["subject"]["from"] == "{{ source_id }}: {{ subject }} in [texts] of this integration's settings"
    assert fields["short_text"] == {"field": "short_text", "value": "full", "from": "{short_text}"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('[feilds]\nsubject = "x"\n', "did you mean fields"),
        ("[open]\nmatches = '(a{500}){500}'\n", "RE2 refuses the pattern"),
        ("[open]\nmatches = ['a', 'b']\n", "open.matches"),
    ],
)
def test_settings_that_do_not_fit_are_named_and_the_message_is_not_blamed(
    settings: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.toml").write_text(settings)
    assert main(["try", "custom", "minimal_firing", "--settings", str(tmp_path / "own.toml")]) == 1
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
