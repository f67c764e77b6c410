"""`alert-gateway maintenance`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import click

from gateway.cli.output import cell
from gateway.cli.session import Session
from gateway.cli.shapes import Shape, window_shape
from gateway.cli.words import Group, limited_late, shared
from gateway.errors import GatewayError, SettingsError
from gateway.hours import DAYS, Day, Repeat, Window, weekday
from gateway.integrations import find_integration
from gateway.maintenance import add_window, find_window, phase

COLUMNS = ("integration", "name", "phase", "starts", "ends", "zone", "repeat", "days", "reopen", "until")


@click.group(cls=Group)
def command() -> None:
    """
    Maintenance windows: as long as one lasts, its integration opens no new alerts.

    What comes meanwhile is listed as suppressed (`messages list --outcome suppressed`). Alerts that were open before go on as
    always, and that a message cannot be read is told as always.
    """


@command.command(
    examples=[
        "alert-gateway maintenance add Datadog --name Move --from 2026-12-01T22:00 --to 2026-12-02T02:00 --zone Europe/Berlin",
        "alert-gateway maintenance add Backups --name Weekend --from 2026-12-05T02:00 --to 2026-12-05T04:00 --zone UTC \\",
        "    --repeat weekly --day sat --day sun --reopen",
    ]
)
@click.argument("ref", metavar="INTEGRATION")
@click.option("--name", required=True, help="What it is called.")
@click.option(
    "--from",
    "starts",
    metavar="TIME",
    required=True,
    help="When it begins, the first time where it repeats: 2026-12-01T22:00.",
)
@click.option("--to", "ends", metavar="TIME", required=True, help="When that one ends: 2026-12-02T02:00.")
@click.option("--zone", metavar="ZONE", required=True, help="The time zone of --from and --to: Europe/Berlin, UTC.")
@click.option(
    "--repeat", type=click.Choice(get_args(Repeat)), default="once", show_default=True, help="How often it comes again."
)
@click.option(
    "--day", "days", metavar="DAY", multiple=True, help="A day of a weekly window, mon to sun; again for more."
)
@click.option("--reopen", is_flag=True, help="At its end, open what came in it and was not closed in it.")
@shared
def add(
    session: Session,
    ref: str,
    name: str,
    starts: str,
    ends: str,
    zone: str,
    repeat: Repeat,
    days: Sequence[str],
    reopen: bool,
) -> None:
    """
    Add a maintenance window to an integration.

    Its times are those of a clock on the wall in --zone, so that 02:00 stays 02:00 when clocks are changed. It may have
    begun already.
    """
    window = Window(
        id="",
        integration_id="",
        name=name,
        starts=starts,
        ends=ends,
        zone=zone,
        repeat=repeat,
        days=_days(days),
        reopen=reopen,
        created_at=0,
    )

    async def work() -> Shape:
        async with session.state() as state:
            integration = await find_integration(state, ref)
            try:
                added = await add_window(state, session.clock, integration, window)
            except SettingsError as error:
                raise GatewayError(str(error)) from None  # it is what was typed that is wrong, not a setting
            return window_shape(added, integration.name, session.clock.now())

    shape = session.run(work())
    when = f"until {shape['until']}" if shape["phase"] == "current" else f"from {shape['starts']} {shape['zone']}"
    said = f"{cell(shape['integration'])} opens no new alerts {when} ({cell(shape['name'])}, {shape['repeat']})"
    session.out.one(shape, [f"{said}; that a message cannot be read is told all the same"])


@command.command("list", examples=["alert-gateway maintenance list", "alert-gateway maintenance list --phase current"])
@click.option("--phase", "wanted", type=click.Choice(["current", "planned", "past"]), help="Only those.")
@limited_late
@shared
def list_windows(session: Session, wanted: str | None, limit: int) -> None:
    """List maintenance windows."""
    if session.lists_nothing():
        return

    async def work() -> list[Shape]:
        async with session.state() as state:
            names = {one.id: one.name for one in await state.integrations()}
            now = session.clock.now()
            found = [one for one in await state.windows() if wanted in (None, phase(one, now))]
            return [window_shape(one, names.get(one.integration_id, one.integration_id), now) for one in found[:limit]]

    session.out.rows(session.run(work()), COLUMNS, empty="no maintenance windows")


@command.command(examples=["alert-gateway maintenance delete Datadog Upgrade"])
@click.argument("ref", metavar="INTEGRATION")
@click.argument("name", metavar="WINDOW")
@shared
def delete(session: Session, ref: str, name: str) -> None:
    """Delete a maintenance window, which ends it at once."""

    async def work() -> Shape:
        async with session.state() as state:
            integration = await find_integration(state, ref)
            window = await find_window(state, integration, name)
            await state.delete_window(window.id, session.clock.now())
            return window_shape(window, integration.name, session.clock.now())

    shape = session.run(work())
    session.out.one(shape, [f"the maintenance window {cell(shape['name'])} of {cell(shape['integration'])} is deleted"])


def _days(texts: Sequence[str]) -> tuple[Day, ...]:
    days = []
    for text in texts:
        day = weekday(text)
        if day is None:
            msg = f"{text!r} is no day of the week; write one of {', '.join(DAYS)}"
            raise click.UsageError(msg, click.get_current_context())
        days.append(day)
    return tuple(dict.fromkeys(days))
