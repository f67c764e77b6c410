"""
A template and an integration's own settings, compiled: what is read out of a message, and what it means.

Pure: the same request gives the same readings, and nothing outside is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import msgspec

from gateway.advanced import NONE, Advanced, Router, advanced_of
from gateway.errors import TemplateError, UnreadableError
from gateway.mapping import Hole, Text, Texts
from gateway.models import Action, Event, Ignored, Reading
from gateway.rules import EVENT_FIELDS, Fields, Test, compile_condition, compile_filters, compile_severities, of_message
from gateway.template import FieldTexts, Read, Request, TemplateFile, TemplateFolder
from gateway.tidying import TEXT_FIELDS, clean, moment, tidy

S = TypeVar("S")
C = TypeVar("C")

MAX_EVENTS = 10_000
MAX_TRACE = 200
"""How many lines of an explanation are kept."""
_MAX_REASON = 500
_ORDER: tuple[Action, ...] = ("open", "close", "update")


class Rulebook:
    """How the messages of one integration are read."""

    def __init__(
        self,
        file: TemplateFile,
        *,
        read: Read | None = None,
        has_code: bool = False,
        own_fields: Mapping[str, Any] | None = None,
        advanced: Advanced = NONE,
    ) -> None:
        """
        Compile it; raises TemplateError that names the key.

        `read` is what reads a request: the hook, or None for the table alone. Where the template `has_code`, of `[fields]`
        only those that the integration set itself (`own_fields`) are read from the message, over what the code gave.
        """
        self.file = file
        self._read = read
        self._has_code = has_code
        self._each = _compiled("each", file.each, Hole) if file.each else None
        fields = msgspec.convert(dict(own_fields or {}), FieldTexts) if has_code else file.fields
        self._texts: list[tuple[str, Text]] = []
        for name in TEXT_FIELDS:
            source = getattr(fields, name)
            if source is not None:
                self._texts.append((name, _compiled(f"[fields] {name}", source, Text)))
        self._tags = _compiled("[fields] tags", fields.tags, Texts) if fields.tags is not None else None
        self._custom = [
            (name, _compiled(f"[fields.custom] {name}", source, Text)) for name, source in (fields.custom or {}).items()
        ]
        self._occurred_at = _compiled("[fields] occurred_at", fields.occurred_at, Text) if fields.occurred_at else None
        if not has_code and file.fields.source_id is None:
            msg = "[fields] has no source_id: without it a recovery cannot be tied to its problem"
            raise TemplateError(msg)
        self._ignore = [
            (rule.reason, compile_condition(rule, f"[[ignore]][{at}]")) for at, rule in enumerate(file.ignore)
        ]
        self._filters = compile_filters(file.filters)
        # What a template's code cannot read has no fields yet that a filter could look at; the message is there.
        self._before_reading = compile_filters(of_message(file.filters)) if has_code else self._filters
        self._rules: list[tuple[Action, Test]] = []
        for action in _ORDER:
            rule = getattr(file, action)
            if rule is not None:
                self._rules.append((action, compile_condition(rule, f"[{action}]")))
        if not any(action == "open" for action, _ in self._rules):
            msg = "[open] is missing: no message would ever open an alert"
            raise TemplateError(msg)
        self._severity = compile_severities(file.severity)
        acknowledge = file.acknowledge if advanced.auto_acknowledge else None
        self._acknowledge = compile_condition(acknowledge, "[acknowledge]") if acknowledge is not None else None
        self._router = Router(advanced)

    @property
    def nothing(self) -> str:
        """The reason of what holds no event: its list is empty."""
        return f"the list {self.file.each!r} is empty"

    def readings(self, request: Request) -> list[Reading]:
        """
        What the message says, event by event.

        Raises UnreadableError that says what is missing or wrong, and whatever the template's own code raises.
        """
        scopes: list[dict[str, Any]] = []
        try:
            if not self._has_code:
                scopes = self._scopes(request)
                if not scopes:
                    return [self._turned_away(request.scope) or Reading(action="ignore", reason=self.nothing)]
                if len(scopes) > 1:
                    return self._each_alone(request, scopes)
                request.table = partial(self._alone, scopes[0])
            return self._all(request, scopes)
        except UnreadableError:
            turned_away = self._turned_away(scopes[0] if scopes else request.scope)
            if turned_away is None:
                raise
            return [turned_away]

    def _turned_away(self, scope: Mapping[str, Any]) -> Reading | None:
        """Of what is no event, or cannot be read: that the filters do not let it pass, None where they do."""
        if self._before_reading is None:
            return None
        fields = {} if self._has_code else {"source": self.file.name, **self._values(scope)}
        passes, sentence = self._before_reading(fields, scope)
        return None if passes else _filtered(sentence)

    def _all(self, request: Request, scopes: Sequence[Mapping[str, Any]]) -> list[Reading]:
        found = self._read(request) if self._read is not None else request.table(request)  # type: ignore[misc]
        items = _bounded(found)
        if len(items) != len(scopes):
            scopes = [request.scope] * len(items)
        return [self._judged(item, scope) for item, scope in zip(items, scopes, strict=True)]

    def _each_alone(self, request: Request, scopes: Sequence[Mapping[str, Any]]) -> list[Reading]:
        """The readings of a list: an element that cannot be read does not take the others with it."""
        readings: list[Reading] = []
        for number, scope in enumerate(scopes):
            request.table = partial(self._alone, scope)
            try:
                readings += self._all(request, [scope])
            except UnreadableError as error:
                unread = Reading(action="ignore", error=f"{self.file.each}[{number}]: {error}")
                readings.append(self._turned_away(scope) or unread)
        return readings

    def _alone(self, scope: Mapping[str, Any], _request: Request) -> list[Event | Ignored]:
        return [self._event(scope)]

    def _scopes(self, request: Request) -> list[dict[str, Any]]:
        if self._each is None:
            return [request.scope]
        elements = self._each.find(request.scope)
        if not isinstance(elements, list):
            msg = f"each = {self._each.expression!r} finds no list in the message"
            raise UnreadableError(msg)
        if len(elements) > MAX_EVENTS:
            msg = f"the message holds {len(elements)} events; at most {MAX_EVENTS} are read"
            raise UnreadableError(msg)
        return [request.scope_of(element) for element in elements]

    def _event(self, scope: Mapping[str, Any]) -> Event | Ignored:
        values = self._values(scope)
        for reason, test in self._ignore:  # before the id is asked for: a test message need not have one
            holds, sentence = test(values, scope)
            if holds:
                return Ignored(reason, sentence)
        if "source_id" not in values:
            msg = f"source_id: {self.file.fields.source_id!r} finds nothing in the message"
            raise UnreadableError(msg)
        return Event(**values)

    def _values(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, text in self._texts:
            value = text.text(scope)
            if value is not None:
                values[name] = value
        if self._tags is not None and (tags := self._tags.find(scope)):
            values["tags"] = tags
        custom = {name: value for name, text in self._custom if (value := text.text(scope)) is not None}
        if custom:
            values["custom"] = custom
        if self._occurred_at is not None and (when := moment(self._occurred_at.find(scope))) is not None:
            values["occurred_at"] = when
        return values

    def _judged(self, item: Event | Ignored, scope: Mapping[str, Any]) -> Reading:
        if isinstance(item, Ignored):
            reason = _reason(item.reason) or "the template gave no reason"
            ignored = Reading(action="ignore", reason=reason, trace=(f"ignore: {_reason(item.because) or reason}",))
            return self._turned_away(scope) or ignored
        if self._has_code and (values := self._values(scope)):
            item = msgspec.structs.replace(item, **values)
        event = tidy(item, self.file.name)
        fields: Fields = {name: getattr(event, name) for name in (*EVENT_FIELDS, "custom")}
        trace: list[str] = []
        if self._filters is not None:
            passes, sentence = self._filters(fields, scope)
            trace.append(f"filters: {sentence}")
            if not passes:
                return _filtered(sentence, event)
        if self._has_code:
            for reason, test in self._ignore:
                holds, sentence = test(fields, scope)
                if holds:
                    return Reading(action="ignore", reason=reason, event=event, trace=(*trace, f"ignore: {sentence}"))
        reading = self._ruled(event, fields, scope, trace)
        return reading if reading.action == "ignore" else self._advanced(reading, fields, scope)

    def _ruled(self, event: Event, fields: Fields, scope: Mapping[str, Any], trace: list[str]) -> Reading:
        severity, why = self._severity(fields, scope)
        default = self.file.severity.default
        for action, test in self._rules:
            holds, sentence = test(fields, scope)
            trace.append(f"{action}: {sentence}")
            if holds:
                trace.append(why)
                return Reading(
                    action=action, event=event, severity=severity, default_severity=default, trace=tuple(trace)
                )
        if self.file.fallback == "open":
            trace += ["fallback: a status in no list opens", why]
            return Reading(action="open", event=event, severity=severity, default_severity=default, trace=tuple(trace))
        status = event.source_status
        reason = "the message names no status" if status is None else f"status {status[:100]!r} is in no list"
        return Reading(action="ignore", reason=reason, event=event, severity=severity, trace=tuple(trace))

    def _advanced(self, reading: Reading, fields: Fields, scope: Mapping[str, Any]) -> Reading:
        """What the integration's Advanced Settings add to a reading that does something."""
        if self._acknowledge is not None:
            holds, sentence = self._acknowledge(fields, scope)
            trace = (*reading.trace, f"acknowledge: {sentence}")
            reading = msgspec.structs.replace(reading, acknowledged=holds, trace=trace)
        if self._router.changes_texts and reading.event is not None:
            texts, lines = self._router.texts(fields, scope)
            event = tidy(msgspec.structs.replace(reading.event, **texts), self.file.name) if texts else reading.event
            reading = msgspec.structs.replace(reading, event=event, trace=(*reading.trace, *lines))
        reading = self._router.routed(reading, fields, scope)
        if len(reading.trace) > MAX_TRACE:
            more = f"… and {len(reading.trace) - MAX_TRACE} more lines"
            reading = msgspec.structs.replace(reading, trace=(*reading.trace[:MAX_TRACE], more))
        return reading


