"""What reads messages: a reply to every job, whatever the template or a plugin does; the process itself is in test_lane.py."""

from __future__ import annotations

import gzip
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import gateway.reader
from gateway.config import Settings
from gateway.errors import UnreadableError
from gateway.hookspecs import hookimpl
from gateway.lane import reader_environ
from gateway.loader import load_plugins
from gateway.models import Event, Integration, Message, Reading
from gateway.plugins import Plugins
from gateway.reader import Job, Readings, Reply, answer, pack, request_of

HOSTILE = Path(__file__).parent / "hostile_plugins"
TYPE = b"content-type: application/json"


def message(body: object, **changes: Any) -> Message:
    """A stored message with this body."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Message(**{"id": 7, "endpoint_id": "end_1", "received_at": 0, "headers": TYPE, "body": content, **changes})


def integration(template: str = "good", **changes: Any) -> Integration:
    """An integration with this template."""
    made = {
        "id": "int_1",
        "endpoint_id": "end_1",
        "name": "one",
        "template": template,
        "created_at": 0,
        "updated_at": 0,
    }
    return Integration(**{**made, **changes})


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    """The built-in templates and the hostile ones."""
    return load_plugins(Settings(plugins_dir=HOSTILE))


@pytest.fixture
def ask(plugins: Plugins) -> Callable[..., Reply]:
    """Reads a body with a template, in this process."""
    readings = Readings(plugins, 1 << 20)

    def read(template: str, body: object, **changes: Any) -> Reply:
        settings = changes.pop("settings", {})
        return answer(readings.read, Job(message(body, **changes), integration(template, settings=settings)))

    return read


# replies


@pytest.mark.parametrize(
    "do, words",
    [
        ("ValueError", "the template raises raised ValueError: no"),
        ("KeyError", "raised KeyError: 'alerts'"),
        ("BaseException", "raised BaseException: no"),
        ("SystemExit", "raised SystemExit: 3"),
        ("KeyboardInterrupt", "raised KeyboardInterrupt"),
        ("GeneratorExit", "raised GeneratorExit"),
        ("StopIteration", "raised "),
        ("StopAsyncIteration", "raised StopAsyncIteration"),
        ("CancelledError", "raised CancelledError"),
        ("ExceptionGroup", "raised ExceptionGroup: many"),
        ("RecursionError", "raised RecursionError"),
        ("WithoutTextError", "raised WithoutTextError: (its text could not be had)"),
        ("UnreadableWithoutTextError", "(its text could not be had)"),
        ("UnreadableError", "no key 'alerts'"),
        ("TemplateError", "broken"),
        ("late", "raised ValueError: late"),
        ("surrogates", "raised ValueError: ?␀"),
        ("long", "xxx"),
    ],
)
def test_whatever_a_template_raises_is_a_reply(ask: Callable[..., Reply], do: str, words: str) -> None:
    reply = ask("raises", {"do": do})
    assert words in (reply.error or "")
    assert len(reply.error or "") < 600
    assert (reply.message_id, reply.readings, reply.killed) == (7, [], False)
    assert msgspec.msgpack.decode(pack(reply)[4:], type=Reply) == reply


@pytest.mark.parametrize(
    "do, words",
    [
        ("None", "gave None"),
        ("number", "gave a int"),
        ("text", "gave a str"),
        ("object", "gave a str"),
        ("class", "gave a StructMeta"),
        ("nothing", "gave no events"),
        ("nones", "gave a NoneType"),
        ("cycle", "gave a list"),
        ("coroutine", "gave a coroutine"),
        ("endless", "more than 10000 events"),
        ("million", "more than 10000 events"),
        ("id_number", "source_id is a int"),
        ("id_empty", "source_id has 0 characters"),
        ("id_huge", "source_id has 1000000 characters"),
        ("tags_cycle", "tags is not a list of texts"),
        ("time_text", "occurred_at is a str"),
        ("ignored_cycle", "Ignored takes a reason in words"),
        ("bytes", "subject is a bytes"),
    ],
)
def test_garbage_is_a_reply_that_names_it(ask: Callable[..., Reply], do: str, words: str) -> None:
    reply = ask("garbage", {"do": do})
    assert words in (reply.error or "")
    assert not reply.readings


@pytest.mark.parametrize("do, count", [("huge_subject", 1), ("surrogates", 1), ("many_tags", 1), ("open_and_close", 2)])
def test_what_is_odd_is_made_fit_to_pass_on(ask: Callable[..., Reply], do: str, count: int) -> None:
    reply = ask("garbage", {"do": do})
    assert reply.error is None
    assert len(reply.readings) == count
    frame = pack(reply)
    assert len(frame) < 100_000
    assert msgspec.msgpack.decode(frame[4:], type=Reply) == reply


def test_a_template_that_cannot_be_imported_is_a_reply(ask: Callable[..., Reply]) -> None:
    assert "raises-at-import/template.py: SystemExit: 5" in (ask("raises-at-import", {}).error or "")


def test_running_out_of_memory_is_worth_another_try_elsewhere() -> None:
    def read(*_: object) -> list[Reading]:
        raise MemoryError

    reply = answer(read, Job(message({}), integration()))
    assert (reply.killed, reply.worn_out) == (True, True)
    assert "more memory than a template may have" in (reply.error or "")


@pytest.mark.parametrize(
    "template, settings, words",
    [
        ("nothing", {}, "there is no template 'nothing'"),
        ("goood", {}, "did you mean good?"),
        ("good", {"opne": {}}, "an integration cannot set 'opne'; did you mean open?"),
        ("good", {"open": {"matches": "("}}, "RE2 refuses"),
        ("custom", {"fields": {"source_id": "{a b}"}}, "is not JMESPath"),
    ],
)
def test_what_is_wrong_with_an_integration_is_a_reply(
    ask: Callable[..., Reply], template: str, settings: dict[str, Any], words: str
) -> None:
    assert words in (ask(template, {"id": "x"}, settings=settings).error or "")


def test_what_cannot_be_packed_is_said_in_words() -> None:
    bad = Reply(3, readings=[Reading(action="ignore", reason=object())])  # type: ignore[arg-type]
    reply = msgspec.msgpack.decode(pack(bad)[4:], type=Reply)
    assert reply.message_id == 3
    assert "cannot be passed on" in (reply.error or "")


def test_a_reply_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.reader, "MAX_REPLY", 1000)
    reply = msgspec.msgpack.decode(pack(Reply(3, error="x" * 2000))[4:], type=Reply)
    assert "at most 1000 are passed on" in (reply.error or "")


# bodies


@pytest.mark.parametrize(
    "body, changes, words",
    [
        (b"{", {}, ""),
        (b"", {}, ""),
        (b"plain", {}, ""),
        (b"\x1f\x8b", {"headers": TYPE + b"\r\ncontent-encoding: gzip"}, "gzip"),
        (b"x", {"headers": TYPE + b"\r\ncontent-encoding: br"}, "only gzip is read"),
        (gzip.compress(b" " * (2 << 20), mtime=0), {"headers": TYPE + b"\r\ncontent-encoding: gzip"}, "after gzip"),
        (b"[" * 100_000, {}, ""),
        (b"[" * 65 + b"]" * 65, {}, "nested more than 64 deep"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_reply(
    ask: Callable[..., Reply], body: bytes, changes: dict[str, Any], words: str
) -> None:
    reply = ask("custom", body, **changes)
    assert reply.error
    assert words in reply.error


def test_a_request_as_the_template_sees_it(plugins: Plugins) -> None:
    book = Readings(plugins, 1 << 20).rulebook(integration("custom"))
    stored = message({"a": 1}, headers=TYPE + b"\r\nX-One: 1\r\nx-one: 2\r\nX-Latin: \xe9", query=b"a=1&a=2&b=%C3%A9")
    request = request_of(stored, book, 1 << 20)
    assert request.data == {"a": 1}
    assert request.headers == {"content-type": "application/json", "x-one": "2", "x-latin": "é"}
    assert request.query == {"a": "2", "b": "é"}
    assert request.body == b'{"a":1}'


@pytest.mark.parametrize(
    "headers, body",
    [
        (b"content-type: application/x-www-form-urlencoded", b"source_id=x&status=open"),
        (
            b'content-type: multipart/form-data; boundary="b"',
            (
                b'--b\r\nContent-Disposition: form-data; name="source_id"\r\n\r\nx\r\n'
                b'--b\r\nContent-Disposition: form-data; name="status"\r\n\r\nopen\r\n--b--\r\n'
            ),
        ),
        (TYPE + b"\r\ncontent-encoding: gzip", gzip.compress(b'{"source_id": "x", "status": "open"}', mtime=0)),
        (b"content-type: text/plain", b'{"source_id": "x", "status": "open"}'),
        (b"", b'{"source_id": "x", "status": "open"}'),
    ],
)
def test_json_and_forms_of_either_kind_are_the_same(ask: Callable[..., Reply], headers: bytes, body: bytes) -> None:
    (reading,) = ask("custom", body, headers=headers).readings
    assert reading.action == "open"
    assert reading.event is not None
    assert reading.event.source_id == "x"


# rulebooks are kept, and made anew


def test_a_rulebook_is_compiled_once_and_again_when_the_integration_changes(plugins: Plugins) -> None:
    readings = Readings(plugins, 1 << 20)
    one = integration("custom")
    first = readings.rulebook(one)
    assert readings.rulebook(one) is first
    assert readings.rulebook(msgspec.structs.replace(one, template="datadog")) is not first
    changed = msgspec.structs.replace(one, updated_at=1, settings={"open": {"is_one_of": ["bad"]}})
    assert readings.rulebook(changed) is not first
    (reading,) = readings.read(Job(message({"source_id": "x", "status": "bad"}), changed))
    assert reading.action == "open"


# integrations that share an endpoint


def only(topic: str) -> dict[str, Any]:
    """Settings that take events of this topic."""
    return {"fields": {"topic": "{topic}"}, "filters": {"all": [{"field": "topic", "is_one_of": [topic]}]}}


def shared(plugins: Plugins, body: object, *others: Integration, first: Integration, fan_out: bool) -> list[Reading]:
    job = Job(message(body), first, others, fan_out)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(job), type=Job) == job
    return Readings(plugins, 1 << 20).read(job)


def takers(readings: list[Reading]) -> list[tuple[str | None, bool]]:
    """Which integration each reading is of, and whether it takes it."""
    return [(reading.integration_id, reading.dropped_by is None) for reading in readings]


DB = {"source_id": "x", "status": "open", "topic": "db"}


@pytest.mark.parametrize(
    "topics, fan_out, expected",
    [
        (["db", "db", "db"], True, [("int_0", True), ("int_1", True), ("int_2", True)]),
        (["db", "db", "db"], False, [("int_0", True)]),
        (["web", "db", "db"], True, [("int_1", True), ("int_2", True)]),
        (["web", "db", "db"], False, [("int_1", True)]),
        (["db", "web", "db"], True, [("int_0", True), ("int_2", True)]),
        (["web", "web", "web"], True, [("int_0", False)]),
        (["web", "web", "web"], False, [("int_0", False)]),
    ],
)
def test_an_event_goes_to_the_first_or_to_each_whose_filters_it_passes(
    plugins: Plugins, topics: list[str], expected: list[tuple[str, bool]], *, fan_out: bool
) -> None:
    first, *others = (
        integration("custom", id=f"int_{at}", name=f"n{at}", settings=only(topic)) for at, topic in enumerate(topics)
    )
    readings = shared(plugins, DB, *others, first=first, fan_out=fan_out)
    assert takers(readings) == expected
    if not expected[0][1]:
        assert [part.partition(":")[0] for part in (readings[0].dropped_by or "").split("; ")] == ["n0", "n1", "n2"]
    for reading in readings[1:]:
        assert f"taken by n{(reading.integration_id or '')[-1]}" in reading.trace
    refused = [f"n{at}" for at, topic in enumerate(topics) if topic == "web"]
    if topics[-1] == "db" and fan_out:
        assert all(any(line.startswith(f"not taken by {name}") for line in readings[-1].trace) for name in refused)


@pytest.mark.parametrize("fan_out", [True, False])
def test_each_integration_reads_with_its_own_rules(plugins: Plugins, *, fan_out: bool) -> None:
    first = integration("custom", id="int_0", settings={**only("web")})
    second = integration("custom", id="int_1", settings={**only("db"), "severity": {"critical": ["P1"]}})
    third = integration("custom", id="int_2", settings={"open": {"is_one_of": ["never"]}, "fallback": "ignore"})
    readings = shared(plugins, {**DB, "severity": "P1"}, second, third, first=first, fan_out=fan_out)
    assert (readings[0].integration_id, readings[0].severity, readings[0].action) == ("int_1", "critical", "open")
    assert takers(readings)[1:] == ([("int_2", True)] if fan_out else [])
    if fan_out:
        assert readings[1].action == "ignore"


def test_each_event_of_a_message_finds_its_own_takers(plugins: Plugins) -> None:
    each = {"each": "list", "fields": {"source_id": "{source_id}", "source_status": "{status}", "topic": "{topic}"}}
    body = {"list": [DB, {**DB, "source_id": "y", "topic": "web"}, {**DB, "source_id": "z", "topic": "none"}]}
    first, second = (
        integration("custom", id=f"int_{at}", settings={**each, "filters": only(topic)["filters"]})
        for at, topic in enumerate(["db", "web"])
    )
    everything = integration("custom", id="int_2", settings=each)
    readings = shared(plugins, body, second, first=first, fan_out=True)
    assert takers(readings) == [("int_0", True), ("int_1", True), ("int_0", False)]
    readings = shared(plugins, body, second, everything, first=first, fan_out=True)
    assert [(reading.integration_id, reading.event and reading.event.source_id) for reading in readings] == [
        ("int_0", "x"), ("int_2", "x"), ("int_1", "y"), ("int_2", "y"), ("int_2", "z"),
    ]  # fmt: skip
    readings = shared(plugins, body, second, everything, first=first, fan_out=False)
    assert takers(readings) == [("int_0", True), ("int_1", True), ("int_2", True)]


@pytest.mark.parametrize("fan_out", [True, False])
def test_one_that_cannot_read_the_message_leaves_it_to_the_others(plugins: Plugins, *, fan_out: bool) -> None:
    first = integration("custom", id="int_0", settings=only("web"))
    broken = integration("custom", id="int_1", name="broken", settings={"fields": {"source_id": "{nowhere}"}})
    gone = integration("nothing", id="int_2", name="gone")
    last = integration("custom", id="int_3", name="last")
    readings = shared(plugins, DB, broken, gone, last, first=first, fan_out=fan_out)
    assert takers(readings[:1]) == [("int_3", True)]
    assert any("not taken by broken: cannot read it: " in line for line in readings[0].trace)
    assert any("not taken by gone: cannot read it: " in line for line in readings[0].trace)
    assert len(readings) == 1
    (failed,) = shared(plugins, DB, broken, gone, first=first, fan_out=fan_out)
    assert failed.integration_id == "int_1", "the filters of the first do not let it pass, so it is not to blame"
    assert re.match(r"broken: cannot read it: .*nowhere.*; gone: cannot read it: ", failed.error or "")
    (taken,) = shared(plugins, DB, broken, first=last, fan_out=True)
    assert taken.trace[-1].startswith("not taken by broken: cannot read it: ")


def batch(name: str, *, of: str = "", each: str | None = None, **more: Any) -> Integration:
    """An integration that reads its events from a list of its own, and takes messages of a kind."""
    settings: dict[str, Any] = {"fields": {"source_id": "{id}", "source_status": "{state}"}, "each": each, **more}
    if of:
        settings["filters"] = {"all": [{"field": "{_message.kind}", "is_one_of": [of]}]}
    return integration(
        "custom", id=name, name=name, settings={key: it for key, it in settings.items() if it is not None}
    )


def said(readings: list[Reading]) -> list[tuple[str | None, str | None, str]]:
    """Of each reading: whose it is, the id of its event, and what is done with it."""
    return [
        (
            reading.integration_id,
            reading.event.source_id if reading.event is not None else None,
            "failed" if reading.error else "filtered" if reading.dropped_by else reading.action,
        )
        for reading in readings
    ]


BATCH = {"kind": "b", "id": "whole", "state": "open", "list": [{"id": str(n), "state": "open"} for n in range(3)]}


@pytest.mark.parametrize("fan_out", [True, False])
def test_one_that_reads_another_list_is_offered_all_of_it(plugins: Plugins, *, fan_out: bool) -> None:
    first, second = batch("whole", of="a"), batch("list", of="b", each="list")
    readings = shared(plugins, BATCH, second, first=first, fan_out=fan_out)
    assert said(readings) == [("list", "0", "open"), ("list", "1", "open"), ("list", "2", "open")]
    assert readings[2].trace[0].startswith("not taken by whole: filters: {_message.kind} 'b' is one of a: no")
    readings = shared(plugins, BATCH, first, first=second, fan_out=fan_out)
    assert [number for _, number, _ in said(readings)] == ["0", "1", "2"]
    nothing = {"list": [], "other": [{"id": "x", "state": "open"}]}
    readings = shared(plugins, nothing, batch("other", each="other"), first=batch("list", each="list"), fan_out=fan_out)
    assert said(readings) == [("other", "x", "open")], "a list without events takes none"
    readings = shared(plugins, {**BATCH, "kind": "c"}, second, first=first, fan_out=fan_out)
    assert {outcome for _, _, outcome in said(readings)} == {"filtered"}
    assert "whole: filters" in (readings[0].dropped_by or "")
    assert "list: filters" in (readings[0].dropped_by or "")


def test_what_is_taken_whole_is_not_taken_again_in_parts_unless_they_fan_out(plugins: Plugins) -> None:
    first, second = batch("whole"), batch("list", each="list")
    assert said(shared(plugins, BATCH, second, first=first, fan_out=False)) == [("whole", "whole", "open")]
    every = [("whole", "whole", "open"), *(("list", str(n), "open") for n in range(3))]
    assert said(shared(plugins, BATCH, second, first=first, fan_out=True)) == every


@pytest.mark.parametrize("fan_out", [True, False])
def test_an_element_that_one_cannot_read_may_be_anothers(plugins: Plugins, *, fan_out: bool) -> None:
    body = {"list": [{"id": "0", "state": "open"}, {"name": "1", "state": "open"}, {"state": "open"}]}
    first, second = (
        batch("ids", each="list"),
        batch("names", each="list", fields={"source_id": "{name}", "source_status": "{state}"}),
    )
    expected = [("ids", "0", "open"), ("names", "1", "open"), ("ids", None, "failed")]
    assert said(shared(plugins, body, second, first=first, fan_out=fan_out)) == expected


@pytest.mark.parametrize("fan_out", [True, False])
@pytest.mark.parametrize(
    "first",
    [
        batch("a", of="a", fields={"source_id": "{a.id}"}),
        batch("a", of="a", each="a.list"),
        batch("a", of="a", ignore=[{"field": "{a}", "is_present": False, "reason": "nothing of a"}]),
        batch("a", fields={"source_id": "{a.id}", "topic": "{kind}"}, filters=only("a")["filters"]),
    ],
    ids=["no id", "no list", "ignored", "field"],
)  # fmt: skip
def test_filters_are_asked_before_a_message_is_unreadable_or_ignored(
    plugins: Plugins, first: Integration, *, fan_out: bool
) -> None:
    body = {"kind": "b", "id": "1", "state": "open"}
    assert said(shared(plugins, body, batch("b", of="b"), first=first, fan_out=fan_out)) == [("b", "1", "open")]
    assert [outcome for _, _, outcome in said(Readings(plugins, 1 << 20).read(Job(message(body), first)))] == [
        "filtered"
    ]
    assert (
        said(shared(plugins, {**body, "kind": "c"}, batch("b", of="b"), first=first, fan_out=fan_out))[0][2]
        == "filtered"
    )


def test_filters_over_the_message_are_asked_before_a_template_s_code_refuses_it(plugins: Plugins) -> None:
    """Fields of the event are not known then, so what only they could tell is unreadable."""
    bad = message({"kind": "b", "alert_transition": "Triggered"})
    for field, outcome in (("{kind}", "filtered"), ("source_status", "failed")):
        settings = {"filters": {"all": [{"field": field, "is_one_of": ["a"]}]}}
        reply = answer(Readings(plugins, 1 << 20).read, Job(bad, integration("datadog", settings=settings)))
        assert (reply.error is not None) == (outcome == "failed"), reply
        assert [reading.dropped_by is not None for reading in reply.readings] == (
            [True] if outcome == "filtered" else []
        )


def test_the_settings_of_a_team_change_the_texts_of_their_own_alerts_only(plugins: Plugins) -> None:
    texts = {"texts": {"subject": "{{ message.topic }} of {{ source_id }}: {{ '{{7*7}}' }}"}}
    first, second = integration("custom", id="int_0", settings=texts), integration("custom", id="int_1")
    one, two = shared(plugins, {**DB, "subject": "plain"}, second, first=first, fan_out=True)
    assert one.event is not None
    assert two.event is not None
    assert (one.event.subject, two.event.subject) == ("db of x: {{7*7}}", "plain")


# hooks


class Hooks:
    """A plugin that enriches and drops as told."""

    def __init__(self, event: Any = None, drop: Any = None) -> None:
        self.event = event
        self.drop = drop
        self.calls = 0

    @hookimpl
    def enrich_event(self, event: Event, integration: Integration) -> Any:
        """Count, and give what was told."""
        self.calls += 1
        return self.event

    @hookimpl
    def drop_event(self) -> Any:
        """Give what was told."""
        return self.drop


def hooked(hooks: Hooks, body: object) -> Reply:
    """The reply where this plugin is installed."""
    plugins = load_plugins(Settings(plugins_dir=HOSTILE))
    plugins.manager.register(hooks, "hooks")
    return answer(Readings(plugins, 1 << 20).read, Job(message(body), integration("good")))


DOWN = {"id": "x", "status": "down"}


def test_events_are_enriched_and_dropped() -> None:
    (reading,) = hooked(Hooks(Event(source_id="y", subject="better"), "nightly test"), DOWN).readings
    assert reading.event == Event(source_id="y", subject="better", source="good")
    assert (reading.action, reading.dropped_by) == ("open", "hooks: nightly test")
    (reading,) = hooked(Hooks(), DOWN).readings
    assert reading.dropped_by is None


def test_what_is_ignored_is_not_enriched() -> None:
    hooks = Hooks()
    (reading,) = hooked(hooks, {"id": "x", "status": "else"}).readings
    assert (reading.action, hooks.calls) == ("ignore", 0)


@pytest.mark.parametrize(
    "event, drop, words",
    [
        (3, None, "enrich_event of hooks gave a int, not an Event"),
        (Event(source_id=3), None, "source_id is a int"),  # type: ignore[arg-type]
        (Event(source_id=""), None, "source_id has 0 characters"),
        (Event(source_id="x", tags=(1,)), None, "tags is not a list of texts"),  # type: ignore[arg-type]
        (None, False, "drop_event of hooks gave False"),
    ],
)
def test_what_a_hook_gives_is_checked(event: object, drop: object, words: str) -> None:
    reply = hooked(Hooks(event, drop), DOWN)
    assert words in (reply.error or "")
    assert reply.readings == []


def test_what_a_hook_gives_is_made_fit_to_store() -> None:
    (reading,) = hooked(Hooks(Event(source_id="\0\ud800", subject="x" * 10_000)), DOWN).readings
    assert reading.event is not None
    assert reading.event.source_id == "␀?"
    assert len(reading.event.subject or "") < 1100


# the process


def test_it_gets_no_settings_that_templates_need_not_know() -> None:
    environ = {
        "PATH": "/bin",
        "GATEWAY_DATA": "/data",
        "GATEWAY_SMTP_URL": "smtp://u:p@h",
        "GATEWAY_FAULTS": "x",
        "GATEWAY_PLUGINS_DIR": "/p",
        "GATEWAY_READ_MEMORY": "1",
        "GATEWAY_LOAD_PLUGINS": "",
    }
    kept = {"PATH", "GATEWAY_PLUGINS_DIR", "GATEWAY_READ_MEMORY", "GATEWAY_LOAD_PLUGINS"}
    assert {name for name in reader_environ(environ) if name in environ} == kept


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\0\0\5abc"])
def test_a_line_that_ends_early_is_the_end(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)
        assert gateway.reader._receive(theirs) is None


def test_what_is_left_behind_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not gateway.reader._Wear(1 << 40).shows(after_error=True)
    assert gateway.reader._Wear(1 << 20).shows(after_error=True)
    assert not gateway.reader._Wear(1 << 20).shows(after_error=False)  # not looked at each time
    monkeypatch.setattr(gateway.reader, "_MOST_FILES", 2)
    assert gateway.reader._Wear(1 << 40).shows(after_error=True)


def test_a_message_the_template_refuses_is_unreadable(plugins: Plugins) -> None:
    with pytest.raises(UnreadableError):
        Readings(plugins, 1 << 20).read(Job(message({"subject": "no id", "status": "open"}), integration("custom")))
