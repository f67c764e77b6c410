"""`alert-gateway dry-run`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from gateway import rehearsal
from gateway.cli.files import content_of, read_settings
from gateway.cli.output import cell
from gateway.cli.reading import Bench
from gateway.cli.root import OK
from gateway.cli.samples import load_sample
from gateway.cli.send import split_header
from gateway.cli.session import Session
from gateway.cli.shapes import Shape, event_shape
from gateway.cli.words import Command, Number, Span, shared
from gateway.clock import iso
from gateway.comparison import LINES, Difference, Effect, Rehearsed
from gateway.directory import Directory, directory_of
from gateway.errors import NotFoundError
from gateway.integrations import check_fit, check_references, find_integration
from gateway.models import Integration, Message
from gateway.people import find_policy
from gateway.store.base import State

_IN_FRONT = ("action", "outcome", "reason")
_LONGEST = 100


@click.command(
    cls=Command,
    examples=[
        "alert-gateway dry-run Doors --settings doors.toml body.json",
        "alert-gateway dry-run Doors --settings doors.toml --message 7 --message 8   what a replay would do",
        "alert-gateway dry-run Doors --settings doors.toml --since 6h                what would have been otherwise",
        "alert-gateway dry-run Datadog --sample triggered_firing",
    ],
)
@click.argument("ref", metavar="INTEGRATION")
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True), metavar="[FILE|-]")
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    metavar="FILE",
    help="Settings that are not saved, in place of all of the integration's own.",
)
@click.option("--policy", metavar="REF", help="A policy in place of that of the integration.")
@click.option(
    "--message", "message_ids", type=Number(), multiple=True, help="A message of the Inbound Log; again for more."
)
@click.option("--sample", metavar="NAME", help="A sample of the integration's template.")
@click.option(
    "--since", type=Span(), metavar="SPAN", help="All its messages of the last 90s, 15m, 6h, 7d, as they came."
)
@click.option(
    "-H", "--header", "headers", metavar="'NAME: VALUE'", multiple=True, help="With FILE: a header; again for more."
)
@click.option("--all", "everything", is_flag=True, help="With --since: also what would have been the same.")
@shared
def command(
    session: Session,
    ref: str,
    file: Path | None,
    settings_file: Path | None,
    policy: str | None,
    message_ids: Sequence[int],
    sample: str | None,
    since: float | None,
    headers: Sequence[str],
    everything: bool,
) -> int:
    """
    What messages would do to an integration's alerts, with settings that are not saved: nothing is stored, nobody is told.

    A FILE, a sample or messages of the log are taken as if they came now, against the alerts that are open: what this says
    is what a replay does. With --since, all messages of that time are taken as they came, and what would have been otherwise
    is listed. What an alert kept of a message is compared with that; what it did not keep, with what the saved settings read
    from the message now.
    """
    if sum((file is not None, bool(message_ids), sample is not None, since is not None)) != 1:
        msg = "give one of FILE, --message, --sample or --since"
        raise click.UsageError(msg, click.get_current_context())
    if headers and file is None:
        msg = "--header is part of a FILE; samples and messages have their own"
        raise click.UsageError(msg, click.get_current_context())
    settings = None if settings_file is None else read_settings(settings_file)
    bench = Bench(session.plugins_with_code, session.settings, {})

    async def work() -> list[Rehearsed]:
        async with session.store() as (journal, state):
            integration = await find_integration(state, ref)
            saved = await directory_of(state)
            directory = await _directory(session, state, saved, integration, settings, policy)
            at = session.clock.now()
            if since is not None:
                start = at - round(since * 1000)
                endpoint_id = integration.endpoint_id
                return await rehearsal.since(state, journal, endpoint_id, start, saved, directory, bench.reply, at)
            if message_ids:
                messages = await journal.get(message_ids)
                _check_found(message_ids, messages, integration)
            else:
                messages = [_message(session, integration, file, sample, headers, at)]
            return await rehearsal.now(state, messages, saved, directory, bench.reply, at)

    found = session.run(work())
    if since is not None:
        _print_changes(session, found, everything=everything)
    else:
        _print(session, found)
    return OK


async def _directory(
    session: Session,
    state: State,
    saved: Directory,
    integration: Integration,
    settings: dict[str, object] | None,
    policy: str | None,
) -> Directory:
    changed = integration
    if policy is not None:
        changed = msgspec.structs.replace(changed, policy_id=(await find_policy(state, policy)).id)
    if settings is not None:
        check_fit(session.plugins.template(integration.template), settings)
        await check_references(state, settings)
        changed = msgspec.structs.replace(changed, settings=settings, updated_at=integration.updated_at + 1)
    return rehearsal.with_integration(saved, changed)


def _message(
    session: Session, integration: Integration, file: Path | None, sample: str | None, headers: Sequence[str], at: int
) -> Message:
    pairs, query = [split_header(header) for header in headers], ""
    if sample is not None:
        loaded = load_sample(session.plugins.template(integration.template), sample)
        body, query = loaded.body, loaded.query
        pairs += loaded.headers
    else:
        body = content_of(file or Path("-"))
    lines = [f"{name.lower()}: {value}".encode() for name, value in pairs]
    return Message(
        id=0,
        endpoint_id=integration.endpoint_id,
        received_at=at,
        query=query.removeprefix("?").encode(),
        headers=b"\r\n".join(lines),
        body=body,
    )


def _check_found(wanted: Sequence[int], found: Sequence[Message], integration: Integration) -> None:
    there = {message.id for message in found if message.endpoint_id == integration.endpoint_id}
    missing = [number for number in wanted if number not in there]
    if missing:
        msg = f"{integration.name} has no message {missing[0]}; `alert-gateway messages list` shows the newest"
        raise NotFoundError(msg)


def _effect_shape(effect: Effect) -> Shape:
    change = effect.change
    return event_shape(effect.event) | {
        "integration": effect.integration,
        "subject": change and change.text,
        "severity": change and change.severity,
        "trace": list(effect.event.trace),
    }


def _shape(one: Rehearsed) -> Shape:
    return {
        "message_id": str(one.message.id) if one.message.id else None,
        "received_at": iso(one.message.received_at),
        "differs": one.differs,
        "differences": [msgspec.structs.asdict(difference) for difference in one.differences],
        "before": None if one.before is None else [_effect_shape(effect) for effect in one.before],
        "events": [_effect_shape(effect) for effect in one.effects],
        "notifications": [
            {
                "kind": told.kind,
                "user": told.user,
                "contact": {"kind": told.contact.kind, "address": told.contact.address},
                "due_at": iso(told.due_at),
            }
            for told in one.notifications
        ],
    }


def _print(session: Session, found: Sequence[Rehearsed]) -> None:
    if session.out.as_json:
        session.out.json([_shape(one) for one in found])
        return
    for one in found:
        if one.message.id:
            was = [f"was {cell(before)}" for before, _ in _all_said(one) if before is not None] or ["not read yet"]
            session.out.lines([f"message {one.message.id}, received at {iso(one.message.received_at)}", *was, ""])
        for effect in one.effects:
            session.out.lines([*(f"  {cell(line)}" for line in effect.event.trace), ""])
        otherwise = [f"  {cell(_arrow(difference))}" for difference in one.differences]
        session.out.lines(["otherwise than it was:", *otherwise, ""] if otherwise else [])
        told = [f"{told.user} ({told.contact.kind}) at {iso(told.due_at)}" for told in one.notifications]
        session.out.lines([f"would notify: {cell(told)}" if told else "would notify nobody", ""])


def _print_changes(session: Session, found: Sequence[Rehearsed], *, everything: bool) -> None:
    shown = [one for one in found if everything or one.differs]
    if session.out.as_json:
        session.out.json([_shape(one) for one in shown])
        return
    count = sum(one.differs for one in found)
    messages = "1 message" if len(found) == 1 else f"{len(found)} messages"
    session.out.lines([f"{messages}; {count or 'none'} would have done something else"])
    rows = []
    for one in shown:
        said = _all_said(one)
        was = ["(not read yet)"] if one.before is None else [before for before, _ in said]
        for before, after in itertools.zip_longest(was, [after for _, after in said]):
            rows.append([one.message.id, iso(one.message.received_at), before, after])
    if rows:
        session.out.lines([""])
        session.out.table(("ID", "RECEIVED AT", "WAS", "WOULD HAVE BEEN"), rows)


def _all_said(one: Rehearsed) -> list[tuple[str | None, str | None]]:
    """Each event of a message as it was and as it would be, in a line each, with what is otherwise in the other."""
    differing: dict[int, list[str]] = {}
    for difference in one.differences:
        differing.setdefault(difference.event, []).append(difference.what)
    return [
        (_said(before, differing.get(at, ())), _said(after, differing.get(at, ())))
        for at, (before, after) in enumerate(one.pairs)
    ]


def _said(effect: Effect | None, differing: Sequence[str]) -> str | None:
    if effect is None:
        return None
    event, change = effect.event, effect.change
    words = [f"{event.outcome}: {event.reason}" if event.reason else event.outcome]
    if change is not None:
        words[0] += f", {change.severity}" + (f", {change.text!r}" if change.text else "")
    words += [line for line in event.trace if line.partition(":")[0] in LINES]
    noticed, known = effect.noticed(), (*_IN_FRONT, *LINES, *(("subject", "severity") if change is not None else ()))
    return "; ".join([*words, *(f"{what} {_short(noticed.get(what))}" for what in differing if what not in known)])


def _arrow(difference: Difference) -> str:
    return f"{difference.what}: {_short(difference.before)} → {_short(difference.after)}"


def _short(value: object) -> str:
    text = "none" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
