"""
Installs plugins for the interpreter that runs: with pip, or with uv where there is no pip, as in environments that uv made.

What will change is asked first and shown; the gateway itself is never changed along. This is the operator's command: nothing
in the web process leads here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from gateway.errors import ConflictError, PluginError
from gateway.roster import normal

OURSELVES = "alert-gateway"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"(?:===?|~=|!=|<=?|>=?)\s*[A-Za-z0-9.*+!_-]+"
_REQUIREMENT = re.compile(
    rf"(?P<name>{_NAME})\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*(?:{_VERSION}(?:\s*,\s*{_VERSION})*)?\s*(?:;[^@]*)?"
)
_DIRECT = re.compile(rf"(?P<name>{_NAME})\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*@\s*(?P<url>\S+)")
_HASHES = re.compile(r"(?:\s+--hash=sha256:[0-9a-f]{64})+$")
_ARCHIVES = (".whl", ".tar.gz", ".zip")
_SCHEMES = ("https", "git+https", "git+ssh", "file")
_UV_LINE = re.compile(r"^\s*(?P<sign>[+\-~])\s+(?P<name>[A-Za-z0-9._-]+)(?:==| @ )(?P<version>\S+)", re.MULTILINE)
_UV_WOULD = re.compile(r"^Would (?:un)?install ", re.MULTILINE)


class Done(msgspec.Struct, frozen=True):
    """What became of a command: its exit code and what it said."""

    code: int
    out: str
    err: str


Run = Callable[[Sequence[str]], Done]
"""Runs a command; tests pass one of their own."""


class Change(msgspec.Struct, frozen=True):
    """
    A distribution that will be installed, replaced or removed: its versions, None where it is not there.

    `after` is a URL where uv will install from one: it learns the version only then.
    """

    name: str
    before: str | None
    after: str | None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be installed: requirements, folders to link to, files of requirements; and where to look for them."""

    requirements: tuple[str, ...] = ()
    editable: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    upgrade: bool = False
    index_url: str | None = None
    find_links: tuple[str, ...] = ()
    no_index: bool = False


