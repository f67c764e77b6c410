"""
What is likely a mistake in an integration's settings, though it can be saved: said when they are, each in a sentence.

The last messages are read with the new settings, so that a word which is in no list is found before it is missed at night.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from gateway.directory import Directory
from gateway.mapping import Hole, Text, to_text
from gateway.models import SEVERITIES, Integration, Message, Reading
from gateway.rules import Condition
from gateway.template import TemplateFile

LOOKED_AT = 100
"""How many of the newest messages are read."""
_LEAST_WORD = 3
_SHOWN = 5
_TAKES_BY = ("accepts", "form_field", "each", "fields", "filters")

Reads = Callable[[Message], tuple[Sequence[Reading], str | None]]
"""The readings of a message with the new settings, and why it cannot be read, if it cannot."""


def cautions_of(
    integration: Integration, file: TemplateFile, directory: Directory, messages: Sequence[Message], read: Reads
) -> list[str]:
    """
    All that is likely wrong. `file` is the template with the integration's settings, `messages` are the newest ones.

    `directory` holds the integration as it is to be.
    """
    reads = [read(message) for message in messages]
    readings = [reading for some, _ in reads for reading in some]
    found = [
        *_unreadable(reads),
        *_in_no_list(readings, len(messages)),
        *_severity_in_no_list(file, readings, len(messages)),
        *_in_two_lists(file),
        *_constant_id(file),
        *_moving_id(file, readings),
        *_same_filters(integration, directory),
        *tells_nobody(integration, directory),
    ]
    return list(dict.fromkeys(found))


def _unreadable(reads: Sequence[tuple[Sequence[Reading], str | None]]) -> Iterator[str]:
    errors = [
        error or next((one.error for one in readings if one.error is not None), None) for readings, error in reads
    ]
    if errors and None not in errors:
        which = "the last message cannot" if len(errors) == 1 else f"none of the last {len(errors)} messages can"
        yield f"{which} be read: {errors[0]}"


def _in_no_list(readings: Sequence[Reading], count: int) -> Iterator[str]:
    unlisted = Counter(
        reading.event.source_status
        for reading in readings
        if reading.action == "ignore"
        and reading.event is not None
        and reading.event.source_status is not None
        and (reading.reason or "").endswith("is in no list")
    )
    for status, often in _most(unlisted):
        yield (
            f"the status {status[:100]!r} came {often} in the last {count} messages and is in no list, so it is ignored; "
            'add it to [open], [close] or [update], or set fallback = "open"'
        )


def _severity_in_no_list(file: TemplateFile, readings: Sequence[Reading], count: int) -> Iterator[str]:
    if not any(getattr(file.severity, name) for name in SEVERITIES):
        return
    unlisted = Counter(
        reading.event.source_severity
        for reading in readings
        if reading.action in ("open", "update")
        and reading.event is not None
        and reading.event.source_severity is not None
        and any(line.startswith("severity ") and line.endswith("is in no list") for line in reading.trace)
    )
    for severity, often in _most(unlisted):
        yield (
            f"the severity {severity[:100]!r} came {often} in the last {count} messages and is in no list, so it counts as "
            f"{file.severity.default}; add it to a list of [severity]"
        )


def _most(unlisted: Counter[str]) -> Iterator[tuple[str, str]]:
    for value, times in unlisted.most_common(_SHOWN):
        yield value, "once" if times == 1 else f"{times} times"


def _in_two_lists(file: TemplateFile) -> Iterator[str]:
    states = {f"[{name}]": getattr(file, name) for name in ("open", "close", "update")}
    severities = {f"[severity] {name}": getattr(file.severity, name) for name in reversed(SEVERITIES)}
    for lists, field in ((states, "source_status"), (severities, "source_severity")):
        fields = (None, field, getattr(file.fields, field))
        for name, other in itertools.combinations(lists, 2):
            # What meets the first in any case never comes to the other, whatever that asks for besides.
            both = _values(lists[name], fields, sure=True) & _values(lists[other], fields, sure=False)
            for value in sorted({value for value, _ in both}):
                yield f"{value!r} is in {name} and in {other}; {name} is looked at first, so {other} never has it"


def _values(
    rule: Condition | Sequence[object] | None, fields: Sequence[str | None], *, sure: bool
) -> set[tuple[str, bool]]:
    """
    The values of a field that meet a condition; if `sure` those alone that meet it whatever else a message says.

    Each with whether it is as it is written, or without regard to case. A sure one is as its condition compares; of the
    others, each is in both ways, as what comes first may take it in either.
    """
    if not isinstance(rule, Condition):
        rule = Condition(is_one_of=list(rule or ()))  # type: ignore[arg-type]
    if rule.not_ or rule.field not in fields:
        return set()
    parts = rule.any or rule.all or []
    if sure and rule.all is not None and len(parts) > 1:
        return set()
    found: set[tuple[str, bool]] = set().union(*(_values(part, fields, sure=sure) for part in parts))
    for value in rule.is_one_of or rule.contains or rule.starts_with or ():
        text = to_text(value).strip()
        if rule.case_sensitive or not sure:
            found.add((text, True))
        if not (rule.case_sensitive and sure):
            found.add((text.casefold(), False))
    return found


def _constant_id(file: TemplateFile) -> Iterator[str]:
    source = file.fields.source_id
    if source is not None and source.strip() and not _holes(source):
        yield (
            f"source_id is {source[:100]!r} for every message, so that all of them are one alert; "
            "for a value of the message write where it stands in single braces, {device.id}"
        )


def _moving_id(file: TemplateFile, readings: Sequence[Reading]) -> Iterator[str]:
    remedy = "then a recovery has another id than its problem and closes nothing; take an id that both share"
    holes = {name: _holes(getattr(file.fields, name)) for name in ("source_id", "source_status", "source_severity")}
    for name in ("source_status", "source_severity"):
        shared = sorted(holes["source_id"] & holes[name])
        if shared:
            yield f"source_id is made of {{{shared[0]}}}, as {name} is: {remedy}"
            return
    for reading in readings:
        event = reading.event
        if event is None or event.source_status is None or len(event.source_status) < _LEAST_WORD:
            continue
        word = rf"(?<!\w){re.escape(event.source_status.casefold())}(?!\w)"
        if re.search(word, event.source_id.casefold()):
            yield f"source_id {event.source_id[:100]!r} holds the status {event.source_status[:50]!r}: {remedy}"
            return


def _holes(source: str | None) -> set[str]:
    return {part.expression for part in Text(source).parts if isinstance(part, Hole)} if source else set()


def _same_filters(integration: Integration, directory: Directory) -> Iterator[str]:
    if integration.endpoint_id in directory.fan_out or not integration.enabled:
        return
    for other in directory.integrations.get(integration.endpoint_id, ()):
        if other.id == integration.id or not other.enabled:
            continue
        if _takes_by(other) == _takes_by(integration):
            first, second = sorted((other, integration), key=lambda one: (one.sequence, one.created_at, one.id))
            yield f"{first.name} and {second.name} have the same filters on one endpoint, so {second.name} never takes anything"


def _takes_by(integration: Integration) -> list[object]:
    """All that decides what an integration can read and lets pass: what another reads otherwise may be left for it."""
    return [integration.template, *(integration.settings.get(key) or None for key in _TAKES_BY)]


def tells_nobody(integration: Integration, directory: Directory) -> Iterator[str]:
    """That nobody, or nobody of one of its policies, could be notified of its alerts."""
    people = directory.people
    named = [integration.policy_id] if integration.policy_id else []
    named += [
        policy.id
        for rule in directory.advanced_of(integration).override
        if (policy := directory.policy_named(rule.policy))
    ]
    reached = False
    for number in dict.fromkeys(named):
        policy = people.policies.get(number)
        if policy is None:
            continue
        if _reaches(directory, [user_id for step in policy.steps for user_id in step.user_ids]):
            reached = True
        else:
            yield f"the policy {policy.name} notifies nobody: none of its users has a contact"
    others = [
        user_id
        for number in integration.group_ids
        if number in people.groups
        for user_id in people.groups[number].user_ids
    ]
    if not reached and not _reaches(directory, [*others, *integration.user_ids]):
        yield "nobody is notified of its alerts: it has no policy, group or user with a contact (`integrations set --policy`)"


def _reaches(directory: Directory, user_ids: Sequence[str]) -> bool:
    users = directory.people.users
    return any(user_id in users and users[user_id].contacts for user_id in user_ids)
