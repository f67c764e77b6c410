"""
Which alert another one is told as part of: a pure decision from `[group]`, and a sentence that says why.

An alert keeps another one quiet only where the same people are told of it, and where it is at least as bad: otherwise nobody
would hear of what is news to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gateway.advanced import Grouping
from gateway.clock import in_words
from gateway.escalation import People, names_told
from gateway.models import SEVERITIES, Alert


def leader_of(
    alert: Alert, leaders: Iterable[Alert], group: Grouping, people: People
) -> tuple[Alert | None, str | None]:
    """
    The alert that one which opens now is told as part of, or None; and why, None where it is the first of its group.

    `leaders` are open, of the same integration and group key, and no part of another alert.
    """
    young = [leader for leader in leaders if leader.opened_at > alert.opened_at - group.within_ms]
    newest = max(young, key=_number, default=None)
    if newest is None:
        return None, None
    common = f"of the same {', '.join(group.by)}"
    leader = max((one for one in young if _told(one) == _told(alert)), key=_number, default=None)
    if leader is None:
        others = names_told(newest.routing, people)
        return None, f"group: alert {newest.id} {common} is told to {others}, so this one is told by itself"
    if _badness(leader) < _badness(alert):
        than = f"is {leader.severity}, and this one is {alert.severity}"
        return None, f"group: alert {leader.id} {common} {than}, so it is told by itself"
    within = in_words(group.within_ms)
    return leader, f"group: alert {leader.id} {common} opened within {within}; this one is told as part of it"


def heir_of(members: Sequence[Alert]) -> Alert:
    """Which of a group's members takes its leader's place: of those that nobody took the worst, and of these the oldest."""
    return max(members, key=lambda one: (one.status == "open", _badness(one), -one.id))


def _told(alert: Alert) -> object:
    return msgspec.structs.replace(alert.routing, until=None)


def _badness(alert: Alert) -> int:
    return SEVERITIES.index(alert.severity)


def _number(alert: Alert) -> int:
    return alert.id
