"""Accept: how many messages a second, and how many of them a killed process takes along."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

from bench import servers, stores
from bench.extent import Extent, event, folder, told
from bench.figures import Figure, NotMeasuredError, Server, ratio
from bench.load import BODY_BYTES, Post, Result, wrk


class Accept:
    """Durable accept beside Alertmanager's, which keeps alerts in memory, and beside a server that keeps nothing."""

    def __init__(self) -> None:
        self.servers = [Server(name="Alert Gateway"), Server(name="Alertmanager"), Server(name="bare uvicorn")]
        self.closing = [Server(name="Alert Gateway"), Server(name="Alertmanager"), Server(name="bare uvicorn")]
        peer, bare = "× Alertmanager", "× bare uvicorn"
        self.figures = [
            Figure(name="durable accept, keep-alive", unit=peer, least=2.5),
            Figure(name="durable accept, keep-alive", unit=bare, least=0.75),
            Figure(name="durable accept, keep-alive: p99", unit="ms", most=15),
            Figure(name="durable accept, keep-alive: p99", unit="× Alertmanager", most=0.1),
            Figure(name="durable accept, a new connection each", unit=peer, least=1.2),
            Figure(name="accepted, then lost by kill -9", unit="messages", most=0),
        ]

    def measure(self, extent: Extent) -> None:
        """Server by server, round by round, so that what else the machine does hits all alike."""
        turns = [self._gateway, self._alertmanager, self._bare]
        lost: list[int] = []
        for at in range(extent.rounds):
            for close, table in ((False, self.servers), (True, self.closing)):
                for turn, server in zip(turns, table, strict=True):
                    if server.reason:
                        continue
                    try:
                        result = turn(extent.seconds, close, lost)
                        check(result)
                    except (NotMeasuredError, OSError, subprocess.SubprocessError) as error:
                        server.reason = str(error)
                        continue
                    server.rates.append(result.rate)
                    server.p99s.append(result.p99_ms)
                    told(f"accept, round {at + 1}: {server.name}: {result.rate:,.0f}/s, p99 {result.p99_ms:.1f} ms")
        self._compare(lost)

    def _compare(self, lost: list[int]) -> None:
        ours, peer, bare = self.servers
        for server, says in zip(self.servers, (f"{sum(lost):,}", "keeps them in memory", "keeps nothing"), strict=True):
            server.lost = says
        values = [
            ratio(ours.rate, peer.rate),
            ratio(ours.rate, bare.rate),
            ours.p99,
            ratio(ours.p99, peer.p99),
            ratio(self.closing[0].rate, self.closing[1].rate),
            float(sum(lost)) if lost else None,
        ]
        reason = next((server.reason for server in [*self.servers, *self.closing] if server.reason), "")
        for figure, value in zip(self.figures, values, strict=True):
            figure.value, figure.reason = value, reason

    def _gateway(self, seconds: int, close: bool, lost: list[int]) -> Result:  # noqa: FBT001 - one of three turns alike
        with folder() as place:
            path = servers.add_integration(place / "data", "custom", "bench")
            with servers.gateway(place, core=servers.SERVER_CORE) as (port, _):
                posts = [Post(path, event("bench"))]
                warm = wrk(place, port, posts, 1, close=close)
                result = wrk(place, port, posts, seconds, close=close)
            stored = asyncio.run(head(place / "data"))  # it was killed at the end of its turn
            lost.append(max(0, warm.accepted + result.accepted - stored))
            return result

    def _alertmanager(self, seconds: int, close: bool, _: list[int]) -> Result:  # noqa: FBT001
        with folder() as place, servers.alertmanager(place) as port:
            posts = [Post("/api/v2/alerts", alertmanager_alerts())]
            wrk(place, port, posts, 1, close=close)
            return wrk(place, port, posts, seconds, close=close)

    def _bare(self, seconds: int, close: bool, _: list[int]) -> Result:  # noqa: FBT001
        with folder() as place, servers.bare(place) as port:
            posts = [Post("/POSTAlert/bench/bench", event("bench"))]
            wrk(place, port, posts, 1, close=close)
            return wrk(place, port, posts, seconds, close=close)


def check(result: Result) -> None:
    """Refuse a result that is mostly refusals: its rate would be that of saying no."""
    if result.accepted < 0.9 * result.requests or not result.accepted or result.broken > 0.01 * result.requests:
        msg = f"of {result.requests:,} requests {result.refused:,} were refused and {result.broken:,} broke"
        raise NotMeasuredError(msg)


async def head(data: Path) -> int:
    """How many messages the journal holds."""
    async with stores.opened(data) as (journal, _):
        return await journal.head()


def alertmanager_alerts() -> bytes:
    """2 KiB for Alertmanager: one alert."""
    labels = {"alertname": "HostDown", "instance": "host-17", "severity": "critical"}
    short = len(json.dumps([{"labels": labels, "annotations": {"description": ""}}]))
    return json.dumps([{"labels": labels, "annotations": {"description": "x" * (BODY_BYTES - short)}}]).encode()
