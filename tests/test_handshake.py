"""Handshakes: a vendor's question whether the URL is ours, answered as data says, and nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PermanentDeliveryError, TemplateError
from gateway.handshakes import Handshake, Visit
from gateway.hosts import url_flaw
from gateway.targets import read_url

VENDORS: dict[str, tuple[str, str, dict[str, Any], bytes]] = {
    "Slack": (
        'echo = "body.challenge"\nwhen = "body.type == \'url_verification\'"',
        "POST",
        {"body": {"type": "url_verification", "challenge": "3eZbrw1a"}},
        b"3eZbrw1a",
    ),
    "Microsoft Graph": ('echo = "query.validationToken"', "POST", {"query": {"validationToken": "a b"}}, b"a b"),
    "Dropbox": ('echo = "query.challenge"\nmethod = "GET"', "GET", {"query": {"challenge": "x"}}, b"x"),
    "Meta": (
        """echo = 'query."hub.challenge"'\nwhen = "query.\\"hub.mode\\" == 'subscribe'"\nmethod = "GET\"""",
        "GET",
        {"query": {"hub.challenge": "1158201444", "hub.mode": "subscribe"}},
        b"1158201444",
    ),
    "Okta": (
        """echo = 'headers."x-okta-verification-challenge"'\nanswer = "json"\nkey = "verification"\nmethod = "GET\"""",
        "GET",
        {"headers": {"x-okta-verification-challenge": "x9"}},
        b'{"verification":"x9"}',
    ),
    "Azure Event Grid": (
        """echo = "body[0].data.validationCode"\nanswer = "json"\nkey = "validationResponse"
when = "headers.\\"aeg-event-type\\" == 'SubscriptionValidation'" """,
        "POST",
        {"body": [{"data": {"validationCode": "512d38b6"}}], "headers": {"aeg-event-type": "SubscriptionValidation"}},
        b'{"validationResponse":"512d38b6"}',
    ),
}


