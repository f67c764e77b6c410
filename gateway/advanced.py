"""
Advanced Settings of an integration: who else is told, when, and in which words.

They stand beside the integration's changes to its template. What depends on the message alone (`[texts]`, the conditions of
`[[override]]` and `[[recipients]]`, what alerts are grouped by) is worked out where the message is read, by a `Router`; what
depends on the time and on other alerts, in `pipeline`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.clock import span
from gateway.errors import SettingsError, TemplateError
from gateway.hours import Hours, check_hours
from gateway.mapping import flat, to_text
from gateway.models import Override, Reading
from gateway.rules import EVENT_FIELDS, Condition, Fields, Test, compile_condition, value_of
from gateway.tables import struct_of
from gateway.texts import Text, readable

MAX_COUNT = 100
LONGEST = 366 * 86_400_000
MOST_FLAPPING = 7 * 86_400_000  # as long as openings are kept


class Flapping(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What counts as flapping: the same alert opened so often within so long."""

    opens: int
    """How many openings, 2 to 100."""
    within: str
    """Within how long, at most 7d: `15m`. From then on it must stay open that long before people are told."""

    @property
    def within_ms(self) -> int:
        """`within` in milliseconds."""
        return span(self.within) or 0


class Delay(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    `[delay]`: when people are told of an alert that opened.

    All that is given must be met; if it closes before, nobody is told.
    """

    wait: str = "0"
    """How long it must have been open: `10m`."""
    alerts: int = 1
    """How many opening events must have come, 1 to 100."""
    within: str = "0"
    """Within how long these must have come: `10m`. Needs `alerts`."""
    repeat: bool = False
    """Whether people are told again, whenever the count of opening events is a multiple of `alerts`. Needs `alerts`."""
    until: Hours | list[Hours] = []
    """Support hours: what opens outside of them is told when they begin. One table or several."""
    flapping: Flapping | None = None
    """What counts as flapping; what flaps is told only once it stays open."""

    @property
    def support_hours(self) -> tuple[Hours, ...]:
        """`until` as a list."""
        return _hours(self.until)

    @property
    def wait_ms(self) -> int:
        """`wait` in milliseconds."""
        return span(self.wait) or 0

    @property
    def within_ms(self) -> int:
        """`within` in milliseconds; 0 where any time will do."""
        return span(self.within) or 0


class Grouping(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[group]`: alerts of this integration that open soon after another are told as part of that one."""

    within: str
    """How soon after the first of the group: `15m`."""
    by: list[str] = msgspec.field(default_factory=lambda: ["source_name"])
    """What they have in common: fields of the event, or texts with holes over the message, `{host}`."""

    @property
    def within_ms(self) -> int:
        """`within` in milliseconds."""
        return span(self.within) or 0


class OverrideRule(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[[override]]`: another policy, by what the message says, by the time of day, or both. The first that holds decides."""

    policy: str
    """The policy that takes the place of the integration's own, by name."""
    when: Condition | None = None
    """A condition, as in `[open]`; `field` is `source_severity` where it names none."""
    hours: Hours | list[Hours] = []
    """Within which hours; one table or several."""


class RecipientRule(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[[recipients]]`: a recipient group that is told in addition, by what the message says. Each that holds counts."""

    group: str
    """The recipient group, by name."""
    when: Condition
    """A condition, as in `[open]`; `field` is `tags` where it names none."""


class MessageTexts(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[texts]`: texts of the alert, made with minijinja over the fields of the event and `message`, `headers`, `query`."""

    subject: str | None = None
    """One line: what is wrong, and where."""
    short_text: str | None = None
    """The same in few words."""
    description: str | None = None
    """The long text."""


class Advanced(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All Advanced Settings."""

    texts: MessageTexts = MessageTexts()
    """Texts of the alert in your own words."""
    delay: Delay = Delay()
    """When people are told."""
    group: Grouping | None = None
    """Which alerts are told as one."""
    override: list[OverrideRule] = []
    """Which policy takes the place of the integration's own, and when."""
    recipients: list[RecipientRule] = []
    """Which recipient groups are told in addition."""
    close_after: str | None = None
    """After how long without a word an alert is closed: `2h`."""
    auto_acknowledge: bool = False
    """Whether an acknowledgement at the vendor's (`[acknowledge]`) assigns the alert, so that nobody more is told."""

    @property
    def close_after_ms(self) -> int | None:
        """`close_after` in milliseconds."""
        return span(self.close_after) if self.close_after is not None else None


KEYS = tuple(Advanced.__struct_fields__)
"""The keys of an integration's settings that are Advanced Settings."""
NONE = Advanced()
_TEXT_VALUES = (*EVENT_FIELDS, "custom", "message", "element", "headers", "query")


def advanced_of(settings: Mapping[str, Any]) -> Advanced:
    """
    The Advanced Settings among an integration's settings; raises TemplateError that names the key and what to write.

    Conditions, texts and fields that alerts are grouped by are checked where they are compiled, by a `Router`.
    """
    own = {key: value for key, value in settings.items() if key in KEYS}
    if not own:
        return NONE
    advanced = struct_of(own, Advanced, "settings")
    problem = _flaw(advanced)
    if problem is not None:
        msg = f"settings: {problem}"
        raise TemplateError(msg)
    return advanced


class Router:
    """What Advanced Settings say of one reading, compiled."""

    def __init__(self, advanced: Advanced) -> None:
        """Compile them; raises TemplateError that names the key."""
        self._overrides = [
            (rule, _test(rule.when, f"[[override]][{at}]", "source_severity"), _hours(rule.hours))
            for at, rule in enumerate(advanced.override)
        ]
        self._recipients = [
            (rule.group, compile_condition(rule.when, f"[[recipients]][{at}]", "tags"))
            for at, rule in enumerate(advanced.recipients)
        ]
        texts = msgspec.structs.asdict(advanced.texts)
        self._texts = [Text(name, source, _TEXT_VALUES) for name, source in texts.items() if source is not None]
        by = advanced.group.by if advanced.group is not None else []
        self._group_by = [(field, value_of(field, "[group] by")) for field in by]
        self.changes_texts = bool(self._texts)
        self._message: tuple[Any, Any] = None, None  # as it is, and as texts may have it: once for all of its events

    def routed(self, reading: Reading, fields: Fields, scope: Any) -> Reading:
        """The reading with what they add to it: overrides, recipient groups, the key of its group."""
        if not (self._overrides or self._recipients or self._group_by):
            return reading
        trace = list(reading.trace)
        overrides = []
        for rule, test, hours in self._overrides:
            holds, sentence = test(fields, scope) if test is not None else (True, "")
            if sentence:
                trace.append(f"override to {rule.policy}: {sentence}")
            if holds:
                overrides.append(Override(policy=rule.policy, hours=hours))
                if not hours:
                    break  # none after this one is ever reached
        groups = []
        for group, test in self._recipients:
            holds, sentence = test(fields, scope)
            trace.append(f"recipients {group}: {sentence}")
            if holds:
                groups.append(group)
        group_key, absent = self._group_key(fields, scope)
        if absent and reading.action == "open":
            verb = "are" if len(absent) > 1 else "is"
            trace.append(f"group: {' and '.join(absent)} {verb} absent, so it is no part of a group")
        return msgspec.structs.replace(
            reading,
            overrides=tuple(overrides),
            recipient_groups=tuple(dict.fromkeys(groups)),
            group_key=group_key,
            trace=tuple(trace),
        )

    def texts(self, fields: Fields, scope: Any) -> tuple[dict[str, str], list[str]]:
        """The texts of the alert in the team's own words, and a line for each that says what became of it."""
        if scope.get("_message") is not self._message[0]:
            self._message = scope.get("_message"), readable(scope.get("_message"))
        context = readable(dict(fields)) | {
            "message": self._message[1],
            "element": readable(scope.get("_element")),
            "headers": readable(dict(scope.get("_headers") or {})),
            "query": readable(dict(scope.get("_query") or {})),
        }
        made: dict[str, str] = {}
        trace: list[str] = []
        for text in self._texts:
            value, problem = text.render(context)
            if problem is not None:
                trace.append(f"texts: {text.name} is left as it is: {problem}")
            elif value and value.strip():
                made[text.name] = value
                trace.append(texts_made(text.name))
            else:
                absent = text.absent(context)
                why = f" ({', '.join(absent)} {'are' if len(absent) > 1 else 'is'} absent)" if absent else ""
                trace.append(f"texts: {text.name} came out empty{why}, so it is left as it is")
        return made, trace

    def _group_key(self, fields: Fields, scope: Any) -> tuple[str | None, list[str]]:
        """What its group has in common; None where it is in none, and what is absent that groups are made by."""
        values = [(field, find(fields, scope)) for field, find in self._group_by]
        absent = [field for field, value in values if not any(flat(value))]
        if absent or not values:
            return None, absent
        return msgspec.json.encode([to_text(value) for _, value in values]).decode(), []


def texts_made(field: str) -> str:
    """The line of an explanation that says that `[texts]` made a field."""
    return f"texts: {field} is the integration's own"


def _test(condition: Condition | None, where: str, default_field: str) -> Test | None:
    return None if condition is None else compile_condition(condition, where, default_field)


def _hours(hours: Hours | list[Hours]) -> tuple[Hours, ...]:
    return tuple(hours) if isinstance(hours, list) else (hours,)


def _flaw(advanced: Advanced) -> str | None:
    """What is wrong with them, if anything, but for what a `Router` compiles."""
    group = advanced.group
    if group is not None and not group.by:
        return "`[group] by` is empty; name what the alerts have in common, or leave it out for source_name"
    return _spans_flaw(advanced) or _delay_flaw(advanced.delay) or _hours_flaw(advanced)


def _spans_flaw(advanced: Advanced) -> str | None:
    delay, group = advanced.delay, advanced.group
    spans: list[tuple[str, str | None, int]] = [
        ("[delay] wait", delay.wait, 0),
        ("[delay] within", delay.within, 0),
        ("[delay.flapping] within", delay.flapping.within if delay.flapping else None, 1),
        ("[group] within", group.within if group else None, 1),
        ("close_after", advanced.close_after, 1),
    ]
    for key, text, least in spans:
        length = 1 if text is None else span(text)
        if length is None or not least <= length <= LONGEST:
            return f"`{key}` is {text!r}; write a span of time, 90s, 15m, 1h or 7d"
    return None


def _delay_flaw(delay: Delay) -> str | None:
    if not 1 <= delay.alerts <= MAX_COUNT:
        return f"`[delay] alerts` is {delay.alerts}; it is 1 to {MAX_COUNT}"
    if delay.alerts == 1 and (delay.within_ms or delay.repeat):
        return (
            f"`[delay] {'repeat' if delay.repeat else 'within'}` needs `alerts`: how many opening events are waited for"
        )
    if delay.flapping is not None and delay.flapping.within_ms > MOST_FLAPPING:
        return f"`[delay.flapping] within` is {delay.flapping.within!r}; at most 7d"
    if delay.flapping is not None and not 2 <= delay.flapping.opens <= MAX_COUNT:  # noqa: PLR2004 - once is not flapping
        return f"`[delay.flapping] opens` is {delay.flapping.opens}; it is 2 to {MAX_COUNT}"
    return None


def _hours_flaw(advanced: Advanced) -> str | None:
    tables: list[tuple[str, Hours]] = [("[delay] until", hours) for hours in advanced.delay.support_hours]
    for at, rule in enumerate(advanced.override):
        if rule.when is None and not _hours(rule.hours):
            return f"[[override]][{at}] has neither `when` nor `hours`; for all alerts, set the integration's policy"
        tables += [(f"[[override]][{at}] hours", hours) for hours in _hours(rule.hours)]
    for where, hours in tables:
        try:
            check_hours(hours)
        except SettingsError as error:
            return f"{where}: {error}"
    return None
