"""
A hash of what is loaded: the same for the same files, whoever installed them and where.

The allow-list GATEWAY_LOAD_PLUGINS may pin it: `alert-gateway-acme@sha256:…`. What is hashed is what lies on the disk, not
what an installer once wrote down about it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from gateway.errors import PluginError

GROUP = "gateway.plugins"
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
