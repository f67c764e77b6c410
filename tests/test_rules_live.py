"""
Every rule and every Advanced Setting through real HTTP into real processes: what became of the message, who was told, and
the explanation in words that a person understands.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.models import Alert, EventRecord, Notification
from tests.running import ROOT, RunningGateway, Sink, running, until

ANN, BOB = "/ann", "/bob"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that all these tests share, with two people, a policy of each, and a group."""
    with running(tmp_path_factory.mktemp("rules") / "data") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def sink(gateway: RunningGateway) -> Iterator[Sink]:
    """Where the two are told."""
    sink = Sink()
    for name, path in (("ann", ANN), ("bob", BOB)):
        gateway.cli("users", "add", name, "--contact", f"webhook:{sink.url}{path}")
        gateway.cli("policies", "add", f"policy of {name}", "--user", name)
    gateway.cli("groups", "add", "Databases", "--user", "bob")
    yield sink
    sink.close()


class Place:
    """One integration, what was posted to it, and what came of it."""

    def __init__(self, gateway: RunningGateway, sink: Sink, tmp_path: Path) -> None:
        self.gateway, self.sink, self.folder = gateway, sink, tmp_path
        self.name = f"place {next(numbers)}"
        self.url = ""
        self.endpoint_id = ""

    def add(self, settings: str = "", *flags: str) -> Place:
        """Add it with these settings, as TOML, and Ann's policy unless the flags say otherwise."""
        flags = flags or ("--policy", "policy of ann")
        made = self.gateway.cli("integrations", "add", "custom", "--name", self.name, *flags, *self.file(settings))
        self.url = made["endpoint_url"]
        self.endpoint_id = self.gateway.ask(lambda state, _: state.integration(made["id"])).endpoint_id  # type: ignore[union-attr]
        return self

    def set(self, settings: str, *flags: str) -> Any:
        """Change its settings; what the command prints."""
        return self.gateway.cli("integrations", "set", self.name, *flags, *self.file(settings))

    def file(self, settings: str) -> list[str]:
        """The flags that give these settings."""
        path = self.folder / f"{next(numbers)}.toml"
        path.write_text(settings)
        return ["--settings", str(path)]

    def post(self, status: str = "open", source_id: str = "x", **more: Any) -> list[EventRecord]:
        """Post one event; what became of it."""
        body = {"source_id": source_id, "status": status, "subject": f"{source_id} is broken", **more}
        return self.sent(self.gateway.post(self.url, body))

    def sent(self, answer: tuple[int, Any]) -> list[EventRecord]:
        """What became of a message that was answered so."""
        assert answer[0] == 200, answer
        number = int(answer[1]["message_id"])
        until(lambda: self.events(number), self.gateway)
        return self.events(number)

    def events(self, number: int) -> list[EventRecord]:
        """What became of a message, each time that it was read."""
        return self.gateway.ask(lambda state, _: state.events([number]))

    def alerts(self) -> list[Alert]:
        """Its alerts, oldest first."""
        found = self.gateway.ask(lambda state, _: state.alerts(limit=10_000))
        return [alert for alert in found[::-1] if alert.endpoint_id == self.endpoint_id]

    def notifications(self) -> list[Notification]:
        """Who is told of its alerts, oldest first."""
        ids = {alert.id for alert in self.alerts()}
        found = self.gateway.ask(lambda state, _: state.notifications(limit=10_000))
        return [one for one in found[::-1] if one.alert_id in ids]

    def told(self) -> list[tuple[str, str, str]]:
        """Who is told what, and whether it arrived: `("ann", "opened", "delivered")`."""
        return [(one.user, one.kind, one.status) for one in self.notifications()]

    def tells(self, *expected: tuple[str, str, str]) -> None:
        """Wait until exactly this was told."""
        until(lambda: self.told() == list(expected), self.gateway)


@pytest.fixture
def place(gateway: RunningGateway, sink: Sink, tmp_path: Path) -> Place:
    """An integration of this test's own, to be added."""
    return Place(gateway, sink, tmp_path)


def outcome(events: list[EventRecord]) -> str:
    """What became of the one event, and why: `ignored: no open alert`."""
    (event,) = events
    return f"{event.outcome}: {event.reason}" if event.reason else event.outcome


def trace(events: list[EventRecord]) -> list[str]:
    """The explanation of the one event."""
    (event,) = events
    return list(event.trace)


