"""
Plain tables, as TOML and JSON give them: read as structs, and written as TOML.

What is wrong is said in words of TOML, with the nearest known key.
"""

from __future__ import annotations

import math
import re
import tomllib
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from gateway.config import nearest
from gateway.errors import TemplateError

T = TypeVar("T")


_GOT = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list",
    "object": "a table", "null": "nothing", "date": "a date", "datetime": "a date", "time": "a time of day",
}  # fmt: skip
_WANTED = {
    "array": 'a list, ["…"]', "object": "a table, { … }", "str": 'a text, "…"', "int": "a whole number",
    "float": "a number", "bool": "true or false",
}  # fmt: skip


def struct_of(raw: Mapping[str, Any], kind: type[T], where: str, top: Collection[str] = ()) -> T:
    """
    The tables as a struct of this kind; raises TemplateError: `where: unknown key "fieds"; did you mean fields?`.

    `top` are the keys of the top level, where it has more than those of `kind`.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        msg = f"{where}: {explain(error, kind, top)}"
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


def explain(error: msgspec.ValidationError, kind: Any, top: Collection[str] = ()) -> str:
    """A message of msgspec's about a struct of this kind in words of TOML: what is wrong, where, and what to write."""
    text = str(error)
    path_match = re.search(r" - at `\$?\.?(?P<path>[^`]*)`$", text)
    path = path_match["path"] if path_match else ""
    where = f"[{path}]" if path else "the top level"
    unknown = re.match(r"Object contains unknown field `(?P<key>[^`]*)`", text)
    if unknown:
        key = unknown["key"]
        hint = nearest(key, _keys_in(_kinds_at(path, kind)))
        if path and key in (*top, *_keys_in([kind])):
            hint += f"; {key} belongs at the top level, before the first [table]"
        return f'unknown key "{key}" in {where}{hint}'
    missing = re.match(r"Object missing required field `(?P<key>[^`]*)`", text)
    if missing:
        return f'the key "{missing["key"]}" is missing in {where}'
    mismatch = re.match(r"Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`", text)
    if mismatch and path:
        wanted = [_form(one, mismatch["got"], path, kind) for one in _WANTED if one in mismatch["wanted"].split(" | ")]
        if wanted:
            return f"{path} is {_GOT.get(mismatch['got'], mismatch['got'])}; write {' or '.join(wanted)}"
    value = text.split(" - at `", maxsplit=1)[0]
    choices = [str(one) for one in _choices_in(_kinds_at(path, kind))]
    if value.startswith("Invalid enum value ") and choices:
        value = value.removeprefix("Invalid enum value ")
        hint = nearest(value.strip("'"), choices)
        return f"{path} is {value}; it is one of {', '.join(choices)}{hint}"
    return value + f" at {path or 'the top level'}"


def _form(wanted: str, got: str, path: str, root: Any) -> str:
    """What to write where something else stands."""
    is_top = path.isidentifier()
    if wanted == "array" and _structs_in_list(_kinds_at(path, root)):
        return f"[[{path}]], with two brackets" if is_top else "a list of tables, [{ … }]"
    if wanted == "object" and is_top:
        return f"[{path}], with one bracket" if got == "array" else f"a table, [{path}]"
    return _WANTED[wanted]


def _kinds_at(path: str, root: Any) -> list[Any]:
    kinds: list[Any] = [root]
    for part in filter(None, re.split(r"\.|\[[^\]]*\]", path)):
        kinds = [
            field.type
            for kind in kinds
            for struct in _structs_in(kind)
            for field in msgspec.structs.fields(struct)
            if field.encode_name == part
        ]
    return kinds


def _keys_in(kinds: Iterable[Any]) -> list[str]:
    structs = (struct for kind in kinds for struct in _structs_in(kind))
    return [field.encode_name for struct in structs for field in msgspec.structs.fields(struct)]


def _structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [struct for part in typing.get_args(kind) for struct in _structs_in(part)]


def _structs_in_list(kinds: Iterable[Any]) -> bool:
    parts = [part for kind in kinds for part in (kind, *typing.get_args(kind))]
    return any(typing.get_origin(part) is list and _structs_in(part) for part in parts)


def _choices_in(kinds: Iterable[Any]) -> list[object]:
    found: list[object] = []
    for kind in kinds:
        parts = typing.get_args(kind)
        found += parts if typing.get_origin(kind) is typing.Literal else _choices_in(parts)
    return list(dict.fromkeys(found))  # a struct that is in a union twice says them twice


def endless_in(value: Any) -> Iterator[float]:
    """The numbers in a value that are none: nan and inf, which TOML has and JSON has not."""
    if isinstance(value, float) and not math.isfinite(value):
        yield value
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        yield from endless_in(part)
