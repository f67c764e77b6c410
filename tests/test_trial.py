"""The code of templates is tried in another process: what cannot be imported is told with its error, and only that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.config import Settings
from gateway.errors import TemplateError
from gateway.loader import load_plugins
from gateway.trial import code_errors, try_code

TOML = 'api = 1\nname = "Acme"\n[fields]\nsource_id = "{id}"\n[open]\nis_one_of = ["down"]\n'
GOOD = "def read(request):\n    return []\n"
BROKEN = {
    "raises": ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    "leaves": ("raise SystemExit(3)", "SystemExit: 3"),
    "has-no-read": ("reed = 1", "has no attribute 'read'"),
    "dies": ("import os\nos._exit(0)", "importing it ended the process"),
    "hangs": (
        "import time\ntime.sleep(60)",
        "importing it took over 1 s, as long as a message may take (GATEWAY_READ_DEADLINE)",
    ),
    "eats": ("x = 'x' * (4 << 30)", "more memory than a template may have (GATEWAY_READ_MEMORY)"),
    "prints": ("print('\\n' * 9, flush=True)\nraise OSError('two\\nlines')", "OSError: two lines"),
}
SOUND = {
    "prints-and-works": "print('hello', flush=True)\n" + GOOD,
    "forks": "import os\nif os.fork() == 0: pass\n" + GOOD,
    "goes-on": "import threading, time\nthreading.Thread(target=time.sleep, args=[60]).start()\n" + GOOD,
}


@pytest.fixture
def plugins_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of plugins: data alone, sound code, and whatever is broken."""
    folder = tmp_path / "plugins"
    codes = {"data": ""} | SOUND | {slug: code for slug, (code, _) in BROKEN.items()}
    for slug, code in codes.items():
        (folder / slug).mkdir(parents=True)
        (folder / slug / "template.toml").write_text(TOML)
        if code:
            (folder / slug / "template.py").write_text(code)
    monkeypatch.setenv("GATEWAY_PLUGINS_DIR", str(folder))
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GATEWAY_READ_DEADLINE", "1")
    return folder


def read(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_what_cannot_be_imported_is_broken(plugins_dir: Path) -> None:
    settings = Settings(plugins_dir=plugins_dir, read_deadline=1)
    plugins = try_code(load_plugins(settings), settings)
    errors = {card.slug: card.error or "" for card in plugins.gallery() if card.error}
    assert errors.keys() == BROKEN.keys()
    for slug, (_, words) in BROKEN.items():
        assert errors[slug].startswith(f"{plugins_dir / slug / 'template.py'}: "), errors[slug]
        assert words in errors[slug]
        assert "\n" not in errors[slug]
    assert plugins.cards.keys() >= {"data", "custom", *SOUND}
    with pytest.raises(TemplateError, match="SystemExit: 3"):
        plugins.template("leaves")


def test_only_what_is_asked_for_is_tried(plugins_dir: Path) -> None:
    settings = Settings(plugins_dir=plugins_dir, read_deadline=1)
    plugins = try_code(load_plugins(settings), settings, ["raises", "data", "no-such"])
    assert {card.slug for card in plugins.gallery() if card.error} == {"raises"}


def test_where_there_is_no_code_there_is_no_process(monkeypatch: pytest.MonkeyPatch, plugins_dir: Path) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("gateway.trial.subprocess.Popen", never)
    plugins = load_plugins(Settings(plugins_dir=plugins_dir))
    built_in = [card.folder for card in plugins.cards.values() if card.distribution == "alert-gateway"]
    assert any(folder.has_code for folder in built_in)
    assert code_errors([*built_in, plugins.cards["data"].folder], Settings()) == {}


def test_a_process_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch, plugins_dir: Path) -> None:
    plugins = load_plugins(Settings(plugins_dir=plugins_dir))
    monkeypatch.setattr("gateway.trial.sys.executable", "/bin/false")
    folders = [plugins.cards[slug].folder for slug in ("forks", "dies")]
    errors = code_errors(folders, Settings())
    assert errors.keys() == {"forks", "dies"}
    assert all("did not start" in error for error in errors.values())


def test_every_command_that_looks_after_plugins_tells(plugins_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = [one for one in read(capsys, "plugins", "list") if one["origin"] == "plugins_dir"]
    about = read(capsys, "plugins", "info", str(plugins_dir))
    findings = [one["found"] for one in read(capsys, "doctor", code=1) if one["check"] == "plugins"]
    assert len(findings) == len(BROKEN)
    for slug, (_, words) in BROKEN.items():
        assert words in folder["error"]
        assert words in about["error"]
        assert any(f"{slug}/template.py" in found and words in found for found in findings)


def test_what_is_broken_is_not_shown_nor_integrated(plugins_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["templates", "show", "raises"], ["integrations", "add", "raises", "--name", "One"]):
        assert main(words) == 1
        assert "template.py: ModuleNotFoundError: No module named 'nothing_of_this_name'" in capsys.readouterr().err
    assert main(["integrations", "add", "forks", "--name", "Two"]) == 0