# what opens, appends, updates and closes


def test_every_row_of_the_table(place: Place) -> None:
    place.add()
    rows = [
        ("close", "ignored: no open alert", "close: source_status 'close' is one of close"),
        ("update", "ignored: no open alert", "update: source_status 'update' is one of update"),
        ("open", "opened", "open: source_status 'open' is one of open"),
        ("open", "appended", "open: source_status 'open' is one of open"),
        ("update", "updated", "update: source_status 'update' is one of update"),
        ("snoozed", "ignored: status 'snoozed' is in no list", "update: source_status 'snoozed' is one of update: no"),
        ("close", "closed", "close: source_status 'close' is one of close"),
    ]
    for status, became, why in rows:
        events = place.post(status)
        assert outcome(events) == became
        assert any(line.startswith(why) for line in trace(events)), trace(events)
    assert [alert.status for alert in place.alerts()] == ["closed"]
    place.tells(("ann", "opened", "delivered"), ("ann", "closed", "delivered"))


def test_what_no_integration_lets_pass_is_filtered_with_the_reason(place: Place) -> None:
    place.add('[filters]\nall = [{ field = "{env}", is_one_of = ["test"], not = true }]')
    assert outcome(place.post(env="test")) == "filtered: filters: {env} 'test' is not one of test: no"
    assert trace(place.post(env="prod"))[0] == "filters: {env} 'prod' is not one of test"


def test_fallback_opens_what_is_in_no_list(place: Place) -> None:
    place.add('fallback = "open"')
    assert "fallback: a status in no list opens" in trace(place.post("on fire"))


def test_source_name_by_a_value_that_must_match(place: Place) -> None:
    place.add(
        '[fields]\nsource = "Backup"\nsource_name = "{site}"\n'
        '[filters]\nall = [{ field = "source_name", is_one_of = ["Berlin"] }]'
    )
    assert outcome(place.post(site="Paris")).startswith("filtered: ")
    place.post(site="berlin")
    (alert,) = place.alerts()
    assert (alert.source, alert.source_name) == ("Backup", "berlin")


def test_all_fields_and_custom_ones(place: Place) -> None:
    place.add(
        """
        [fields]
        source_url = "https://wiki.example/{runbook}"
        description = "{text}"
        short_text = "{short}"
        assignee = "{owner}"
        topic = "{area}"
        tags = ["{labels}"]
        [fields.custom]
        customer = "{labels.customer}"
        [open]
        field = "custom.customer"
        is_present = true
        """
    )
    labels = {"customer": "ACME", "env": "prod"}
    place.post(runbook="r1", text="long", short="s", owner="Cleo", area="network", labels=labels)
    (alert,) = place.alerts()
    assert alert.source_url == "https://wiki.example/r1"
    assert (alert.description, alert.short_text, alert.assignee, alert.topic) == ("long", "s", "Cleo", "network")
    assert alert.tags == ("customer:ACME", "env:prod")
    assert alert.custom == {"customer": "ACME"}


def test_texts_in_a_team_s_own_words(place: Place) -> None:
    place.add(
        """
        [texts]
        subject = "{{ custom.customer | upper }}: {{ subject }} ({{ message.disks[0].name }})"
        description = "{% for disk in message.disks %}{{ disk.name }} {% endfor %}{% for i in range(99999) %}x{% endfor %}"
        [fields]
        description = "{note}"
        [fields.custom]
        customer = "{customer}"
        """
    )
    events = place.post(customer="acme", note="{{ 7 * 7 }}", disks=[{"name": "sda"}, {"name": "sdb"}])
    (alert,) = place.alerts()
    assert alert.subject == "ACME: x is broken (sda)"
    assert alert.description == "{{ 7 * 7 }}", (
        "a text that fails leaves the field, and what is in a message is no template"
    )
    assert "texts: subject is the integration's own" in trace(events)
    (line,) = [line for line in trace(events) if line.startswith("texts: description")]
    assert line.startswith("texts: description is left as it is: engine ran out of fuel")


# who is told


