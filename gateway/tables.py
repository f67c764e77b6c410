"""Plain tables, as TOML and JSON give them, as structs; what is wrong is said in words of TOML, with the nearest known key."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from gateway.config import nearest
from gateway.errors import TemplateError

T = TypeVar("T")


def struct_of(raw: Mapping[str, Any], kind: type[T], where: str) -> T:
    """The tables as a struct of this kind; raises TemplateError: `where: unknown key "fieds"; did you mean fields?`."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        msg = f"{where}: {explain(error, kind)}"
        raise TemplateError(msg) from None


def explain(error: msgspec.ValidationError, kind: Any) -> str:
    """A message of msgspec's about a struct of this kind in words of TOML, with the nearest known key for an unknown one."""
    text = str(error)
    path_match = re.search(r" - at `\$?\.?(?P<path>[^`]*)`$", text)
    path = path_match["path"] if path_match else ""
    where = f"[{path}]" if path else "the top level"
    unknown = re.match(r"Object contains unknown field `(?P<key>[^`]*)`", text)
    if unknown:
        return f'unknown key "{unknown["key"]}" in {where}{nearest(unknown["key"], _keys_at(path, kind))}'
    missing = re.match(r"Object missing required field `(?P<key>[^`]*)`", text)
    if missing:
        return f'the key "{missing["key"]}" is missing in {where}'
    return text.split(" - at `", maxsplit=1)[0] + f" at {path or 'the top level'}"


def _keys_at(path: str, root: Any) -> list[str]:
    kinds: list[Any] = [root]
    for part in filter(None, re.split(r"\.|\[[^\]]*\]", path)):
        kinds = [
            field.type
            for kind in kinds
            for struct in _structs_in(kind)
            for field in msgspec.structs.fields(struct)
            if field.encode_name == part
        ]
    return [
        field.encode_name for kind in kinds for struct in _structs_in(kind) for field in msgspec.structs.fields(struct)
    ]


def _structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [struct for part in typing.get_args(kind) for struct in _structs_in(part)]
