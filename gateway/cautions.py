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
from gateway.mapping import Hole, Text
from gateway.models import SEVERITIES, Integration, Message, Reading
from gateway.rules import Condition
from gateway.template import TemplateFile

LOOKED_AT = 100
"""How many of the newest messages are read."""
_LEAST_WORD = 3
_SHOWN = 5

Reads = Callable[[Message], Sequence[Reading]]
"""The readings of a message with the new settings; none where it cannot be read."""


def cautions_of(
    integration: Integration, file: TemplateFile, directory: Directory, messages: Sequence[Message], read: Reads
) -> list[str]:
    """
    All that is likely wrong. `file` is the template with the integration's settings, `messages` are the newest ones.

    `directory` holds the integration as it is to be.
    """
    readings = [reading for message in messages for reading in read(message)]
    found = [
        *_in_no_list(readings, len(messages)),
        *_in_two_lists(file),
        *_moving_id(file, readings),
        *_same_filters(integration, directory),
        *_tells_nobody(integration, directory),
    ]
    return list(dict.fromkeys(found))


def _in_no_list(readings: Sequence[Reading], count: int) -> Iterator[str]:
    unlisted = Counter(
        reading.event.source_status
        for reading in readings
        if reading.action == "ignore"
        and reading.event is not None
        and reading.event.source_status is not None
        and (reading.reason or "").endswith("is in no list")
    )
    for status, times in unlisted.most_common(_SHOWN):
        often = "once" if times == 1 else f"{times} times"
        yield (
            f"the status {status[:100]!r} came {often} in the last {count} messages and is in no list, so it is ignored; "
            'add it to [open], [close] or [update], or set fallback = "open"'
        )


def _in_two_lists(file: TemplateFile) -> Iterator[str]:
    states = {f"[{name}]": _values(getattr(file, name), "source_status") for name in ("open", "close", "update")}
    severities = {
        f"[severity] {name}": _values(getattr(file.severity, name), "source_severity") for name in reversed(SEVERITIES)
    }
    for lists in (states, severities):
        for name, other in itertools.combinations(lists, 2):
            for value in sorted(lists[name] & lists[other]):
                yield f"{value!r} is in {name} and in {other}; {name} is looked at first, so {other} never has it"


def _values(rule: Condition | Sequence[object] | None, field: str) -> set[str]:
    if isinstance(rule, Condition):
        rule = None if rule.not_ or rule.field not in (None, field) else rule.is_one_of
    return {str(value).strip().casefold() for value in rule or ()}


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
        if other.settings.get("filters", {}) == integration.settings.get("filters", {}):
            first, second = sorted((other, integration), key=lambda one: (one.sequence, one.created_at, one.id))
            yield f"{first.name} and {second.name} have the same filters on one endpoint, so {second.name} never takes anything"


def _tells_nobody(integration: Integration, directory: Directory) -> Iterator[str]:
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
