"""
A hash of what is loaded: the same for the same files, whoever installed them and where.

The allow-list GATEWAY_LOAD_PLUGINS may pin it: `alert-gateway-acme@sha256:…`. What is hashed is what lies on the disk, not
what an installer once wrote down about it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.errors import PluginError
from gateway.roster import normal

GROUP = "gateway.plugins"
_PIN = re.compile(r"sha256:[0-9a-f]{64}")
_MADE = ("__pycache__", ".git", ".pytest_cache", ".ruff_cache", ".mypy_cache")
_TOLD = ("METADATA", "entry_points.txt")


def of_path(path: Path) -> str:
    """The hash of a folder's files, or of one file: `sha256:…`."""
    files = [path] if path.is_file() else _files_in(path)
    return _hashed((str(file.relative_to(path if path.is_dir() else path.parent)), file) for file in files)


def of_distribution(distribution: importlib.metadata.Distribution) -> str:
    """
    The hash of a distribution's files: those that it lists, and whatever else lies in the packages of its plugins.

    Scripts and what an installer adds are left out: they differ from machine to machine. Raises PluginError where a file that
    it lists cannot be read.
    """
    files: dict[str, Path] = {}
    for listed in distribution.files or ():
        in_metadata = listed.parts[0].endswith((".dist-info", ".egg-info"))
        if ".." in listed.parts or listed.suffix in (".pyc", ".pth") or (in_metadata and listed.name not in _TOLD):
            continue
        name = f"metadata/{listed.name}" if in_metadata else listed.as_posix()
        files[name] = Path(str(distribution.locate_file(listed)))
    for top in sorted({entry.module.partition(".")[0] for entry in distribution.entry_points if entry.group == GROUP}):
        spec = importlib.util.find_spec(top)
        for place in (spec.submodule_search_locations or []) if spec is not None else []:
            for file in _files_in(Path(place)):
                files.setdefault(f"{top}/{file.relative_to(place).as_posix()}", file)
    return _hashed(files.items())


def is_editable(distribution: importlib.metadata.Distribution) -> bool:
    """Whether it is installed as a link to a folder that is being worked on."""
    try:
        about = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(about.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def allowed(text: str) -> dict[str, str | None]:
    """
    The allow-list: distributions, each with the hash that it must have, None for any.

    A pin that is no `sha256:` and 64 digits stands as it is: nothing has that hash, so nothing is loaded by mistake.
    """
    found: dict[str, str | None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, at, pin = item.partition("@")
        found[normal(name.strip())] = pin.strip().lower() if at else None
    return found


def refused(distribution: importlib.metadata.Distribution | None, name: str, pin: str) -> str | None:
    """Why a distribution is not what its pin says; None where it is."""
    if not _PIN.fullmatch(pin):
        return f"GATEWAY_LOAD_PLUGINS: {name}@{pin[:80]} is no pin; write {name}@sha256: and 64 hexadecimal digits"
    if distribution is None:
        return f"GATEWAY_LOAD_PLUGINS pins {name}, which cannot be hashed"
    found = of_distribution(distribution)
    if found == pin:
        return None
    return (
        f"not loaded: its files have the hash {found}, and GATEWAY_LOAD_PLUGINS allows {pin}; where the change is meant, "
        f"set {name}@{found}"
    )


def _files_in(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if (
            path.is_file()
            and path.suffix != ".pyc"
            and not any(part in _MADE for part in path.relative_to(folder).parts)
        ):
            yield path


def _hashed(files: Iterable[tuple[str, Path]]) -> str:
    whole = hashlib.sha256()
    for name, path in sorted(files):
        try:
            content = path.read_bytes()
        except OSError as error:
            msg = f"{path}: cannot be read: {error.strerror}"
            raise PluginError(msg) from None
        whole.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
    return "sha256:" + whole.hexdigest()
