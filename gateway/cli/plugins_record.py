"""What `plugins install` writes down, so that the same can be installed again elsewhere."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gateway.installing import Wanted, name_of, version_of
from gateway.roster import normal


def lines_of(wanted: Wanted, versions: Mapping[str, str | None]) -> dict[str, str]:
    """A line of requirements for each distribution that was asked for, by its name; the exact version where it has one."""
    exact = {normal(name): version for name, version in versions.items()}
    lines: dict[str, str] = {}

    def add(text: str) -> None:
        name, place = name_of(text), _place(text)
        if place is not None:
            name = name or _name_in(place)
            lines[normal(name)] = f"{name} @ {place}"
        elif name is not None:
            version = exact.get(name) or version_of(name)
            lines[name] = f"{name}=={version}" if version else text

    def link(path: Path) -> None:
        lines[normal(_name_of_project(path))] = f"-e {path}"

    for text in wanted.requirements:
        add(text)
    for path in wanted.editable:
        link(path)
    for line in (line for file in wanted.files for line in _lines_in(file)):
        if line.startswith(("-e ", "--editable ")):
            link(Path(line.split(maxsplit=1)[1]).expanduser().resolve())
        else:
            add(line)
    return lines


def _lines_in(file: Path) -> list[str]:
    """The requirements in a file, without remarks and hashes."""
    raw = file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [line for text in raw if (line := re.sub(r"(^|\s)#.*", "", text).split(" --hash=")[0].strip())]


def _place(text: str) -> str | None:
    """The URL that a requirement points to, None for a name with versions."""
    if "://" in text:
        return text.partition("@")[2].strip() if re.match(r"[\w.\[\],-]+\s*@", text) else text
    return Path(text).expanduser().resolve().as_uri() if "/" in text or text.endswith((".whl", ".gz", ".zip")) else None


def _name_in(place: str) -> str:
    parts = urlsplit(place)
    if parts.scheme == "file" and Path(parts.path).is_dir():
        return _name_of_project(Path(parts.path))
    last = parts.path.rpartition("/")[2].partition("@")[0].removesuffix(".git")
    return normal(last.split("-")[0] if last.endswith(".whl") else re.split(r"-\d", last)[0])


def _name_of_project(path: Path) -> str:
    try:
        name = tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return normal(path.name)
    return normal(str(name))
