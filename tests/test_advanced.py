"""Advanced Settings: each key, what is wrong with it in words that name it, and what depends on the message alone."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from gateway.advanced import KEYS, NONE, Advanced, Router, advanced_of
from gateway.clock import span
from gateway.errors import TemplateError
from gateway.hours import Hours
from gateway.models import Event, Override, Reading

EVERYTHING = """
close_after = "2h"
auto_acknowledge = true

[texts]
subject = "{{ source_name }}: {{ subject }}"
short_text = "{{ message.host }}"
description = "{{ headers['x-from'] }} {{ query.a }} {{ element.n }} {{ custom.team }}"

[delay]
wait = "10m"
alerts = 3
within = "1h"
repeat = true
until = { zone = "Europe/Berlin", days = ["mon", "fri"], from = "09:00", to = "17:00" }
flapping = { opens = 3, within = "15m" }

[group]
within = "5m"
by = ["topic", "{host}"]

[[override]]
policy = "dba"
when = { is_one_of = ["P1"] }
hours = [{ zone = "UTC", from = "18:00", to = "24:00" }, { zone = "UTC", to = "06:00" }]

[[recipients]]
group = "databases"
when = { contains = ["service:db"] }
"""


def toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def routed(text: str, *, scope: Any = None, **fields: Any) -> Reading:
    event = Event(**{"source_id": "x", "source": "Acme", **fields})
    values = {name: getattr(event, name) for name in Event.__struct_fields__}
    reading = Reading(action="open", event=event, trace=("open: yes",))
    return Router(advanced_of(toml(text))).routed(reading, values, scope or {})


# the keys


def test_every_key_is_read() -> None:
    advanced = advanced_of(toml(EVERYTHING))
    assert set(toml(EVERYTHING)) == set(KEYS), "a key is missing from this test"
    assert advanced.close_after_ms == 7_200_000
    assert advanced.auto_acknowledge
    assert (advanced.delay.wait_ms, advanced.delay.within_ms, advanced.delay.alerts) == (600_000, 3_600_000, 3)
    assert advanced.delay.repeat
    office = Hours(zone="Europe/Berlin", days=("mon", "fri"), from_="09:00", to="17:00")
    assert advanced.delay.support_hours == (office,)
    assert advanced.delay.flapping is not None
    assert (advanced.delay.flapping.opens, advanced.delay.flapping.within_ms) == (3, 900_000)
    assert advanced.group is not None
    assert (advanced.group.within_ms, advanced.group.by) == (300_000, ["topic", "{host}"])
    assert [rule.policy for rule in advanced.override] == ["dba"]
    assert [rule.group for rule in advanced.recipients] == ["databases"]
    assert advanced.texts.short_text == "{{ message.host }}"


def test_without_any_there_are_none_and_the_templates_own_keys_are_passed_over() -> None:
    assert advanced_of({}) is advanced_of({"open": {"frobnicate": 1}, "fields": {}}) is NONE
    assert NONE.close_after_ms is None
    assert NONE.delay.support_hours == ()


def test_they_are_the_same_as_they_were_stored() -> None:
    stored = msgspec.json.decode(msgspec.json.encode(advanced_of(toml(EVERYTHING))))
    assert advanced_of(stored) == advanced_of(toml(EVERYTHING))
    assert msgspec.json.encode(Advanced()) == b"{}"


@pytest.mark.parametrize("key", ["until", "hours"])
def test_hours_are_one_table_or_several(key: str) -> None:
    one, many = '{ zone = "UTC", to = "06:00" }', '[{ zone = "UTC", to = "06:00" }, { zone = "UTC", from = "22:00" }]'
    for count, value in ((1, one), (2, many)):
        if key == "until":
            assert len(advanced_of(toml(f"delay = {{ until = {value} }}")).delay.support_hours) == count
        else:
            (override,) = routed(f"override = [{{ policy = 'p', hours = {value} }}]").overrides
            assert len(override.hours) == count


# what is wrong with them


@pytest.mark.parametrize(
    "text, words",
    [
        # unknown keys name the nearest
        ("delay = { wiat = '10m' }", 'unknown key "wiat" in [delay]; did you mean wait?'),
        ("group = { withn = '10m' }", 'unknown key "withn" in [group]; did you mean within?'),
        ("texts = { subjet = 'x' }", 'unknown key "subjet" in [texts]; did you mean subject?'),
        ("override = [{ policy = 'p', hour = [] }]", "did you mean hours?"),
        ("recipients = [{ gruop = 'g', when = { matches = 'x' } }]", "did you mean group?"),
        ("recipients = [{ group = 'g', when = { match = 'x' } }]", "did you mean matches?"),
        ("delay = { until = { zone = 'UTC', form = '09:00' } }", "did you mean from?"),
        ("delay = { until = [{ zone = 'UTC', form = '09:00' }] }", "did you mean from?"),
        ("delay = { flapping = { open = 3, within = '1h' } }", "did you mean opens?"),
        # missing keys
        ("group = {}", 'the key "within" is missing in [group]'),
        ("override = [{}]", 'the key "policy" is missing in'),
        ("recipients = [{ group = 'g' }]", 'the key "when" is missing in'),
        ("delay = { until = { to = '09:00' } }", 'the key "zone" is missing in [delay.until]'),
        ("delay = { flapping = { opens = 3 } }", 'the key "within" is missing in [delay.flapping]'),
        # types
        ("close_after = 120", "close_after is a whole number; write a text"),
        ("auto_acknowledge = 'yes'", "auto_acknowledge is a text; write true or false"),
        ("delay = { until = { zone = 'UTC', days = ['monday'] } }", "days[0] is 'monday'; it is one of mon, tue, wed"),
        ("override = { policy = 'p' }", "override is a table; write [[override]], with two brackets"),
        ("group = [{ within = '5m' }]", "group is a list; write [group], with one bracket"),
        ("delay = { close_after = '5m' }", "[delay]; close_after belongs at the top level, before the first [table]"),
        # spans
        ("delay = { wait = 'soon' }", "`[delay] wait` is 'soon'; write a span of time, 90s, 15m, 1h or 7d"),
        ("delay = { wait = '-1m' }", "`[delay] wait` is '-1m'"),
        ("delay = { wait = '367d' }", "`[delay] wait` is '367d'"),
        ("delay = { alerts = 2, within = 'x' }", "`[delay] within` is 'x'"),
        ("delay = { flapping = { opens = 3, within = '0' } }", "`[delay.flapping] within` is '0'"),
        ("delay = { flapping = { opens = 3, within = '8d' } }", "`[delay.flapping] within` is '8d'; at most 7d"),
        ("group = { within = '0' }", "`[group] within` is '0'; write a span of time"),
        ("close_after = '0'", "`close_after` is '0'; write a span of time"),
        ("close_after = ''", "`close_after` is ''"),
        # counts
        ("delay = { alerts = 0 }", "`[delay] alerts` is 0; it is 1 to 100"),
        ("delay = { alerts = 101 }", "`[delay] alerts` is 101; it is 1 to 100"),
        ("delay = { within = '10m' }", "`[delay] within` needs `alerts`: how many opening events are waited for"),
        ("delay = { repeat = true }", "`[delay] repeat` needs `alerts`"),
        ("delay = { flapping = { opens = 1, within = '1h' } }", "`[delay.flapping] opens` is 1; it is 2 to 100"),
        ("delay = { flapping = { opens = 101, within = '1h' } }", "`[delay.flapping] opens` is 101"),
        # hours
        ("delay = { until = { zone = 'Berlin' } }", "[delay] until: there is no time zone 'Berlin'; write Europe/Berlin"),
        ("delay = { until = { zone = 'UTC', from = '9:00' } }", "[delay] until: `from` is '9:00'; write a time of day"),
        ("override = [{ policy = 'p', hours = { zone = 'X' } }]", "[[override]][0] hours: there is no time zone 'X'"),
        ("override = [{ policy = 'p' }]", "[[override]][0] has neither `when` nor `hours`; for all alerts, set"),
        # what they are grouped by
        ("group = { within = '1h', by = [] }", "`[group] by` is empty; name what the alerts have in common"),
        ("group = { within = '1h', by = ['hots'] }", "[group] by: there is no field 'hots'"),
        ("group = { within = '1h', by = ['topc'] }", "did you mean topic?"),
        ("group = { within = '1h', by = ['{a b}'] }", "[group] by: "),
        # conditions
        ("override = [{ policy = 'p', when = {} }]", "[[override]][0]: a condition takes one of is_one_of"),
        ("recipients = [{ group = 'g', when = { matches = '(' } }]", "[[recipients]][0]: RE2 refuses the pattern '('"),
        ("recipients = [{ group = 'g', when = { contains = [] } }]", "[[recipients]][0]: `contains` has no values"),
        # texts
        ("texts = { subject = '{{' }", "[texts] subject: syntax error"),
        ("texts = { description = '{% if %}' }", "[texts] description: syntax error"),
        ("texts = { subject = '{{ sbject }}' }", "[texts] subject: there is no sbject; did you mean subject?; for a"),
        ("texts = { subject = '{{ subject|uper }}' }", "[texts] subject: there is no filter uper; did you mean upper?"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_the_key_and_the_fix(text: str, words: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Router(advanced_of(toml(text)))
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["9" * 400 + "d", "1." + "9" * 400 + "h", "9" * 16 + "ms", "1e9s", "inf", "nan", "١h"])
def test_a_span_that_is_none_is_no_accident(text: str) -> None:
    assert span(text) in (None, 3_600_000)
    if span(text) is None:
        with pytest.raises(TemplateError, match="write a span of time"):
            advanced_of({"close_after": text})


# what a router says of a reading


def test_overrides_stop_at_the_first_that_holds_at_any_time() -> None:
    text = """
    override = [
        { policy = "never", when = { is_one_of = ["P9"] } },
        { policy = "night", when = { is_one_of = ["P1"] }, hours = { zone = "UTC", to = "06:00" } },
        { policy = "dba", when = { is_one_of = ["P1"] } },
        { policy = "late", hours = { zone = "UTC", to = "06:00" } },
    ]
    """
    reading = routed(text, source_severity="P1")
    night = Hours(zone="UTC", to="06:00")
    assert reading.overrides == (Override(policy="night", hours=(night,)), Override(policy="dba"))
    assert reading.trace == (
        "open: yes",
        "override to never: source_severity 'P1' is one of P9: no",
        "override to night: source_severity 'P1' is one of P1",
        "override to dba: source_severity 'P1' is one of P1",
    )
    assert routed(text, source_severity="P5").overrides == (Override(policy="late", hours=(night,)),)


def test_recipients_add_up_once_each() -> None:
    text = """
    recipients = [
        { group = "db", when = { contains = ["service:db"] } },
        { group = "web", when = { field = "topic", is_one_of = ["web"] } },
        { group = "db", when = { field = "{host}", starts_with = ["db-"] } },
        { group = "eu", when = { field = "custom.region", is_one_of = ["eu"] } },
    ]
    """
    reading = routed(text, tags=("service:db", "x"), topic="mail", custom={"region": "EU"}, scope={"host": "db-1"})
    assert reading.recipient_groups == ("db", "eu")
    assert len(reading.trace) == 5
    assert reading.trace[2] == "recipients web: topic 'mail' is one of web: no"
    assert routed(text).recipient_groups == ()


@pytest.mark.parametrize(
    "by, fields, scope, key",
    [
        (None, {"source_name": "cluster"}, {}, '["cluster"]'),
        (["topic", "{host}"], {"topic": "db"}, {"host": "a"}, '["db","a"]'),
        (["topic", "{host}"], {"topic": 'd","a'}, {"host": "b"}, '["d\\",\\"a","b"]'),
        (["{n}"], {}, {"n": 7}, '["7"]'),
        (["tags"], {"tags": ("a", "b")}, {}, None),
    ],
)
def test_alerts_are_grouped_by_what_they_have_in_common(
    by: list[str] | None, fields: dict[str, Any], scope: dict[str, Any], key: str | None
) -> None:
    settings: dict[str, Any] = {"group": {"within": "5m", **({} if by is None else {"by": by})}}
    event = Event(source_id="x", **fields)
    values = {name: getattr(event, name) for name in Event.__struct_fields__}
    found = Router(advanced_of(settings)).routed(Reading(action="open", event=event), values, scope).group_key
    assert found == key if key is not None else "a" in (found or "") and "b" in (found or "")


@pytest.mark.parametrize(
    "by, absent",
    [
        (None, "source_name"),
        (["source", "{rack}"], "{rack}"),
        (["{rack}", "{row}"], "{rack} and {row}"),
        (["tags"], "tags"),
    ],
)
def test_what_is_absent_is_nothing_in_common(by: list[str] | None, absent: str) -> None:
    router = Router(advanced_of({"group": {"within": "5m", **({} if by is None else {"by": by})}}))
    fields = {"source": "Acme", "tags": ()}
    verb = "are" if " and " in absent else "is"
    for action in ("open", "update", "close"):
        reading = router.routed(Reading(action=action), fields, {"row": None})
        line = f"group: {absent} {verb} absent, so it is no part of a group"
        assert (reading.group_key, reading.trace) == (None, (line,) if action == "open" else ())


def test_two_groups_never_share_a_key_by_accident() -> None:
    router = Router(advanced_of({"group": {"within": "5m", "by": ["topic", "assignee"]}}))
    pairs = [("a", "b"), ("a,b", "c"), ('a","b', "c"), ("a", "bc"), ("ab", "c"), ("a", 'b"'), ("[]", "[]")]
    keys = {
        router.routed(Reading(action="open"), {"topic": topic, "assignee": who}, {}).group_key for topic, who in pairs
    }
    assert len(keys) == len(pairs)


def test_without_rules_a_reading_is_left_alone() -> None:
    reading = Reading(action="open", event=Event(source_id="x"))
    assert Router(NONE).routed(reading, {}, {}) is reading


def test_texts_see_the_fields_the_message_the_element_headers_and_query() -> None:
    scope = {
        "_message": {"host": "db-1"},
        "_element": {"n": 3},
        "_headers": {"x-from": "probe"},
        "_query": {"a": "1"},
    }
    fields = {"subject": "disk", "source_name": "eu", "custom": {"team": "core"}}
    texts, lines = Router(advanced_of(toml(EVERYTHING))).texts(fields, scope)
    assert texts == {"subject": "eu: disk", "short_text": "db-1", "description": "probe 1 3 core"}
    assert lines == [f"texts: {name} is the integration's own" for name in ("subject", "short_text", "description")]


def test_a_text_that_fails_or_says_nothing_leaves_the_field() -> None:
    router = Router(advanced_of({"texts": {"subject": "{{ 1 + 'x' }}", "short_text": "  {{ message.none }} "}}))
    texts, lines = router.texts({"subject": "disk"}, {})
    assert texts == {}
    assert lines[0].startswith("texts: subject is left as it is: ")
    assert lines[1:] == ["texts: short_text came out empty (message.none is absent), so it is left as it is"]


@pytest.mark.parametrize(
    "source, why",
    [
        ("{{ message.host }}", " (message.host is absent)"),
        ("{{ message.a.b }}{{ query.c }}", " (message.a.b, query.c are absent)"),
        ("{{ custom.team|default('') }}{{ topic or '' }}", " (custom.team is absent)"),
        ("{% if false %}x{% endif %}", ""),
    ],
)
def test_a_text_that_comes_out_empty_says_what_is_absent(source: str, why: str) -> None:
    router = Router(advanced_of({"texts": {"subject": source}}))
    fields = {"subject": "disk", "topic": "", "custom": {}}
    assert router.texts(fields, {"_message": {"a": 1}}) == (
        {},
        [f"texts: subject came out empty{why}, so it is left as it is"],
    )


def test_a_text_cannot_change_the_message_for_what_is_read_after_it() -> None:
    router = Router(advanced_of({"texts": {"subject": "{{ message.a.pop('b') }}", "short_text": "{{ message.a.b }}"}}))
    message = {"a": {"b": "kept"}}
    for element in range(3):
        texts, lines = router.texts({}, {"_message": message, "_element": element})
        assert texts == {"short_text": "kept"}
        assert "subject is left as it is: AttributeError: a text cannot use 'pop'" in lines[0]
    assert message == {"a": {"b": "kept"}}
    assert router.texts({}, {"_message": {"a": {"b": "another"}}})[0] == {"short_text": "another"}
