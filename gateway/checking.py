"""
A template folder held to every law: the conformance suite in a pytest of its own, and what it found in plain words.

It runs in another process because a template's code runs in it, and because pytest is not there in every installation: it
comes with the extra `testing`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gateway.config import PREFIX
from gateway.errors import NotFoundError, PluginError

DEADLINE = 300.0
"""How many seconds the whole suite may take."""
_SUITE = """\
import pathlib

from gateway.testing import TemplateConformance


class TestTemplate(TemplateConformance):
    folder = pathlib.Path({folder!r})
"""
_TEXTS = (".toml", ".md", ".py", ".json", ".http", ".xml", ".txt", ".form", "")
_SHOWN = 120


class Law(msgspec.Struct, kw_only=True):
    """One law: what it is in words, on how many cases it was tried, and what breaks it."""

    law: str
    kept: bool
    cases: int
    problems: list[str]
    skipped: str | None = None


class Todo(msgspec.Struct, frozen=True):
    """A question that nobody has answered yet."""

    file: str
    line: int
    text: str


def template_folder(path: Path) -> Path:
    """The folder that has the template.toml: this one, or the one in a package's `src`; raises NotFoundError where none has."""
    if (path / "template.toml").is_file():
        return path
    found = sorted(file.parent for pattern in ("src/*/template.toml", "*/template.toml") for file in path.glob(pattern))
    if len(found) == 1:
        return found[0]
    said = f"{len(found)} templates: name one of {', '.join(map(str, found[:5]))}" if found else "no template.toml"
    msg = f"{path}: {said}"
    raise NotFoundError(msg)


def laws_of(folder: Path, *, python: str = sys.executable) -> list[Law]:
    """Every law, held to this folder; raises PluginError where the suite cannot run."""
    if importlib.util.find_spec("pytest") is None:
        msg = (
            "pytest is not installed, and the laws are tests; install the extra `testing` in the way that the gateway was "
            "installed: pip install 'alert-gateway[testing]'"
        )
        raise PluginError(msg)
    with tempfile.TemporaryDirectory(prefix="alert-gateway-check-") as place:
        base = Path(place)
        (base / "test_template.py").write_text(_SUITE.format(folder=str(folder.resolve())), encoding="utf-8")
        (base / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n", encoding="utf-8")
        told = base / "verdicts.jsonl"
        command = [
            *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "gateway.testing.verdicts"),
            *("-c", str(base / "pytest.ini"), "--rootdir", place),
            *("--verdicts", str(told), str(base / "test_template.py")),
        ]
        environ = {key: value for key, value in os.environ.items() if not key.startswith((PREFIX, "PYTEST_"))}
        try:
            done = subprocess.run(
                command, cwd=place, env=environ, capture_output=True, text=True, timeout=DEADLINE, check=False
            )
        except subprocess.TimeoutExpired:
            msg = f"{folder}: the laws took over {DEADLINE:g} s; does the template's code ever end?"
            raise PluginError(msg) from None
        lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
        verdicts = [json.loads(line) for line in lines]
        if not verdicts or verdicts.pop()["outcome"] != "finished" or not verdicts:
            said = " ".join((done.stderr or done.stdout).split())[-500:] or "the template's code ended it"
            msg = f"{folder}: the suite did not run to its end: {said}"
            raise PluginError(msg)
        return list(_laws(verdicts))


def todos_in(folder: Path) -> list[Todo]:
    """Every TODO in a folder's own files, those made by tools left out."""
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part in ("__pycache__", "dist") for part in inside.parts) or not path.is_file():
            continue
        if path.suffix in _TEXTS and path.stat().st_size < 1 << 20:
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                before, mark, text = line.partition("TODO")
                if mark:
                    found.append(Todo(str(inside), number, (text or before).strip(' :"')[:_SHOWN]))
    return found


def _laws(verdicts: Sequence[dict[str, str]]) -> Iterator[Law]:
    for test in dict.fromkeys(verdict["test"] for verdict in verdicts):
        mine = [verdict for verdict in verdicts if verdict["test"] == test]
        broken = [verdict for verdict in mine if verdict["outcome"] == "failed"]
        skipped = next((verdict["text"] for verdict in mine if verdict["outcome"] == "skipped"), None)
        yield Law(
            law=test.removeprefix("test_").replace("_", " ").replace(" toml", ".toml").replace(" py ", ".py "),
            kept=not broken,
            cases=len(mine),
            problems=sorted(
                dict.fromkeys(text for verdict in broken for text in _told(verdict["text"])),
                key=lambda text: text.startswith("fix: "),  # once, and last
            ),
            skipped=skipped if not broken else None,
        )


def _told(text: str) -> list[str]:
    """What a failure says: the suite's own lines, else the last line of whatever went wrong."""
    lines = text.strip().splitlines()
    if any(line.startswith("  law: ") for line in lines):
        where = Path(lines[0]).name
        problems = [line.removeprefix("  - ") for line in lines if line.startswith("  - ")]
        fix = [f"fix: {line.removeprefix('  fix: ')}" for line in lines if line.startswith("  fix: ")]
        return [*(f"{where}: {problem.removeprefix(lines[0] + ': ')}" for problem in problems), *fix]
    return [
        next(
            (line[2:].strip() for line in reversed(lines) if line.startswith("E ")), lines[-1] if lines else "it failed"
        )
    ]