def run_command(command: Sequence[str]) -> Done:
    """Run it here and now."""
    done = subprocess.run(list(command), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def version_of(name: str) -> str | None:
    """The version that is installed, None where none is."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


class Installer:
    """Installs and removes distributions of one interpreter."""

    def __init__(
        self,
        *,
        python: str = sys.executable,
        run: Run = run_command,
        version: Callable[[str], str | None] = version_of,
        find: Callable[[], tuple[Literal["pip", "uv"], list[str]]] | None = None,
    ) -> None:
        self.python = python
        self.run = run
        self._version = version
        self._kind, self._tool = (find or (lambda: find_tool(python)))()

    @property
    def tool(self) -> str:
        """What installs, as it is called: `python -m pip`."""
        return " ".join(self._tool)

    def plan(self, wanted: Wanted) -> list[Change]:
        """What installing would change, nothing being changed; raises PluginError with what pip or uv says against it."""
        with self._arguments(wanted) as arguments:
            if self._kind == "uv":
                done = self._said([*self._tool, "install", "--python", self.python, "--dry-run", *arguments])
                return self._changes_of_uv(done.err + done.out)
            with tempfile.TemporaryDirectory(prefix="alert-gateway-pip-") as place:
                report = Path(place) / "report.json"
                quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
                self._said([*self._tool, "install", *quiet, "--dry-run", "--report", str(report), *arguments])
                return self._changes_of_pip(report)

    def install(self, wanted: Wanted) -> None:
        """Install; raises PluginError with what pip or uv says against it."""
        with self._arguments(wanted) as arguments:
            if self._kind == "uv":
                self._said([*self._tool, "install", "--python", self.python, *arguments])
            else:
                self._said([*self._tool, "install", "--quiet", "--disable-pip-version-check", "--no-input", *arguments])

    def done(self, changes: Sequence[Change]) -> list[Change]:
        """The changes that were planned, once they are made: with the version in place of a URL."""
        importlib.invalidate_caches()
        return [
            msgspec.structs.replace(one, after=self._version(one.name) or one.after)
            if "://" in (one.after or "")
            else one
            for one in changes
        ]

    def uninstall(self, names: Sequence[str]) -> None:
        """Remove distributions, and nothing that they brought along; raises PluginError with what pip or uv says."""
        if self._kind == "uv":
            self._said([*self._tool, "uninstall", "--python", self.python, *names])
        else:
            self._said([*self._tool, "uninstall", "--yes", "--disable-pip-version-check", *names])

    @contextlib.contextmanager
    def _arguments(self, wanted: Wanted) -> Iterator[list[str]]:
        with tempfile.TemporaryDirectory(prefix="alert-gateway-constraint-") as place:
            arguments: list[str] = []
            ours = self._version(OURSELVES)
            if ours is not None:
                constraint = Path(place) / "constraint.txt"
                constraint.write_text(f"{OURSELVES}=={ours}\n", encoding="utf-8")
                arguments += ["--constraint", str(constraint)]
            arguments += ["--no-index"] if wanted.no_index else []
            arguments += ["--index-url", wanted.index_url] if wanted.index_url else []
            arguments += [part for place in wanted.find_links for part in ("--find-links", place)]
            if wanted.upgrade:
                names = [name for text in wanted.requirements if (name := name_of(text))]
                arguments += (
                    [part for name in names for part in ("--upgrade-package", name)]
                    if self._kind == "uv"
                    else ["--upgrade"]
                )
            arguments += [part for path in wanted.files for part in ("--requirement", str(path))]
            arguments += [part for path in wanted.editable for part in ("--editable", str(path))]
            yield [*arguments, *(["--", *wanted.requirements] if wanted.requirements else [])]

    def _said(self, command: list[str]) -> Done:
        try:
            done = self.run(command)
        except OSError as error:
            msg = f"{command[0]}: cannot be run: {error.strerror}"
            raise PluginError(msg) from None
        if done.code != 0:
            said = [line.strip() for line in (done.err or done.out).splitlines() if line.strip()]
            said = [line for line in said if not line.lower().startswith(("warning", "notice", "[notice"))] or said
            msg = f"{self.tool} ended with code {done.code}: {' '.join(said[-6:])[-1000:] or 'it said nothing'}"
            raise PluginError(msg)
        return done

    def _changes_of_pip(self, report: Path) -> list[Change]:
        try:
            items = json.loads(report.read_bytes())["install"]
            found = [(item["metadata"]["name"], item["metadata"]["version"]) for item in items]
        except (OSError, ValueError, KeyError, TypeError):
            msg = f"{self.tool} gave no report of what it would do; it takes pip 22.2 or newer"
            raise PluginError(msg) from None
        return [Change(name, self._version(name), version) for name, version in sorted(found)]

    def _changes_of_uv(self, said: str) -> list[Change]:
        before: dict[str, str] = {}
        after: dict[str, str] = {}
        for match in _UV_LINE.finditer(said):
            if match["sign"] != "+":
                before[match["name"]] = match["version"]
            if match["sign"] != "-":
                after[match["name"]] = match["version"]
        if not before and not after and _UV_WOULD.search(said):
            msg = f"{self.tool} gave no list of what it would do that this gateway can read: {' '.join(said.split())[-500:]}"
            raise PluginError(msg)
        return [Change(name, before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())]


def find_tool(
    python: str = sys.executable, which: Callable[[str], str | None] = shutil.which
) -> tuple[Literal["pip", "uv"], list[str]]:
    """The pip of this interpreter, else uv; raises PluginError that says how to get either."""
    if importlib.util.find_spec("pip") is not None:
        return "pip", [python, "-m", "pip"]
    if importlib.util.find_spec("uv") is not None:
        return "uv", [python, "-m", "uv", "pip"]
    uv = which("uv")
    if uv is not None:
        return "uv", [uv, "pip"]
    msg = (
        f"{python} has no pip, and there is no uv on the PATH; run `{python} -m ensurepip`, or install uv, "
        "or install the package in the way that this environment was made"
    )
    raise PluginError(msg)


def name_of(requirement: str) -> str | None:
    """The distribution that a requirement names, None for a path."""
    match = _DIRECT.fullmatch(requirement) or _REQUIREMENT.fullmatch(requirement)
    return normal(match["name"]) if match and not _is_path(requirement) else None


def check_requirement(text: str, *, allow_url: bool) -> str:
    """
    A requirement as pip may have it: a name with versions, or a path to a wheel or a folder; with `allow_url` a URL.

    Raises PluginError for an option in disguise, for a URL without leave, for one that carries a password.
    """
    text = text.strip()
    if not text or text.startswith("-") or not text.isprintable():
        msg = f"{text!r} is no requirement: write a package's name, alert-gateway-acme or alert-gateway-acme==1.2"
        raise PluginError(msg)
    direct = _DIRECT.fullmatch(text)
    if direct or "://" in text:
        _check_url(direct["url"] if direct else text, allow_url=allow_url)
        return text
    if _is_path(text):
        path = Path(text).expanduser()
        if not path.exists():
            msg = f"{text}: there is no such file or folder"
            raise PluginError(msg)
        return str(path.resolve())
    if not _REQUIREMENT.fullmatch(text):
        msg = f"{text!r} is no requirement: write a name, with versions if need be, 'alert-gateway-acme>=1,<2'"
        raise PluginError(msg)
    if name_of(text) == OURSELVES:
        msg = f"{OURSELVES} is the gateway itself, which is upgraded as it was installed; a plugin is called {OURSELVES}-…"
        raise ConflictError(msg)
    return text


def check_file(path: Path, *, allow_url: bool) -> Path:
    """A file of requirements, looked through; raises PluginError that names the line which is none."""
    try:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read: {error}"
        raise PluginError(msg) from None
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        try:
            if line.startswith(("-e ", "--editable ")):
                check_editable(Path(line.split(maxsplit=1)[1]))
            elif line:
                check_requirement(_HASHES.sub("", line), allow_url=allow_url)
        except PluginError as error:
            msg = f"{path}:{number}: {error}"
            raise PluginError(msg) from None
    return path.resolve()


def check_editable(path: Path) -> Path:
    """A folder that can be linked to; raises PluginError where it has no pyproject.toml."""
    path = path.expanduser().resolve()
    if not (path / "pyproject.toml").is_file():
        msg = f"{path}: there is no pyproject.toml, so it is no package; a plain template folder goes into GATEWAY_PLUGINS_DIR"
        raise PluginError(msg)
    return path


def _check_url(url: str, *, allow_url: bool) -> None:
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    if parts.password is not None or (parts.username and parts.scheme != "git+ssh"):
        msg = (
            f"{shown}: it carries a password, which would be written down; give it in pip's or git's own configuration"
        )
        raise PluginError(msg)
    if parts.scheme not in _SCHEMES:
        msg = f"{shown}: a plugin may come from {', '.join(_SCHEMES)}; what comes unencrypted may be anybody's"
        raise PluginError(msg)
    if parts.scheme != "file" and not allow_url:
        msg = f"{shown}: a URL is installed only with --allow-url; what lies there may change from one day to the next"
        raise PluginError(msg)


def _is_path(text: str) -> bool:
    return "://" not in text and (text.endswith(_ARCHIVES) or text.startswith((".", "/", "~")) or "/" in text)
