"""A lane: one reading process and its keeper, who kills it when it hangs and starts the next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from gateway.reader import READY, Job, Reply, pack

_log = logging.getLogger("gateway.lane")
_TICK = 0.05
_START_DEADLINE = 30.0
"""A process that loads slow plugins has this many seconds before it says that it is ready."""
_START_PAUSE = 1.0
_FRAME = 4
_STDERR = 2


class _Connection(asyncio.Protocol):
    """Collects replies; `progress` is set whenever one came or the process went away."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.progress = asyncio.Event()
        self.lost = False
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._decoder = msgspec.msgpack.Decoder(Reply)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _FRAME:
            size = int.from_bytes(buffer[at : at + _FRAME], "big")
            if len(buffer) - at < _FRAME + size:
                break
            frame = bytes(buffer[at + _FRAME : at + _FRAME + size])
            at += _FRAME + size
            try:
                self.replies.append(self._decoder.decode(frame))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                # The types of the reply are checked here: garbage that a template made ends with its own message.
                message_id = msgspec.msgpack.decode(frame)["message_id"]
                self.replies.append(Reply(message_id, error=f"what the template gave is no event: {error}"))
        del buffer[:at]
        self.progress.set()

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost = True
        self.progress.set()


class Lane:
    """Reads messages in a process of its own. One batch at a time."""

    def __init__(self, environ: Mapping[str, str], *, deadline: float, name: str = "reader") -> None:
        """
        `environ` holds the settings for the process, without secrets.

        `deadline` is how many seconds one message may take.
        """
        self._environ = dict(environ)
        self._deadline = deadline
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: _Connection | None = None
        self.kills = 0

    @property
    def pid(self) -> int | None:
        """The process that reads now."""
        return self._process.pid if self._process is not None else None

    async def read(self, jobs: Sequence[Job], *, until_killed: bool = False) -> list[Reply]:
        """
        A reply for each job, in order.

        Where a message hangs, crashes or exhausts the process, its reply says `killed`, and the jobs after it are read by
        the next process; or, `until_killed`, not at all: that reply is then the last.
        """
        replies: list[Reply] = []
        while len(replies) < len(jobs):
            rest = jobs[len(replies) :]
            connection = await self._connected()
            if connection.replies:  # nobody asked: it cannot be trusted with the next message
                await self.stop()
                continue
            transport = connection.transport
            assert transport is not None  # noqa: S101
            transport.writelines([pack(job) for job in rest])
            error = await self._collect(connection, [job.message.id for job in rest], replies, self._deadline)
            if error is not None:
                replies.append(Reply(jobs[len(replies)].message.id, error=error, killed=True))
                await self.stop()
            if until_killed and replies and replies[-1].killed:
                break
        return replies

    async def _collect(
        self, connection: _Connection, wanted: Sequence[int], replies: list[Reply], deadline: float
    ) -> str | None:
        """Take a reply for each id, fewer where the process is worn out; the reason where it has to be replaced."""
        waited = 0.0
        taken = 0
        while taken < len(wanted):
            if connection.replies:
                reply = connection.replies.popleft()
                if reply.message_id != wanted[taken]:
                    return f"the process answered for message {reply.message_id}, which it was not asked for"
                replies.append(reply)
                taken += 1
                waited = 0.0
                if reply.worn_out:
                    await self.stop()
                    return None
                continue
            if connection.lost:
                code = await self._exit_code()
                return f"the process that read it ended ({code})"
            connection.progress.clear()
            # Ticks are counted rather than clocked: a stall of this loop is not the template's fault.
            try:
                async with asyncio.timeout(_TICK):
                    await connection.progress.wait()
            except TimeoutError:
                waited += _TICK
                if waited >= deadline:
                    self.kills += 1
                    return f"reading it took over {deadline:g} s"
        return None

    async def start(self) -> None:
        """Have a process ready before the first batch comes."""
        await self._connected()

    async def _connected(self) -> _Connection:
        if self._connection is not None and not self._connection.lost and self._process is not None:
            return self._connection
        while True:
            connection = await self._started()
            error = await self._collect(connection, [READY.message_id], [], _START_DEADLINE)
            if error is None:
                return connection
            _log.error("%s did not start: %s", self._name, error)
            await self.stop()
            await asyncio.sleep(_START_PAUSE)

    async def _started(self) -> _Connection:
        await self.stop()
        ours, theirs = socket.socketpair()
        with theirs:
            environ = self._environ | {
                "ALERT_GATEWAY_READER_FD": str(theirs.fileno()),
                "ALERT_GATEWAY_PARENT": str(os.getpid()),
            }
            self._process = subprocess.Popen(  # noqa: ASYNC220  # a fork takes no time to wait for
                [sys.executable, "-m", "gateway.reader"],
                env=environ,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,  # what a template prints is for the log
                process_group=0,  # what a template starts ends with it
            )
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_connection(_Connection, sock=ours)
        return self._connection

    async def _exit_code(self) -> str:
        if self._process is None:
            return "gone"
        try:
            code = await asyncio.to_thread(self._process.wait, 1)
        except subprocess.TimeoutExpired:
            return "its socket was closed"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    async def stop(self) -> None:
        """Kill the process, if there is one."""
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.to_thread(process.wait)


def reader_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    The environment for a reading process: what Python needs and the settings that templates may know.

    Its memory is limited by address space, of which glibc would reserve 64 MiB for each thread without a word of it used.
    """
    source = os.environ if environ is None else environ
    settings = ("GATEWAY_PLUGINS_DIR", "GATEWAY_LOAD_PLUGINS", "GATEWAY_TRACE_PLUGINS", "GATEWAY_MAX_DECODED")
    limits = ("GATEWAY_READ_MEMORY", "GATEWAY_LOG_LEVEL")
    kept = {name: value for name, value in source.items() if not name.startswith("GATEWAY_")}
    return {"MALLOC_ARENA_MAX": "1"} | kept | {name: source[name] for name in (*settings, *limits) if name in source}
