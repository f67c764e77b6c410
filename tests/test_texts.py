"""Texts in a team's own words: what they cost is bounded, and what is in the message is data."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from gateway.errors import TemplateError
from gateway.texts import MAX_RESULT, MAX_SOURCE, Text, readable


def rendered(source: str, **context: Any) -> tuple[str | None, str | None]:
    return Text("subject", source).render(readable(context))


def shown(source: str, **context: Any) -> str:
    text, problem = rendered(source, **context)
    assert problem is None
    assert text is not None
    return text


# what is in the message is data

PAYLOADS = [
    "{{7*7}}", "{{ message.secret }}", "{% for x in y %}", "{%...%}", "{# x #}", "${7*7}", "#{7*7}", "<%= 7*7 %>",
    "{0.__class__}", "%s", "%(x)s", "{{", "}}", "<script>alert(1)</script>", "\\{\\{", "{% raw %}", "{{ subject }}",
]  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_looks_like_a_template_in_a_message_is_printed_literally(payload: str) -> None:
    assert shown("{{ subject }}|{{ message.a[0].b }}", subject=payload, message={"a": [{"b": payload}]}) == (
        f"{payload}|{payload}"
    )
    assert shown("{{ message[subject] }}", subject=payload, message={payload: 1}) == "1"


def test_a_value_that_is_missing_is_nothing_however_deep() -> None:
    assert shown("[{{ message.a.b.c }}{{ none.of.it }}{{ message.l[7].x }}]", message={"l": []}) == "[]"
    assert shown("{{ message.host|default('somewhere') }}", message={}) == "somewhere"


def test_fields_lists_and_tables_are_found() -> None:
    message = {"host": "db-1", "tags": [{"k": "env", "v": "prod"}], "items": 5, "ok": True, "none": None, "f": 0.5}
    assert shown("{{ message.host|upper }} {{ message.tags[0].v }}", message=message) == "DB-1 prod"
    assert shown("{% for t in message.tags %}{{ t.k }}={{ t.v }}{% endfor %}", message=message) == "env=prod"
    assert shown("{{ message.items }} {{ message.f }}", message=message) == "5 0.5"
    assert shown("{{ message.keys()|list|length }} {{ message.get('host') }}", message=message) == "6 db-1"
    assert (
        shown("{% for k, v in message.tags[0].items() %}{{ k }}{{ v }};{% endfor %}", message=message) == "kenv;vprod;"
    )
    assert shown("{{ message.tags|tojson }}", message=message) == '[{"k": "env", "v": "prod"}]'


@pytest.mark.parametrize(
    "number", [0, -1, 2**53 + 1, 2**64, -(2**70) - 1, 2**127 - 1, 10**40 + 1, -(10**4000) - 1], ids=int.bit_length
)
def test_an_integer_keeps_every_digit(number: int) -> None:
    assert shown("{{ message.n }}", message={"n": number}) == str(number)


def test_an_integer_too_long_for_words_is_no_error() -> None:
    assert shown("{{ message.n }}", message={"n": 1 << 20_000}).startswith("0x1000")


# nothing is changed, nothing is reached


@pytest.mark.parametrize(
    "source",
    [
        "{{ message.clear() }}", "{{ message.pop('a') }}", "{{ message.pop('zz') }}", "{{ message.l.append(9) }}",
        "{{ message.l.pop(7) }}", "{{ message.update({'a': message}) }}", "{{ message.setdefault('b', 1) }}",
        "{{ message.l.extend(message.l) }}", "{{ message.l.sort() }}", "{{ message.l.index(77) }}", "{{ message() }}",
    ],
)  # fmt: skip
def test_a_text_that_would_change_the_message_fails_and_changes_nothing(source: str) -> None:
    message = {"a": 1, "l": [1, 2]}
    context = readable({"message": message})
    text, problem = Text("subject", source).render(context)
    assert text is None
    assert problem
    assert context["message"] == message == {"a": 1, "l": [1, 2]}


@pytest.mark.parametrize(
    "source",
    ["{{ message.__class__ }}", "{{ message['__class__'] }}", "{{ message|attr('__class__') }}", "{{ f.__globals__ }}"],
)
def test_what_python_values_are_made_of_is_out_of_reach(source: str) -> None:
    assert rendered(source, message={"a": 1}, f="x")[0] in ("", None)


def test_other_texts_and_files_are_out_of_reach() -> None:
    for source in (
        "{% include 'subject' %}",
        "{% include '/etc/passwd' %}",
        "{% extends 'x' %}",
        "{% import 'x' as y %}",
    ):
        text, problem = rendered(source)
        assert text is None
        assert problem


# what it costs is bounded

HOSTILE = {
    "range": "{% for a in range(1000000000) %}x{% endfor %}",
    "loops": "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
    "indent": "{{ 'a\nb'|indent(1000000000) }}",
    "the message by itself": "{{ message.big|replace('x', message.big)|replace('x', message.big) }}",
    "doubling": "{% set n = namespace(a='xxxx') %}{% for i in range(40) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "growing": "{% for i in range(40) %}{% set _ = message.l.extend(message.l) %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "width": "{{ '%01000000000d'|format(1) }}",
    "padding": "{{ 'x'.ljust(1000000000) }}",
    "power": "{{ 10 ** 1000000000 }}",
    "join": "{{ range(100000)|join(message.big) }}",
    "batches": "{{ [1]|batch(1000000000, 0)|list|length }}",
    "slices": "{{ [1]|slice(1000000000)|list|length }}",
    "sorting": "{% for i in range(9000) %}{% set x = range(100000)|sort %}{% endfor %}",
    "json": "{% for i in range(9000) %}{% set x = range(100000)|tojson %}{% endfor %}",
    "long filters": "{% for i in range(9000) %}{% set x = message.big|upper %}{% endfor %}",
    "capture": "{% set x %}{% for i in range(9000) %}{{ message.big }}{% endfor %}{% endset %}",
    "looking for": "{% set b = range(100000) %}{% for i in range(9000) %}{{ -1 in b }}{% endfor %}",
    "looking in the message": "{% for i in range(9000) %}{{ -1 in message.long }}{% endfor %}",
    "splitting": "{% for i in range(9000) %}{% set x = message.big.split('x') %}{% endfor %}",
    "a long list as text": "{{ message.long }}",
    "wrong type": "{{ 1 + 'x' }}",
    "repeating": "{{ 'x' * 1000000000 }}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_ends_and_leaves_the_field_as_it_is(source: str) -> None:
    text, problem = rendered(source, message={"big": "x" * 60_000, "l": [1], "long": list(range(100_000))})
    assert text is None
    assert problem
    assert len(problem) <= 300
    assert "\n" not in problem


REFUSED = {
    "{{ {'a': {'b': 1}}|length ~ [1]*30000000 }}": "to make, whatever comes; make it of less",
    "{% set n = namespace(a=[1]) %}{% for i in range(22) %}{% set n.a = [n.a, n.a] %}{% endfor %}{{ n.a }}": "to make",
    "{{ subject|uper }}": "there is no filter uper; did you mean upper?",
    "{% if false %}{{ subject|uper }}{% endif %}": "there is no filter uper; did you mean upper?",
    "{{ '}}'|uper }}": "there is no filter uper",
    "{{ subject is strin }}": "there is no test strin; did you mean string?",
    "{{ subject is not qqq }}": "there is no test qqq",
    "{{ upper(subject) }}": "there is no function upper(); a filter is written after what it changes, subject|upper",
    "{{ sbject }}": "there is no sbject; did you mean subject?; for a value of the message write message.sbject",
    "{% for x in elements %}{{ x }}{% endfor %}": "there is no elements; for a value of the message write",
}


@pytest.mark.parametrize("source, words", REFUSED.items())
def test_what_goes_wrong_whatever_comes_is_refused(source: str, words: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Text("description", source, ("subject", "message"))
    assert str(refused.value).startswith("[texts] description: ")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "source, made",
    [
        ("*** {{ subject }} ***", "*** disk ***"),
        ("{# 'x' * 9|uper #}{{ '* |uper' }}{% raw %}{{ a * b|uper }}{% endraw %}", "* |uper{{ a * b|uper }}"),
        ("{{ message.used|float * 100 }} % of {{ 2 * 3 ** 2 }}", "93.0 % of 18"),
        ("{{ (message.used / 2)|round(3) * 100 }} {{ 2 * message.n|int }}", "46.5 14"),
        ("{{ 24 * 60 * 60 }} {{ message.used * -1 }} {{ 100 * (message.n|int / 7) }}", "86400 -0.93 100.0"),
        ("{{ message.used|float * 100 if message.used else 'n/a' }}", "93.0"),
        ("{% if message.x %}{% set y = 1 %}{% else %}{% set y = 2 %}{% endif %}{{ y }}", "2"),
        ("{% for i in range(2) %}{{ loop.index }}{% endfor %}{{ namespace(a=1).a }}{{ dict(b=2).b }}", "1212"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(subject) }}{% set y = 1 %}{{ y }}", "<disk>1"),
        ("{{ subject is defined and subject is not none and subject is startingwith('d') }}", "True"),
    ],
)
def test_what_is_like_it_and_is_right_is_taken(source: str, made: str) -> None:
    text, problem = Text("subject", source, ("subject", "message")).render(
        readable({"subject": "disk", "message": {"used": 0.93, "n": "7"}})
    )
    assert (text, problem) == (made, None)


NESTED = ["(", "[", "{", "-", "not ", "{% if a %}", "a|e(", "a[", "1+", "a~", "a.b", "'", "{{", "{% raw %}", "{#"]
COMPILE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from gateway.errors import TemplateError
from gateway.texts import MAX_SOURCE, Text
for part in sys.argv[1:]:
    for opening in ("{{ ", ""):
        source = (opening + part * MAX_SOURCE)[:MAX_SOURCE]
        for ending in (source, source[:-4] + "a }}"):
            try:
                Text("subject", ending).render({})
            except TemplateError:
                pass
print("all ended")
"""


