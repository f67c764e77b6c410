"""
Datadog's webhooks: a payload written in its variables, the one we ask for or the user's own, and its default payload.

Vendor facts are from https://docs.datadoghq.com/integrations/webhooks/ unless a docstring names another page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from gateway import Event, Ignored, Request, UnreadableError

Word = str | int | float | None

_OF_VARIABLES = frozenset({"alert_transition", "alert_cycle_key", "aggreg_key", "alert_id", "alert_title"})
_UNFILLED = re.compile(r"\$[A-Z][A-Z0-9_]*(?:\[[^\]]*\])?")
_EPOCH = re.compile(r"[0-9]{10}(?:[0-9]{3})?")
_PRIORITY = re.compile(r"P[1-5]", re.IGNORECASE)
_TITLE = re.compile(
    r"(?P<marks>(?:\[(?:TEST|P[1-5])\]\s*)*)"
    r"\[(?P<transition>(?:Re-)?(?:Triggered|Warn|No Data)|Renotify|Recovered)(?:\s+on\s+\{(?P<scope>.*?)\})?\]"
    r"\s*(?P<name>.*)",
    re.IGNORECASE | re.DOTALL,
)
_MONITOR_LINK = re.compile(r"https://[A-Za-z0-9.-]+/monitors[/#](?P<id>[0-9]+)[^\s)\]]*")


class Org(msgspec.Struct, frozen=True):
    """`org` of the default payload."""

    name: Word = None


class Variables(msgspec.Struct, frozen=True, kw_only=True, rename={"event_id": "id"}):
    """
    A payload whose keys are the names of Datadog's variables in lower case; all are optional.

    The payload is the user's to write. The keys at the end are plain words that people give to the same variables, and what the
    default payload has: a line is soon added to that.
    """

    alert_transition: Word = None
    alert_cycle_key: Word = None
    aggreg_key: Word = None
    alert_id: Word = None
    alert_title: Word = None
    alert_status: Word = None
    alert_scope: Word = None
    alert_priority: Word = None
    alert_type: Word = None
    event_title: Word = None
    event_msg: Word = None
    text_only_msg: Word = None
    event_id: Word = None
    link: Word = None
    hostname: Word = None
    tags: Word | list[str] = None
    date: Word = None
    last_updated: Word = None
    org_name: Word = None
    monitor_id: Word = None
    scope: Word = None
    priority: Word = None
    title: Word = None
    body: Word = None
    url: Word = None
    host: Word = None
    org: Org | Word = None


class Default(msgspec.Struct, frozen=True, kw_only=True, rename={"event_id": "id"}):
    """What Datadog sends where the Payload field is left as it is: seven keys, none of which is the transition."""

    title: Word = None
    body: Word = None
    date: Word = None
    last_updated: Word = None
    event_id: Word = None
    org: Org | Word = None


class Title(NamedTuple):
    """A title in parts: `[P2] [Triggered on {host:web-1}] Disk is full` says priority, transition, scope and name."""

    name: str
    transition: str | None = None
    scope: str | None = None
    priority: str | None = None

    @property
    def subject(self) -> str:
        """The monitor's name and what it is about, the same when it fires and when it recovers."""
        return f"{self.name} on {self.scope}" if self.scope and self.scope not in self.name else self.name


def read(request: Request) -> Iterable[Event | Ignored]:
    """Tell the two payloads apart by their keys."""
    if isinstance(request.data, dict) and not _OF_VARIABLES.isdisjoint(request.data):
        return events_from_variables(request.decode(Variables))
    return events_from_default_payload(request.decode(Default))


