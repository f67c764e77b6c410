"""`plugins new`, `check`, `preview`: for who writes a template; and `list`, `info`, `enable`, `disable`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.cli.plugins_check import changes
from gateway.config import Settings
from gateway.loader import load_plugins
from gateway.roster import disabled

DOWN = {
    "event": "check.failed",
    "incident": {"key": "INC-20931"},
    "check": {"name": "Checkout page"},
    "priority": "high",
}
TOML = """
api = 1
name = "Zoo"
[fields]
source_id = "{id}"
source_status = "{status}"
[open]
is_one_of = ["down"]
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plugins_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins"
    (folder / "zoo").mkdir(parents=True)
    (folder / "zoo" / "template.toml").write_text(TOML)
    (folder / "quiet.py").write_text("from gateway import hookimpl\n@hookimpl\ndef drop_event(event): return None\n")
    monkeypatch.setenv("GATEWAY_PLUGINS_DIR", str(folder))
    return folder


@pytest.fixture
def payloads(tmp_path: Path) -> list[str]:
    (tmp_path / "down.json").write_text(json.dumps(DOWN))
    (tmp_path / "up.json").write_text(json.dumps(DOWN | {"event": "check.recovered"}))
    return ["down.json", "up.json"]


def read(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


# new


def test_a_new_package_says_what_is_next(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plugins", "new", "acme", "--into", "made"]) == 0
    said = capsys.readouterr().out
    assert "made made/alert-gateway-acme/ with 12 files" in said
    assert "alert-gateway plugins check made/alert-gateway-acme" in said
    assert (tmp_path / "made" / "alert-gateway-acme" / "pyproject.toml").is_file()
    assert not (tmp_path / "data").exists(), "making a template makes no store"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["Acme"], 1, "write 'acme'"),
        (["datadog"], 1, "is taken"),
        (["acme", "stray.json"], 2, "files come after --from-sample"),
        (["acme", "--from-sample", "a.json", "./a.json"], 1, "a.json: it is named twice"),
        (["acme", "--from-sample", "missing.json"], 1, "missing.json: cannot be read"),
        (["acme", "--name", 'a"b'], 1, "--name"),
        (["acme"], 1, "is there already"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if words == "is there already":
        (tmp_path / "alert-gateway-acme").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(["plugins", "new", *arguments]) == code
    assert words in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_proposal_is_shown_and_written_where_nobody_can_be_asked(
    capsys: pytest.CaptureFixture[str], payloads: list[str], tmp_path: Path
) -> None:
    assert main(["plugins", "new", "acme", "--folder", "--from-sample", *payloads]) == 0
    said = capsys.readouterr().out
    assert "{incident.key}" in said
    assert "down.json opens; it becomes samples/problem_firing.json" in said
    assert "nobody was asked" in said
    assert 'source_id = "{incident.key}"' in (tmp_path / "acme" / "template.toml").read_text()


@pytest.mark.parametrize(("answer", "flags", "written"), [("y\n", [], True), ("n\n", [], False), ("", ["--yes"], True)])
def test_on_a_terminal_the_author_confirms(
    answer: str, flags: list[str], written: bool, payloads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["plugins", "new", "acme", "--from-sample", *payloads, *flags]) == 0
    assert (tmp_path / "alert-gateway-acme").exists() == written


def test_a_proposal_is_json_for_programs(capsys: pytest.CaptureFixture[str], payloads: list[str]) -> None:
    shape = read(capsys, "plugins", "new", "acme", "--from-sample", *payloads)
    assert shape["proposal"]["rules"] == {"open": ["check.failed"], "close": ["check.recovered"]}
    assert [one["file"] for one in shape["samples"]] == ["problem_firing.json", "problem_resolved.json"]
    (guess,) = [one for one in shape["proposal"]["fields"] if one["field"] == "source_id"]
    assert guess["path"] == "incident.key"


def test_forms_and_requests_are_read_as_the_gateway_would(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    head = "POST /?x=1 HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\n"
    (tmp_path / "a.http").write_text(head + "id=INC-1&status=down\n")
    (tmp_path / "b.form").write_text("id=INC-1&status=up")
    shape = read(capsys, "plugins", "new", "acme", "--from-sample", "a.http", "b.form")
    assert shape["proposal"]["rules"] == {"open": ["down"], "close": ["up"]}
    assert [one["error"] for one in shape["samples"]] == [None, None]


def test_what_is_no_payload_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"a": ')
    assert main(["plugins", "new", "acme", "--from-sample", "bad.json", "bad.json"]) == 1
    assert "bad.json: " in capsys.readouterr().err


# check


def test_a_built_in_template_keeps_the_laws(capsys: pytest.CaptureFixture[str]) -> None:
    shape = read(capsys, "plugins", "check", "custom")
    assert shape["good"]
    assert all(law["kept"] for law in shape["laws"])
    assert shape["tier"] in ("bronze", "silver", "gold")


def test_a_broken_law_is_told_in_plain_words_and_is_1(capsys: pytest.CaptureFixture[str], plugins_dir: Path) -> None:
    assert main(["plugins", "check", "zoo"]) == 1
    said = capsys.readouterr().out
    assert "✗  readme has the steps" in said
    assert "fix: write numbered steps with {endpoint_url}" in said
    assert "laws are kept" in said
    assert "  next: " in said


def test_a_form_of_another_name_is_read_as_text_and_it_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "down").write_text("id=INC-1&status=down")
    assert main(["plugins", "new", "acme", "--from-sample", "down"]) == 0
    assert "read as text: down; where it is a form, let the file's name end in .form" in capsys.readouterr().err
    assert main(["plugins", "new", "--help"]) == 0
    assert ".form (a form's body)" in " ".join(capsys.readouterr().out.split())


def test_what_was_not_looked_at_is_told_in_plain_words(
    capsys: pytest.CaptureFixture[str], plugins_dir: Path, tmp_path: Path
) -> None:
    assert main(["plugins", "new", "bare", "--folder"]) == 0
    capsys.readouterr()
    assert main(["plugins", "check", "bare"]) == 1
    said = capsys.readouterr().out
    flaw = f"the template cannot be used: {tmp_path / 'bare' / 'template.toml'}: [fields] has no source_id"
    assert f"–  same twice: not looked at: {flaw}" in said
    assert "2 of 14 laws are kept, 7 could not be looked at" in said
    assert "Skipped" not in said
    laws = {law["law"]: law["skipped"] for law in read(capsys, "plugins", "check", "zoo", code=1)["laws"]}
    assert laws["same twice"] == "there is no sample in samples/"


@pytest.mark.parametrize(
    ("target", "words"), [("./nowhere", "is no folder"), ("nope", "there is no template"), (".", "no template")]
)
def test_what_is_no_template_is_1(target: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "check", target]) == 1
    assert words in capsys.readouterr().err


def test_without_pytest_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.checking.importlib.util.find_spec", lambda _: None)
    assert main(["plugins", "check", "custom"]) == 1
    assert "pip install 'alert-gateway[testing]'" in capsys.readouterr().err


# preview


def test_a_preview_shows_each_field_with_its_origin(
    capsys: pytest.CaptureFixture[str], payloads: list[str], tmp_path: Path
) -> None:
    assert main(["plugins", "new", "acme", "--from-sample", *payloads]) == 0
    capsys.readouterr()
    assert main(["plugins", "preview", "alert-gateway-acme", "problem_firing"]) == 0
    said = capsys.readouterr().out
    assert "{incident.key}" in said
    assert "→ open" in said
    (event,) = read(capsys, "plugins", "preview", "alert-gateway-acme", "up.json")["events"]
    assert (event["action"], event["source_id"]) == ("close", "INC-20931")
    assert main(["plugins", "preview", "alert-gateway-acme", "problem_fring"]) == 1
    assert "did you mean problem_firing?" in capsys.readouterr().err


def test_changes_of_files_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("1")
    seen = changes([folder, tmp_path / "missing"], pause=0.01)
    next(seen)
    (folder / "b").write_text("2")
    next(seen)
    (folder / "a").unlink()
    next(seen)


def test_watching_shows_it_again_at_each_save(plugins_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"id": "a1", "status": "down"}')
    # Whoever runs the tests in a shell's background hands down that Ctrl-C is ignored.
    code = "import signal, sys; from gateway.cli import main; signal.signal(2, signal.default_int_handler); sys.exit(main())"
    words = ["plugins", "preview", str(plugins_dir / "zoo"), "body.json", "--watch", "--json"]
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def shown() -> dict[str, Any]:
            lines: list[str] = []
            while not lines or lines[-1] != "}\n":
                lines.append(process.stdout.readline())  # type: ignore[union-attr]
                assert lines[-1], "it ended"
            return dict(json.loads("".join(lines)))

        assert shown()["events"][0]["action"] == "open"
        toml = plugins_dir / "zoo" / "template.toml"
        toml.write_text(TOML.replace('"down"', '"DOWN!"'))
        assert shown()["events"][0]["reason"] == "status 'down' is in no list"
        toml.write_text("[[[")
        assert "not TOML" in shown()["error"]
        toml.write_text(TOML)
        assert shown()["events"][0]["action"] == "open"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


# list, info, enable, disable


def test_the_list_has_hashes_and_apis(capsys: pytest.CaptureFixture[str], plugins_dir: Path) -> None:
    shapes = {one["name"]: one for one in read(capsys, "plugins", "list")}
    assert shapes["built-in"]["api"] == "1"
    assert all(len(one["hash"]) == len("sha256:") + 64 for one in shapes.values())
    assert shapes["quiet"]["hooks"] == ["drop_event"]
    assert shapes[str(plugins_dir)]["templates"] == ["zoo"]
    assert main(["plugins", "list"]) == 0
    assert " templates " in capsys.readouterr().out, "a long list of templates is a number"


def test_info_finds_by_name_and_by_template(capsys: pytest.CaptureFixture[str], plugins_dir: Path) -> None:
    shape = read(capsys, "plugins", "info", "zoo")
    assert shape["name"] == str(plugins_dir)
    assert shape["allow"] is None
    assert main(["plugins", "info", "zooo"]) == 1
    assert "did you mean zoo?" in capsys.readouterr().err


def test_a_disabled_plugin_is_not_loaded(capsys: pytest.CaptureFixture[str], plugins_dir: Path, tmp_path: Path) -> None:
    assert read(capsys, "plugins", "disable", "zoo") == {"name": "zoo", "enabled": False, "changed": True}
    assert read(capsys, "plugins", "disable", "quiet")["changed"]
    assert disabled(tmp_path / "data") == {"zoo", "quiet"}
    settings = Settings(data=tmp_path / "data", plugins_dir=plugins_dir)
    plugins = load_plugins(settings, code=True)
    assert "zoo" not in plugins.cards
    (quiet,) = [info for info in plugins.infos if info.name == "quiet"]
    assert "it is disabled" in (quiet.error or "")
    assert not plugins.has_event_hooks
    assert main(["plugins", "enable", "zoo"]) == 0
    assert "zoo is enabled" in capsys.readouterr().out
    assert "zoo" in load_plugins(settings).cards
    assert read(capsys, "plugins", "enable", "quiet")["changed"]
    assert not read(capsys, "plugins", "enable", "quiet")["changed"]


@pytest.mark.parametrize(
    ("name", "words"), [("datadog", "is built in"), ("nope", "there is no plugin"), ("built-in", "is built in")]
)
def test_what_cannot_be_disabled_is_said(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "disable", name]) == 1
    assert words in capsys.readouterr().err


def test_where_the_switches_cannot_be_read_nothing_foreign_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "plugins.toml").write_text("[[[")
    folder = tmp_path / "plugins"
    (folder / "zoo").mkdir(parents=True)
    (folder / "zoo" / "template.toml").write_text(TOML)
    plugins = load_plugins(Settings(data=tmp_path / "data", plugins_dir=folder))
    assert "custom" in plugins.cards
    assert "zoo" not in plugins.cards


def test_ctrl_c_is_not_an_error_of_ours(plugins_dir: Path) -> None:
    """The watch polls: it must not spin."""
    before = time.process_time()
    seen = changes([plugins_dir], pause=0.05)
    next(seen)
    os.utime(plugins_dir / "quiet.py", ns=(1, 1))
    next(seen)
    assert time.process_time() - before < 1
