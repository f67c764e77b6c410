#!/usr/bin/env python3
"""
Sets this checkout up, then runs, tests or checks it. Needs Python 3.11 or newer, and nothing else.

    python3 dev.py run      the gateway on 127.0.0.1:8080; flags go to `alert-gateway serve`
    python3 dev.py test     the tests; flags go to pytest
    python3 dev.py check    ruff and mypy
    python3 dev.py docs     the documentation, into site/; flags go to mkdocs, `docs serve` shows it and each change
    python3 dev.py bench    the measurements behind what is said of speed; flags go to bench
    python3 dev.py setup    only the set-up: a virtual environment in .venv, with what requirements.lock pins
    python3 dev.py lock     pin anew what pyproject.toml asks for; flags go to uv (`--upgrade`)

Each sets up first what is missing; where nothing is, that takes no time. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / ".setup-stamp"


def main(arguments: list[str]) -> int:
    """Do what the first argument says."""
    verb, rest = (arguments or ["help"])[0], arguments[1:]
    verbs: dict[str, Callable[[list[str]], int]] = {
        "setup": setup,
        "run": run,
        "test": test,
        "check": check,
        "docs": docs,
        "bench": bench,
        "lock": lock,
    }
    if verb in ("help", "-h", "--help"):
        print((__doc__ or "").strip())
        return 0
    if verb not in verbs:
        print(f"dev.py: there is no {verb!r}; it knows {', '.join(verbs)}.", file=sys.stderr)
        return 2
    refuse_what_cannot_work()
    if verb != "setup":
        setup()
    return verbs[verb](rest)


def refuse_what_cannot_work() -> None:
    """Say so at once where the set-up would only fail later, and less clearly."""
    if os.name != "posix":
        sys.exit("dev.py: the gateway runs on Linux and macOS; on Windows, use it inside WSL.")
    if sys.version_info < (3, 11):  # noqa: UP036 - an older one gets as far as here
        newer = next(filter(shutil.which, (f"python3.{minor}" for minor in range(20, 10, -1))), None)
        hint = f"run: {newer} dev.py" if newer else "install one"
        sys.exit(f"dev.py: Python 3.11 or newer is needed, and this is {sys.version.split()[0]}; {hint}.")


# what each verb does


def run(rest: list[str]) -> NoReturn:
    """The gateway, in place of this process."""
    os.environ.setdefault("GATEWAY_DATA", str(ROOT / "gateway-data"))
    execute(BIN / "alert-gateway", "serve", *rest)


def test(rest: list[str]) -> NoReturn:
    """The tests, in place of this process."""
    os.chdir(ROOT)
    execute(PYTHON, "-m", "pytest", *rest)


def bench(rest: list[str]) -> NoReturn:
    """The measurements, in place of this process."""
    os.chdir(ROOT)
    execute(PYTHON, "-m", "bench", *rest)


def docs(rest: list[str]) -> NoReturn:
    """The documentation, in place of this process; a page or a link that is not right is an error."""
    os.chdir(ROOT)
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    verb, flags = (rest[0], rest[1:]) if rest[:1] == ["serve"] else ("build", rest)
    execute(BIN / "mkdocs", verb, *flags)


def check(rest: list[str]) -> int:
    """
    All of it, even where the first finds something; `--fix` lets ruff mend what it can.

    The code of templates is checked file by file: all are called template.py, in folders that are no packages.
    """
    alone = [
        str(PYTHON),
        "-m",
        "mypy",
        "--no-explicit-package-bases",
        "--no-namespace-packages",
        "--cache-dir=.mypy_cache/templates",
    ]
    templates = sorted((ROOT / "plugins").glob("*/template.py"))
    results = [
        subprocess.run([BIN / "ruff", "check", *rest], cwd=ROOT).returncode,
        subprocess.run([BIN / "ruff", "format", *([] if "--fix" in rest else ["--check"])], cwd=ROOT).returncode,
        subprocess.run([PYTHON, "-m", "mypy"], cwd=ROOT).returncode,
        *(subprocess.run([*alone, str(template)], cwd=ROOT).returncode for template in templates),
    ]
    return max(results)


def lock(rest: list[str]) -> int:
    """Hashes of every file of every package, for every platform; no address of any index."""
    flags = ["--universal", "--python-version=3.11", "--generate-hashes", "--all-extras", "--group=dev", "--group=docs"]
    quiet = ["--quiet", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    command = [str(BIN / "uv"), "pip", "compile", *flags, *quiet, "--output-file", LOCK.name, *rest, "pyproject.toml"]
    return subprocess.run(command, cwd=ROOT).returncode


def execute(program: Path, *arguments: str) -> NoReturn:
    """Become another program, so that signals and the exit code are its own."""
    sys.stdout.flush()
    os.execv(program, [str(program), *arguments])


# the set-up


def setup(_: list[str] | None = None) -> int:
    """Make the virtual environment what the lock says; at once where it is so already."""
    if is_set_up():
        return 0
    with one_at_a_time():
        if is_set_up():  # by the one that was waited for
            return 0
        print("dev.py: setting up .venv (once, and again when what is pinned changes)", file=sys.stderr)
        try:
            if not STAMP.exists() or place() not in STAMP.read_text():  # none, a half-made one, or one that was moved
                make_venv()
            install()
        except subprocess.CalledProcessError as error:
            sys.exit(f"dev.py: the set-up failed (exit code {error.returncode}) at: {' '.join(map(str, error.cmd))}")
        STAMP.write_text(place() + content())
    return 0


def is_set_up() -> bool:
    """Whether .venv is what pyproject.toml and the lock ask for."""
    return STAMP.exists() and STAMP.read_text() == place() + content()


def place() -> str:
    """Where .venv is and what its Python is: it is made anew where one of them changes."""
    return f"{ROOT}\n{PYTHON.resolve()}\n"


def content() -> str:
    """A fingerprint of what is to be installed; how ruff, mypy and pytest are set is not part of it."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = [project["build-system"], project["project"], project["tool"]["hatch"]]
    return hashlib.sha256(repr(parts).encode() + LOCK.read_bytes()).hexdigest()


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two set-ups of one checkout wait for each other; the lock goes with the process that holds it."""
    import fcntl

    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def make_venv() -> None:
    """A new .venv that has uv, of the version and with a hash that the lock names."""
    shutil.rmtree(VENV, ignore_errors=True)
    if importlib.util.find_spec("ensurepip"):
        call(sys.executable, "-m", "venv", VENV)
        pip = [PYTHON, "-m", "pip"]
    elif importlib.util.find_spec("pip"):
        call(sys.executable, "-m", "venv", "--without-pip", VENV)
        pip = [sys.executable, "-m", "pip", "--python", PYTHON]
    else:
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(
            "dev.py: this Python cannot make virtual environments: its ensurepip is missing.\n"
            f"On Debian and Ubuntu, `apt-get install python3-venv` (or python{version}-venv) brings it; then run this again."
        )
    with tempfile.TemporaryDirectory() as folder:
        uv = Path(folder, "uv.lock")
        uv.write_text(pinned("uv"))
        call(*pip, "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "-r", uv)


def pinned(package: str) -> str:
    """The lines of the lock that pin one package."""
    found = re.search(rf"^{package}==.*?(?=^\S|\Z)", LOCK.read_text(), re.MULTILINE | re.DOTALL)
    if found is None:
        sys.exit(f"dev.py: requirements.lock does not pin {package}.")
    return found.group()


def install() -> None:
    """What the lock pins, and this project as it stands here (with the pinned hatchling, not one fetched for it)."""
    home = Path(os.environ.get("HOME") or "/nonexistent")
    cache = [] if os.access(home, os.W_OK) or "UV_CACHE_DIR" in os.environ else ["--no-cache"]
    uv = [BIN / "uv", "pip", "install", "--quiet", "--python", PYTHON, *cache]
    try:
        call(*uv, "--require-hashes", "-r", LOCK)
    except subprocess.CalledProcessError:
        if not (BIN / "pip").exists():
            raise
        print("dev.py: uv could not install it; trying pip, which has settings of its own", file=sys.stderr)
        call(PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", LOCK)
    call(*uv, "--no-deps", "--no-build-isolation", "--offline", "--editable", ROOT)


def call(*command: object) -> None:
    """Run a command of the set-up; what it prints is no part of what `run` and `test` print."""
    subprocess.run([str(part) for part in command], cwd=ROOT, stdout=sys.stderr, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
