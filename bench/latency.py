"""Latency: how soon an alert can be seen, and how soon somebody is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from bench import servers, stores
from bench.extent import Extent, event, folder
from bench.figures import Figure, NotMeasuredError, percentile
from bench.load import Post, open_loop


class Latency:
    """How soon an accepted message can be seen, and how soon people are told, at a steady rate."""

    RATE = 500
    ROUTED = 10
    """One message in so many opens an alert that is routed; the others repeat one of 100 open alerts."""

    def __init__(self) -> None:
        how = f"{self.RATE} msg/s, 2 KiB; 1 in {self.ROUTED} opens an alert with a policy"
        self.figures = [
            Figure(name="accept → alert visible, p99", unit="ms", most=250, note=how),
            Figure(
                name="open → first attempt, p99", unit="ms", most=1000, note="alert visible → request at the target"
            ),
            Figure(name="accept, p99", unit="ms", note="the answer, at the same rate"),
        ]

    def measure(self, extent: Extent) -> None:
        """All instants are read from one clock, outside the gateway."""
        with folder() as place:
            asyncio.run(self._measure(place, extent.latency_seconds))

    async def _measure(self, place: Path, seconds: float) -> None:
        data = place / "data"
        told_at: dict[int, float] = {}
        async with sink(told_at) as target:
            servers.ask(
                data, "users", "add", "bench", "--contact", f"webhook:{target}", GATEWAY_ALLOW_PRIVATE_TARGETS="true"
            )
            servers.ask(data, "policies", "add", "bench", "--user", "bench")
            routed = servers.add_integration(data, "custom", "routed", "--policy", "bench")
            plain = servers.add_integration(data, "custom", "plain")
            with servers.gateway(place, GATEWAY_ALLOW_PRIVATE_TARGETS="true") as (port, _):
                await under_way(data, port, plain)
                await self._load(data, port, routed, plain, seconds, told_at)

    async def _load(
        self, data: Path, port: int, routed: str, plain: str, seconds: float, told_at: dict[int, float]
    ) -> None:
        sent: dict[int, float] = {}
        accepted: dict[int, tuple[int, float]] = {}
        refused: list[int] = []
        seen: list[tuple[int, float]] = []

        def post(n: int) -> Post:
            sent[n] = time.monotonic()
            return (
                Post(routed, event(f"bench-{n}.")) if n % self.ROUTED == 0 else Post(plain, event(f"plain-{n % 100}"))
            )

        def answered(n: int, status: int, body: bytes, at: float) -> None:
            if status == 200:
                accepted[n] = (int(json.loads(body)["message_id"]), at)
            else:
                refused.append(status)

        async def watch(until: Callable[[], bool]) -> None:
            async with stores.opened(data) as (_, state):
                while not until():
                    cursor = await state.cursor()
                    if not seen or seen[-1][0] != cursor:
                        seen.append((cursor, time.monotonic()))
                    await asyncio.sleep(0.002)

        finished = asyncio.Event()
        watching = asyncio.create_task(watch(finished.is_set))
        await open_loop(port, post, self.RATE, seconds, answered)
        opened = [n for n in accepted if n % self.ROUTED == 0]
        last = max((message for message, _ in accepted.values()), default=0)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (seen and seen[-1][0] >= last and len(told_at) >= len(opened)):
            await asyncio.sleep(0.05)
        finished.set()
        await watching
        if refused:
            msg = f"{len(refused)} of {len(sent)} messages were refused, the first with {refused[0]}"
            raise NotMeasuredError(msg)
        visible = {n: first_at(seen, message) for n, (message, _) in accepted.items()}
        self.figures[0].value = 1000 * percentile([max(0.0, visible[n] - at) for n, (_, at) in accepted.items()], 0.99)
        self.figures[2].value = 1000 * percentile([at - sent[n] for n, (_, at) in accepted.items()], 0.99)
        untold = [n for n in opened if n not in told_at]
        if untold:
            self.figures[1].reason = f"{len(untold)} of {len(opened)} notifications had not come after 20 s"
            return
        self.figures[1].value = 1000 * percentile([max(0.0, told_at[n] - visible[n]) for n in opened], 0.99)


async def under_way(data: Path, port: int, path: str) -> None:
    """Wait until a first message took effect: they are accepted before there is a worker, and the start has its own figure."""
    servers.request(port, "POST", path, event("first"))
    async with stores.opened(data) as (_, state):
        deadline = time.monotonic() + servers.PATIENCE
        while not await state.cursor():
            if time.monotonic() > deadline:
                msg = "the first message had not taken effect in time"
                raise NotMeasuredError(msg)
            await asyncio.sleep(0.01)


def first_at(seen: list[tuple[int, float]], message: int) -> float:
    """When the cursor was first seen at or past a message."""
    for cursor, at in seen:
        if cursor >= message:
            return at
    msg = f"message {message} had not taken effect after 20 s"
    raise NotMeasuredError(msg)


@contextlib.asynccontextmanager
async def sink(told_at: dict[int, float]) -> AsyncIterator[str]:
    """A target that takes each notification, and remembers when the first one came for each `bench-<n>.`."""
    taking: set[asyncio.Task[None] | None] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taking.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                at_head = (await reader.readuntil(b"\r\n\r\n")).lower()
                at = time.monotonic()
                length = re.search(rb"content-length: *(\d+)", at_head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                if found := re.search(rb"bench-(\d+)\.", body):
                    told_at.setdefault(int(found[1]), at)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        if tasks := [task for task in taking if task is not None]:
            await asyncio.wait(tasks, timeout=5)  # their senders are gone by now