def test_override_by_what_the_message_says_each_priority_to_its_policy(place: Place) -> None:
    place.add(
        """
        [[override]]
        policy = "policy of bob"
        when = { is_one_of = ["critical"] }
        """
    )
    place.post(source_id="a", severity="warning")
    events = place.post(source_id="b", severity="critical")
    assert "override to policy of bob: source_severity 'critical' is one of critical" in trace(events)
    assert "told: policy policy of bob" in trace(events)
    place.tells(("ann", "opened", "delivered"), ("bob", "opened", "delivered"))
    place.post("close", "b")
    until(lambda: place.told()[-1] == ("bob", "closed", "delivered"), place.gateway)


def test_override_by_time_of_day(place: Place) -> None:
    hours = '[[override]]\npolicy = "{}"\nhours = {{ zone = "Asia/Tokyo", days = [{}], from = "{}", to = "{}" }}\n'
    every = '"mon", "tue", "wed", "thu", "fri", "sat", "sun"'
    place.add(
        hours.format("policy of ann", every, "00:00", "00:01")
        + hours.format("policy of bob", every, "00:01", "24:00")
        + hours.format("policy of bob", every, "00:00", "00:01"),
        "--policy",
        "policy of ann",
    )
    lines = trace(place.post())
    assert any(
        line.startswith("override to policy of bob: within every day 00:0") and line.endswith("Asia/Tokyo")
        for line in lines
    )
    place.tells(("bob", "opened", "delivered"))


@pytest.mark.parametrize("when", ['{ contains = ["db"] }', "{ field = \"subject\", matches = '^db-[0-9]+' }"])
def test_dynamic_recipient_groups(place: Place, when: str) -> None:
    place.add(f'[[recipients]]\ngroup = "Databases"\nwhen = {when}\n')
    place.post(source_id="web-1", tags=["web"])
    events = place.post(source_id="db-7", tags=["db"])
    assert "told: policy policy of ann, group Databases" in trace(events)
    until(lambda: len(place.told()) == 3, place.gateway)
    assert [user for user, _, _ in place.told()] == ["ann", "ann", "bob"]


def test_recipient_groups_and_users_are_told_without_a_policy(place: Place) -> None:
    place.add("", "--group", "Databases", "--user", "ann")
    place.post()
    until(
        lambda: sorted(place.told()) == [("ann", "opened", "delivered"), ("bob", "opened", "delivered")], place.gateway
    )


# when they are told


def test_an_alert_that_closes_while_it_is_delayed_tells_nobody(place: Place) -> None:
    place.add('[delay]\nwait = "1h"')
    (line,) = [line for line in trace(place.post()) if line.startswith("delay: ")]
    assert line.startswith("delay: it must be open for 1 h; people are told at ")
    place.post("close")
    place.tells(("ann", "opened", "withdrawn"))


def test_people_are_told_once_the_wait_is_over(place: Place) -> None:
    place.add('[delay]\nwait = "300ms"')
    place.post()
    place.tells(("ann", "opened", "delivered"))


def test_every_so_many_alerts(place: Place) -> None:
    place.add("[delay]\nalerts = 2\nrepeat = true")
    assert "delay: people are told at opening event 2; this is the first" in trace(place.post())
    assert place.told() == []
    assert "delay: this is opening event 2, so people are told" in trace(place.post())
    place.post()
    assert "delay: this is opening event 4, so people are told again" in trace(place.post())
    place.tells(("ann", "opened", "delivered"), ("ann", "appended", "delivered"))


def test_so_many_alerts_within_so_long(place: Place) -> None:
    place.add('[delay]\nalerts = 2\nwithin = "1ms"')
    place.post()
    assert "delay: people are told at opening event 2 within 1 ms; this is number 1" in trace(place.post())
    place.set('[delay]\nalerts = 2\nwithin = "1h"')
    place.post()
    place.tells(("ann", "opened", "delivered"))


def test_until_support_hours(place: Place) -> None:
    place.add('[delay]\nuntil = { zone = "UTC", days = ["mon"], from = "03:00", to = "03:01" }')
    lines = trace(place.post())
    assert any(line.startswith("delay: support hours are mon 03:00-03:01 UTC; people are told at ") for line in lines)
    place.post("close")
    place.tells(("ann", "opened", "withdrawn"))


def test_flapping_is_damped(place: Place) -> None:
    place.add('[delay]\nflapping = { opens = 2, within = "1h" }')
    place.post()
    place.post("close")
    lines = trace(place.post())
    assert any(
        line.startswith("delay: it flaps (opened 2 times within 1 h), so it must stay open that long") for line in lines
    )
    place.post("close")
    place.tells(("ann", "opened", "delivered"), ("ann", "closed", "delivered"), ("ann", "opened", "withdrawn"))


