"""
Errands: a certificate is fetched, a URL visited, and the message judged again; the same for both fronts.

G3 90 to 94 of the bad inputs are here: what senders would like to have fetched, and what comes of it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest

from gateway.certificates import Keyring
from gateway.errands import Errand, Fetched
from gateway.errors import BlockedTargetError, TemporaryDeliveryError
from gateway.fetching import AT_ONCE, PAUSE, Fetching
from gateway.handshakes import VISIT_HEADER
from gateway.http import Answer as Found
from gateway.http import Client
from gateway.ingest import Admission, Answer
from gateway.store.base import Draft
from gateway.verify import Verification
from tests.fronts import FRONTS, Installation, Response, Running, Template, responses, serving, told
from tests.signers import CERTIFICATE_URL, CERTIFIED, SUBSCRIBE_URL, TOPIC, VISITING, Signer, encoded, signer

GONE = TemporaryDeliveryError("https://keys.eu-1.vendor.example:443: no such name")
BASIC = Verification(kind="basic")
TEMPLATE = Template(verification=[CERTIFIED, BASIC], handshakes=[VISITING], delivery_id="body.MessageId")


class Web:
    """Stands for the guarded client: what is where, and what was asked for. `held` keeps answers back until it is set."""

    def __init__(self) -> None:
        self.pages: dict[str, Found | Exception] = {}
        self.asked: list[str] = []
        self.held = threading.Event()
        self.held.set()

    async def get(self, url: str) -> Found:
        self.asked.append(url)
        while not self.held.is_set():
            await asyncio.sleep(0.002)
        page = self.pages.get(url, GONE)
        if isinstance(page, Exception):
            raise page
        return page

    @property
    def client(self) -> Client:
        return cast("Client", self)


def page(body: bytes = b"", status: int = 200, *, cut: bool = False) -> Found:
    return Found(status, {}, body, cut)


@pytest.fixture(scope="module", params=FRONTS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Running, Web]]:
    web = Web()
    with serving(cast("str", request.param), Installation(), client=web.client) as running:
        yield running, web


@pytest.fixture
def running(server: tuple[Running, Web], house: Installation, web: Web) -> Running:
    """A front that serves this house and fetches from this web, as good as new."""
    running, its = server
    its.pages, its.asked, its.held = web.pages, web.asked, web.held
    running.house = house
    running.ingest._endpoints = house.endpoints(max_age=-1)
    running.ingest._keyring = Keyring()
    running.ingest._told.clear()
    running.ingest._clock = running.fetching._clock = house.clock
    running.ingest.counts.handshakes = 0
    running.fetching._recent.clear()
    return running


@pytest.fixture
def house(request: pytest.FixtureRequest) -> Installation:
    """A fresh one; where a front serves, on the journal that the front has."""
    fresh = Installation()
    if "server" in request.fixturenames:
        fresh.journal = cast("tuple[Running, Web]", request.getfixturevalue("server"))[0].house.journal
        fresh.journal.drafts.clear()
    return fresh


@pytest.fixture
def vendor(house: Installation) -> Signer:
    return signer(house.clock.now())


@pytest.fixture
def web(vendor: Signer) -> Web:
    """The certificate is where it should be, and the confirmation."""
    web = Web()
    web.pages = {CERTIFICATE_URL: page(vendor.pem), SUBSCRIBE_URL: page(b"<ConfirmSubscriptionResponse/>")}
    return web


@pytest.fixture(autouse=True)
def nothing_told(house: Installation, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever is sent: no traceback, no token, and nothing of a URL's query, in any log."""
    caplog.set_level(logging.DEBUG)
    yield
    for never in ("Traceback", "t0ken", *house.tokens.values()):
        assert never not in told(caplog)


def send(running: Running, path: str, message: object, **headers: str) -> Response:
    body = message if isinstance(message, bytes) else encoded(cast("dict[str, object]", message))
    return running.post(path, body, Content_Type="text/plain; charset=UTF-8", **headers)


def visit(draft: Draft) -> list[str]:
    """What the stored headers say of a visit, line by line."""
    lines = draft.headers.decode("latin-1").split("\r\n")
    return [line.partition(": ")[2] for line in lines if line.lower().startswith(f"{VISIT_HEADER}:")]


