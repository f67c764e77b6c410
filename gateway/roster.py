"""
What the operator decided about plugins, as files of the data folder.

    plugins.txt     what `plugins install` installed, as pip's requirements, so that an image can be rebuilt
    plugins.toml    what `plugins disable` switched off

Both are text that may be read and edited by hand.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

from gateway.errors import SettingsError

REQUIREMENTS = "plugins.txt"
SWITCHES = "plugins.toml"
_HEAD = "# What `alert-gateway plugins install` installed; `alert-gateway plugins install -r FILE` does so again.\n"
_SWITCHES_HEAD = "# Plugins that are not loaded, by distribution; `alert-gateway plugins enable NAME` takes one out.\n"


def normal(name: str) -> str:
    """A distribution's name in the form in which names are compared: `Alert_Gateway.Acme` is `alert-gateway-acme`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def disabled(data: Path) -> frozenset[str]:
    """The distributions that are switched off; raises SettingsError where the file is not what it should be."""
    path = data / SWITCHES
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8")).get("disabled", [])
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise SettingsError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: not TOML: {error}"
        raise SettingsError(msg) from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        msg = f'{path}: `disabled` is no list of texts; write disabled = ["alert-gateway-acme"]'
        raise SettingsError(msg)
    return frozenset(normal(name) for name in names)


def switch(data: Path, name: str, *, on: bool) -> bool:
    """Switch a distribution on or off; whether that changed anything."""
    before = disabled(data)
    after = before - {normal(name)} if on else before | {normal(name)}
    if after != before:
        _write(data / SWITCHES, f"{_SWITCHES_HEAD}disabled = {json.dumps(sorted(after))}\n")
    return after != before


def recorded(data: Path) -> dict[str, str]:
    """What was installed: lines of requirements by the distribution's name."""
    try:
        lines = (data / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{data / REQUIREMENTS}: cannot be read: {error}"
        raise SettingsError(msg) from None
    found = {}
    for line in lines:
        text, _, remark = line.partition(" # ")
        text = text.strip()
        if text and not text.startswith("#"):
            name = remark.strip() if text.startswith("-e ") else re.split(r"[^\w.-]", text, maxsplit=1)[0]
            found[normal(name or text)] = text
    return found


def record(data: Path, changes: dict[str, str | None]) -> None:
    """Keep these requirements by name; None takes one out."""
    lines = recorded(data)
    for name, text in changes.items():
        lines.pop(normal(name), None)
        if text is not None:
            lines[normal(name)] = text
    texts = [f"{text} # {name}" if text.startswith("-e ") else text for name, text in sorted(lines.items())]
    _write(data / REQUIREMENTS, _HEAD + "".join(f"{text}\n" for text in texts))


def _write(path: Path, text: str) -> None:
    """Whole or not at all: who reads it at this moment sees the one before."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror}"
        raise SettingsError(msg) from None
