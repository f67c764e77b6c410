"""A template and an integration's settings, compiled: what is read, what it means, and how it is made fit to be stored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import TemplateError, UnreadableError
from gateway.models import Event, Ignored, Reading
from gateway.rulebook import MAX_EVENTS, Rulebook, compile_rulebook
from gateway.template import Request, TemplateFolder, convert
from gateway.tidying import LIMITS, MAX_ID, MAX_TAGS, moment, tidy

BASE: dict[str, Any] = {
    "api": 1,
    "name": "Acme",
    "fields": {
        "source_id": "{id}",
        "source_status": "{status}",
        "source_severity": "{priority}",
        "subject": "{title}",
        "tags": ["{tags}"],
        "occurred_at": "{at}",
    },
    "open": {"is_one_of": ["down", "both"]},
    "close": {"is_one_of": ["up", "both"]},
    "update": {"is_one_of": ["note", "both", "up"]},
    "ignore": [{"reason": "a test", "field": "{test}", "is_present": True}],
    "severity": {"critical": ["P1"], "info": ["P5"], "default": "error"},
}


def book(**changes: Any) -> Rulebook:
    """The rulebook of BASE with some keys changed; None takes one out."""
    raw = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    return Rulebook(convert(raw, "template.toml"))


def read(data: Any, **changes: Any) -> list[Reading]:
    """The readings of a message."""
    return book(**changes).readings(Request(data))


def one(data: Any, **changes: Any) -> Reading:
    """The only reading of a message."""
    (reading,) = read(data, **changes)
    return reading


# what cannot be compiled


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"fields": {"subject": "x"}}, "[fields] has no source_id"),
        ({"open": None}, "[open] is missing: no message would ever open an alert"),
        ({"fields": {"source_id": "{a b}"}}, "[fields] source_id: {a b} is not JMESPath"),
        ({"fields": {"source_id": "{a}", "occurred_at": "{"}}, "[fields] occurred_at: "),
        ({"fields": {"source_id": "{a}", "tags": ["ok", "{b"]}}, "[fields] tags: "),
        ({"each": "a b"}, "each: {a b} is not JMESPath"),
        ({"close": {"matches": "("}}, "[close]: RE2 refuses"),
        ({"ignore": [{"reason": "x"}]}, "[[ignore]][0]: a condition takes one of"),
        ({"severity": {"error": {"matches": "("}}}, "[severity].error: RE2 refuses"),
    ],
)
def test_a_rulebook_that_is_wrong_names_the_key(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        book(**changes)
    assert words in str(caught.value)


def test_the_file_is_named_too(tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    folder.mkdir()
    (folder / "template.toml").write_text(
        'api = 1\nname = "A"\n[fields]\nsource_id = "{a b}"\n[open]\ncontains = ["x"]'
    )
    template = TemplateFolder(folder)
    with pytest.raises(TemplateError) as caught:
        compile_rulebook(template, {})
    assert str(caught.value).startswith(f"{folder / 'template.toml'}: [fields] source_id: ")
    with pytest.raises(TemplateError) as caught:
        compile_rulebook(template, {"fields": {"source_id": "{id}"}, "close": {"matches": "("}})
    assert str(caught.value).startswith("settings of an integration with acme")


# what cannot be read


@pytest.mark.parametrize(
    "data, words",
    [
        ({"status": "down"}, "source_id: '{id}' finds nothing in the message"),
        ({"id": None, "status": "down"}, "finds nothing"),
        ({"id": " \n", "status": "down"}, "finds nothing"),
        ({"id": [], "status": "down"}, "finds nothing"),
        ({"id": {}, "status": "down"}, "finds nothing"),
        ({"id": "x" * (MAX_ID + 1), "status": "down"}, f"source_id has {MAX_ID + 1} characters"),
        (None, "finds nothing"),
        ("text", "finds nothing"),
        ([], "finds nothing"),
    ],
)
def test_a_message_without_an_id_cannot_be_read(data: object, words: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        read(data)
    assert words in str(caught.value)


@pytest.mark.parametrize("data", [{}, {"alerts": None}, {"alerts": {}}, {"alerts": "x"}, [], "text", None])
def test_a_batch_without_its_list_cannot_be_read(data: object) -> None:
    with pytest.raises(UnreadableError, match="each = 'alerts' finds no list in the message"):
        read(data, each="alerts")


def test_a_batch_has_an_end() -> None:
    with pytest.raises(UnreadableError, match=f"at most {MAX_EVENTS} are read"):
        read({"alerts": [{"id": 1}] * (MAX_EVENTS + 1)}, each="alerts")


# what it means


@pytest.mark.parametrize(
    "data, action",
    [
        ({"status": "down"}, "open"),
        ({"status": "both"}, "open"),
        ({"status": "up"}, "close"),
        ({"status": "note"}, "update"),
        ({"status": "down", "test": True}, "ignore"),
        ({"status": "else"}, "ignore"),
        ({}, "ignore"),
    ],
)
def test_the_order_is_ignore_open_close_update(data: dict[str, Any], action: str) -> None:
    assert one({"id": "x", **data}).action == action


@pytest.mark.parametrize(
    "data, reason",
    [
        ({"id": "x", "status": "Paused"}, "status 'Paused' is in no list"),
        ({"id": "x", "status": "\x00" * 1000}, "status '" + "␀" * 100 + "' is in no list"),
        ({"id": "x"}, "the message names no status"),
        ({"id": "x", "test": 1}, "a test"),
        ({"test": 1}, "a test"),
    ],
)
def test_what_is_ignored_says_why(data: dict[str, Any], reason: str) -> None:
    reading = one(data)
    assert (reading.action, reading.reason) == ("ignore", reason)
    assert reading.trace


def test_an_empty_batch_is_ignored_with_a_reason() -> None:
    assert one({"alerts": []}, each="alerts").reason == "the list 'alerts' is empty"


@pytest.mark.parametrize(
    "priority, severity", [("p1", "critical"), ("P5", "info"), ("odd", "error"), (None, None), ("", None)]
)
def test_the_severity_is_ours_or_the_default_or_not_said(priority: str | None, severity: str | None) -> None:
    reading = one({"id": "x", "status": "down", "priority": priority})
    assert (reading.severity, reading.default_severity) == (severity, "error")


def test_a_batch_is_split_and_each_sees_the_whole() -> None:
    readings = read(
        {"group": "g", "alerts": [{"id": 1, "status": "down"}, {"id": 2, "status": "up"}, {"id": 1, "status": "x"}]},
        each="alerts",
        fields={**BASE["fields"], "source_name": "{_message.group}"},
    )
    assert [(reading.action, reading.event and reading.event.source_id) for reading in readings] == [
        ("open", "1"),
        ("close", "2"),
        ("ignore", "1"),
    ]
    assert {reading.event and reading.event.source_name for reading in readings} == {"g"}


def test_an_element_that_cannot_be_read_takes_no_other_with_it() -> None:
    data = {
        "alerts": [
            {"id": 1, "status": "down"},
            {"status": "down"},
            {"id": "x" * (MAX_ID + 1)},
            {"id": 4, "status": "up"},
        ]
    }
    readings = read(data, each="alerts")
    assert [reading.action for reading in readings] == ["open", "ignore", "ignore", "close"]
    assert [reading.error is None for reading in readings] == [True, False, False, True]
    assert readings[1].error == "alerts[1]: source_id: '{id}' finds nothing in the message"
    assert "alerts[2]: source_id has" in str(readings[2].error)


def test_a_batch_of_texts_is_read_by_element() -> None:
    readings = read(["a", "b"], each="_message", fields={"source_id": "{_element}", "source_status": "down"})
    assert [reading.event and reading.event.source_id for reading in readings] == ["a", "b"]


def test_the_trace_says_each_step() -> None:
    assert one({"id": "x", "status": "up", "priority": "P1"}).trace == (
        "open: source_status 'up' is one of down, both: no",
        "close: source_status 'up' is one of up, both",
        "severity critical: source_severity 'P1' is one of P1",
    )


def test_reading_changes_nothing_and_is_the_same_twice() -> None:
    data = {"id": "x", "status": "down", "tags": ["a"], "at": "2026-11-22T02:37:33Z"}
    before = msgspec.json.encode(data)
    rules = book()
    assert rules.readings(Request(data)) == rules.readings(Request(data))
    assert msgspec.json.encode(data) == before


# code


def coded(found: Any, settings: dict[str, Any] | None = None, **changes: Any) -> Rulebook:
    """A rulebook whose template has code that gives `found`."""
    raw = {**BASE, "fields": {}, **changes}
    file = convert({**raw, **{k: v for k, v in (settings or {}).items() if k != "fields"}}, "template.toml")

    def read_it(_request: Request) -> Iterable[Event | Ignored]:
        return found  # type: ignore[no-any-return]

    return Rulebook(file, read=read_it, has_code=True, own_fields=(settings or {}).get("fields"))


@pytest.mark.parametrize(
    "found, words",
    [
        (None, "gave None; to read nothing on purpose it gives Ignored(reason)"),
        ([], "gave no events; to read nothing on purpose"),
        (iter(()), "gave no events"),
        ([None], "gave a NoneType, not Event or Ignored"),
        ([{"source_id": "x"}], "gave a dict"),
        ("text", "gave a str"),
        ([Event], "gave a StructMeta"),
        ([Event(source_id="x")] * (MAX_EVENTS + 1), f"more than {MAX_EVENTS} events"),
        ([Event(source_id="")], "source_id has 0 characters"),
        ([Event(source_id=" ")], "source_id has 0 characters"),
        ([Event(source_id=5)], "source_id is a int, not text"),  # type: ignore[arg-type]
        ([Event(source_id=None)], "source_id has 0 characters"),  # type: ignore[arg-type]
        ([Event(source_id="x", subject=["a"])], "subject is a list, not text"),  # type: ignore[arg-type]
        ([Event(source_id="x", tags="abc")], "tags is not a list of texts"),  # type: ignore[arg-type]
        ([Event(source_id="x", tags=("a", 1))], "tags is not a list of texts"),  # type: ignore[arg-type]
        ([Event(source_id="x", tags=None)], "tags is not a list of texts"),  # type: ignore[arg-type]
        ([Event(source_id="x", occurred_at="now")], "occurred_at is a str"),  # type: ignore[arg-type]
        ([Ignored(reason=None)], "Ignored takes a reason in words, not a NoneType"),  # type: ignore[arg-type]
        ([Ignored("x", because=3)], "not a int"),  # type: ignore[arg-type]
    ],
)
def test_garbage_is_a_named_refusal(found: object, words: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        coded(found).readings(Request({}))
    assert words in str(caught.value)


def test_an_endless_generator_is_cut() -> None:
    def endless() -> Iterable[Event]:
        while True:
            yield Event(source_id="x")

    with pytest.raises(UnreadableError, match="more than"):
        coded(endless()).readings(Request({}))


def test_a_generator_of_any_kind_is_read() -> None:
    found = (Event(source_id=name, source_status="down") for name in "ab")
    assert [reading.action for reading in coded(found).readings(Request({}))] == ["open", "open"]


def test_what_code_ignores_keeps_its_reason_fit_to_store() -> None:
    (reading,) = coded([Ignored("nothing\0\ud800 to see" + "x" * 10_000, because="rule 7")]).readings(Request({}))
    assert reading.reason is not None
    assert reading.reason.startswith("nothing␀? to see")
    assert len(reading.reason) == 500
    assert reading.trace == ("ignore: rule 7",)
    (reading,) = coded([Ignored("")]).readings(Request({}))
    assert reading.reason == "the template gave no reason"


def test_rules_apply_to_what_code_gives() -> None:
    events = [
        Event(source_id="x", source_status="DOWN", source_severity="P1"),
        Event(source_id="y", source_status="up"),
    ]
    readings = coded(events).readings(Request({}))
    assert [(r.action, r.severity) for r in readings] == [("open", "critical"), ("close", None)]
    (ignored, _) = coded(events).readings(Request({"test": 1}))
    assert (ignored.action, ignored.reason) == ("ignore", "a test")
    assert ignored.event is not None  # it is known what was ignored


def test_an_integrations_own_fields_lie_over_what_code_gives() -> None:
    event = Event(
        source_id="x",
        source_status="down",
        subject="from code",
        tags=("a",),
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    own = {"fields": {"subject": "{headline}", "tags": ["{labels}"], "occurred_at": "{when}"}}
    (reading,) = coded([event], own).readings(Request({"headline": "own", "labels": {"b": 1}, "when": 1_750_000_000}))
    assert reading.event is not None
    assert (reading.event.subject, reading.event.tags) == ("own", ("b:1",))
    assert reading.event.occurred_at == datetime.fromtimestamp(1_750_000_000, UTC)
    (reading,) = coded([event], own).readings(Request({}))
    assert reading.event == tidy(event, "Acme")  # where they find nothing, the code's word stands


def test_an_integrations_own_fields_lie_over_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "acme"
    folder.mkdir()
    (folder / "template.toml").write_text(
        'api = 1\nname = "A"\n[fields]\nsource_id = "{id}"\nsubject = "{title}"\n'
        'source_status = "{status}"\n[open]\nis_one_of = ["down"]\n'
    )
    template = TemplateFolder(folder)
    settings = {"fields": {"subject": "{other}"}, "open": {"is_one_of": ["bad"]}, "severity": {"default": "info"}}
    rules = compile_rulebook(template, settings)
    (reading,) = rules.readings(Request({"id": 1, "title": "t", "other": "o", "status": "bad"}))
    assert reading.event is not None
    assert (reading.action, reading.event.subject, reading.default_severity) == ("open", "o", "info")
    (reading,) = compile_rulebook(template, {}).readings(Request({"id": 1, "title": "t", "status": "bad"}))
    assert reading.action == "ignore"


# fit to be stored


def test_texts_are_trimmed_cut_and_cleaned() -> None:
    event = tidy(
        Event(source_id=" a:b|c ", subject=" x\0y\ud800z ", description="d" * 40_000, source_url=" ", topic="t" * 500),
        "Acme",
    )
    assert event.source_id == "a:b|c"
    assert event.subject == "x␀y?z"
    assert event.description == "d" * LIMITS["description"] + "… (8000 more characters)"
    assert event.source_url is None
    assert event.topic == "t" * 500
    assert event.source == "Acme"
    assert tidy(Event(source_id="x", source="own"), "Acme").source == "own"


def test_tags_are_few_short_and_each_once() -> None:
    tags = (" a ", "a", "", "\0", "x" * 1000, *(f"t{n}" for n in range(200)))
    found = tidy(Event(source_id="x", tags=tags), "Acme").tags
    assert found[:3] == ("a", "␀", "x" * 500)
    assert len(found) <= MAX_TAGS
    assert tidy(Event(source_id="x", tags=["b"]), "Acme").tags == ("b",)  # type: ignore[arg-type]  # a list does no harm


@pytest.mark.parametrize(
    "when, kept",
    [
        (datetime(2026, 11, 22, tzinfo=UTC), True),
        (datetime(2026, 11, 22), True),  # noqa: DTZ001  # a template may give one without a zone
        (datetime(1, 1, 1, tzinfo=UTC), False),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
        (datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-5))), False),
        (None, False),
    ],
)
def test_times_without_sense_are_left_out(when: datetime | None, *, kept: bool) -> None:
    event = tidy(Event(source_id="x", occurred_at=when), "Acme")
    assert (event.occurred_at is not None) is kept
    assert event.occurred_at is None or event.occurred_at.tzinfo is UTC
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event) == event


@pytest.mark.parametrize(
    "value, found",
    [
        ("2026-11-22T02:37:33Z", datetime(2026, 11, 22, 2, 37, 33, tzinfo=UTC)),
        ("2026-11-22T02:37:33.5+02:00", datetime(2026, 11, 22, 0, 37, 33, 500_000, tzinfo=UTC)),
        (" 2026-11-22 02:37:33 ", datetime(2026, 11, 22, 2, 37, 33, tzinfo=UTC)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        (1_750_000_000, datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)),
        (1_750_000_000_000, datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)),
        ("1750000000000", datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)),
        (1_750_000_000.25, datetime(2025, 6, 15, 15, 6, 40, 250_000, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        *[(value, None) for value in (None, True, "", "now", "2026-02-30", "24:00", "nan", "inf", "-inf", "9" * 5000)],
        *[(value, None) for value in (float("inf"), float("nan"), 10**20, 10**400, -(10**400))],
        ([], None),
        ({}, None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_moments(value: object, found: datetime | None) -> None:
    assert moment(value) == found
