"""`alert-gateway try`."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import Any

import click

from gateway.cli.files import content_of, read_settings
from gateway.cli.output import cell
from gateway.cli.reading import Bench, Headers, Tried, event_shape, fields_of
from gateway.cli.root import FAILED, OK
from gateway.cli.samples import load_sample, read_sample
from gateway.cli.send import split_header
from gateway.cli.session import Session
from gateway.cli.words import Command, shared
from gateway.errors import NotFoundError
from gateway.models import Reading
from gateway.rulebook import compile_rulebook

_WOULD = {
    "open": "opens an alert; where it is open already, is appended to it and notifies nobody again",
    "update": "updates the open alert; where none is open, is ignored",
    "close": "closes the open alert; where none is open, is ignored",
}


@click.command(
    cls=Command,
    examples=[
        "alert-gateway try custom body.json",
        """echo '{"source_id":"x","status":"open"}' | alert-gateway try custom""",
        "alert-gateway try datadog triggered_firing                 a sample of the template's own",
        "alert-gateway try custom body.txt -H 'Content-Type: application/x-www-form-urlencoded'",
        "alert-gateway try custom body.json --settings doors.toml   with an integration's own settings",
        """echo '{"template":"custom","body":{"source_id":"x","status":"open"}}' | alert-gateway try --jsonl""",
    ],
)
@click.argument("template", required=False)
@click.argument("file", required=False, metavar="[FILE|-|SAMPLE]")
@click.option("-H", "--header", "headers", metavar="'NAME: VALUE'", multiple=True, help="A header; again for more.")
@click.option("--query", default="", metavar="TEXT", help="What stands after the ? of the URL.")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="An integration's own settings: TOML with keys of template.toml.",
)
@click.option("--jsonl", is_flag=True, help="Read one request a line from the standard input, answer each in one line.")
@shared
def command(
    session: Session,
    template: str | None,
    file: str | None,
    headers: tuple[str, ...],
    query: str,
    settings_file: Path | None,
    jsonl: bool,
) -> int:
    """
    Explain what a webhook's body would do, field by field, without a gateway.

    The body comes from FILE or the standard input; a FILE that ends in .http holds headers and query too. Nothing is
    stored and nobody is notified. Which alerts are open is not known here, and whether the sender proves who it is is not
    looked at. The template's own code runs in this process.

    With --jsonl, each line of the standard input is {"template", "body" or "body_base64", "headers", "query"}, and each
    line of the output {"template", "events", "error"}. A line that is wrong is answered with an error, and the next is read.
    """
    own = read_settings(settings_file)
    if jsonl:
        return _answer_lines(session, own, template, file)
    if template is None:
        msg = "Missing argument 'TEMPLATE'"
        raise click.UsageError(msg, click.get_current_context())
    folder = session.plugins_with_code.template(template)
    sent: Headers = [split_header(header) for header in headers]
    path = Path(file or "-")
    if path.suffix == ".http" and path.is_file():
        sample = read_sample(path)
    elif file in (None, "-") or path.exists():
        sample = None
    else:
        try:
            sample = load_sample(folder, file)
        except NotFoundError as error:
            msg = f"{path} is no file; and {error}"
            raise NotFoundError(msg) from None
    if sample is None:
        body = content_of(path)
    else:
        named = {name.lower() for name, _ in sent}
        sent = [*sent, *(pair for pair in sample.headers if pair[0].lower() not in named)]
        body, query = sample.body, query or sample.query
    if own:  # settings at fault are no fault of the message
        compile_rulebook(folder, own)
    bench = Bench(session.plugins_with_code, session.settings, own)
    with contextlib.redirect_stdout(sys.stderr):
        tried = bench.request(template, body, sent, query.removeprefix("?"))
    if session.out.as_json:
        session.out.json(shape_of(tried, own))
    else:
        explain(session, tried, own, len(body))
    return FAILED if tried.error is not None else OK


def _answer_lines(session: Session, own: dict[str, Any], template: str | None, file: str | None) -> int:
    from gateway.cli.lines import answer_lines

    if file not in (None, "-"):
        msg = "--jsonl reads the standard input; leave out the file"
        raise click.UsageError(msg, click.get_current_context())
    bench = Bench(session.plugins_with_code, session.settings, own)
    # Ctrl-C ends it, though a KeyboardInterrupt that a template raises does not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    answer_lines(bench, sys.stdin.buffer, sys.stdout.buffer, template=template)
    return OK


def shape_of(tried: Tried, own: dict[str, Any]) -> dict[str, Any]:
    """What was read, for programs."""
    events = [
        event_shape(reading) | {"fields": fields_of(reading, tried, own), "trace": list(reading.trace)}
        for reading in tried.readings
    ]
    for event in events:
        for row in event["fields"]:
            if hasattr(row["value"], "isoformat"):
                row["value"] = row["value"].isoformat()
    return {"template": tried.template, "events": events, "error": tried.error}


def explain(session: Session, tried: Tried, own: dict[str, Any], size: int) -> None:
    """Print what was read, field by field, and what would be done about it."""
    out = session.out
    out.lines([f"{tried.template} reads {size} bytes", ""])
    if tried.error is not None:
        out.lines(
            [
                f"cannot be read: {cell(tried.error)}",
                'the gateway keeps it, and opens an alert "message could not be read"',
            ]
        )
        return
    for number, reading in enumerate(tried.readings, 1):
        if len(tried.readings) > 1:
            out.lines([f"event {number} of {len(tried.readings)}"])
        rows = fields_of(reading, tried, own)
        if rows:
            out.table(("FIELD", "VALUE", "FROM"), [[row["field"], row["value"], row["from"]] for row in rows])
            out.lines([""])
        out.lines([*(f"  {cell(line)}" for line in reading.trace), f"→ {_sentence(reading)}", ""])


def _sentence(reading: Reading) -> str:
    if reading.dropped_by is not None:
        return f"filtered by {cell(reading.dropped_by)}"
    if reading.error is not None:
        return f"failed: {cell(reading.error)}"
    if reading.action == "ignore":
        return f"ignored: {cell(reading.reason)}"
    severity = event_shape(reading)["severity"]
    return f"{reading.action}: {_WOULD[reading.action]}" + (
        f" (severity {severity})" if reading.action == "open" else ""
    )