def test_a_text_nested_without_end_takes_no_process_with_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COMPILE, *NESTED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "all ended\n"), ended.stderr


def test_what_is_made_is_cut_at_64_kib() -> None:
    message = {"big": "é" * (MAX_RESULT + 1000)}
    assert shown("{{ message.big }}", message=message) == "é" * MAX_RESULT


def test_a_long_text_is_refused_with_the_limit() -> None:
    Text("subject", "x" * MAX_SOURCE)
    with pytest.raises(TemplateError, match=rf"\[texts\] subject: it has {MAX_SOURCE + 1} characters; at most"):
        Text("subject", "x" * (MAX_SOURCE + 1))


@pytest.mark.parametrize("source", ["{{ subject", "{% if %}", "{% endfor %}", "{{ 1 | }}", "{% frobnicate %}"])
def test_a_text_that_is_none_says_which_and_where(source: str) -> None:
    with pytest.raises(TemplateError, match=r"\[texts\] short_text: syntax error: .*short_text:1"):
        Text("short_text", source)


def test_each_time_it_is_made_it_may_cost_the_same() -> None:
    text = Text("subject", "{% for i in range(5000) %}{{ i }}{% endfor %}")
    assert [text.render({})[1] for _ in range(50)] == [None] * 50


def test_nothing_is_escaped_since_whoever_shows_it_does() -> None:
    assert shown("{{ subject }}", subject="<b> & \"'") == "<b> & \"'"


def test_running_out_of_memory_is_not_the_texts_to_hide() -> None:
    def greedy() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        Text("subject", "{{ greedy() }}").render({"greedy": greedy})