# certificates


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_signed_message_is_stored_and_its_certificate_fetched_once(
    running: Running, house: Installation, web: Web, vendor: Signer, version: str
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    for at in range(5):
        assert send(running, path, vendor.signed(version, MessageId=f"m-{at}", Subject=None)).status == 200
    assert web.asked == [CERTIFICATE_URL]
    assert [visit(draft) for draft in running.drafts] == [[]] * 5
    assert send(running, path, vendor.signed(version, MessageId="m-0")).json == {"message_id": "1", "duplicate": True}


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/signing-1.pem",
        "https://keys.eu-1.vendor.example.evil.example/signing-1.pem",
        "http://keys.eu-1.vendor.example/signing-1.pem",
        "https://keys.eu-1.vendor.example@evil.example/signing-1.pem",
        "https://keys.eu-1.vendor.example:8443/signing-1.pem",
        "https://keys.eu-1.vendor.example/?to=.pem",
    ],
)
def test_a_certificate_elsewhere_is_401_and_nothing_is_fetched(
    running: Running, house: Installation, web: Web, vendor: Signer, url: str
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    web.pages[url] = page(vendor.pem)
    assert send(running, path, vendor.signed(SigningCertURL=url)).status == 401
    assert (web.asked, running.drafts) == ([], [])


def test_another_topic_is_401_and_nothing_is_fetched(
    running: Running, house: Installation, web: Web, vendor: Signer
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    for message in (vendor.signed(TopicArn=TOPIC + "2"), vendor.confirmation(TopicArn=TOPIC + "2")):
        assert send(running, path, message).status == 401
    assert (web.asked, running.drafts) == ([], [])


def test_a_message_that_was_tampered_with_is_401(
    running: Running, house: Installation, web: Web, vendor: Signer
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    assert send(running, path, vendor.signed() | {"Message": "forged"}).status == 401
    assert send(running, path, vendor.signed("3") | {"SignatureVersion": "3"}).status == 401
    assert send(running, path, vendor.confirmation() | {"SubscribeURL": SUBSCRIBE_URL + "2"}).status == 401
    assert send(running, path, Signer(house.clock.now()).signed()).status == 401
    assert (web.asked, running.drafts) == ([CERTIFICATE_URL], [])


@pytest.mark.parametrize("status", [301, 302, 307, 403, 404])
def test_a_certificate_that_is_not_there_is_401_and_no_redirect_is_followed(
    running: Running, house: Installation, web: Web, vendor: Signer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    web.pages[CERTIFICATE_URL] = page(vendor.pem, status)
    assert send(running, path, vendor.signed()).status == 401
    assert (web.asked, running.drafts) == ([CERTIFICATE_URL], [])
    assert f"a message to sns was refused: its certificate is none: the answer is {status}" in told(caplog)


@pytest.mark.parametrize(
    "found, said",
    [
        (GONE, "no such name"),
        (
            BlockedTargetError("keys.eu-1.vendor.example: 10.0.0.7 is a private address"),
            "10.0.0.7 is a private address",
        ),
        (page(b"", 500), "the answer is 500"),
        (page(b"", 503), "the answer is 503"),
        (page(b"", 429), "the answer is 429"),
        (page(b"x" * 65536, cut=True), "the answer is too long"),
    ],
)
def test_a_certificate_that_cannot_be_had_is_503_and_the_log_says_why(
    running: Running,
    house: Installation,
    web: Web,
    vendor: Signer,
    found: Found | Exception,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, good = house.add("sns", TEMPLATE, secret=TOPIC), web.pages[CERTIFICATE_URL]
    web.pages[CERTIFICATE_URL] = found
    for _ in range(3):  # what came of it is remembered for a while, so that a flood of messages is none of fetches
        answer = send(running, path, vendor.signed())
        assert answer.status == 503
        assert 5 <= int(answer.headers["retry-after"]) <= 10
    assert (web.asked, running.drafts) == ([CERTIFICATE_URL], [])
    assert f"a message to sns was refused: its certificate cannot be had: {said}" in told(caplog) or said in told(
        caplog
    )
    web.pages[CERTIFICATE_URL] = good
    house.clock.advance(PAUSE)
    assert send(running, path, vendor.signed()).status == 200


@pytest.mark.parametrize("body", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_401(
    running: Running, house: Installation, web: Web, vendor: Signer, body: bytes
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    web.pages[CERTIFICATE_URL] = page(body)
    assert send(running, path, vendor.signed()).status == 401


def test_basic_stays_a_second_way(running: Running, house: Installation, web: Web, vendor: Signer) -> None:
    path = house.add("sns", TEMPLATE, secret="user:password")
    assert send(running, path, b"raw").status == 401
    refused = send(running, path, vendor.signed())
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert send(running, path, b"raw", Authorization="Basic dXNlcjpwYXNzd29yZA==").status == 200
    assert web.asked == []


def test_many_who_need_one_certificate_wait_for_one_fetch(
    running: Running, house: Installation, web: Web, vendor: Signer
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    web.held.clear()
    answers: list[int] = []

    def one(at: int) -> None:
        answers.append(send(running, path, vendor.signed(MessageId=f"m-{at}")).status)

    threads = [threading.Thread(target=one, args=(at,)) for at in range(3 * AT_ONCE)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert answers == []
    assert running.post(house.add("plain")).status == 200  # others are not held up
    web.held.set()
    for thread in threads:
        thread.join(10)
    assert answers == [200] * 3 * AT_ONCE
    assert web.asked == [CERTIFICATE_URL]


# visits


def test_a_subscription_is_confirmed_once_its_sender_is_verified(
    running: Running, house: Installation, web: Web, vendor: Signer
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    message = vendor.confirmation()
    assert send(running, path, message).json == {"message_id": "1"}
    assert web.asked == [CERTIFICATE_URL, SUBSCRIBE_URL]
    assert running.drafts[0].body == encoded(message)
    assert visit(running.drafts[0]) == ["visited"]
    assert running.ingest.counts.handshakes == 1


def test_without_a_secret_it_is_confirmed_too(running: Running, house: Installation, web: Web, vendor: Signer) -> None:
    assert send(running, house.add("sns", TEMPLATE), vendor.confirmation()).status == 200
    assert web.asked == [SUBSCRIBE_URL]
    assert visit(running.drafts[0]) == ["visited"]


def test_nothing_is_visited_for_a_sender_who_is_not_verified(
    running: Running, house: Installation, web: Web, vendor: Signer
) -> None:
    signed = house.add("sns", TEMPLATE, secret=TOPIC)
    basic = house.add("basic", TEMPLATE, secret="user:password")
    assert send(running, signed, vendor.confirmation() | {"Signature": "AAAA"}).status == 401
    assert send(running, basic, vendor.confirmation()).status == 401
    assert SUBSCRIBE_URL not in web.asked
    assert running.drafts == []


@pytest.mark.parametrize(
    "url, said",
    [
        ("https://evil.example/?Action=Confirm", "the URL's host is not one that the template allows"),
        ("https://keys.eu-1.vendor.example.evil.example/", "the URL's host is not one that the template allows"),
        ("https://keys.eu-1.vendor.example:8443/", "the URL's host is not one that the template allows"),
        ("https://169.254.169.254/latest/meta-data/", "the URL's host is not one that the template allows"),
        ("http://keys.eu-1.vendor.example/", "the URL is not https://, a plain host name and a path"),
        ("https://keys.eu-1.vendor.example@evil.example/", "the URL is not https://, a plain host name and a path"),
        ("https://keys.eu-1.vendor.example/\r\nX: y", "the URL is not https://, a plain host name and a path"),
        ("", "there is no URL"),
        (None, "there is no URL"),
        (7, "there is no URL"),
    ],
)
def test_a_url_elsewhere_is_not_visited_and_the_message_kept(
    running: Running, house: Installation, web: Web, vendor: Signer, url: object, said: str
) -> None:
    web.pages[str(url)] = page()
    assert send(running, house.add("sns", TEMPLATE), vendor.confirmation() | {"SubscribeURL": url}).status == 200
    assert web.asked == []
    assert visit(running.drafts[0]) == [f"refused: {said}"]


@pytest.mark.parametrize(
    "found, said",
    [
        (page(b"", 302), "the answer is 302"),
        (page(b"", 403), "the answer is 403"),
        (page(b"", 500), "the answer is 500"),
        (page(b"x", cut=True), "the answer is too long"),
        (GONE, "https://keys.eu-1.vendor.example:443: no such name"),
        (
            BlockedTargetError("10.0.0.7 is a private address;\r\nX: \u00e9" + "y" * 500),
            "10.0.0.7 is a private address;??X: ?yyy",
        ),
    ],
)
def test_a_visit_in_vain_leaves_the_reason(
    running: Running, house: Installation, web: Web, vendor: Signer, found: Found | Exception, said: str
) -> None:
    web.pages[SUBSCRIBE_URL] = found
    assert send(running, house.add("sns", TEMPLATE, secret=TOPIC), vendor.confirmation()).status == 200
    (line,) = visit(running.drafts[0])
    assert line.startswith(f"in vain: {said}")
    assert len(line) <= 200


def test_a_subscription_that_was_ended_is_never_taken_up_again(
    running: Running, house: Installation, web: Web, vendor: Signer
) -> None:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    assert send(running, path, vendor.confirmation("UnsubscribeConfirmation")).status == 200
    assert web.asked == [CERTIFICATE_URL]
    assert visit(running.drafts[0]) == []


@pytest.mark.parametrize("name", ["alert-gateway-visit", "Alert-Gateway-Visit", "ALERT-GATEWAY-VISIT"])
def test_no_sender_says_how_a_visit_went(
    running: Running, house: Installation, web: Web, vendor: Signer, name: str
) -> None:
    web.pages[SUBSCRIBE_URL] = page(b"", 500)
    for template, path in ((None, house.add("plain")), (TEMPLATE, house.add("sns", TEMPLATE))):
        sent = {name: "visited", "content-type": "text/plain"}
        assert running.ask("POST", path, encoded(vendor.confirmation()), sent).status == 200
        assert visit(running.drafts[-1]) == ["[redacted]", *(["in vain: the answer is 500"] if template else [])]


# connections


def test_what_is_pipelined_behind_an_errand_is_answered_after_it(
    running: Running, house: Installation, web: Web, vendor: Signer
) -> None:
    signed, plain, body = house.add("sns", TEMPLATE, secret=TOPIC), house.add("plain"), encoded(vendor.signed())
    web.held.clear()
    head = "POST {} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {}\r\n{}\r\n"
    first = head.format(signed, len(body), "").encode() + body
    second = head.format(plain, 2, "Connection: close\r\n").encode() + b"{}"
    threading.Timer(0.3, web.held.set).start()
    answers = responses(running.raw(first + second))
    assert [answer.json for answer in answers] == [{"message_id": "1"}, {"message_id": "2"}]


@pytest.mark.parametrize("front", FRONTS)
def test_an_errand_may_take_longer_than_a_body(front: str, house: Installation, web: Web, vendor: Signer) -> None:
    """The deadlines of connections are for senders; what is fetched has one of its own."""
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    web.held.clear()
    with serving(front, house, client=web.client) as server:
        threading.Timer(1.2, web.held.set).start()
        assert send(server, path, vendor.signed()).status == 200


def test_a_message_whose_sender_goes_away_meanwhile_is_stored(
    running: Running, house: Installation, web: Web, vendor: Signer
) -> None:
    path, body = house.add("sns", TEMPLATE, secret=TOPIC), encoded(vendor.confirmation())
    web.held.clear()
    with running.connect() as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        _until(lambda: bool(web.asked))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end
    web.held.set()
    _until(lambda: len(running.drafts) == 1)
    assert send(running, path, body).json == {"message_id": "1", "duplicate": True}


@pytest.mark.parametrize("front", FRONTS)
def test_a_server_that_stops_waits_for_errands(front: str, house: Installation, web: Web, vendor: Signer) -> None:
    path, body = house.add("sns", TEMPLATE, secret=TOPIC), encoded(vendor.signed())
    web.held.clear()
    answers: list[int] = []
    with serving(front, house, client=web.client) as server:
        thread = threading.Thread(target=lambda: answers.append(send(server, path, body).status))
        thread.start()
        _until(lambda: bool(web.asked))
        server.server.stop()
        time.sleep(0.3)
        web.held.set()
        thread.join(10)
    assert answers == [200]
    assert len(house.journal.drafts) == 1


def _until(condition: object) -> None:
    deadline = time.monotonic() + 5
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


# without a server


def admitted(house: Installation, fetching: Fetching) -> Admission:
    path = house.add("sns", TEMPLATE, secret=TOPIC)
    begun = fetching._ingest.begin(b"POST", path.encode(), [])
    assert isinstance(begun, Admission)
    return begun


def test_few_errands_at_once(house: Installation, web: Web, vendor: Signer) -> None:
    """A flood of messages that name certificates is answered with 503, and not carried on to the vendor."""
    fetching = Fetching(house.ingest(), web.client, house.clock)
    admission = admitted(house, fetching)
    web.held.clear()

    signed = vendor.signed()

    async def one(at: int) -> Draft | Answer:
        url = f"https://keys.eu-1.vendor.example/{at}.pem"
        return await fetching.judged(admission, encoded(signed | {"SigningCertURL": url}), Errand("certificate", url))

    async def flood() -> list[Draft | Answer]:
        tasks = [asyncio.create_task(one(at)) for at in range(200)]
        async with asyncio.timeout(10):
            while sum(task.done() for task in tasks) < 200 - AT_ONCE:
                await asyncio.sleep(0.01)
        web.held.set()
        return await asyncio.gather(*tasks)

    outcomes = asyncio.run(flood())
    assert len(web.asked) == AT_ONCE
    assert all(isinstance(outcome, Answer) and outcome.status == 503 for outcome in outcomes)
    assert len(fetching._recent) <= 64
    assert fetching._under_way == {}


def test_one_who_goes_away_does_not_take_the_certificate_from_the_others(
    house: Installation, web: Web, vendor: Signer
) -> None:
    fetching = Fetching(house.ingest(), web.client, house.clock)
    admission, body, errand = (
        admitted(house, fetching),
        encoded(vendor.signed()),
        Errand("certificate", CERTIFICATE_URL),
    )
    web.held.clear()

    async def two() -> Draft | Answer:
        first, second = (asyncio.create_task(fetching.judged(admission, body, errand)) for _ in range(2))
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.sleep(0.02)
        web.held.set()
        return await second

    assert isinstance(asyncio.run(two()), Draft)
    assert web.asked == [CERTIFICATE_URL]


def test_without_a_client_nothing_is_fetched(
    house: Installation, vendor: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    fetching = Fetching(house.ingest(), None, house.clock)
    admission = admitted(house, fetching)
    outcome = asyncio.run(fetching.judged(admission, encoded(vendor.signed()), Errand("certificate", CERTIFICATE_URL)))
    assert isinstance(outcome, Answer)
    assert outcome.status == 503
    assert "GATEWAY_FETCH_DEADLINE is 0" in caplog.text


def test_an_error_of_ours_while_fetching_costs_a_second_try(
    house: Installation, web: Web, vendor: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    fetching = Fetching(house.ingest(), web.client, house.clock)
    admission = admitted(house, fetching)
    web.pages[CERTIFICATE_URL] = RuntimeError("a bug")
    outcome = asyncio.run(fetching.judged(admission, encoded(vendor.signed()), Errand("certificate", CERTIFICATE_URL)))
    assert isinstance(outcome, Answer)
    assert outcome.status == 503
    assert "a bug" in told(caplog)
    caplog.clear()


def test_errands_that_never_end_do(house: Installation, web: Web, vendor: Signer) -> None:
    """A visit whose answer asks for another: the last word is 503."""
    ingest = house.ingest()
    fetching = Fetching(ingest, web.client, house.clock)
    admission = admitted(house, fetching)
    errand = Errand("visit", "https://keys.eu-1.vendor.example/another")
    web.pages[errand.url] = page()
    ingest.finish = lambda *_: errand  # type: ignore[method-assign]
    outcome = asyncio.run(fetching.judged(admission, b"{}", errand))
    assert isinstance(outcome, Answer)
    assert outcome.status == 503
    assert len(web.asked) == 3


@pytest.mark.parametrize(
    "fetched, flaw, again",
    [
        (Fetched(Errand("visit", "x"), 200), None, False),
        (Fetched(Errand("visit", "x"), 204), None, False),
        (Fetched(Errand("visit", "x"), 301), "the answer is 301", False),
        (Fetched(Errand("visit", "x"), 404), "the answer is 404", False),
        (Fetched(Errand("visit", "x"), 429), "the answer is 429", True),
        (Fetched(Errand("visit", "x"), 502), "the answer is 502", True),
        (Fetched(Errand("visit", "x"), trouble="no such name"), "no such name", True),
    ],
)
def test_what_came_of_an_errand(fetched: Fetched, flaw: str | None, again: bool) -> None:
    assert (fetched.flaw, fetched.worth_another_try) == (flaw, again)
