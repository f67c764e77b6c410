"""`alert-gateway alerts`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.actions import assign_alert, close_alert
from gateway.cli.output import block, cell
from gateway.cli.session import Session
from gateway.cli.shapes import Names, Shape, alert_in_full, alert_shape
from gateway.cli.words import Group, Number, limited, shared
from gateway.errors import NotFoundError
from gateway.integrations import find_integration
from gateway.models import Alert, AlertStatus
from gateway.people import find_user
from gateway.store.base import State

COLUMNS = ("id", "status", "severity", "opened_at", "integration", "source_id", "subject")
_STATUSES: dict[str, Sequence[AlertStatus]] = {
    "open": ("open", "assigned"),
    "assigned": ("assigned",),
    "closed": ("closed",),
    "all": (),
}


@click.group(cls=Group)
def command() -> None:
    """
    List, show, assign and close alerts.

    An alert is one condition, from open to close, whatever number of messages speak of it.
    """


@command.command(
    "list",
    examples=[
        "alert-gateway alerts list",
        "alert-gateway alerts list --status all --integration Datadog --limit 200 --json",
    ],
)
@click.option(
    "--status",
    type=click.Choice(list(_STATUSES)),
    default="open",
    show_default=True,
    help="`open` are all that are not closed, those that are assigned included.",
)
@click.option("--integration", metavar="REF", help="Only those of this integration, by name or id.")
@limited
@shared
def list_alerts(session: Session, status: str, integration: str | None, limit: int) -> None:
    """List alerts, newest first."""
    if session.lists_nothing():
        return

    async def work() -> list[Shape]:
        async with session.state() as state:
            of = (await find_integration(state, integration)).id if integration else None
            found = await state.alerts(statuses=_STATUSES[status], integration_id=of, limit=limit)
            names = Names(await state.integrations())
            return [alert_shape(alert, names) for alert in found]

    session.out.rows(session.run(work()), COLUMNS, empty="no alerts")


@command.command(examples=["alert-gateway alerts show 12", "alert-gateway alerts show 12 --json"])
@click.argument("alert_id", metavar="ID", type=Number())
@shared
def show(session: Session, alert_id: int) -> None:
    """Show one alert, its timeline, and who was told."""

    async def work() -> Shape:
        async with session.state() as state:
            alert = await state.alert(alert_id)
            if alert is None:
                msg = f"there is no alert {alert_id}; `alert-gateway alerts list --status all` shows the newest"
                raise NotFoundError(msg)
            told = await state.notifications(alert_id=alert_id, limit=1000)
            timeline = await state.timeline(alert_id)
            return alert_in_full(alert, Names(await state.integrations()), timeline, told)

    shape = session.run(work())
    if session.out.as_json:
        session.out.json(shape)
        return
    session.out.pairs({key: value for key, value in shape.items() if key != "description"})
    if shape["custom"]:
        session.out.lines(["", "custom fields"])
        session.out.pairs(shape["custom"])
    if shape["description"]:
        session.out.lines(["", block(shape["description"])])
    session.out.lines(["", "timeline"])
    session.out.table(
        ("AT", "WHAT", "BY", "MESSAGE", "STATUS", "TEXT"),
        [
            [change[key] for key in ("at", "kind", "actor", "message_id", "source_status", "text")]
            for change in shape["timeline"]
        ],
    )
    if shape["notifications"]:
        session.out.lines(["", "notifications"])
        session.out.table(
            ("ID", "OF", "STATUS", "USER", "CONTACT", "ATTEMPTS", "ERROR"),
            [
                [
                    one["id"],
                    one["kind"],
                    one["status"],
                    one["user"],
                    one["contact"]["kind"],
                    one["attempts"],
                    one["error"],
                ]
                for one in shape["notifications"]
            ],
        )


@command.command(examples=["alert-gateway alerts assign 12 --to Ada"])
@click.argument("alert_id", metavar="ID", type=Number())
@click.option("--to", "ref", metavar="USER", required=True, help="Who takes care of it, by name or id.")
@shared
def assign(session: Session, alert_id: int, ref: str) -> None:
    """Say who takes care of an alert. Nobody is notified of that."""

    async def work() -> Shape:
        async with session.state() as state:
            user = await find_user(state, ref)
            return await _shaped(
                state, await assign_alert(state, session.clock, alert_id, actor=session.actor, user=user)
            )

    shape = session.run(work())
    session.out.one(shape, [f"alert {alert_id} is assigned to {cell(ref)}: {cell(shape['subject'])}"])


@command.command(examples=["alert-gateway alerts close 12", 'alert-gateway alerts close 12 --reason "disk replaced"'])
@click.argument("alert_id", metavar="ID", type=Number())
@click.option("--reason", metavar="TEXT", help="Why, for the timeline.")
@shared
def close(session: Session, alert_id: int, reason: str | None) -> None:
    """Close an alert. Those who were told that it opened are told that it is over, as a recovery would."""

    async def work() -> Shape:
        async with session.state() as state:
            alert = await close_alert(state, session.clock, alert_id, actor=session.actor, reason=reason)
            return await _shaped(state, alert)

    shape = session.run(work())
    session.out.one(shape, [f"alert {alert_id} is closed: {cell(shape['subject'])}"])


async def _shaped(state: State, alert: Alert) -> Shape:
    return alert_shape(alert, Names(await state.integrations()))