def events_from_variables(sent: Variables) -> Iterator[Event | Ignored]:
    """
    One event of a payload in Datadog's variables.

    `$ALERT_CYCLE_KEY` links events from the time an alert triggers until it resolves; `$AGGREG_KEY` joins events that belong
    together; `$ALERT_ID` is the monitor's, which with `$ALERT_SCOPE` names one group of it. What is missing of the two is read
    from where the default payload has it.
    """
    title = title_of(said(sent.alert_title) or said(sent.event_title) or said(sent.title) or "")
    # "Null" is a transition in its own right, and template.toml says what it means; a title that names one is believed first.
    null = "Null" if str(sent.alert_transition).strip().lower() == "null" else None
    status = said(sent.alert_transition) or title.transition or null
    if status is None:
        yield Ignored("the payload names no transition: add alert_transition, as the setup steps say")
        return
    link = _MONITOR_LINK.search(said(sent.event_msg) or said(sent.body) or "")
    scope = said(sent.alert_scope) or said(sent.scope) or title.scope
    monitor = said(sent.alert_id) or said(sent.monitor_id) or (link and link["id"])
    group = monitor and (f"{monitor} {scope}" if scope else monitor)
    identity = said(sent.alert_cycle_key) or said(sent.aggreg_key) or group or said(sent.event_id)
    if identity is None:
        msg = "no alert_cycle_key, aggreg_key, alert_id or id: nothing ties a recovery to its problem"
        raise UnreadableError(msg)
    host = said(sent.hostname) or said(sent.host)
    priority = said(sent.alert_priority) or said(sent.priority)
    kind = said(sent.alert_type)
    yield Event(
        source_id=identity,
        source_name=said(sent.org_name) or name_of(sent.org),
        source_url=said(sent.link) or said(sent.url) or (link and link[0]),
        source_status=status,
        source_severity=priority
        if priority and _PRIORITY.fullmatch(priority)
        else (kind if kind != "success" else None) or title.priority,
        subject=title._replace(scope=title.scope or scope).subject or monitor or identity,
        description=paragraphs(sent.alert_status, said(sent.text_only_msg) or said(sent.event_msg) or sent.body),
        tags=(*words(sent.tags), *words(scope), *((f"host:{host}",) if host else ())),
        occurred_at=moment(sent.date) or moment(sent.last_updated),
    )


def events_from_default_payload(sent: Default) -> Iterator[Event | Ignored]:
    """
    One event of the default payload, which names the transition in its title only.

    The page's own examples of titles are `[Triggered] [Memory Alert]` and `[Triggered on {host:ip-012345}] Host is Down`; the
    words are those of `$ALERT_TRANSITION`. `id` is the event's and differs from message to message; what stays is the number of
    the monitor in the link that a notification carries (https://docs.datadoghq.com/monitors/notify/: "links back to relevant
    pages") with the scope in the title. Where links are switched off only the event's id is left, and nothing ties the recovery
    to it.
    """
    title = title_of(said(sent.title) or "")
    if title.transition is None:
        yield Ignored("the title of a default payload names no transition, such as [Triggered]: not a monitor's alert")
        return
    body = said(sent.body) or ""
    link = _MONITOR_LINK.search(body)
    group = link and (f"{link['id']} {title.scope}" if title.scope else link["id"])
    identity = group or said(sent.event_id)
    if identity is None:
        msg = "the default payload holds neither a link to the monitor nor an id"
        raise UnreadableError(msg)
    yield Event(
        source_id=identity,
        source_name=name_of(sent.org),
        source_url=link[0] if link else None,
        source_status=title.transition,
        source_severity=title.priority,
        subject=title.subject or identity,
        description=paragraphs(body),
        tags=words(title.scope),
        occurred_at=moment(sent.date) or moment(sent.last_updated),
    )


def said(value: Word) -> str | None:
    """A variable as text; None where Datadog had nothing for it: empty, `null`, `N/A`, or the variable's own name."""
    text = "" if value is None else str(value).strip()
    return None if text.lower() in {"", "null", "none", "n/a"} or _UNFILLED.fullmatch(text) else text


def name_of(org: Org | Word) -> str | None:
    """The name of the organization, which the default payload has in an object."""
    return said(org.name if isinstance(org, Org) else org)


def title_of(text: str) -> Title:
    """A title without its brackets, and what they said."""
    match = _TITLE.fullmatch(text.strip())
    if match is None:
        return Title(text.strip())
    priority = _PRIORITY.search(match["marks"])
    return Title(match["name"].strip(), match["transition"], match["scope"], priority and priority[0])


def words(value: Word | list[str]) -> tuple[str, ...]:
    """A comma-separated list, `monitor, role:web`, as its words; `*` is the scope of everything, and no tag."""
    parts = value if isinstance(value, list) else (said(value) or "").split(",")
    return tuple(part.strip() for part in parts if part.strip() not in {"", "*"})


def paragraphs(*values: Word) -> str | None:
    """Texts as paragraphs, each once, without the `%%%` that marks Markdown in Datadog's events."""
    texts = [(said(value) or "").removeprefix("%%%").removesuffix("%%%").strip() for value in values]
    return "\n\n".join(dict.fromkeys(filter(None, texts))) or None


def moment(value: Word) -> datetime | None:
    """`$DATE`, an epoch in milliseconds (seconds are read too); None for anything else."""
    text = said(value) or ""
    if not _EPOCH.fullmatch(text):
        return None
    return datetime.fromtimestamp(int(text[:10]), UTC)
