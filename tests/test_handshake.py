"""Handshakes: a vendor's question whether the URL is ours, answered as data says, and nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from gateway.errors import TemplateError
from gateway.handshakes import Handshake

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
