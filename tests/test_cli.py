"""The command itself: help, errors, exit codes, what it imports, plugins' commands."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.output import block, cell
from gateway.cli.root import COMMANDS, root

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name}" in said for name in COMMANDS)
    assert "Exit codes" in said


def leaves() -> list[list[str]]:
    import click

    found = []
    context = click.Context(root)
    for name in COMMANDS:
        command = root.get_command(context, name)
        names = sorted(command.commands) if isinstance(command, click.Group) else [""]
        found += [[part for part in (name, leaf) if part] for leaf in names]
    return found


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_command_has_help_an_example_data_and_json(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    said = capsys.readouterr().out
    assert "Examples:" in said, "a command's help shows how it is used"
    assert f"alert-gateway {' '.join(words)}" in said
    assert "--data DIR" in said
    assert "--json" in said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nonsense"], 2),
        (["alerts", "list", "--nonsense"], 2),
        (["alerts", "list", "--limit", "0"], 2),
        (["alerts", "show", "abc"], 2),
        (["alerts", "show", "-1"], 2),
        (["messages", "replay"], 2),
        (["messages", "replay", "1", "--failed"], 2),
        (["notifications", "retry"], 2),
        (["try"], 2),
        (["try", "custom", "-H", "nonsense"], 2),
        (["send", "custom"], 2),
        (["policies", "add", "P"], 2),
        (["alerts", "show", "1"], 1),
        (["templates", "show", "nope"], 1),
        (["send", "nope", "--list"], 1),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert main([*arguments, "--json"]) == code
    told = json.loads(capsys.readouterr().err)
    assert told["code"] == code
    assert told["error"]
    assert not (tmp_path / "data").exists(), "a look must not make a store"


def test_a_wrong_setting_is_4(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GATEWAY_PROT", "80")
    assert main(["alerts", "list"]) == 4
    assert "did you mean GATEWAY_PORT" in capsys.readouterr().err
    assert main(["serve"]) == 4
    assert main(["doctor"]) == 1


def test_a_store_that_cannot_be_used_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "state.db").write_bytes(b"this is no database at all" * 1000)
    assert main(["alerts", "list"]) == 3
    assert "state.db" in capsys.readouterr().err
    assert main(["doctor"]) == 1


def test_where_there_is_no_store_a_list_is_empty_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for group in ("alerts", "messages", "notifications", "integrations", "users", "policies"):
        assert main([group, "list", "--json"]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out) == []
        assert "no gateway's data" in said.err
    assert not (tmp_path / "data").exists()


def test_a_fault_of_our_own_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.loader.load_plugins", broken)
    assert main(["templates", "list"]) == 70
    said = capsys.readouterr().err
    assert said.startswith("error: a fault of the gateway itself: ZeroDivisionError")
    assert said.count("\n") == 1


def test_help_imports_little() -> None:
    code = "import sys; from gateway.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for heavy in ("rich", "apsw", "asyncio", "cryptography", "httpx2", "starlette", "uvicorn", "gateway.plugins"):
        assert heavy not in ran.stderr.split(), f"`alert-gateway --help` imports {heavy}, which takes time"


def test_a_reader_that_has_had_enough_ends_it_quietly() -> None:
    command = f"{sys.executable} -m gateway templates show custom | head -c 1"
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr == ""


# plugins' commands


@pytest.fixture
def plugins_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setenv("GATEWAY_PLUGINS_DIR", str(folder))
    return folder


def test_a_plugin_brings_a_command(plugins_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plugins_dir / "acme.py").write_text(
        "import click, gateway\n"
        "@gateway.hookimpl\n"
        "def register_commands(cli):\n"
        "    @cli.command(help='Say hello.')\n"
        "    def greet():\n"
        "        print('hello')\n"
        "    @cli.command()\n"
        "    def alerts():\n"
        "        print('not ours')\n"
    )
    assert main(["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"
    assert main(["--help"]) == 0
    assert "Say hello." in capsys.readouterr().out
    assert main(["alerts", "list"]) == 0
    assert "not ours" not in capsys.readouterr().out


def test_a_broken_plugin_costs_nobody_a_command(plugins_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (plugins_dir / "bad.py").write_text("raise SystemExit('no')\n")
    (plugins_dir / "worse.py").write_text(
        "import gateway\n@gateway.hookimpl\ndef register_commands(cli):\n    raise ValueError('ouch')\n"
    )
    assert main(["--help"]) == 0
    assert "alerts" in capsys.readouterr().out
    assert main(["nonsense"]) == 2
    assert main(["plugins", "list", "--json"]) == 0
    listed = {info["name"]: info["error"] for info in json.loads(capsys.readouterr().out)}
    assert "SystemExit" in listed["bad"]


# what is printed


def test_a_terminal_is_safe_from_what_senders_write() -> None:
    assert cell("a\x1b[31mb\u202ec\nd\x7f") == "a␛[31mb⟨U+202E⟩c↵d⟨U+007F⟩"
    assert block("a\r\nb\x07") == "a\nb␇"
    assert cell(None) == "-"


def test_a_table_on_a_terminal_keeps_ids_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a terminal, rich draws the table, and NO_COLOR is honoured."""
    import pty

    controller, terminal = pty.openpty()
    environ = {**os.environ, "COLUMNS": "60", "NO_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-m", "gateway", "templates", "list"]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=terminal) as ran:
        os.close(terminal)
        said = b""
        with contextlib.suppress(OSError):  # how the end is told on Linux
            while chunk := os.read(controller, 65536):
                said += chunk
    os.close(controller)
    assert ran.returncode == 0
    assert b"newrelic" in said
    assert b"\x1b[3" not in said
