"""What holds for the whole house. Each test says what to do about what it finds."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()

FLOORS = {
    # The first version without a fault that would matter here, from each project's advisories. It stays in this table
    # while nothing needs it, so that it is held to when something does.
    "apsw": "3.51.3",  # the first with an SQLite that has no WAL-reset fault
    "h11": "0.16.0",  # a chunk's end taken too kindly lets requests be smuggled
    "jinja2": "3.1.6",  # ways out of the sandbox
    "orjson": "3.11.6",  # deep nesting took the process down
    "python-multipart": "0.0.27",  # endless parsing
    "starlette": "1.3.1",  # endless parsing, Range in quadratic time
}
INDIRECT = {
    "tomli-w": "msgspec writes TOML with it",
    "tzdata": "zoneinfo finds it by itself",
    "h11": "uvicorn brings it; here for its floor",
    "httptools": "uvicorn's parser",
    "uvloop": "uvicorn's loop",
}
BROUGHT = {"httpcore2": "httpx2 is made of it"}
IMPORTED_AS = {"google-re2": "re2", "prometheus-client": "prometheus_client"}
FORBIDDEN_WORDS = ("Provider", "Handler", "Manager", "Util", "Processor", "Incident")
MOST_LINES = 400


def version(text: str) -> tuple[int, ...]:
    """A version to compare with; the floors have no letters."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0]))


def tracked() -> list[Path]:
    """The files that are in the repository, or would be with the next commit."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):  # a tree without its repository, such as an unpacked sdist
        return [path for path in ROOT.rglob("*") if path.is_file() and not _is_made(path.relative_to(ROOT))]


def _is_made(path: Path) -> bool:
    folders = path.parts[:-1]
    return any(
        part in ("__pycache__", "gateway-data", "dist") or (part[0] == "." and part != ".ci") for part in folders
    )


def sources(*folders: str) -> list[Path]:
    """Python files of some folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """How a path is called in a failure."""
    return str(path.relative_to(ROOT))


# what it rests on


@pytest.mark.parametrize("package", [package for package in FLOORS if re.search(rf"^{package}==", LOCK, re.MULTILINE)])
def test_no_version_below_its_floor(package: str) -> None:
    floor = FLOORS[package]
    texts = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["docs"]]
    # a package with a floor is a dependency of ours, even where another brings it
    asked = next(text for text in texts if re.match(rf"{package}\b", text))
    least = re.search(r">=([\d.]+)", asked)
    pinned = re.search(rf"^{package}==([\w.]+)", LOCK, re.MULTILINE)
    assert least is not None, f"pyproject.toml has no lower bound for {package}"
    assert pinned is not None, f"requirements.lock does not pin {package}"
    assert version(least[1]) >= version(floor), f"pyproject.toml allows {package} below {floor}"
    assert version(pinned[1]) >= version(floor), f"requirements.lock pins {package} below {floor}"
    assert version(importlib.metadata.version(package)) >= version(floor), f"{package} below {floor} is installed"


def test_sqlite_has_no_wal_reset_fault() -> None:
    assert version(apsw.sqlite_lib_version()) >= (3, 51, 3)


@pytest.mark.parametrize(
    "text", [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["email"]]
)
def test_every_dependency_is_used(text: str) -> None:
    package = re.split(r"[^\w-]", text)[0]
    if package in INDIRECT:
        return
    module = IMPORTED_AS.get(package, package)
    pattern = re.compile(rf"^\s*(?:import|from) {module}\b", re.MULTILINE)
    users = [path for path in sources("gateway") if pattern.search(path.read_text())]
    assert users, f"nothing in gateway/ imports {package}: take it out of pyproject.toml, and run `python3 dev.py lock`"


@pytest.mark.parametrize("path", sources("gateway"), ids=name_of)
def test_every_import_is_a_dependency(path: Path) -> None:
    """What happens to be installed on one machine is not on the next."""
    texts = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["email"]]
    packages = {re.split(r"[^\w-]", text)[0] for text in texts}
    known = {IMPORTED_AS.get(package, package) for package in packages} | BROUGHT.keys() | {"gateway"}
    if path.is_relative_to(ROOT / "gateway" / "testing"):
        known |= {"pytest", "hypothesis"}  # who tests templates has them
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_bytes()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    strangers = imported - known - set(sys.stdlib_module_names)
    assert not strangers, f"{name_of(path)} imports {sorted(strangers)}, which pyproject.toml does not ask for"


def test_the_lock_pins_every_dependency_with_hashes() -> None:
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    wanted = {
        re.split(r"[^\w-]", text)[0] for texts in [*groups, *PROJECT["dependency-groups"].values()] for text in texts
    }
    blocks = re.split(r"^(?=\S)", LOCK, flags=re.MULTILINE)[1:]
    pinned = {block.split("==")[0]: block.count("--hash=sha256:") for block in blocks}
    assert wanted <= pinned.keys(), (
        f"not in requirements.lock: {sorted(wanted - pinned.keys())}: run `python3 dev.py lock`"
    )
    assert all(pinned.values()), f"without a hash: {[name for name, hashes in pinned.items() if not hashes]}"


def test_the_version_is_said_once_and_the_same() -> None:
    import gateway

    assert gateway.__version__ == PROJECT["project"]["version"]


# what must not be in it