def view(given: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    return lambda: {"body": None, "query": {}, "headers": {}, **given}


def read(text: str) -> Handshake:
    handshake = msgspec.convert(tomllib.loads(text), Handshake)
    handshake.check()
    return handshake


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_is_data(vendor: str) -> None:
    text, method, given, expected = VENDORS[vendor]
    reply = read(text).reply(method, view(given))
    assert reply is not None
    assert reply[1] == expected
    assert reply[0] == (b"application/json" if expected.startswith(b"{") else b"text/plain; charset=utf-8")


@pytest.mark.parametrize("vendor", ["Slack", "Microsoft Graph"])
def test_two_lines_suffice(vendor: str) -> None:
    assert VENDORS[vendor][0].count("\n") <= 1


@pytest.mark.parametrize(
    "body",
    [
        None,
        "url_verification",
        [],
        {"type": "url_verification"},
        {"type": "event_callback", "challenge": "x"},
        {"type": "url_verification", "challenge": ""},
        {"type": "url_verification", "challenge": 7},
        {"type": "url_verification", "challenge": {"a": "x"}},
        {"type": "url_verification", "challenge": "x" * 1025},
        {"type": "url_verification", "challenge": "é" * 513},
    ],
)
def test_what_is_no_handshake_gets_no_answer(body: object) -> None:
    assert read(VENDORS["Slack"][0]).reply("POST", view({"body": body})) is None


@pytest.mark.parametrize("method, asked", [("POST", "GET"), ("GET", "POST")])
def test_a_handshake_has_its_method(method: str, asked: str) -> None:
    handshake = read(f'echo = "query.c"\nmethod = "{method}"')
    assert handshake.reply(asked, view({"query": {"c": "x"}})) is None
    assert read('echo = "query.c"\nmethod = "any"').reply(asked, view({"query": {"c": "x"}})) is not None


def test_1024_bytes_are_given_back() -> None:
    reply = read('echo = "query.c"').reply("POST", view({"query": {"c": "é" * 512}}))
    assert reply is not None
    assert reply[1] == ("é" * 512).encode()


@pytest.mark.parametrize(
    "text, said",
    [
        ('echo = "challenge"', "`body.challenge`"),
        ('echo = "body.["', "`echo` is not JMESPath"),
        ('echo = "body.a"\nwhen = "type =="', "`when` is not JMESPath"),
        ('echo = "body.a"\nanswer = "json"', "name the key"),
        ('echo = "body.a"\nkey = "b"', "`key` goes with"),
    ],
)
def test_a_handshake_that_cannot_work_says_why(text: str, said: str) -> None:
    with pytest.raises(TemplateError) as raised:
        read(text)
    assert said in str(raised.value)


# visits

VISIT = """visit = "body.url"\nwhen = "body.type == 'confirm'"\nhost = 'hooks\\.[a-z]+\\.vendor\\.example'"""
LINK = "https://hooks.eu.vendor.example/confirm?token=1"


def test_a_url_of_the_vendors_is_to_be_visited() -> None:
    handshake = read(VISIT)
    given = view({"body": {"type": "confirm", "url": LINK}})
    assert handshake.wanted(given) == Visit(LINK, None)
    assert handshake.reply("POST", given) is None


@pytest.mark.parametrize("body", [None, "confirm", [], {}, {"type": "message", "url": LINK}, {"url": LINK}])
def test_other_messages_want_no_visit(body: object) -> None:
    assert read(VISIT).wanted(view({"body": body})) is None


def test_without_a_condition_the_url_is_the_condition() -> None:
    handshake = read('visit = "body.url"\nhost = "hooks.example"')
    assert handshake.wanted(view({"body": {"url": "https://hooks.example"}})) == Visit("https://hooks.example", None)
    assert handshake.wanted(view({"body": {"url": 7}})) is None
    assert handshake.wanted(view({"body": {}})) is None


def test_who_echoes_wants_no_visit() -> None:
    assert read(VENDORS["Slack"][0]).wanted(view({"body": {"type": "url_verification", "challenge": LINK}})) is None


@pytest.mark.parametrize(
    "url, host, flaw",
    [
        ("https://hooks.eu.vendor.example/", r"hooks\.[a-z]+\.vendor\.example", None),
        ("https://hooks.eu.vendor.example", r"hooks\.[a-z]+\.vendor\.example", None),
        ("https://hooks.eu.vendor.example/a@b?c=d#e", r"^hooks\.[a-z]+\.vendor\.example$", None),
        ("https://127.0.0.1:8443/", r"127\.0\.0\.1:\d+", None),
        ("https://hooks.eu.vendor.example:443/", r"hooks\.[a-z]+\.vendor\.example", "host is not one"),
        ("https://xhooks.eu.vendor.example/", r"hooks\.[a-z]+\.vendor\.example", "host is not one"),
        ("https://hooks.eu.vendor.example.evil.example/", r"hooks\.[a-z]+\.vendor\.example", "host is not one"),
        ("https://hooks.eu.vendor.example?x", r"hooks\.[a-z]+\.vendor\.example", "not https://, a plain host name"),
        ("https://user@hooks.example/", r".*", "not https://, a plain host name"),
        ("https://hooks.example/a b", r".*", "not https://, a plain host name"),
        ("https://hooks.example/\u00e9", r".*", "not https://, a plain host name"),
        ("https://hooks.example/a\\b", r".*", "not https://, a plain host name"),
        ("https://[::1]/", r".*", "not https://, a plain host name"),
        ("https:///path", r".*", "not https://, a plain host name"),
        ("https://hooks.example/" + "x" * 2048, r".*", "not https://, a plain host name"),
        (None, r".*", "there is no URL"),
        ({"a": 1}, r".*", "there is no URL"),
    ],
)
def test_which_urls_are_followed(url: object, host: str, flaw: str | None) -> None:
    found = url_flaw(url, host)
    assert (found is None) if flaw is None else (found is not None and flaw in found)


@given(url=st.text(alphabet="ab.-:019@/\\?#%[]\u0435\uff0e \t", max_size=30).map(lambda text: f"https://{text}"))
def test_what_is_followed_is_read_alike_by_who_fetches_it(url: str) -> None:
    """No two parsers see two hosts in it: the client dials the host that the pattern has seen."""
    if url_flaw(url, ".*") is None:
        try:
            target = read_url(url)
        except PermanentDeliveryError:
            return
        assert (target.scheme, f"https://{target.host}") == ("https", url[: len("https://" + target.host)])
        assert url_flaw(url, f"{re.escape(target.host)}(:[0-9]+)?") is None


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "either `echo`"),
        ('echo = "body.a"\nvisit = "body.b"\nhost = "c"', "either `echo`"),
        ('visit = "body.a"', "`host` goes with `visit`"),
        ('echo = "body.a"\nhost = "b"', "`host` goes with `visit`"),
        ('visit = "url"\nhost = "a"', "`body.url`"),
        ('visit = "body.a"\nhost = "("', "`host` is no RE2 pattern"),
        ('visit = "body.a"\nhost = ""', "1 to 1024 characters"),
        ('visit = "body.a"\nhost = "b"\nmethod = "GET"', "mean nothing with `visit`"),
        ('visit = "body.a"\nhost = "b"\nanswer = "json"\nkey = "c"', "mean nothing with `visit`"),
    ],
)
def test_a_visit_that_cannot_work_says_why(text: str, said: str) -> None:
    with pytest.raises(TemplateError) as raised:
        read(text)
    assert said in str(raised.value)
