"""`alert-gateway plugins new`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.files import content_of
from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.words import Command, shared
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.body import Format
    from gateway.proposal import Proposal
    from gateway.scaffold import Capture, Scaffold

_KINDS = (".json", ".http", ".xml", ".form", ".txt")
_FORMATS: dict[str, Format] = {".json": "json", ".xml": "xml", ".form": "form", ".txt": "text"}


@click.command(
    "new",
    cls=Command,
    examples=[
        "alert-gateway plugins new acme                         a package, alert-gateway-acme/",
        "alert-gateway plugins new acme --folder                a plain folder, for GATEWAY_PLUGINS_DIR",
        "alert-gateway plugins new acme --name 'ACME Watch'     how the vendor writes itself",
        "alert-gateway plugins new acme --from-sample down.json up.json",
    ],
)
@click.argument("vendor")
@click.argument("more", nargs=-1, metavar="", type=click.Path(path_type=Path))
@click.option("--name", metavar="TEXT", help="How the vendor writes its name; made from VENDOR where it is not given.")
@click.option("--folder", "as_folder", is_flag=True, help="Make a template folder alone, no package.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where to make it; here, where it is not given.",
)
@click.option(
    "--from-sample",
    "samples",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE...",
    help="Captured payloads to make a proposal from: a problem and its recovery, or more. What is in a file its name's ending "
    "says: .json, .form (a form's body), .xml, .txt, or .http (a request with its headers). With any other it is JSON or text.",
)
@click.option("--yes", is_flag=True, help="Do not ask whether the proposal is right.")
@shared
def new(
    session: Session,
    vendor: str,
    more: tuple[Path, ...],
    name: str | None,
    as_folder: bool,
    into: Path,
    samples: tuple[Path, ...],
    yes: bool,
) -> int:
    """
    Make a template for VENDOR: a package to publish, or a folder.

    It starts red: `plugins check` says what to write next. With --from-sample the payloads are compared: what a problem and
    its recovery share may be the id, where they differ may be the status. Each guess is shown with its reason, and written
    with it; on a terminal, it asks first. The payloads become the first samples: nothing private is taken out of them.
    """
    if more and not samples:
        msg = f"{more[0]}: files come after --from-sample"
        raise click.UsageError(msg, click.get_current_context())
    from gateway.scaffold import check_name, check_slug, scaffold_of, write_files

    slug = check_slug(vendor, list(session.plugins.cards))
    shown = check_name(name) if name else " ".join(part.capitalize() for part in slug.split("-"))
    captures = [_captured(path) for path in _once((*samples, *more))]
    proposal = _proposed(captures) if captures else None
    today = datetime.fromtimestamp(session.clock.now() / 1000, UTC).date()
    made = scaffold_of(slug, shown, package=not as_folder, proposal=proposal, captures=captures, today=today)
    target = into / made.folder
    if target.exists():
        write_files(target, {})  # says that it is there
    if proposal is not None and not session.out.as_json:
        _show(session, proposal, made)
        if sys.stdin.isatty() and not yes and not click.confirm(f"Write it to {target}?", default=True):
            session.out.note("nothing was written")
            return 0
    write_files(target, made.files)
    if session.out.as_json:
        session.out.json(_shape(slug, target, made, proposal))
        return 0
    session.out.lines(
        _next(target, made, asked=proposal is not None and sys.stdin.isatty() and not yes, proposal=proposal)
    )
    return 0


def _once(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The same paths; raises GatewayError where two are one file, which shows nothing by being compared with itself."""
    places = [path.resolve() for path in paths]
    for at, path in enumerate(paths):
        if places[at] in places[:at]:
            msg = f"{path}: it is named twice; name each file once: one of a problem, another of its recovery"
            raise GatewayError(msg)
    return paths


def _captured(path: Path) -> Capture:
    from gateway.cli.reading import event_shape
    from gateway.cli.samples import read_sample
    from gateway.scaffold import Capture

    content = content_of(path)
    suffix = path.suffix.lower()
    if suffix not in _KINDS:
        suffix = ".json" if content.lstrip()[:1] in (b"{", b"[") else ".txt"
    if path.suffix == ".http":
        sample = read_sample(path)
        lines = [f"{name}: {value}" for name, value in sample.headers if name.lower() != "content-length"]
        headers, query, body = "\r\n".join(lines).encode("latin-1"), sample.query.encode(), sample.body
        body = (
            body if len(lines) < len(sample.headers) else body.removesuffix(b"\n")
        )  # the editor's, where no length is told
    else:
        kinds = {
            ".json": b"application/json",
            ".xml": b"application/xml",
            ".form": b"application/x-www-form-urlencoded",
        }
        headers, query, body = b"content-type: " + kinds.get(suffix, b"text/plain; charset=utf-8"), b"", content
    return Capture(
        name=path.stem,
        suffix=suffix,
        content=content,
        headers=headers,
        query=query,
        body=body,
        data=_decoded(path, suffix, headers, body),
        expected_of=event_shape,
    )


