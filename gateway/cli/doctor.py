"""`alert-gateway doctor`."""

from __future__ import annotations

import click

from gateway.cli.checks import Finding, all_findings
from gateway.cli.output import cell
from gateway.cli.root import FAILED, OK
from gateway.cli.session import Session
from gateway.cli.words import Command, shared

_MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


@click.command(
    cls=Command, examples=["alert-gateway doctor", "alert-gateway doctor --data /var/lib/alert-gateway --json"]
)
@click.option("--thorough", is_flag=True, help="Read the whole store to check it, also while the gateway runs.")
@shared
def command(session: Session, thorough: bool) -> int:
    """
    Check this installation, and say what to do about what is wrong.

    Looks at settings, data folder, store, plugins, port, clock, backlog and dead letters; changes nothing. The exit code is
    1 where there is a problem. Run it as the user that the gateway runs as.
    """
    findings = session.run(all_findings(session, thorough=thorough))
    problems = [finding for finding in findings if finding.level == "problem"]
    if session.out.as_json:
        session.out.json([_shape(finding) for finding in findings])
        return FAILED if problems else OK
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        session.out.lines([f"{_MARKS[finding.level]}  {finding.check:<{width}}  {cell(finding.found)}"])
        if finding.fix:
            session.out.lines([f"{'':<9}{'':<{width}}  → {cell(finding.fix)}"])
    said = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}" if problems else "no problems"
    session.out.lines(["", said])
    return FAILED if problems else OK


def _shape(finding: Finding) -> dict[str, str | None]:
    return {"check": finding.check, "level": finding.level, "found": finding.found, "fix": finding.fix or None}
