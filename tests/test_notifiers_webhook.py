from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import httpcore2
import msgspec
import pytest
import respx
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.clock import ManualClock, SystemClock
from gateway.config import Settings
from gateway.errors import BlockedTargetError, PermanentDeliveryError, SettingsError, TemporaryDeliveryError
from gateway.http import Answer, Client
from gateway.models import Alert, Contact, Notification
from gateway.notifiers import BuiltInNotifiers
from gateway.notifiers.base import Outbound, Sent
from gateway.notifiers.webhook import WebhookNotifier, payload, retry_after, verdict
from gateway.vault import Vault
from gateway.views import alert_view

pytestmark = pytest.mark.anyio

NOW = 1_750_000_000_000
VAULT = Vault(b"k" * 32)


def an_alert(**fields: Any) -> Alert:
    return msgspec.structs.replace(
        Alert(
            id=42,
            endpoint_id="end_1",
            integration_id="int_1",
            status="open",
            source="Sematext",
            source_name="Disk",
            source_id="host-1:/var",
            severity="critical",
            subject="disk full",
            tags=("prod", "db"),
            opened_at=NOW,
            updated_at=NOW,
        ),
        **fields,
    )


def a_notification(url: str = "https://hooks.example/x", **fields: Any) -> Notification:
    return msgspec.structs.replace(
        Notification(
            id="ntf_abc",
            alert_id=42,
            seq=1,
            kind="opened",
            contact=Contact(id="con_1", kind="webhook", address=url),
            user="Ann",
            integration="prod metrics",
            alert=an_alert(),
            due_at=NOW,
            created_at=NOW,
        ),
        **fields,
    )


async def a_public_address(host: str) -> list[str]:
    return ["93.184.216.34"]


@pytest.fixture
async def notifier() -> AsyncIterator[WebhookNotifier]:
    client = Client(resolve=a_public_address)
    yield WebhookNotifier(client, VAULT, clock=ManualClock(NOW), own_url="https://alerts.example:8443")
    await client.close()


# What is sent


async def test_a_receiver_can_verify_it_with_somebody_elses_code() -> None:
    got: list[tuple[dict[str, str], bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in head.split("\r\n")[1:-2]}
        got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = Client(allow_private=True)
    notifier = WebhookNotifier(client, VAULT)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    begun = int(time.time())
    assert await notifier.send(a_notification(url)) == Sent(204, "")
    await client.close()
    server.close()

    headers, body = got[0]
    assert headers["webhook-id"] == "ntf_abc"
    assert begun <= int(headers["webhook-timestamp"]) <= time.time()
    assert headers["user-agent"] == "alert-gateway"
    assert headers["content-type"] == "application/json"
    assert headers["alert-gateway-hops"] == "1"
    receiver = Webhook(VAULT.signing_secret("con_1"))
    assert receiver.verify(body, headers) == json.loads(body)
    for other in (Webhook(VAULT.signing_secret("con_2")), receiver):
        changed = body if other is not receiver else body.replace(b"critical", b"info")
        with pytest.raises(WebhookVerificationError):
            other.verify(changed, headers)


def test_the_payload() -> None:
    assert json.loads(payload(a_notification())) == {
        "type": "alert.opened",
        "timestamp": "2025-06-15T15:06:40.000Z",
        "data": {
            "alert": {
                "id": "42",
                "status": "open",
                "source": "Sematext",
                "source_name": "Disk",
                "source_id": "host-1:/var",
                "source_url": None,
                "source_status": None,
                "severity": "critical",
                "subject": "disk full",
                "description": None,
                "tags": ["prod", "db"],
                "opened_at": "2025-06-15T15:06:40.000Z",
                "closed_at": None,
                "integration": "prod metrics",
            },
            "notification": {"id": "ntf_abc", "user": "Ann"},
        },
    }


def test_the_payload_of_a_close() -> None:
    alert = an_alert(status="closed", closed_at=NOW + 60_000)
    read = json.loads(payload(a_notification(kind="closed", alert=alert)))
    assert read["type"] == "alert.closed"
    assert read["data"]["alert"]["closed_at"] == "2025-06-15T15:07:40.000Z"


def test_the_payload_is_the_same_at_each_attempt() -> None:
    first = a_notification()
    again = msgspec.structs.replace(first, attempts=7, due_at=NOW + 99, error="the target answered 500")
    assert payload(first) == payload(again)


def test_the_view_of_an_alert_has_no_more_than_it_says() -> None:
    assert len(alert_view(an_alert(), "prod")) == 14


# What an answer means

DELIVERED = set(range(200, 300))
DEAD = {410}
SLOW_DOWN = {429, 503}


@pytest.mark.parametrize("hundred", range(1, 10))
def test_every_status(hundred: int) -> None:
    for status in range(hundred * 100, hundred * 100 + 100):
        answer = Answer(status, {"retry-after": "7"}, b"so it is")
        if status in DELIVERED:
            assert verdict(answer, NOW) == Sent(status, "so it is")
            continue
        with pytest.raises(PermanentDeliveryError if status in DEAD else TemporaryDeliveryError) as raised:
            verdict(answer, NOW)
        assert (raised.value.status, raised.value.response) == (status, "so it is")
        assert getattr(raised.value, "retry_after", None) == (7 if status in SLOW_DOWN else None)


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0),
        ("120", 120),
        (" 5 ", 5),
        ("3600", 3600),
        ("3601", 3600),
        ("1000000000", 3600),
        (formatdate(NOW / 1000 + 90, usegmt=True), 90),
        (formatdate(NOW / 1000 + 999_999, usegmt=True), 3600),
        (formatdate(NOW / 1000 - 90, usegmt=True), None),
        ("Sun, 15 Jun 2025 15:07:40 +0000", 60),
        ("Sunday, 15-Jun-25 15:07:40 GMT", 60),
        ("", None),
        ("-1", None),
        ("-1000000000", None),
        ("1.5", None),
        ("1e9", None),
        ("soon", None),
        ("٣", None),
        ("9" * 5000, None),
        ("99 Foo 9999 99:99:99 GMT", None),
        ("Sun, 15 Jun 0000 15:07:40 GMT", None),
        ("Sun, 15 Jun 99999 15:07:40 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    "body, headers, kept",
    [
        (b"x" * 5000, {}, "x" * 1024),
        ("ü€".encode() * 2000, {}, "ü€" * 512),
        (b"\xff\x00a\x1b[31m\r\nb", {}, "\ufffd\ufffda\ufffd[31m\ufffd\nb"),
        (b"\x1f\x8b\x08", {"content-encoding": "gzip"}, "(3 bytes, gzip)"),
        (b"", {"content-encoding": "gzip"}, ""),
    ],
)
def test_what_is_kept_of_an_answer(body: bytes, headers: dict[str, str], kept: str) -> None:
    assert verdict(Answer(200, headers, body), NOW).response == kept


