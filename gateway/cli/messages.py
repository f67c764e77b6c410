"""`alert-gateway messages`: the Inbound Log."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import click

from gateway.actions import Replay, last_runs, replay, waiting_among
from gateway.cli.output import block, cell
from gateway.cli.session import Session
from gateway.cli.shapes import Names, Shape, message_in_full, message_shape
from gateway.cli.words import Group, Number, Span, limited, shared
from gateway.errors import GatewayError, NotFoundError
from gateway.integrations import find_integration
from gateway.models import OUTCOMES, Message
from gateway.store.base import Journal, State

_PAGE = 500
_POLL = 0.1


@click.group(cls=Group)
def command() -> None:
    """
    The Inbound Log: what came in, what became of it, and to read it again.

    Each message is kept byte for byte. Each of its events has an outcome: opened, updated, appended, closed, ignored,
    filtered, suppressed or failed, and why.
    """


@command.command(
    "list",
    examples=[
        "alert-gateway messages list",
        "alert-gateway messages list --integration Datadog --outcome ignored",
        "alert-gateway messages list --outcome pending --json",
    ],
)
@click.option("--integration", metavar="REF", help="Only those of this integration, by name or id.")
@click.option(
    "--outcome",
    type=click.Choice(["pending", *OUTCOMES]),
    metavar="OUTCOME",
    help=f"Only those one of whose events had it: {', '.join(OUTCOMES)}; or `pending`, those that wait to be read.",
)
@limited
@shared
def list_messages(session: Session, integration: str | None, outcome: str | None, limit: int) -> None:
    """List messages, newest first."""
    if session.lists_nothing():
        return

    async def work() -> list[Shape]:
        async with session.store() as (journal, state):
            endpoint_id = (await find_integration(state, integration)).endpoint_id if integration else None
            messages = await _found(journal, state, endpoint_id, outcome, limit)
            return await _shapes(state, messages)

    shapes = session.run(work())
    if session.out.as_json or not shapes:
        session.out.rows(shapes, (), empty="no messages")
        return
    session.out.table(
        ("ID", "RECEIVED AT", "INTEGRATION", "OUTCOME", "ALERT", "REASON"),
        [row for shape in shapes for row in _rows(shape)],
    )


@command.command(examples=["alert-gateway messages show 7", "alert-gateway messages show 7 --json"])
@click.argument("message_id", metavar="ID", type=Number())
@shared
def show(session: Session, message_id: int) -> None:
    """Show one message: what came, and step by step what was made of it, at each time that it was read."""

    async def work() -> Shape:
        async with session.store() as (journal, state):
            found = await journal.get([message_id])
            if not found:
                msg = f"there is no message {message_id}; `alert-gateway messages list` shows the newest"
                raise NotFoundError(msg)
            pending = message_id > await state.cursor() or bool(await waiting_among(state, found))
            names = Names(await state.integrations())
            return message_in_full(found[0], await state.events([message_id]), names, pending=pending)

    shape = session.run(work())
    if session.out.as_json:
        session.out.json(shape)
        return
    session.out.pairs(
        {key: shape[key] for key in ("id", "integration", "received_at", "status", "delivery_id", "query")}
    )
    session.out.lines(["", *(f"{cell(name)}: {cell(value)}" for name, value in shape["headers"]), ""])
    if "body" in shape:
        session.out.lines([block(shape["body"])])
    else:
        session.out.lines(["(not text; in base64)", shape["body_base64"]])
    for run in shape["runs"]:
        session.out.lines(
            ["", f"read at {run['at']}" if not run["run"] else f"replayed at {run['at']} (run {run['run']})"]
        )
        for event in run["events"]:
            said = event["trace"] or [f"{event['outcome']}: {event['reason']}" if event["reason"] else event["outcome"]]
            session.out.lines([f"  {cell(line)}" for line in said])


@command.command(
    "replay",
    examples=[
        "alert-gateway messages replay 7 8",
        "alert-gateway messages replay --failed --since 1h --wait",
    ],
)
@click.argument("message_ids", metavar="[ID]...", type=Number(), nargs=-1)
@click.option("--failed", is_flag=True, help="All whose newest reading failed.")
@click.option(
    "--since", type=Span(), metavar="SPAN", help="With --failed: those received in the last 90s, 15m, 1h, 7d."
)
@click.option("--integration", metavar="REF", help="With --failed: those of this integration, by name or id.")
@click.option("--wait", is_flag=True, help="Wait until it took effect; on a terminal, count.")
@click.option("--timeout", type=Span(), default="30s", show_default=True, metavar="SPAN", help="With --wait: how long.")
@shared
def replay_messages(
    session: Session,
    message_ids: Sequence[int],
    failed: bool,
    since: float | None,
    integration: str | None,
    wait: bool,
    timeout: float,
) -> int:
    """
    Have messages read again, with the templates and settings of now.

    A replay does what the message would do if it came now: it may open an alert, or close one. It takes effect when the
    gateway runs.
    """
    if failed == bool(message_ids):
        msg = "give the ids of messages, or --failed"
        raise click.UsageError(msg, click.get_current_context())
    if not failed and (since is not None or integration):
        msg = "--since and --integration narrow down --failed"
        raise click.UsageError(msg, click.get_current_context())

    async def work() -> list[Shape]:
        async with session.store() as (journal, state):
            wanted = message_ids
            if failed:
                endpoint_id = (await find_integration(state, integration)).endpoint_id if integration else None
                after = 0 if since is None else session.clock.now() - round(since * 1000)
                wanted = await _failed(journal, state, endpoint_id, after)
            replays = await replay(journal, state, wanted, reason=f"replayed by {session.actor}")
            if wait and not await _took_effect(state, replays, timeout, session):
                hint = (
                    ""
                    if session.running
                    else "; no gateway runs on this folder, so start one with `alert-gateway serve`"
                )
                msg = f"the messages wait to be read, and were not within {timeout:g} s{hint}"
                raise GatewayError(msg)
            return await _shapes(state, await journal.get([one.message_id for one in replays]))

    shapes = session.run(work())
    if session.out.as_json:
        session.out.json(shapes)
    elif not shapes:
        session.out.note("no message failed")
    elif wait:
        session.out.table(
            ("ID", "RECEIVED AT", "INTEGRATION", "OUTCOME", "ALERT", "REASON"),
            [row for shape in shapes for row in _rows(shape)],
        )
    else:
        count = f"{len(shapes)} messages" if len(shapes) > 1 else f"message {shapes[0]['id']}"
        when = "soon" if session.running else "when a gateway runs on this folder (none does now)"
        session.out.lines(
            [f"{count} will be read again {when}; `alert-gateway messages show ID` shows what comes of it"]
        )
    return 0


async def _found(
    journal: Journal, state: State, endpoint_id: str | None, outcome: str | None, limit: int
) -> Sequence[Message]:
    if outcome is None:
        return await journal.newest(limit, endpoint_id=endpoint_id)
    if outcome != "pending":
        ids = await state.messages_with(outcome, endpoint_id=endpoint_id, limit=limit)  # type: ignore[arg-type]
        return sorted(await journal.get(ids), key=lambda message: -message.id)
    cursor = await state.cursor()
    found: dict[int, Message] = {}
    before: int | None = None
    while len(found) < limit:
        page = await journal.newest(min(limit, _PAGE), before=before, endpoint_id=endpoint_id)
        fresh = [message for message in page if message.id > cursor]
        found |= {message.id: message for message in fresh}
        if len(fresh) < min(limit, _PAGE):
            break
        before = fresh[-1].id
    aside = await state.deferred(limit, [endpoint_id] if endpoint_id else [])
    found |= {message.id: message for message in await journal.get([one.message_id for one in aside])}
    return [found[number] for number in sorted(found, reverse=True)][:limit]


async def _shapes(state: State, messages: Sequence[Message]) -> list[Shape]:
    """Messages with what became of them."""
    # The cursor first: a message that takes effect in between is then still pending here, and never done without events.
    cursor = await state.cursor()
    waiting = {deferred.message_id for deferred in await waiting_among(state, messages)}
    records: dict[int, list[Any]] = {message.id: [] for message in messages}
    for record in await state.events(list(records)):
        records[record.message_id].append(record)
    names = Names(await state.integrations())
    return [
        message_shape(
            message,
            records[message.id],
            names,
            pending=message.id in waiting or (message.id > cursor and not records[message.id]),
        )
        for message in messages
    ]


def _rows(shape: Shape) -> list[list[Any]]:
    """A row for each event; messages are told apart by the id in the first."""
    heads = [shape["id"], shape["received_at"], shape["integration"]]
    if shape["status"] == "pending":
        was = f"was {', '.join(event['outcome'] for event in shape['events'])}" if shape["events"] else None
        return [[*heads, "pending", None, was]]
    replayed = " (replayed)" if shape["run"] else ""
    return [[*heads, event["outcome"] + replayed, event["alert_id"], event["reason"]] for event in shape["events"]]


async def _failed(journal: Journal, state: State, endpoint_id: str | None, after: int) -> list[int]:
    """Those whose newest run has an event that failed, oldest first."""
    ids = await state.messages_with("failed", endpoint_id=endpoint_id, limit=100_000)
    found: list[int] = []
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        records = await state.events(page)
        last = last_runs(records)
        still = {one.message_id for one in records if one.run == last[one.message_id] and one.outcome == "failed"}
        found += [message.id for message in await journal.get(sorted(still)) if message.received_at >= after]
    return sorted(found)


async def _took_effect(state: State, replays: Sequence[Replay], timeout: float, session: Session) -> bool:
    """Whether all were read within this time; how many were is counted on a terminal."""
    missing = {one.message_id: one.run for one in replays}
    shown = not session.out.as_json and sys.stderr.isatty()
    try:
        async with asyncio.timeout(timeout):
            while missing:
                last = last_runs(await state.events(list(missing)))
                missing = {number: run for number, run in missing.items() if last.get(number, -1) < run}
                if shown:
                    said = f"{len(replays) - len(missing)} of {len(replays)} read again"
                    print(f"\r{said}", end="", file=sys.stderr, flush=True)
                if missing:
                    await asyncio.sleep(_POLL)
    except TimeoutError:
        return False
    finally:
        if shown and replays:
            print(file=sys.stderr)
    return True