def test_grouping_tells_once_and_hands_over(place: Place) -> None:
    place.add('[group]\nwithin = "1h"\nby = ["{rack}"]')
    place.post(source_id="a", rack="r1")
    lines = trace(place.post(source_id="b", rack="r1"))
    assert any(
        line.endswith("of the same {rack} opened within 1 h; this one is told as part of it") for line in lines
    ), lines
    place.post(source_id="c", rack="r2")
    until(lambda: [one.alert.source_id for one in place.notifications()] == ["a", "c"], place.gateway)
    place.post("close", "a")
    until(lambda: len(place.told()) == 4, place.gateway)
    assert {(one.alert.source_id, one.kind) for one in place.notifications()[2:]} == {("a", "closed"), ("b", "opened")}


def test_what_is_acknowledged_at_the_vendor_s_tells_nobody_more(place: Place) -> None:
    place.gateway.cli("policies", "add", place.name, "--user", "ann", "--then", "1h:bob")
    place.add(
        'auto_acknowledge = true\n[update]\nis_one_of = ["acked"]\n[acknowledge]\nis_one_of = ["acked"]',
        "--policy",
        place.name,
    )
    place.post()
    events = place.post("acked", assignee="Cleo")
    assert "acknowledge: source_status 'acked' is one of acked" in trace(events)
    assert "acknowledged: it is assigned, and nobody more is told" in trace(events)
    (alert,) = place.alerts()
    assert alert.status == "assigned"
    place.tells(("ann", "opened", "delivered"), ("bob", "opened", "withdrawn"))


def test_close_after_silence(place: Place) -> None:
    place.add('close_after = "500ms"')
    place.post()
    until(lambda: [alert.status for alert in place.alerts()] == ["closed"], place.gateway)
    place.tells(("ann", "opened", "delivered"), ("ann", "closed", "delivered"))
    (alert,) = place.alerts()
    last = place.gateway.ask(lambda state, _: state.timeline(alert.id))[-1]
    assert last.actor == "Alert Gateway"
    assert (last.text or "").startswith("closed: nothing was heard of it for ")


# maintenance


def window(place: Place, *flags: str) -> Any:
    """A window around now."""
    day = place.gateway.ask(lambda state, _: state.alerts(limit=1))[0].opened_at // 86_400_000 * 86_400
    start = datetime.fromtimestamp(day, UTC)
    times = [(start + timedelta(days=ahead)).strftime("%Y-%m-%dT%H:%M") for ahead in (-1, 2)]
    words = ["--name", "Move", "--from", times[0], "--to", times[1], "--zone", "UTC", *flags]
    return place.gateway.cli("maintenance", "add", place.name, *words)


@pytest.mark.parametrize("reopen", [True, False])
def test_a_maintenance_window(place: Place, *, reopen: bool) -> None:
    place.add()
    place.post(source_id="before")
    window(place, *(["--reopen"] if reopen else []))
    assert outcome(place.post(source_id="a")) == "suppressed: maintenance window Move"
    (line,) = [line for line in trace(place.post(source_id="b")) if line.startswith("maintenance: ")]
    assert line.endswith("it opens then if it is not closed before" if reopen else "it is not opened then")
    assert outcome(place.post("close", "b")) == "ignored: no open alert"
    assert outcome(place.post("close", "before")) == "closed", "what was open before goes on as always"
    listed = place.gateway.cli("messages", "list", "--integration", place.name, "--outcome", "suppressed")
    assert len(listed) == 2
    place.gateway.cli("maintenance", "delete", place.name, "Move")
    assert outcome(place.post(source_id="c")) == "opened"
    wanted = ["before", "a", "c"] if reopen else ["before", "c"]
    until(lambda: sorted(alert.source_id for alert in place.alerts()) == sorted(wanted), place.gateway)


# sharing an endpoint


