"""Load: wrk for as much as a server takes, and an open loop for a rate that does not wait for answers."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import NotMeasuredError
from bench.servers import LOAD_CORE, pinned

CONNECTIONS = 64
BODY_BYTES = 2048


@dataclass(frozen=True)
class Post:
    """A request that is sent again and again."""

    path: str
    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True)
class Result:
    """What wrk counted."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int

    @property
    def accepted(self) -> int:
        """How many got a 2xx."""
        return self.requests - self.refused

    @property
    def rate(self) -> float:
        """Accepted requests a second."""
        return self.accepted / self.seconds


def padded(event: dict[str, object], key: str) -> bytes:
    """JSON of 2 KiB: one text in it is as long as is needed."""
    short = len(json.dumps(event | {key: ""}))
    return json.dumps(event | {key: "x" * (BODY_BYTES - short)}).encode()


def wrk(
    folder: Path, port: int, posts: Sequence[Post], seconds: int, *, close: bool = False, core: bool = True
) -> Result:
    """As many requests as 64 connections bring, from one core where the server has the other."""
    if shutil.which("wrk") is None:
        msg = "wrk is not installed"
        raise NotMeasuredError(msg)
    lines: list[str] = []
    for at, post in enumerate(posts):
        body = folder / f"body-{at}"
        body.write_bytes(post.body)
        lines += [post.path, post.content_type, str(body)]
    (folder / "requests").write_text("\n".join(lines) + "\n")
    flags = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout=10s", "--latency"]
    script = ["-s", str(Path(__file__).with_name("post.lua"))]
    command = [
        "wrk",
        *flags,
        *script,
        f"http://127.0.0.1:{port}",
        "--",
        str(folder / "requests"),
        "close" if close else "",
    ]
    done = subprocess.run(
        pinned(LOAD_CORE, command) if core else command,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,  # what it said is in the error
    )
    if done.returncode or "{" not in done.stdout:
        msg = f"wrk failed: {(done.stderr or done.stdout).strip()[-200:]}"
        raise NotMeasuredError(msg)
    return Result(**json.loads(done.stdout.strip().splitlines()[-1]))


async def open_loop(
    port: int,
    posts: Callable[[int], Post],
    rate: int,
    seconds: float,
    answered: Callable[[int, int, bytes, float], None],
) -> None:
    """
    Send the n-th request at its time, whether or not the earlier ones were answered.

    `answered` gets n, the status, the body, and when the answer came (`time.monotonic`).
    """
    idle: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
    start = time.monotonic()

    async def connection() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while not idle.empty():
            reader, writer = idle.get_nowait()
            if not reader.at_eof():  # else the gateway has closed it, being idle for too long
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", port)

    async def send(n: int) -> None:
        reader, writer = await connection()
        post = posts(n)
        head = f"POST {post.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: {post.content_type}\r\n"
        writer.write(f"{head}content-length: {len(post.body)}\r\n\r\n".encode() + post.body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(answer.partition("content-length:")[2].split("\r\n", 1)[0] or 0)
        body = await reader.readexactly(length)
        answered(n, int(answer.split(" ", 2)[1]), body, time.monotonic())
        if "connection: close" in answer:
            writer.close()
        else:
            idle.put_nowait((reader, writer))

    async with asyncio.timeout(seconds + 60), asyncio.TaskGroup() as group:
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, start + n / rate - time.monotonic()))
            group.create_task(send(n))
    while not idle.empty():
        idle.get_nowait()[1].close()
