"""`alert-gateway plugins check` and `plugins preview`: for who writes a template."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gateway.cli.output import cell
from gateway.cli.root import FAILED, OK
from gateway.cli.session import Session
from gateway.cli.words import Command, shared
from gateway.errors import GatewayError, NotFoundError
from gateway.hookspecs import hookimpl

if TYPE_CHECKING:
    from gateway.checking import Law
    from gateway.template import TemplateFolder

PAUSE = 0.3
"""How many seconds lie between two looks at the files."""


@click.command(
    "check",
    cls=Command,
    examples=[
        "alert-gateway plugins check .                     the template in this package or folder",
        "alert-gateway plugins check datadog               one that is installed",
        "alert-gateway plugins check . --json              for programs: laws, TODOs, tier",
    ],
)
@click.argument("target", metavar="PATH|SLUG")
@shared
def check(session: Session, target: str) -> int:
    """
    Hold a template to every law, and say what breaks it, what is still to do, and what its tier is.

    The laws are the tests of `gateway.testing`, run by a pytest of its own; it comes with the extra `testing`. The exit code is
    1 where a law is broken, or a TODO is left in the template itself.
    """
    from gateway.checking import laws_of, todos_in

    base, template = _template(session, target)
    laws = laws_of(template.path)
    todos = todos_in(base)
    tier, needs = _tier(template)
    inside = [todo for todo in todos if (base / todo.file).is_relative_to(template.path)]
    is_good = all(law.kept for law in laws) and not inside  # the rest, a licence for one, can wait
    if session.out.as_json:
        session.out.json(
            {
                "slug": template.slug,
                "folder": str(template.path),
                "good": is_good,
                "laws": [msgspec.to_builtins(law) for law in laws],
                "todos": [msgspec.to_builtins(todo) for todo in todos],
                "tier": tier,
                "needs": needs,
            }
        )
        return OK if is_good else FAILED
    out = session.out
    out.lines([f"{template.slug}, {template.path}", ""])
    out.lines([line for law in laws for line in _said(law)])
    if todos:
        out.lines(["", "still to do", *(f"  {cell(one.file)}:{one.line}  {cell(one.text)}" for one in todos)])
    skipped = sum(law.skipped is not None for law in laws)
    kept = sum(law.kept for law in laws) - skipped
    out.lines(["", f"{kept} of {len(laws)} laws are kept{f', {skipped} could not be looked at' if skipped else ''}"])
    if todos:
        out.lines([f"{len(todos)} TODO{'s are' if len(todos) > 1 else ' is'} left"])
    if tier is not None:
        out.lines([f"tier: {tier}", *(f"  next: {cell(need)}" for need in needs)])
    return OK if is_good else FAILED


@click.command(
    "preview",
    cls=Command,
    examples=[
        "alert-gateway plugins preview . problem_firing           a sample by its name",
        "alert-gateway plugins preview . ../captured.json         or any file",
        "alert-gateway plugins preview . problem_firing --watch   again at each save, until Ctrl-C",
    ],
)
@click.argument("target", metavar="PATH|SLUG")
@click.argument("file", metavar="FILE|SAMPLE")
@click.option("--watch", is_flag=True, help="Show it again whenever a file of the template changes.")
@shared
def preview(session: Session, target: str, file: str, watch: bool) -> int:
    """
    Show the events that a template reads out of a payload, each field with where it came from.

    With --watch it is shown again at each save. The template's own code runs in this process.
    """
    base, template = _template(session, target)
    if not watch:
        return _preview(session, template, file)
    for number, _ in enumerate(changes([base, Path(file)])):
        if not session.out.as_json:
            session.out.lines(["", f"─── {number + 1} ───"] if number else [])
        try:
            _preview(session, _fresh(template), file)
        except GatewayError as error:  # half saved, or mistyped: the next save may mend it
            session.out.note(f"error: {cell(str(error))}")
        sys.stdout.flush()
    return OK


def changes(places: Sequence[Path], pause: float = PAUSE) -> Iterator[None]:
    """Once at once, and once for each change of a file in these places, for ever."""
    before: dict[Path, tuple[int, int]] | None = None
    while True:
        now = _state_of(places)
        if now != before:
            before = now
            yield
        time.sleep(pause)


def _state_of(places: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    found = {}
    for place in places:
        for path in [place, *place.rglob("*")] if place.is_dir() else [place]:
            if "__pycache__" in path.parts or path.is_dir():
                continue
            with contextlib.suppress(OSError):  # it is being replaced; the next look finds it
                about = path.stat()
                found[path] = (about.st_mtime_ns, about.st_size)
    return found


def _template(session: Session, target: str) -> tuple[Path, TemplateFolder]:
    """The folder to look for TODOs in, and the template; raises NotFoundError where there is neither such a path nor slug."""
    from gateway.checking import template_folder
    from gateway.template import TemplateFolder

    path = Path(target)
    if path.is_dir():
        folder = template_folder(path)
        return path.resolve(), TemplateFolder(folder.resolve())
    if "/" in target or target.startswith("."):
        msg = f"{path} is no folder"
        raise NotFoundError(msg)
    template = session.plugins.template(target)
    return template.path, template


def _fresh(template: TemplateFolder) -> TemplateFolder:
    from gateway.template import TemplateFolder

    return TemplateFolder(template.path, template.slug)


def _preview(session: Session, template: TemplateFolder, file: str) -> int:
    from gateway.cli.dry_run import explain, shape_of
    from gateway.cli.reading import Bench
    from gateway.cli.samples import load_sample, read_sample
    from gateway.plugins import PluginInfo, Plugins

    path = Path(file)
    sample = read_sample(path) if path.is_file() else load_sample(template, path.name)
    plugins = Plugins(session.settings)
    plugins.add(_One(template), PluginInfo(name=template.slug, origin="preview", distribution="", version=""))
    bench = Bench(plugins, session.settings, {})
    with contextlib.redirect_stdout(sys.stderr):
        tried = bench.request(template.slug, sample.body, sample.headers, sample.query)
    if session.out.as_json:
        session.out.json(shape_of(tried, {}))
    else:
        explain(session, tried, {}, len(sample.body))
    return FAILED if tried.error is not None else OK


class _One:
    """A plugin that brings one template."""

    def __init__(self, template: TemplateFolder) -> None:
        self._template = template

    @hookimpl
    def register_templates(self) -> list[TemplateFolder]:
        return [self._template]


def _tier(template: TemplateFolder) -> tuple[str | None, list[str]]:
    """The tier and what the next one needs; None where the template cannot be read."""
    with contextlib.suppress(ImportError, GatewayError):
        tiers: Any = importlib.import_module("gateway.tiers")
        needs = tiers.needs(template)
        return str(tiers.tier_of(template)), [needs] if isinstance(needs, str) else [str(need) for need in needs]
    return None, []


def _said(law: Law) -> list[str]:
    if law.skipped is not None:
        return [f"–  {law.law}: not looked at: {cell(law.skipped)}"]
    cases = f" ({law.cases} samples)" if law.cases > 1 else ""
    return [f"{'✓' if law.kept else '✗'}  {law.law}{cases}", *(f"     {cell(problem)}" for problem in law.problems)]