def _decoded(path: Path, suffix: str, headers: bytes, body: bytes) -> Any:
    from gateway.body import FORMATS, decode_body, parse_headers
    from gateway.errors import UnreadableError

    formats = [_FORMATS[suffix]] if suffix in _FORMATS else FORMATS
    try:
        return decode_body(parse_headers(headers), body, 4 << 20, formats=formats, payload_field="payload")
    except UnreadableError as error:
        msg = f"{path}: {error}"
        raise GatewayError(msg) from None


def _proposed(captures: list[Capture]) -> Proposal:
    from gateway.proposal import propose

    proposal = propose([capture.payload for capture in captures])
    others = {_FORMATS[capture.suffix] for capture in captures if capture.suffix in _FORMATS} - {"json", "form"}
    proposal.accepts += sorted(others)
    texts = [capture.name for capture in captures if capture.suffix == ".txt"]
    if texts and not proposal.guesses:
        proposal.notes.append(
            f"read as text: {', '.join(texts)}; where it is a form, let the file's name end in .form; "
            "where it is a request with its headers, in .http"
        )
    return proposal


def _show(session: Session, proposal: Proposal, made: Scaffold) -> None:
    out = session.out
    rows: list[list[object]] = [["each", proposal.each, "a list of events", "high"]] if proposal.each else []
    rows += [[guess.field, guess.written, guess.why, guess.confidence] for guess in proposal.guesses]
    sure = next((guess.confidence for guess in proposal.guesses if guess.field == "source_status"), "-")
    rows += [[f"[{action}]", words, "seen in the payloads", sure] for action, words in proposal.rules.items()]
    rows += [[f"severity {one}", words, "by the words", "medium"] for one, words in proposal.severities.items()]
    rows += [[field, None, "not found: a TODO", None] for field in proposal.missing]
    out.table(("FIELD", "FROM", "WHY", "SURE"), rows)
    out.lines([""])
    for case in made.cases:
        reading = {"open": "opens", "close": "closes"}.get(case.role or "", "neither opens nor closes")
        out.lines([f"{cell(case.source)} {reading}; it becomes samples/{cell(case.file)}"])
    for note in [*proposal.notes, *dict.fromkeys(case.error for case in made.cases if case.error)]:
        out.note(f"note: {cell(note)}")


def _next(target: Path, made: Scaffold, *, asked: bool, proposal: Proposal | None) -> list[str]:
    where = target / made.template
    lines = [f"made {target}/ with {len(made.files)} files"]
    if proposal is not None and not asked:
        lines.append(f"nobody was asked: read the guesses in {where / 'template.toml'}")
    todo = sum(content.count(b"TODO") for content in made.files.values())
    sample = made.cases[0].name if made.cases else "problem_firing"
    return [
        *lines,
        f"next: {todo} TODOs, most of them in {where / 'template.toml'}; then",
        f"  alert-gateway plugins preview {target} {sample}",
        f"  alert-gateway plugins check {target}",
    ]


def _shape(slug: str, target: Path, made: Scaffold, proposal: Proposal | None) -> dict[str, Any]:
    import msgspec

    found = None
    if proposal is not None:
        found = {
            "each": proposal.each,
            "fields": [
                {
                    "field": one.field,
                    "text": one.written,
                    "path": one.path,
                    "why": one.why,
                    "confidence": one.confidence,
                }
                | {"others": one.others}
                for one in proposal.guesses
            ],
            "rules": proposal.rules,
            "severities": proposal.severities,
            "unplaced": proposal.unplaced,
            "missing": proposal.missing,
            "notes": proposal.notes,
        }
    return {
        "slug": slug,
        "folder": str(target),
        "template": str(target / made.template),
        "files": sorted(made.files),
        "samples": [
            {
                key: value
                for key, value in msgspec.structs.asdict(case).items()
                if key in ("file", "source", "role", "error")
            }
            for case in made.cases
        ],
        "proposal": found,
    }