def test_fan_out_is_a_choice_of_the_endpoint(place: Place) -> None:
    place.add('[filters]\nall = [{ field = "{env}", is_one_of = ["prod", "both"] }]')
    other = f"{place.name} too"
    flags = ["--policy", "policy of bob", *place.file('[filters]\nall = [{ field = "{env}", is_one_of = ["both"] }]')]
    place.gateway.cli("integrations", "clone", place.name, "--name", other, *flags)
    (first,) = place.post(source_id="1", env="both")
    assert first.outcome == "opened"
    place.set("", "--fan-out")
    place.set('[filters]\nall = [{ field = "{env}", is_one_of = ["prod", "both"] }]')
    events = place.post(source_id="2", env="both")
    assert [event.outcome for event in events] == ["opened", "opened"]
    assert f"taken by {other}" in events[1].trace
    assert len({event.alert_id for event in events}) == 2, "each has an alert of its own"
    assert [event.outcome for event in place.post("close", "2", env="both")] == ["closed", "closed"]
    assert place.post("close", "1", env="both")[0].outcome == "closed", "it was open before"
    assert outcome(place.post(source_id="3", env="none")).startswith("filtered: ")
    (only,) = place.post(source_id="4", env="prod")
    assert only.outcome == "opened"


# the past


def test_rules_do_not_change_the_past_and_a_replay_does_what_the_dry_run_said(place: Place) -> None:
    place.add()
    (before,) = place.post("jammed")
    number = str(before.message_id)
    settings = '[open]\nis_one_of = ["open", "jammed"]'
    said = place.gateway.cli("dry-run", place.name, "--message", number, *place.file(settings))
    assert said[0]["differs"]
    assert [event["outcome"] for event in said[0]["events"]] == ["opened"]
    assert [told["user"] for told in said[0]["notifications"]] == ["ann"]
    assert place.alerts() == [], "a dry run changes nothing"
    place.set(settings)
    assert place.events(before.message_id) == [before]
    place.gateway.cli("messages", "replay", number, "--wait")
    records = place.events(before.message_id)
    assert records[0] == before
    assert records[1].run == 1
    wanted = said[0]["events"][0]
    assert (records[1].outcome, records[1].reason) == (wanted["outcome"], wanted["reason"])
    assert [line for line in records[1].trace if "alert" not in line] == [
        line for line in wanted["trace"] if "alert" not in line
    ]
    place.tells(("ann", "opened", "delivered"))


def test_what_would_have_been_otherwise(place: Place) -> None:
    place.add()
    place.post(source_id="a", severity="critical")
    place.post(source_id="b")
    settings = '[[override]]\npolicy = "policy of bob"\nwhen = { is_one_of = ["critical"] }'
    same = place.gateway.cli("dry-run", place.name, "--since", "1h")
    assert same == []
    changed = place.gateway.cli("dry-run", place.name, "--since", "1h", *place.file(settings))
    assert [one["notifications"][0]["user"] for one in changed] == ["bob"]


# saving


CAUTIONS = {
    "the status 'strange' came once in the last 2 messages": "",
    "'close' is in [open] and in [close]": '[open]\nis_one_of = ["open", "close"]\n',
    "source_id is made of {status}, as source_status is": '[fields]\nsource_id = "{status} 1"\n',
    "source_id 'disk is open' holds the status 'open'": '[fields]\nsource_id = "{subject}"\n',
}


@pytest.mark.parametrize("words", CAUTIONS)
def test_warnings_on_save(place: Place, words: str) -> None:
    place.add()
    place.post("strange")
    place.post("open", subject="disk is open")
    warnings = place.set(CAUTIONS[words] or 'fallback = "ignore"\n')["warnings"]
    assert any(warning.startswith(words) for warning in warnings), json.dumps(warnings, indent=1)


# a vendor's guide


def test_sematext_priorities_each_to_a_policy_of_its_own(place: Place) -> None:
    """As Sematext's guide describes it: the priority decides which policy is used."""
    sample = json.loads((ROOT / "plugins/sematext/samples/threshold_firing.json").read_text())
    settings = ""
    for priority in ("info", "warn", "error", "critical"):
        place.gateway.cli("policies", "add", f"{place.name} {priority}", "--user", "ann")
        settings += f'[[override]]\npolicy = "{place.name} {priority}"\nwhen = {{ is_one_of = ["{priority}"] }}\n'
    made = place.gateway.cli("integrations", "add", "sematext", "--name", place.name, *place.file(settings))
    place.url = made["endpoint_url"]
    for number, priority in enumerate(("INFO", "warn", "ERROR", "critical")):
        body = {**sample, "priority": priority, "applicationId": number}
        lines = trace(place.sent(place.gateway.post(place.url, body)))
        assert f"told: policy {place.name} {priority.lower()}" in lines