@pytest.mark.parametrize(
    "status, error",
    [(200, None), (302, TemporaryDeliveryError), (410, PermanentDeliveryError), (500, TemporaryDeliveryError)],
)
async def test_through_the_client(
    notifier: WebhookNotifier, httpx2_mock: respx.Router, status: int, error: type[Exception] | None
) -> None:
    route = httpx2_mock.post("https://hooks.example/x").respond(status, text="hm")
    if error is None:
        assert await notifier.send(a_notification()) == Sent(200, "hm")
    else:
        with pytest.raises(error, match=f"the target answered {status}"):
            await notifier.send(a_notification())
    assert route.call_count == 1
    assert route.calls[0].request.headers["webhook-id"] == "ntf_abc"


async def test_a_network_that_fails_is_tried_again(notifier: WebhookNotifier, httpx2_mock: respx.Router) -> None:
    httpx2_mock.post("https://hooks.example/x").mock(side_effect=httpcore2.ReadError("gone"))
    with pytest.raises(TemporaryDeliveryError, match=r"https://hooks\.example:443: gone"):
        await notifier.send(a_notification())


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://169.254.169.254/", "http://[::1]/"])
async def test_a_blocked_address_is_given_up(notifier: WebhookNotifier, url: str) -> None:
    with pytest.raises(BlockedTargetError):
        await notifier.send(a_notification(url))


# Addresses


async def test_addresses_are_checked_when_they_are_added(notifier: WebhookNotifier) -> None:
    assert notifier.check(" https://hooks.example/T0/x ") == "https://hooks.example/T0/x"
    assert notifier.check("http://hooks.example:8080") == "http://hooks.example:8080"


@pytest.mark.parametrize(
    "url, message",
    [
        ("hooks.example", "does not begin with https://"),
        ("https://user:pw@hooks.example/", "user or a password"),
        ("http://192.168.1.5/x", "GATEWAY_ALLOW_PRIVATE_TARGETS=true"),
        ("http://localhost:9000/", "GATEWAY_ALLOW_PRIVATE_TARGETS=true"),
        ("http://169.254.169.254/", "never go there"),
        ("http://hooks.example:25/", "port 25"),
        ("https://alerts.example:8443/POSTAlert/ag_x/y", "this gateway itself"),
    ],
)
async def test_addresses_that_are_refused(notifier: WebhookNotifier, url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        notifier.check(url)
    assert "pw" not in str(raised.value)
    assert "ag_x" not in str(raised.value)


async def test_the_built_in_notifiers() -> None:
    client = Client()
    outbound = Outbound(settings=Settings(), client=client, vault=VAULT, clock=SystemClock())
    found = BuiltInNotifiers().register_notifiers(outbound)
    assert [notifier.kind for notifier in found] == ["webhook", "email"]
    for notifier in found:
        await notifier.close()
    await client.close()
