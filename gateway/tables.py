"""
Plain tables, as TOML and JSON give them: read as structs, and written as TOML.

What is wrong is said in words of TOML, with the nearest known key.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
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


def toml_of(table: Mapping[str, Any]) -> str:
    """A table as TOML, each table in it under a header of its own, so that another can be written below."""
    return "\n".join(_parts(table, "", ""))


def _parts(table: Mapping[str, Any], path: str, header: str) -> Iterator[str]:
    values = {key: value for key, value in table.items() if not (isinstance(value, dict) or _is_tables(value))}
    if values or not table or header.startswith("[["):  # else the tables below it say that it is there
        yield header + msgspec.toml.encode(values).decode()
    for key, value in table.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, dict):
            yield from _parts(value, name, f"[{name}]\n")
        elif _is_tables(value):
            for one in value:
                yield from _parts(one, name, f"[[{name}]]\n")


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _key(key: str) -> str:
    return msgspec.toml.encode({key: 0}).decode().removesuffix(" = 0\n")


def not_toml(error: tomllib.TOMLDecodeError) -> str:
    """What is wrong with a text that is no TOML, and where."""
    text = str(error)
    shut = re.match(r"Cannot mutate immutable namespace \((?P<keys>.*?),?\) \(at line (?P<line>\d+)", text)
    if shut is None:
        return f"not TOML: {text}"
    name = shut["keys"].replace("'", "").replace(", ", ".")
    return (
        f"line {shut['line']}: [[{name}]] cannot be added to what `{name} = …` wrote in one line, which ends there; "
        f"write [[{name}]] for each of them"
    )


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
