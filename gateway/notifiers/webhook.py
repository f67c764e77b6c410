"""
Webhooks out: the alert as JSON, signed as Standard Webhooks says.

`webhook-id` is the notification's id: it never changes over retries, so that a receiver can tell a copy. The signature
covers id, time and body; its key is the contact's own (`vault.Vault.signing_secret`).

What an answer means:

    2xx                     delivered, whatever the body says
    410                     given up: the receiver says that it is gone for good
    any other status        tried again, up to GATEWAY_ATTEMPTS times; 3xx too, for a redirect is never followed, but
                            the log-in page or maintenance page behind it may go away
    429 and 503             as above, not before their Retry-After, which counts for an hour at most
    no whole answer         tried again
    a URL that is refused   given up
"""

from __future__ import annotations

import base64
import hmac
import re
from email.utils import parsedate_to_datetime

import orjson

from gateway.clock import Clock, SystemClock, instant, iso
from gateway.errors import PermanentDeliveryError, SettingsError, TemporaryDeliveryError
from gateway.http import Answer, Client
from gateway.models import Notification
from gateway.notifiers.base import Sent, excerpt
from gateway.targets import read_url
from gateway.vault import Vault
from gateway.views import alert_view

HOPS = "alert-gateway-hops"
"""The header that counts gateways; who receives it with its own limit reached must not open an alert again."""
RETRY_AFTER_LIMIT = 3600.0
"""The longest pause, in seconds, that a target may ask for."""

_DELIVERED = range(200, 300)
_ELSEWHERE = range(300, 400)
_GONE = 410
_SLOW_DOWN = (429, 503)


class WebhookNotifier:
    """Posts notifications to URLs, but not to `own_url`, the gateway's own address: they would go in circles."""

    kind = "webhook"

    def __init__(self, client: Client, vault: Vault, *, clock: Clock | None = None, own_url: str = "") -> None:
        self._client = client
        self._vault = vault
        self._clock = clock or SystemClock()
        self._own_origin = read_url(own_url).origin if own_url else None

    def check(self, address: str) -> str:
        """The URL without blanks around it; raises SettingsError where it cannot be posted to."""
        url = address.strip()
        try:
            target = self._client.check(url)
        except PermanentDeliveryError as error:
            msg = f"webhook: {error}"
            raise SettingsError(msg) from None
        if target.origin == self._own_origin:
            msg = f"webhook: {target.origin} is this gateway itself; give the URL of whoever is to be told"
            raise SettingsError(msg)
        return url

    async def send(self, notification: Notification) -> Sent:
        """Post it once; raises TemporaryDeliveryError or PermanentDeliveryError."""
        body = payload(notification)
        timestamp = str(self._clock.now() // 1000)
        secret = self._vault.signing_secret(notification.contact.id)
        answer = await self._client.post(
            notification.contact.address,
            content=body,
            headers={
                "content-type": "application/json",
                "user-agent": "alert-gateway",
                "webhook-id": notification.id,
                "webhook-timestamp": timestamp,
                "webhook-signature": signature(secret, notification.id, timestamp, body),
                HOPS: "1",
            },
        )
        return verdict(answer, self._clock.now())

    async def close(self) -> None:
        """Nothing: the client is closed by whoever made it."""


def payload(notification: Notification) -> bytes:
    """The body: the same bytes at each attempt. `timestamp` is when the alert changed."""
    return orjson.dumps(
        {
            "type": f"alert.{notification.kind}",
            "timestamp": iso(notification.created_at),
            "data": {
                "alert": alert_view(notification.alert, notification.integration),
                "notification": {"id": notification.id, "user": notification.user},
            },
        }
    )


def signature(secret: str, identity: str, timestamp: str, body: bytes) -> str:
    """Standard Webhooks' `v1`: HMAC-SHA256 over `id.timestamp.body` with the base64 behind `whsec_` as its key."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((identity.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def verdict(answer: Answer, now: int) -> Sent:
    """What an answer means; raises TemporaryDeliveryError or PermanentDeliveryError. The module says which."""
    status = answer.status
    response = _response(answer)
    if status in _DELIVERED:
        return Sent(status, response)
    if status == _GONE:
        msg = "the target answered 410: it is gone for good"
        raise PermanentDeliveryError(msg, status=status, response=response)
    if status in _ELSEWHERE:
        msg = f"the target answered {status}; redirects are not followed, so give its final URL"
        raise TemporaryDeliveryError(msg, status=status, response=response)
    pause = retry_after(answer.headers.get("retry-after", ""), now) if status in _SLOW_DOWN else None
    msg = f"the target answered {status}"
    raise TemporaryDeliveryError(msg, status=status, response=response, retry_after=pause)


def retry_after(value: str, now: int) -> float | None:
    """
    Seconds that a Retry-After header asks for, `RETRY_AFTER_LIMIT` at most; None where it cannot be read or is past.

    `now` is milliseconds since 1970; the header holds seconds or an HTTP date.
    """
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,12}", value):
        return min(float(value), RETRY_AFTER_LIMIT)
    try:
        moment = parsedate_to_datetime(value)
        seconds = (instant(moment) - now) / 1000
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(seconds, RETRY_AFTER_LIMIT) if seconds > 0 else None


def _response(answer: Answer) -> str:
    coding = answer.headers.get("content-encoding", "identity")
    if coding != "identity" and answer.body:
        return excerpt(f"({len(answer.body)} bytes, {coding})")
    return excerpt(answer.body)
