"""
Imports run one way: a module knows those of its own layer and of the layers before it, and no others.

An import inside a function counts, and one for types alone does too: what a reader must know to read the module is the
same. What an adapter is chosen by is a name (`importlib.import_module`), so that a new one is a new file and edits none.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = (
    # A new module is one word here, in the first layer from which it sees all it needs. A package stands for all of its
    # modules, except those that are named themselves. "" is `gateway/__init__.py`.
    "errors clock faults hours models views",
    (
        "config vault wake names targets dialing http tables texts mapping patterns rules advanced template tidying rulebook "
        "tiers verify signatures expressions hosts handshakes certificates errands body metrics store.base notifiers.base "
        "roster fingerprint permits proposal installing"
    ),
    "hookspecs plugins loader ''",
    (
        "pipeline alerts directory escalation grouping pacing routing recall timers own_alerts maintenance cautions delivery "
        "actions integrations people configuration configuration_file references inventory reconciliation applying "
        "prospect"
    ),
    "store notifiers",
    (
        "ingest fetching endpoints connections framing intake protocol api web app sequence reader lane trial history stage "
        "comparison rehearsal worker process web_process supervisor scaffold checking cli __main__"
    ),
    "testing",
)

ONLY_IN = {
    # What may be imported in few places, and by whom: each line keeps a promise of DESIGN.md.
    "httpx2": "targets testing",  # how a URL is read; requests go out through `http` alone
    "httpcore2": "http dialing",  # the only outbound client: that is where addresses are guarded
    "aiosmtplib": "notifiers",
    "smtplib": "",
    "requests": "",
    "urllib.request": "",
    "http.client": "testing",
    "apsw": "store",
    "sqlite3": "",  # the standard library's may have the WAL-reset fault
    "re2": "patterns hosts",
    "uvicorn": "protocol web_process testing",
    "click": "hookspecs cli",
    "rich": "cli",
    "jinja2": "web",
    "xml.etree": "",  # only with defusedxml, or expat as body.py uses it
    "pickle": "",
    "random": "delivery ingest lane worker supervisor",  # jitter; what must not be guessed comes from `secrets`
}


def modules() -> list[str]:
    """Every module of the package, without `gateway.` in front."""
    files = (path for path in (ROOT / "gateway").rglob("*.py") if "_plugins" not in path.parts)
    return sorted(_module(path) for path in files)


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT / "gateway").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imports(module: str) -> tuple[tuple[int, str], ...]:
    """What a module imports, with the lines; `from a import b` is `a.b`."""
    return tuple(_imports(ast.parse(_path(module).read_bytes())))


def _path(module: str) -> Path:
    stem = ROOT.joinpath("gateway", *filter(None, module.split(".")))
    return stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{name.name}") for name in node.names)


def own_imports(module: str) -> Iterator[tuple[int, str]]:
    """The modules of the package that a module imports: of `gateway.a.b` the longest beginning that is a module."""
    known = set(modules())
    for line, name in imports(module):
        if name == "gateway" or name.startswith("gateway."):
            target = name.removeprefix("gateway").removeprefix(".")
            while target not in known and "." in target:
                target = target.rpartition(".")[0]
            yield line, target if target in known else ""


def named(words: str) -> list[str]:
    """The words of a line of a table."""
    return ["" if word == "''" else word for word in words.split()]


def listed(module: str, words: list[str]) -> str | None:
    """The longest of the words that stands for a module: its own name, or that of a package it is in."""
    fitting = [word for word in words if word == module or (word and module.startswith(word + "."))]
    return max(fitting, key=len, default=None)


@functools.cache
def layer(module: str) -> int | None:
    """Where a module stands; None where nobody said."""
    found = {word: at for at, words in enumerate(LAYERS) for word in named(words)}
    word = listed(module, list(found))
    return None if word is None else found[word]


@pytest.mark.parametrize("module", modules())
def test_every_module_has_a_layer(module: str) -> None:
    assert layer(module) is not None, (
        f"gateway.{module} is in no layer: add {module!r} to one of LAYERS in tests/test_imports.py, the first from "
        "which it sees all that it imports"
    )


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module: str) -> None:
    here = layer(module)
    wrong = [
        f"gateway/{_path(module).relative_to(ROOT / 'gateway')}:{line}: gateway.{module} is in layer {here} and imports "
        f"gateway.{target}, which is in layer {there}"
        for line, target in own_imports(module)
        if here is not None and (there := layer(target)) is not None and there > here
    ]
    assert not wrong, "\n".join([*wrong, "Move what both need down a layer, or pass it in as an argument."])


@pytest.mark.parametrize("module", modules())
def test_inside_the_package_names_come_from_where_they_live(module: str) -> None:
    known = set(modules())
    wrong = [
        f"line {line}: from {name.rpartition('.')[0] or '.'} import {name.rpartition('.')[2]}"
        for line, name in imports(module)
        if name.startswith(".") or (name.count(".") == 1 and name.startswith("gateway.") and name[8:] not in known)
    ]
    assert module == "" or not wrong, (
        f"gateway.{module} imports from the package's front door or with dots; write `from gateway.models import …`: "
        + "; ".join(wrong)
    )


def test_no_module_needs_itself() -> None:
    """No module leads back to itself, by imports that are carried out when it is imported."""
    edges = {module: sorted(_at_import_time(module)) for module in modules()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, "these import each other: " + " → ".join(
            f"gateway.{name}" for name in (*way[way.index(module) :], module)
        )
        if module not in done:
            for target in edges[module]:
                visit(target, (*way, module))
            done.add(module)

    for module in edges:
        visit(module, ())


def _at_import_time(module: str) -> set[str]:
    tree = ast.parse(_path(module).read_bytes())
    later = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return {target for line, target in own_imports(module) if line not in later and target not in ("", module)}


@pytest.mark.parametrize("module", modules())
def test_what_few_may_import(module: str) -> None:
    wrong = [
        f"line {line}: gateway.{module} imports {name}; only {places or 'nobody'} may"
        for line, name in imports(module)
        for package, places in ONLY_IN.items()
        if (name == package or name.startswith(package + ".")) and listed(module, places.split()) is None
    ]
    assert not wrong, "\n".join([*wrong, "If that should change, say why in ONLY_IN in tests/test_imports.py."])


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*/*.py")), ids=lambda path: path.parent.name)
def test_a_template_imports_little(path: Path) -> None:
    """A template imports gateway's front door, msgspec and the standard library; nothing else."""
    allowed = {"gateway", "msgspec", *sys.stdlib_module_names}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for line, name in _imports(ast.parse(path.read_bytes()))
        if name.split(".")[0] not in allowed or (name.startswith("gateway.") and name.count(".") > 1)
    ]
    assert not wrong, "a template imports `gateway` itself, msgspec and the standard library: " + "; ".join(wrong)
