"""dev.py: what it says, and what it pins. That it sets up a fresh clone is shown by every run of .ci/run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dev

SCRIPT = Path(dev.__file__)


def test_help_names_every_verb() -> None:
    said = subprocess.run([sys.executable, SCRIPT, "help"], check=True, capture_output=True, text=True).stdout
    assert all(f"dev.py {verb} " in said for verb in ("run", "test", "check", "bench", "setup", "lock"))


def test_an_unknown_verb_is_refused_with_those_that_are_known() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "tset"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no 'tset'; it knows setup, run, test" in done.stderr


def test_uv_is_installed_by_the_hashes_of_the_lock() -> None:
    lines = dev.pinned("uv").splitlines()
    assert lines[0].startswith("uv==")
    assert sum("--hash=sha256:" in line for line in lines) > 5
    assert not any(line and not line[0].isspace() for line in lines[1:])


def test_a_package_that_is_not_pinned_is_said() -> None:
    with pytest.raises(SystemExit, match="does not pin no-such-package"):
        dev.pinned("no-such-package")


def test_a_python_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed"):
        dev.refuse_what_cannot_work()


def test_how_the_tools_are_set_is_no_reason_to_install_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = (dev.ROOT / "pyproject.toml").read_text()
    monkeypatch.setattr(dev, "ROOT", tmp_path)

    def fingerprint(text: str) -> str:
        (tmp_path / "pyproject.toml").write_text(text)
        return dev.content()

    before = fingerprint(project)
    assert fingerprint(project.replace("line-length = 120", "line-length = 100")) == before
    assert fingerprint(project.replace('"click>=', '"click>8,>=')) != before
