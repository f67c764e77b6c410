"""
HetrixTools' three webhooks: of uptime monitors, of blacklist monitors, and of what the server agent sees.

Vendor facts are from https://docs.hetrixtools.com/uptime-monitoring-webhook-notifications/ unless a docstring names another
page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway import Event, Ignored, Request, UnreadableError

Word = str | int | float | None

_SECONDS = re.compile(r"[0-9]{10}")


class Uptime(msgspec.Struct, frozen=True, kw_only=True):
    """An uptime monitor went offline or online; `monitor_errors` says why, by location."""

    monitor_id: Word = None
    monitor_name: Word = None
    monitor_target: Word = None
    monitor_type: Word = None
    monitor_category: Word = None
    monitor_status: Word = None
    monitor_errors: dict[str, Any] | list[Any] | Word = None
    timestamp: Word = None


class Blacklist(msgspec.Struct, frozen=True, kw_only=True):
    """A list that the monitored address is on."""

    rbl: Word = None
    delist: Word = None


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Where the report is."""

    report_link: Word = None


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One blacklist monitor whose lists have changed."""

    monitor: Word = None
    label: Word = None
    blacklisted_before: Word = None
    blacklisted_now: Word = None
    blacklisted_on: list[Blacklist] | None = None
    links: Links | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the server agent saw: a high usage with its numbers, or an error, or the services that are down."""

    resource_type: Word = None
    current_usage: Word = None
    average_usage: Word = None
    average_minutes: Word = None
    error: list[Any] | Word = None


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """The monitor of a server agent, and what it saw."""

    monitor_id: Word = None
    monitor_name: Word = None
    timestamp: Word = None
    resource_usage: Usage = Usage()


def read(request: Request) -> Iterable[Event | Ignored]:
    """Tell the three apart: blacklists come as a list, resource usage under its own key."""
    if isinstance(request.data, list):
        return events_from_blacklists(request.decode(list[Listing]))
    if isinstance(request.data, dict) and request.data.get("resource_usage"):
        return event_from_resource_usage(request.decode(Resource))
    return event_from_uptime(request.decode(Uptime))


def event_from_uptime(sent: Uptime) -> Iterator[Event]:
    """
    One event of an uptime monitor, which keeps its id.

    The id stands in the link of the monitor's uptime report, too
    (https://docs.hetrixtools.com/server-monitoring-resource-usage-webhook-notifications/).
    """
    identity = needed(sent.monitor_id, "monitor_id")
    found = sent.monitor_errors if isinstance(sent.monitor_errors, dict) else {}
    errors = "\n".join(f"{location}: {error}" for location, error in found.items())
    yield Event(
        source_id=identity,
        source_url=f"https://hetrixtools.com/report/uptime/{identity}/",
        source_status=said(sent.monitor_status),
        subject=f"{said(sent.monitor_name) or said(sent.monitor_target) or identity} is offline",
        description=paragraphs(errors, said(sent.monitor_target)),
        tags=tagged(group=sent.monitor_category, type=sent.monitor_type),
        occurred_at=moment(sent.timestamp),
    )


def events_from_blacklists(sent: list[Listing]) -> Iterator[Event | Ignored]:
    """
    One event for each blacklist monitor; what is monitored, an address or a domain, is all that names it.

    https://docs.hetrixtools.com/blacklist-monitoring-webhook-notifications/
    """
    if not sent:
        yield Ignored("the list of blacklist monitors is empty")
    for one in sent:
        monitor = needed(one.monitor, "monitor")
        label = said(one.label)
        count = f"On {said(one.blacklisted_now) or '?'} lists, before on {said(one.blacklisted_before) or '?'}."
        lists = [f"{said(entry.rbl) or '?'}: {said(entry.delist) or '?'}" for entry in one.blacklisted_on or ()]
        yield Event(
            source_id=monitor,
            source_url=said(one.links.report_link) if one.links else None,
            source_status=said(one.blacklisted_now),
            subject=f"{label} ({monitor}) is blacklisted" if label else f"{monitor} is blacklisted",
            description=paragraphs(count, "\n".join(lists)),
        )


def event_from_resource_usage(sent: Resource) -> Iterator[Event]:
    """
    One event of the server agent. HetrixTools does not tell when it is over.

    https://docs.hetrixtools.com/server-monitoring-resource-usage-webhook-notifications/
    """
    usage = sent.resource_usage
    identity = needed(sent.monitor_id, "monitor_id")
    kind = needed(usage.resource_type, "resource_usage.resource_type")
    name = said(sent.monitor_name) or identity
    error = ", ".join(str(part) for part in usage.error) if isinstance(usage.error, list) else said(usage.error)
    now, average, minutes = said(usage.current_usage), said(usage.average_usage), said(usage.average_minutes)
    numbers = (now and f"{now} % now", average and f"{average} % on average of {minutes or '?'} minutes")
    yield Event(
        source_id=f"{identity} {kind}",
        source_url=f"https://hetrixtools.com/report/uptime/{identity}/",
        source_status=kind,
        subject=f"{kind.capitalize()} error on {name}: {error}" if error else f"{kind.upper()} usage is high on {name}",
        description=", ".join(filter(None, numbers)) or None,
        occurred_at=moment(sent.timestamp),
    )


def said(value: Word) -> str | None:
    """A value as text; None where there is nothing in it."""
    text = "" if value is None else str(value).strip()
    return text or None


def needed(value: Word, name: str) -> str:
    """A value that nothing can be read without."""
    text = said(value)
    if text is None:
        msg = f"{name} is missing: nothing tells this problem from others"
        raise UnreadableError(msg)
    return text


def tagged(**values: Word) -> tuple[str, ...]:
    """Values as tags."""
    return tuple(f"{key}:{text}" for key, value in values.items() if (text := said(value)))


def paragraphs(*texts: str | None) -> str | None:
    """Texts as paragraphs, without the empty ones."""
    return "\n\n".join(filter(None, texts)) or None


def moment(value: Word) -> datetime | None:
    """A time in seconds since 1970; None for anything else."""
    text = said(value) or ""
    return datetime.fromtimestamp(int(text), UTC) if _SECONDS.fullmatch(text) else None
