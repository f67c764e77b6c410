"""A day on a page: rows of what comes at a time, what becomes of it, who is told and when, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gateway.advanced import advanced_of
from gateway.clock import instant, span
from gateway.configuration_file import parse
from gateway.directory import Directory
from gateway.escalation import People
from gateway.history import History
from gateway.loader import builtin_dir
from gateway.models import Contact, Group, Integration, Message, Notification, Policy, PolicyStep, User
from gateway.pipeline import Read
from gateway.rulebook import compile_rulebook
from gateway.stage import Stage
from gateway.store.base import Changes
from gateway.template import Request, TemplateFolder

DAY = datetime(2026, 6, 3, tzinfo=UTC)
"""A Wednesday."""


class Day:
    """One day of an integration with these settings; `there_are` is a configuration file."""

    def __init__(self, there_are: str, settings: Mapping[str, Any]) -> None:
        there = parse(there_are, "there are")
        (table,) = there.integration
        users = {
            one.name: User(id=one.name, name=one.name, contacts=_contacts(one.contacts), created_at=0)
            for one in there.user
        }
        groups = {
            one.name: Group(id=one.name, name=one.name, user_ids=tuple(one.users), created_at=0) for one in there.group
        }
        policies = {
            one.name: Policy(
                id=one.name,
                name=one.name,
                steps=tuple(PolicyStep(after=_seconds(step.after), user_ids=tuple(step.users)) for step in one.steps),
                created_at=0,
            )
            for one in there.policy
        }
        self._integration = Integration(
            id="shop",
            endpoint_id="shop",
            name=table.name,
            template=table.template,
            policy_id=table.policy,
            settings=dict(settings),
            created_at=0,
            updated_at=0,
        )
        directory = Directory(
            integrations={"shop": [self._integration]},
            people=People(policies=policies, groups=groups, users=users),
            advanced={"shop": advanced_of(settings)},
        )
        self._book = compile_rulebook(TemplateFolder(builtin_dir() / table.template), settings)
        self._stage = Stage(History(), directory, 1)
        self._to_come: list[Notification] = []

    def row(self, at: str, message: str, then: str, told: str, why: str) -> None:
        """Take one row; what does not become of it as it says is an error."""
        now = instant(DAY + timedelta(hours=int(at[:2]), minutes=int(at[3:])))
        changes = asyncio.run(self._take(message, now))
        found = [event.outcome for one in changes for event in one.events]
        found += [
            change.kind for one in changes if not one.events for change in one.timeline if change.kind == "closed"
        ]
        assert (", ".join(found) or "-") == then, at
        lines = [line for one in changes for event in one.events for line in event.trace]
        lines += [str(change.text) for one in changes if not one.events for change in one.timeline]
        assert why in (*lines, "-"), "\n".join([at, *lines])
        assert self._told(changes, now) == told, at

    def _told(self, changes: Sequence[Changes], now: int) -> str:
        new = [one for step in changes for one in step.notifications]
        words = [", ".join(map(_when, new)) or "nobody"]
        withdrawn = {number for step in changes for number in step.withdrawn}
        to_come = [one for one in self._to_come if one.due_at > now]
        left = [one for one in to_come if one.alert_id not in withdrawn]
        if len(left) < len(to_come):
            words.append("what was to come is withdrawn")
        self._to_come = left + new
        return "; ".join(words)

    async def _take(self, message: str, now: int) -> list[Changes]:
        done = await self._stage.pass_time(now)
        if message != "-":
            readings = self._book.readings(Request(msgspec.json.decode(message)))
            sent = Message(id=1, endpoint_id="shop", received_at=now)
            done.append(
                await self._stage.take(Read(message=sent, integration=self._integration, readings=readings), now)
            )
        return done


def _when(notification: Notification) -> str:
    due = DAY + timedelta(milliseconds=notification.due_at - instant(DAY))
    days = (due.date() - DAY.date()).days
    return f"{notification.user} {f'+{days} ' if days else ''}{due:%H:%M}"


def _contacts(texts: Sequence[str]) -> tuple[Contact, ...]:
    return tuple(Contact(id=text, kind=text.split(":")[0], address=text.split(":", 1)[1]) for text in texts)


def _seconds(text: str) -> int:
    return (span(text) or 0) // 1000
