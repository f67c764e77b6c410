"""`alert-gateway notifications`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Shape, attempt_shape, notification_shape
from gateway.cli.words import Group, Number, limited, shared
from gateway.errors import NotFoundError
from gateway.models import Notification
from gateway.store.base import State

COLUMNS = ("id", "status", "kind", "alert_id", "user", "by", "attempts", "due_at", "error")
_PAGE = 1000


@click.group(cls=Group)
def command() -> None:
    """
    Who was told, and who could not be.

    A notification is tried again and again, with growing pauses. One that is given up is a dead letter (`dead`): it is
    kept, and can be tried again.
    """


@command.command(
    "list",
    examples=[
        "alert-gateway notifications list",
        "alert-gateway notifications list --status dead",
        "alert-gateway notifications list --alert 12 --json",
    ],
)
@click.option(
    "--status",
    type=click.Choice(["pending", "delivered", "dead", "withdrawn"]),
    help="Only those; `dead` are dead letters.",
)
@click.option("--alert", "alert_id", type=Number(), metavar="ID", help="Only those of this alert.")
@limited
@shared
def list_notifications(session: Session, status: str | None, alert_id: int | None, limit: int) -> None:
    """List notifications, newest first."""
    if session.lists_nothing():
        return

    async def work() -> list[Shape]:
        async with session.state() as state:
            found = await state.notifications(status=status, alert_id=alert_id, limit=limit)  # type: ignore[arg-type]
            return [notification_shape(one) for one in found]

    shapes = session.run(work())
    if not session.out.as_json:
        shapes = [shape | {"by": shape["contact"]["kind"]} for shape in shapes]
    session.out.rows(shapes, COLUMNS, empty="no notifications")


@command.command(examples=["alert-gateway notifications show ntf_…"])
@click.argument("notification_id", metavar="ID")
@shared
def show(session: Session, notification_id: str) -> None:
    """Show one notification, each attempt to deliver it, and what its receiver answered."""

    async def work() -> Shape:
        async with session.state() as state:
            (found,) = await _named(state, [notification_id])
            attempts = [attempt_shape(attempt) for attempt in await state.attempts(found.id)]
            return notification_shape(found) | {"history": attempts}

    shape = session.run(work())
    if session.out.as_json:
        session.out.json(shape)
        return
    contact = shape["contact"]
    session.out.pairs(shape | {"contact": f"{contact['kind']}:{contact['address']}"})
    if shape["history"]:
        session.out.lines(["", "attempts"])
        heads = ("number", "at", "duration_ms", "code", "error", "response")
        session.out.table(
            [head.upper().replace("_", " ") for head in heads],
            [[attempt[head] for head in heads] for attempt in shape["history"]],
        )


@command.command(
    examples=["alert-gateway notifications retry ntf_…", "alert-gateway notifications retry --all-dead"],
)
@click.argument("notification_ids", metavar="[ID]...", nargs=-1)
@click.option("--all-dead", is_flag=True, help="All dead letters.")
@shared
def retry(session: Session, notification_ids: Sequence[str], all_dead: bool) -> None:
    """Try dead letters again, at once and from the first attempt. It takes effect when the gateway runs."""
    if all_dead == bool(notification_ids):
        msg = "give the ids of dead letters, or --all-dead"
        raise click.UsageError(msg, click.get_current_context())

    async def work() -> int:
        async with session.state() as state:
            now = session.clock.now()
            if not all_dead:
                await _named(state, notification_ids)
                return await state.retry(notification_ids, now)
            count = 0
            while dead := await state.notifications(status="dead", limit=_PAGE):
                changed = await state.retry([one.id for one in dead], now)
                count += changed
                if not changed:
                    break
            return count

    count = session.run(work())
    when = "" if session.running else ", once a gateway runs on this folder (none does now)"
    one = count == 1
    session.out.one(
        {"retried": count},
        [f"{count} dead letter{'' if one else 's'} will be tried again{when}" if count else "there was no dead letter"],
    )


async def _named(state: State, ids: Sequence[str]) -> list[Notification]:
    """The notifications of these ids; raises NotFoundError for the first that there is not."""
    named = []
    for notification_id in ids:
        found = await state.notification(notification_id)
        if found is None:
            msg = f"there is no notification {cell(notification_id)!r}; `alert-gateway notifications list` shows the newest"
            raise NotFoundError(msg)
        named.append(found)
    return named
