"""What commands read from files, or from the standard input where the file is `-`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from gateway.errors import GatewayError
from gateway.tables import not_toml


def content_of(path: Path) -> bytes:
    """All bytes; raises GatewayError where it cannot be read."""
    try:
        with click.open_file(str(path), "rb") as file:
            content: bytes = file.read()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}"
        raise GatewayError(msg) from None
    return content


def read_settings(path: Path | None) -> dict[str, Any]:
    """An integration's own settings from a TOML file; raises GatewayError where it is none."""
    if path is None:
        return {}
    try:
        return tomllib.loads(content_of(path).decode("utf-8"))
    except tomllib.TOMLDecodeError as error:
        msg = f"{path}: {not_toml(error)}"
        raise GatewayError(msg) from None
    except UnicodeDecodeError as error:
        msg = f"{path}: not TOML: {error}"
        raise GatewayError(msg) from None


def read_secret(path: Path | None) -> str | None:
    """A secret: the file's text without the end of its line; raises GatewayError where it is no text."""
    if path is None:
        return None
    try:
        return content_of(path).decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        msg = f"{path}: the secret is not UTF-8 text"
        raise GatewayError(msg) from None
