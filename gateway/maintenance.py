"""Maintenance windows of integrations: added, ended, and where each of them is in time."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.clock import Clock
from gateway.errors import NotFoundError, SettingsError
from gateway.hours import Window, active_until, check_window, is_past
from gateway.models import Integration
from gateway.names import check_free, checked_name
from gateway.store.base import State
from gateway.vault import new_id

Phase = Literal["current", "planned", "past"]


async def add_window(
    state: State, clock: Clock, integration: Integration, window: Window, *, past: bool = False
) -> Window:
    """
    Add a maintenance window; its id, integration and time of making are filled in.

    Raises SettingsError where its times make no sense, or it is over already (unless `past`), ConflictError where the name
    is taken.
    """
    name = checked_name("a maintenance window", window.name)
    known = [one for one in await state.windows() if one.integration_id == integration.id]
    check_free("a maintenance window", name, [one.name for one in known])
    window = msgspec.structs.replace(
        window, id=new_id("win"), name=name, integration_id=integration.id, created_at=clock.now()
    )
    check_window(window)
    if not past and is_past(window, clock.now()):
        msg = f"the window is over already: it ended at {window.ends} {window.zone}"
        raise SettingsError(msg)
    await state.add_window(window)
    return window


async def find_window(state: State, integration: Integration, ref: str) -> Window:
    """The window of this name or id of an integration; raises NotFoundError that lists what there is."""
    known = [one for one in await state.windows() if one.integration_id == integration.id]
    for window in known:
        if ref in (window.id, window.name):
            return window
    names = ", ".join(repr(window.name) for window in known) or "none"
    msg = f"{integration.name} has no maintenance window {ref!r}; it has {names}"
    raise NotFoundError(msg)


def phase(window: Window, now: int) -> Phase:
    """Whether it lasts now, is to come (again), or is over."""
    if active_until(window, now) is not None:
        return "current"
    return "past" if is_past(window, now) else "planned"
