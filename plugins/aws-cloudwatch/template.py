"""
CloudWatch's alarms: through SNS, wrapped or as raw message, and as events of EventBridge.

Vendor facts are from https://github.com/aws/aws-lambda-go/blob/main/events/sns.go unless a docstring names another page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from urllib.parse import quote

import msgspec

from gateway import Event, Ignored, Request, UnreadableError

Word = str | int | float | None

_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
_PARTITION, _REGION, _ACCOUNT, _RESOURCE = 1, 3, 4, 5


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What SNS wraps around a message (https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html)."""

    type: Word = None
    topic_arn: Word = None
    message: Word = None
    subscribe_url: Word = msgspec.field(default=None, name="SubscribeURL")


class Dimension(msgspec.Struct, frozen=True, kw_only=True):
    """One dimension of a metric."""

    name: Word = None
    value: Word = None


class Metric(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A metric with its dimensions."""

    metric_name: Word = None
    namespace: Word = None
    dimensions: list[Dimension] | None = None


class Stat(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A metric within a query."""

    metric: Metric | None = None


class Query(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One of several metrics; an expression has no metric of its own."""

    metric_stat: Stat | None = None


class Trigger(Metric, frozen=True, kw_only=True, rename="pascal"):
    """What an alarm looks at: one metric, or several in `Metrics`. A composite alarm has none."""

    metrics: list[Query] | None = None


class Alarm(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """An alarm that changed its state."""

    alarm_name: Word = None
    alarm_arn: Word = None
    alarm_description: Word = None
    account: Word = msgspec.field(default=None, name="AWSAccountId")
    region: Word = None
    new_state_value: Word = None
    new_state_reason: Word = None
    state_change_time: Word = None
    trigger: Trigger | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an alarm within an event."""

    value: Word = None
    reason: Word = None
    timestamp: Word = None


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an alarm's configuration that helps."""

    description: Word = None


class Detail(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an event of EventBridge says of an alarm."""

    alarm_name: Word = None
    state: State = State()
    configuration: Configuration = Configuration()


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """
    An event "CloudWatch Alarm State Change".

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
    """

    account: Word = None
    time: Word = None
    resources: list[Word] | None = None
    detail: Detail = Detail()


def read(request: Request) -> Iterable[Event | Ignored]:
    """Take off what SNS wrapped around the message, and tell alarms from events."""
    data = request.data
    if isinstance(data, dict) and "TopicArn" in data:
        return event_from_sns(request.decode(Envelope))
    return event_from_message(request)


def event_from_sns(sent: Envelope) -> Iterator[Event | Ignored]:
    """A notification, or a subscription to confirm or that was deleted."""
    kind = said(sent.type)
    if kind == "UnsubscribeConfirmation":
        yield Ignored("the subscription was deleted in SNS")
    elif kind == "SubscriptionConfirmation":
        topic = needed(sent.topic_arn, "TopicArn")
        yield Event(
            source_id=topic,
            source_name=part(topic, _ACCOUNT),
            source_url=said(sent.subscribe_url),
            source_status=kind,
            subject=f"Confirm the SNS subscription to {part(topic, _RESOURCE) or topic}",
            description=f"If the topic is yours, open the link. Until then SNS sends nothing of it.\n\nTopic: {topic}",
        )
    else:
        yield from event_from_message(Request(json_in(needed(sent.message, "Message"))))


def event_from_message(message: Request) -> Iterator[Event]:
    """What was published to the topic."""
    if isinstance(message.data, dict) and message.data.get("detail-type") == "CloudWatch Alarm State Change":
        return event_from_state_change(message.decode(StateChange))
    if isinstance(message.data, dict) and ("AlarmName" in message.data or "AlarmArn" in message.data):
        return event_from_alarm(message.decode(Alarm))
    msg = "this is no alarm of CloudWatch; for other messages of SNS there is the template Amazon SNS"
    raise UnreadableError(msg)


def event_from_alarm(sent: Alarm) -> Iterator[Event]:
    """One event of an alarm. Its ARN names account and region; before there were ARNs in messages, its name had to do."""
    trigger = sent.trigger or Trigger()
    stats = [query.metric_stat.metric for query in trigger.metrics or () if query.metric_stat]
    metrics: list[Metric] = [trigger, *(metric for metric in stats if metric)]
    name = said(sent.alarm_name)
    arn = said(sent.alarm_arn)
    yield Event(
        source_id=arn or f"{said(sent.region) or ''}:{needed(sent.alarm_name, 'AlarmName')}",
        source_name=said(sent.account) or part(arn, _ACCOUNT),
        source_url=console(arn, name),
        source_status=said(sent.new_state_value),
        subject=name or arn,
        description=paragraphs(sent.alarm_description, sent.new_state_reason),
        tags=tuple(dict.fromkeys(tag for metric in metrics for tag in tags_of(metric))),
        occurred_at=moment(sent.state_change_time),
    )


def event_from_state_change(sent: StateChange) -> Iterator[Event]:
    """One event of an alarm's change of state, as EventBridge has it."""
    arn = needed((sent.resources or [None])[0], "resources[0]")
    name = said(sent.detail.alarm_name)
    yield Event(
        source_id=arn,
        source_name=said(sent.account) or part(arn, _ACCOUNT),
        source_url=console(arn, name),
        source_status=said(sent.detail.state.value),
        subject=name or arn,
        description=paragraphs(sent.detail.configuration.description, sent.detail.state.reason),
        occurred_at=moment(sent.detail.state.timestamp) or moment(sent.time),
    )


def tags_of(metric: Metric) -> Iterator[str]:
    """The metric and its dimensions, keys as CloudWatch writes them."""
    if said(metric.namespace):
        yield f"Namespace:{said(metric.namespace)}"
    if said(metric.metric_name):
        yield f"MetricName:{said(metric.metric_name)}"
    for dimension in metric.dimensions or ():
        if said(dimension.name) and said(dimension.value):
            yield f"{said(dimension.name)}:{said(dimension.value)}"


def console(arn: str | None, name: str | None) -> str | None:
    """The alarm's page in the console of the partition and region that its ARN names."""
    host, region = _CONSOLES.get(part(arn, _PARTITION) or ""), part(arn, _REGION)
    if host is None or region is None or name is None or not region.replace("-", "").isalnum():
        return None
    alarm = quote(name.encode("utf-8", "replace"), safe="")
    return f"https://{region}.{host}/cloudwatch/home?region={region}#alarmsV2:alarm/{alarm}"


def part(arn: str | None, index: int) -> str | None:
    """A part of an ARN, `arn:partition:service:region:account:resource`."""
    parts = (arn or "").split(":", _RESOURCE)
    return (parts[index] or None) if parts[0] == "arn" and len(parts) > index else None


def json_in(text: str) -> object:
    """The JSON that a text holds."""
    try:
        found: object = msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        msg = "Message is no JSON, so it is no alarm of CloudWatch; for other messages there is the template Amazon SNS"
        raise UnreadableError(msg) from None
    return found


def said(value: Word) -> str | None:
    """A value as text; None where there is nothing in it."""
    text = "" if value is None else str(value).strip()
    return text or None


def needed(value: Word, name: str) -> str:
    """A value that nothing can be read without."""
    text = said(value)
    if text is None:
        msg = f"{name} is missing: nothing tells this problem from others"
        raise UnreadableError(msg)
    return text


def paragraphs(*texts: Word) -> str | None:
    """Texts as paragraphs, without the empty ones."""
    return "\n\n".join(filter(None, map(said, texts))) or None


def moment(value: Word) -> datetime | None:
    """A time as AWS writes it, `2015-06-03T17:43:27.123+0000`; None for anything else."""
    try:
        return datetime.fromisoformat(said(value) or "")
    except ValueError:
        return None
