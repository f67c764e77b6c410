"""What the measurements say of themselves: a target met, missed, or not measured."""

from __future__ import annotations

import asyncio
import json

import pytest

from bench.extent import event
from bench.figures import Figure, NotMeasuredError, Server, number, percentile, ratio, servers_table, what_is_missing
from bench.load import BODY_BYTES, Post, open_loop


@pytest.mark.parametrize(
    "bounds, value, verdict",
    [
        ({"least": 3000.0}, 3000.0, "met"),
        ({"least": 3000.0}, 1500.0, "missed by 50%"),
        ({"most": 15.0}, 15.0, "met"),
        ({"most": 15.0}, 18.0, "missed by 20%"),
        ({}, 18.0, ""),
        ({"most": 15.0}, None, "not measured"),
    ],
)
def test_a_verdict(bounds: dict[str, float], value: float | None, verdict: str) -> None:
    assert (
        Figure(name="it", unit="ms", value=value, least=bounds.get("least"), most=bounds.get("most")).verdict == verdict
    )


def test_what_was_not_measured_says_why() -> None:
    figures = [Figure(name="a", unit="s", reason="wrk is not installed"), Figure(name="b", unit="s", value=1.0)]
    assert what_is_missing(figures) == "not measured: wrk is not installed (a)"


def test_servers_are_compared_by_their_medians() -> None:
    ours = Server(name="Alert Gateway", rates=[10.0, 30.0, 1000.0], p99s=[5.0])
    text = servers_table([ours, Server(name="Alertmanager", rates=[15.0]), Server(name="bare uvicorn", reason="broke")])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert lines[2] == ["Alert Gateway", "30", "2", "–", "5", ""]
    assert lines[4] == ["bare uvicorn", "–", "–", "–", "–", "not measured"]


def test_numbers() -> None:
    assert [number(value) for value in (None, 0.0123, 2.5, 36_912.4, 15.0)] == ["–", "0.0123", "2.5", "36,912", "15"]
    assert ratio(1.0, None) is None
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 100
    with pytest.raises(NotMeasuredError):
        percentile([], 0.5)


def test_bodies_have_the_size_that_is_claimed() -> None:
    body = event("bench-1.")
    assert len(body) == BODY_BYTES
    assert json.loads(body)["source_id"] == "bench-1."


@pytest.mark.anyio
async def test_the_open_loop_does_not_wait_for_answers() -> None:
    arrived: list[float] = []
    answers: list[tuple[int, int, bytes]] = []

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        arrived.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.3)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await open_loop(
        port, lambda n: Post(f"/{n}", b"{}"), 50, 0.2, lambda n, status, body, _: answers.append((n, status, body))
    )
    server.close()
    assert sorted(answers) == [(n, 200, b"ok") for n in range(10)]
    assert arrived[-1] - arrived[0] < 0.3  # one after the other, it would be 2.7
