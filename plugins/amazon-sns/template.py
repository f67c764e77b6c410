"""
Amazon SNS: any message, wrapped or by raw message delivery, and subscriptions to confirm.

Vendor facts are from https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html unless a docstring names
another page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from gateway import Event, Ignored, Request, UnreadableError

Word = str | int | float | None

_REGION, _ACCOUNT, _RESOURCE = 3, 4, 5
_LONGEST = 200


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What SNS wraps around a message."""

    type: Word = None
    message_id: Word = None
    topic_arn: Word = None
    subject: Word = None
    message: Word = None
    timestamp: Word = None
    subscribe_url: Word = msgspec.field(default=None, name="SubscribeURL")


def read(request: Request) -> Iterable[Event | Ignored]:
    """Tell the two ways of delivery apart: the raw one has a header that says so."""
    if request.headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
        return event_from_raw(request)
    return event_from_envelope(envelope_in(request))


def event_from_envelope(sent: Envelope) -> Iterator[Event | Ignored]:
    """A message, or a subscription to confirm or that was deleted."""
    kind = said(sent.type)
    topic = needed(sent.topic_arn, "TopicArn")
    if kind == "UnsubscribeConfirmation":
        yield Ignored("the subscription was deleted in SNS")
    elif kind == "SubscriptionConfirmation":
        yield Event(
            source_id=topic,
            source_name=part(topic, _RESOURCE),
            source_url=said(sent.subscribe_url),
            source_status=kind,
            subject=f"Confirm the SNS subscription to {part(topic, _RESOURCE) or topic}",
            description=f"If the topic is yours, open the link. Until then SNS sends nothing of it.\n\nTopic: {topic}",
        )
    else:
        message = said(sent.message)
        yield Event(
            source_id=needed(sent.message_id, "MessageId"),
            source_name=part(topic, _RESOURCE),
            source_status=kind,
            subject=said(sent.subject) or headline(message, topic),
            description=message,
            tags=tags_of(topic),
            occurred_at=moment(sent.timestamp),
        )


def event_from_raw(request: Request) -> Iterator[Event]:
    """
    The message as it was published; headers name the message and the topic.

    https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html
    """
    topic = request.headers.get("x-amz-sns-topic-arn", "")
    text = request.data if isinstance(request.data, str) else msgspec.json.encode(request.data).decode()
    message = said(text)
    yield Event(
        source_id=needed(request.headers.get("x-amz-sns-message-id"), "the header x-amz-sns-message-id"),
        source_name=part(topic, _RESOURCE),
        source_status=request.headers.get("x-amz-sns-message-type"),
        subject=headline(message, topic),
        description=message,
        tags=tags_of(topic),
    )


def envelope_in(request: Request) -> Envelope:
    """The JSON of SNS, which it calls text/plain unless told otherwise."""
    data: Any = request.data
    if isinstance(data, str):
        try:
            data = msgspec.json.decode(data.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            msg = "this is neither JSON of SNS nor, by its headers, a raw message of SNS"
            raise UnreadableError(msg) from None
    return Request(data).decode(Envelope)


def headline(message: str | None, topic: str) -> str:
    """The first line of a message that has no subject; of one in JSON, where it comes from."""
    line = message.splitlines()[0].strip() if message else ""
    if not line or line[0] in "{[":
        return f"A message of {part(topic, _RESOURCE) or 'SNS'}"
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def tags_of(topic: str) -> tuple[str, ...]:
    """Account and region of a topic."""
    found = (("account", part(topic, _ACCOUNT)), ("region", part(topic, _REGION)))
    return tuple(f"{key}:{value}" for key, value in found if value)


def part(arn: str, index: int) -> str | None:
    """A part of an ARN, `arn:partition:service:region:account:resource`."""
    parts = arn.split(":", _RESOURCE)
    return (parts[index] or None) if parts[0] == "arn" and len(parts) > index else None


def said(value: Word) -> str | None:
    """A value as text; None where there is nothing in it."""
    text = "" if value is None else str(value).strip()
    return text or None


def needed(value: Word, name: str) -> str:
    """A value that nothing can be read without."""
    text = said(value)
    if text is None:
        msg = f"{name} is missing: nothing tells this message from others"
        raise UnreadableError(msg)
    return text


def moment(value: Word) -> datetime | None:
    """A time in ISO 8601; None for anything else."""
    try:
        return datetime.fromisoformat(said(value) or "")
    except ValueError:
        return None
