"""
A bell between processes: a pipe that says "there is work", so that nobody has to poll often.

It may ring for nothing and a ring may be lost; whoever waits looks for work after each ring and after each time-out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os


class Wake:
    """One end, or both, of a bell. File descriptors are non-blocking and are passed to child processes as numbers."""

    def __init__(self, read_fd: int | None = None, write_fd: int | None = None) -> None:
        self.read_fd = read_fd
        self.write_fd = write_fd
        self._rung: asyncio.Event | None = None

    @classmethod
    def pipe(cls) -> Wake:
        """A new bell with both ends."""
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        return cls(read_fd, write_fd)

    def ring(self) -> None:
        """Say that there is work; never blocks, never raises."""
        if self.write_fd is not None:
            with contextlib.suppress(OSError):  # full: it rings already; closed: nobody listens
                os.write(self.write_fd, b"!")

    async def wait(self, timeout: float) -> bool:
        """Wait until it rings, or for `timeout` seconds; whether it rang."""
        if self.read_fd is None:
            await asyncio.sleep(timeout)
            return False
        if self._rung is None:
            self._rung = asyncio.Event()
            asyncio.get_running_loop().add_reader(self.read_fd, self._hear)
        try:
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    def _hear(self) -> None:
        if self.read_fd is None or self._rung is None:
            return
        with contextlib.suppress(BlockingIOError):
            if not os.read(self.read_fd, 4096):  # the other end is closed for good
                asyncio.get_running_loop().remove_reader(self.read_fd)
        self._rung.set()