def test_no_place_of_one_machine_and_no_index() -> None:
    """Paths and hosts of the machine that something was made on; a name of an index in the lock binds everyone to it."""
    places = [
        "/wor" + "k/",
        "/far" + "m/",
        "/ro" + "ot/",
        "/ho" + "me/(?!example)[a-z]",
        "/Use" + "rs/(?!example)[a-z]",
        "/opt/whe" + "els",
    ]
    hosts = ["py" + "pi.org", "python" + "hosted", "registry.np" + "mjs", "deb.deb" + "ian"]
    pattern = re.compile(rf"(?<![\w.])({'|'.join(places)})|{'|'.join(map(re.escape, hosts))}")
    found = [
        f"{name_of(path)}:{number}: {match.group()}"
        for path in tracked()
        if not path.is_symlink()
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1)
        if (match := pattern.search(line))
    ]
    assert not found, "\n".join(found)


def test_no_large_files() -> None:
    large = [name_of(path) for path in tracked() if path.stat().st_size > 400_000]
    assert not large, f"over 400 kB: {large}; keep what is generated out, and what is large small"


# how it is written


@pytest.mark.parametrize("path", sources("gateway", "plugins"), ids=name_of)
def test_a_module_is_short(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MOST_LINES, (
        f"{name_of(path)} has {lines} lines: which two nouns is it? (300 are many, {MOST_LINES} the end)"
    )


@pytest.mark.parametrize("path", sources("gateway"), ids=name_of)
def test_the_words_of_the_house(path: Path) -> None:
    """Provider, handler, manager, util and processor say nothing; an incident is another object in AlertOps."""
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    names = [(node.lineno, node.name) for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, kinds)]
    wrong = [
        f"line {line}: {name}"
        for line, name in [*names, (1, path.stem)]
        if any(_has_word(name, word) for word in FORBIDDEN_WORDS)
    ]
    assert not wrong, f"{name_of(path)}: {'; '.join(wrong)}: AGENTS.md has the words to use"


def _has_word(name: str, word: str) -> bool:
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return any(part.lower() in (word.lower(), word.lower() + "s") for part in parts)


CLOCKS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "monotonic"),
    ("time", "monotonic_ns"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}


@pytest.mark.parametrize("path", [p for p in sources("gateway", "plugins") if p.name != "clock.py"], ids=name_of)
def test_time_comes_from_the_clock(path: Path) -> None:
    wrong = [f"{name_of(path)}:{line}: {what}" for line, what in _clock_reads(ast.parse(path.read_bytes()))]
    assert not wrong, "\n".join([*wrong, "Take a gateway.clock.Clock as an argument, so that a test can move it."])


def _clock_reads(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (owner, node.attr) in CLOCKS:
                yield node.lineno, f"{owner}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from ((node.lineno, f"from time import {name.name}") for name in node.names if name.name != "sleep")


MUTABLE = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp


@pytest.mark.parametrize("path", sources("gateway", "plugins"), ids=name_of)
def test_no_state_at_module_level(path: Path) -> None:
    """A table in CAPITALS is a constant by its name; anything else that can change belongs to an object."""
    tree = ast.parse(path.read_bytes())
    wrong = [f"line {node.lineno}: global" for node in ast.walk(tree) if isinstance(node, ast.Global)]
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if isinstance(getattr(node, "value", None), MUTABLE):
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            wrong += [f"line {node.lineno}: {name}" for name in names if not (name.isupper() or name.startswith("__"))]
    assert not wrong, f"{name_of(path)}: state at module level: {'; '.join(wrong)}"


# what it comes with


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "AGENTS.md", "LICENSE", "requirements.lock", ".ci/run"])
def test_it_comes_with(name: str) -> None:
    assert (ROOT / name).is_file(), f"{name} is missing"


def test_agents_md_knows_every_module() -> None:
    text = (ROOT / "AGENTS.md").read_text()
    modules = {path.stem for path in (ROOT / "gateway").glob("[!_]*.py")}
    packages = {f"{path.parent.name}/" for path in (ROOT / "gateway").glob("[!_]*/__init__.py")}
    missing = sorted((modules | packages) - set(re.findall(r"`([\w/]+)`", text)))
    assert not missing, f"AGENTS.md has no line for {', '.join(missing)}: say in a sentence what each is"


def test_readme_says_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "python3 dev.py run" in text
    assert "python3 dev.py test" in text


def test_the_changelog_says_what_changed_in_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## Unreleased$", text, re.MULTILINE) or f"## {PROJECT['project']['version']}" in text


def test_decisions_are_numbered_without_gaps() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text()
        missing = [part for part in ("# ", "## Context", "## Decision", "## Consequences") if part not in text]
        assert not missing, f"{name_of(path)} lacks {missing}"


@pytest.mark.parametrize("verb", ["wheel", "sdist"])
def test_what_is_shipped(verb: str, tmp_path: Path) -> None:
    """The wheel holds the built-in templates as `gateway/_plugins`, the SQL, and the mark that it is typed."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", verb, "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = tmp_path.iterdir()
    if verb == "sdist":
        return
    names = set(zipfile.ZipFile(built).namelist())
    wanted = {f"gateway/_plugins/{path.relative_to(ROOT / 'plugins')}" for path in (ROOT / "plugins").glob("*/*.toml")}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / "gateway" / "store" / "sql").rglob("*.sql")}
    wanted |= {"gateway/py.typed", "gateway/__init__.py"}
    assert wanted <= names, f"missing in the wheel: {sorted(wanted - names)}"
    strays = {name.split("/")[0] for name in names} - {
        "gateway",
        f"alert_gateway-{PROJECT['project']['version']}.dist-info",
    }
    assert not strays, f"the wheel would install {strays}"
