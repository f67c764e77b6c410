"""`alert-gateway templates`."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from gateway.cli.output import block
from gateway.cli.session import Session
from gateway.cli.shapes import template_shape
from gateway.cli.words import Group, limited_late, shared
from gateway.rules import Condition
from gateway.template import TemplateFile


@click.group(cls=Group)
def command() -> None:
    """
    Show which vendors' webhooks can be read.

    A template reads one vendor's webhook. What the vendor's words mean, which open an alert and which close it, is data in
    it, and can be set otherwise for each integration.
    """


@command.command("list", examples=["alert-gateway templates list", "alert-gateway templates list --json"])
@limited_late
@shared
def list_templates(session: Session, limit: int) -> None:
    """
    List templates; one that is broken is listed with its error. No code is imported: `plugins list` tries that.

    The tier says how far a template has come; the evidence, how many of its samples were captured from the vendor, stand in
    its documentation, or were adapted from one of these.
    """
    shapes = [template_shape(card) for card in session.plugins.gallery()[:limit]]
    if session.out.as_json or not shapes:
        session.out.rows(shapes, (), empty="no templates")
        return
    heads = ("SLUG", "NAME", "CHANNEL", "TIER", "EVIDENCE", "VERSION", "DISTRIBUTION", "ERROR")
    rows = [[shape[head.lower()] for head in heads] for shape in shapes]
    for row in rows:
        row[4] = [f"{count} {kind}" for kind, count in row[4].items()]  # of how many samples what is known
    session.out.table(heads, rows)


@command.command(
    examples=["alert-gateway templates show datadog", "alert-gateway templates show datadog --readme"],
)
@click.argument("slug")
@click.option("--readme", is_flag=True, help="Print the vendor's own setup steps.")
@shared
def show(session: Session, slug: str, readme: bool) -> None:
    """Show a template: what it reads, what opens and closes an alert, and its samples."""
    from gateway.trial import try_code

    folder = try_code(session.plugins, session.settings, [slug]).template(slug)
    card = next(card for card in session.plugins.gallery() if card.folder is folder)
    file = folder.file
    shape = template_shape(card) | {
        "docs_url": file.docs_url,
        "categories": file.categories,
        "folder": str(folder.path),
        "accepts": list(file.accepts),
        "has_code": folder.has_code,
        "samples": [path.stem for path in folder.samples()],
        "verification": " or ".join(spec.kind for spec in file.verifications),
        "template": msgspec.to_builtins(folder.raw),
        "readme": folder.readme,
    }
    if session.out.as_json:
        session.out.json(shape)
        return
    if readme:
        session.out.lines([block(folder.readme) or "(no README.md)"])
        return
    session.out.pairs({key: value for key, value in shape.items() if key not in ("readme", "template", "has_code")})
    fields = msgspec.to_builtins(file.fields)
    session.out.lines(["", "fields: from template.py" if folder.has_code and not fields else "fields"])
    if fields:
        session.out.table(("FIELD", "FROM"), [[name, source] for name, source in fields.items()])
    session.out.lines(["", "what the vendor's words mean"])
    session.out.table(("THEN", "WHEN"), rules_in_words(file))


def rules_in_words(file: TemplateFile) -> list[list[str]]:
    """What the vendor's words mean: rows of what is done, and when."""
    rows = [[f"ignore ({one.reason})", in_words(one)] for one in file.ignore]
    actions = [("open", file.open), ("close", file.close), ("update", file.update), ("acknowledge", file.acknowledge)]
    rows += [[action, in_words(condition)] for action, condition in actions if condition is not None]
    for severity in ("critical", "error", "warning", "info"):
        rule: Any = getattr(file.severity, severity)
        if rule is not None:
            condition = rule if isinstance(rule, Condition) else Condition(is_one_of=list(rule))
            rows.append([f"severity {severity}", in_words(condition, "source_severity")])
    rows.append([f"severity {file.severity.default}", "none of these"])
    fallback = "open" if file.fallback == "open" else "ignore"
    return [*rows, [f"{fallback} (fallback)", "none of open, close and update"]]


def in_words(condition: Condition, default_field: str = "source_status") -> str:
    """A condition as a sentence: `source_status is one of Triggered, Warn`."""
    for name, joint in (("all", " and "), ("any", " or ")):
        parts = getattr(condition, name)
        if parts is not None:
            text = joint.join(in_words(part, default_field) for part in parts)
            return f"not ({text})" if condition.not_ else f"({text})" if len(parts) > 1 else text
    field = condition.field or default_field
    negation = "not " if condition.not_ else ""
    if condition.is_present is not None:
        return f"{field} is {'present' if condition.is_present != condition.not_ else 'absent'}"
    if condition.is_one_of is not None:
        return f"{field} is {negation}one of {', '.join(map(str, condition.is_one_of))}"
    if condition.matches is not None:
        return f"{field} {'does not match' if condition.not_ else 'matches'} /{condition.matches}/"
    if condition.starts_with is not None:
        return f"{field} {negation}starts with {' or '.join(condition.starts_with)}"
    return f"{field} {negation}contains {' or '.join(condition.contains or [])}"
