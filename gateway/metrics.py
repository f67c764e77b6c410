"""What is counted while accepting, and `/metrics`. No label comes from a payload, so their number is bounded."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.store.base import Counts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class IngestCounts:
    """What became of requests to `/POSTAlert/` since the process started."""

    __slots__ = ("accepted", "body_bytes", "connections_refused", "disconnected", "duplicates", "handshakes", "refused")

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicates = 0
        self.body_bytes = 0
        self.handshakes = 0
        self.disconnected = 0
        self.connections_refused = 0
        self.refused: dict[int, int] = {}

    def refuse(self, status: int) -> None:
        """Count an answer that is not 200."""
        self.refused[status] = self.refused.get(status, 0) + 1


class GatewayMetrics(Collector):
    """All figures of one scrape; `text` takes what the stores say at that moment."""

    def __init__(self, ingest: IngestCounts) -> None:
        self._ingest = ingest
        self._counts: Counts | None = None
        self._head = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self, counts: Counts | None, head: int) -> bytes:
        """The scrape, in Prometheus' text format; `head` is the journal's newest id."""
        self._counts, self._head = counts, head
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        yield from self._of_ingest()
        if self._counts is not None:
            yield from self._of_state(self._counts)

    def _of_ingest(self) -> Iterator[Metric]:
        ingest = self._ingest
        for name, text, value in (
            ("accepted", "Messages on disk and answered 200", ingest.accepted),
            ("duplicates", "Messages that were there before, by delivery id", ingest.duplicates),
            ("body_bytes", "Bytes of bodies accepted", ingest.body_bytes),
            ("handshakes", "Handshakes answered", ingest.handshakes),
            ("disconnected", "Senders gone before their request was complete", ingest.disconnected),
            ("connections_refused", "Connections over the limit", ingest.connections_refused),
        ):
            yield CounterMetricFamily(f"gateway_ingest_{name}", text, value=value)
        refused = CounterMetricFamily("gateway_ingest_refused", "Requests refused, by status", labels=["status"])
        for status, count in sorted(ingest.refused.items()):
            refused.add_metric([str(status)], count)
        yield refused

    def _of_state(self, counts: Counts) -> Iterator[Metric]:
        for name, text, label, figures in (
            ("gateway_alerts", "Alerts, by status", "status", dict(counts.alerts)),
            ("gateway_notifications", "Notifications, by status", "status", dict(counts.notifications)),
            ("gateway_events", "Events, by outcome", "outcome", dict(counts.outcomes)),
        ):
            family = GaugeMetricFamily(name, text, labels=[label])
            for value, count in sorted(figures.items()):
                family.add_metric([value], count)
            yield family
        yield GaugeMetricFamily("gateway_deferred", "Messages that wait to be read again", value=counts.deferred)
        behind = max(0, self._head - counts.cursor)
        yield GaugeMetricFamily("gateway_backlog", "Messages accepted that have not taken effect yet", value=behind)
        if counts.oldest_due_at is not None:
            due = counts.oldest_due_at / 1000
            yield GaugeMetricFamily(
                "gateway_oldest_due_timestamp_seconds", "When the oldest notification was due", value=due
            )
