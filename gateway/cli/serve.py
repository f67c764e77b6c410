"""`alert-gateway serve`."""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.words import Command
from gateway.config import Settings, load
from gateway.integrations import Made, first_integrations

_NO_FLAG = ("faults", "smtp_url")  # for tests; and a password that other users of the machine would see


def _with_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each setting, with the setting's own words for its help."""
    said = _docstrings()
    for field in reversed(msgspec.structs.fields(Settings)):
        if field.name in _NO_FLAG:
            continue
        name = field.name.replace("_", "-")
        default = (
            "" if field.default in (None, "") or isinstance(field.default, bool) else f" [default: {field.default}]"
        )
        text = f"{said.get(field.name, '')}{default}"
        if field.type is bool:
            option = click.option(f"--{name}/--no-{name}", field.name, default=None, help=text)
        else:
            option = click.option(f"--{name}", field.name, metavar=_metavar(field.type), help=text)
        function = option(function)
    return function


def _metavar(kind: Any) -> str:
    return {int: "N", float: "SECONDS"}.get(kind, "DIR" if "Path" in str(kind) else "TEXT")


def _docstrings() -> dict[str, str]:
    """What stands under each field of Settings. Without the source at hand, nothing: help is not worth failing for."""
    try:
        tree = ast.parse(inspect.getsource(Settings))
    except (OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, str] = {}
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = str(ast.literal_eval(text.value))
    return found


@click.command(
    cls=Command,
    examples=[
        "alert-gateway serve",
        "alert-gateway serve --port 9000 --data /var/lib/alert-gateway --public-url https://alerts.example.com",
    ],
)
@_with_settings
@click.option("--json", "as_json", is_flag=True, help="Say what was started as one line of JSON.")
def command(*, as_json: bool, **flags: Any) -> None:
    """
    Run the gateway until SIGTERM or Ctrl-C.

    Where there is no integration yet, one is made for each built-in template, and their URLs are printed, this once. Each
    setting is a flag here and a variable GATEWAY_… of the environment; the flag wins. GATEWAY_SMTP_URL, which holds a
    password, is a variable alone. SIGHUP replaces all processes and refuses no connection.
    """
    settings = load(**flags)
    from gateway.supervisor import serve

    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )

    def ready(url: str) -> None:
        _greet(settings, url, asyncio.run(start(settings)), as_json=as_json)

    serve(settings, ready)


async def start(settings: Settings) -> Sequence[Made]:
    """What a first start makes; nothing at any other."""
    session = Session(settings.data)
    session.settings = settings
    async with session.state(make=True) as state:
        if await state.integrations():
            return []
        return await first_integrations(state, session.vault, session.plugins, session.clock)


def _greet(settings: Settings, url: str, made: Sequence[Made], *, as_json: bool) -> None:
    if as_json:
        shapes = [
            {
                "id": one.integration.id,
                "name": one.integration.name,
                "template": one.integration.template,
                "endpoint_url": one.url(url),
            }
            for one in made
        ]
        greeting = {"url": url, "pid": os.getpid(), "data": str(settings.data), "integrations": shapes}
        print(msgspec.json.encode(greeting).decode(), flush=True)
        return
    lines = [f"Alert Gateway listens on {url} (data in {settings.data}); Ctrl-C stops it."]
    if made:
        lines += ["", "An integration for each template is ready. Their URLs are shown this once:", ""]
        width = max(len(one.integration.name) for one in made)
        lines += [f"  {cell(one.integration.name):<{width}}  {one.url(url)}" for one in made]
        custom = next((one for one in made if one.integration.template == "custom"), None)
        if custom is not None:
            lines += ["", "Open an alert, and close it:", ""]
            for status in ("open", "close"):
                body = f'{{"source_id":"demo-1","status":"{status}","subject":"Disk of db-7 is nearly full"}}'
                lines.append(f"  curl -d '{body}' {custom.url(url)}")
            lines += [
                "",
                f"and see it with: {_program()} alerts list --status all --data {shlex.quote(str(settings.data.absolute()))}",
                f"A vendor's own sample: {_program()} send datadog --to URL",
            ]
        lines += [
            "",
            "Nobody is notified yet; `users add`, `policies add` and `integrations set --policy` see to that.",
        ]
    print("\n".join(lines), flush=True)


def _program() -> str:
    """How this program is called from another shell."""
    if shutil.which("alert-gateway"):
        return "alert-gateway"
    here = Path(sys.argv[0])
    return (
        f"{shlex.quote(sys.executable)} -m gateway" if here.name == "__main__.py" else shlex.quote(str(here.absolute()))
    )