def _filtered(sentence: str, event: Event | None = None) -> Reading:
    return Reading(action="ignore", event=event, dropped_by=f"filters: {sentence}", trace=(f"filters: {sentence}",))


def _bounded(found: Iterable[Event | Ignored] | None) -> list[Event | Ignored]:
    """What a `read` gave, as a list; raises UnreadableError where it is nothing, too much, or not events."""
    hint = "to read nothing on purpose it gives Ignored(reason)"
    if found is None:
        msg = f"the template's read() gave None; {hint}"
        raise UnreadableError(msg)
    items = list(islice(found, MAX_EVENTS + 1))
    if not items:
        msg = f"the template's read() gave no events; {hint}"
        raise UnreadableError(msg)
    if len(items) > MAX_EVENTS:
        msg = f"the template's read() gave more than {MAX_EVENTS} events"
        raise UnreadableError(msg)
    for item in items:
        if not isinstance(item, Event | Ignored):
            msg = f"the template's read() gave a {type(item).__name__}, not Event or Ignored"
            raise UnreadableError(msg)
    return items


def compile_rulebook(template: TemplateFolder, settings: Mapping[str, Any], read: Read | None = None) -> Rulebook:
    """The rulebook of an integration: its template, its own settings, and the hook that reads; the code itself without one."""
    own = settings.get("fields")
    file = template.merged(settings)
    read = read or template.load_read()
    try:
        return Rulebook(file, read=read, has_code=template.has_code, own_fields=own, advanced=advanced_of(settings))
    except TemplateError as error:
        where = f"settings of an integration with {template.slug}, over " if settings else ""
        msg = f"{where}{template.path / 'template.toml'}: {error}"
        raise TemplateError(msg) from None


def _reason(reason: object) -> str:
    if not isinstance(reason, str):
        msg = f"Ignored takes a reason in words, not a {type(reason).__name__}"
        raise UnreadableError(msg)
    return clean(reason[:_MAX_REASON])


def _compiled(key: str, source: S, kind: Callable[[S], C]) -> C:
    try:
        return kind(source)
    except TemplateError as error:
        msg = f"{key}: {error}"
        raise TemplateError(msg) from None
