"""
The network that the pools of `http` see: names are looked up here, and each address is looked at before it is dialled.

Each new connection resolves the name, holds every address it stands for against the tables of `targets`, and dials the
very address that was looked at: a name that answers differently a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import httpcore2

from gateway.errors import BlockedTargetError
from gateway.targets import is_literal, port_refusal, refusal

WIRE_LIMIT = 256 << 10
"""How much an answer may take on the wire, with chunk marks and informational answers."""

_RESOLVE_DEADLINE = 5.0
_DIAL_DEADLINE = 3.0
_LOOKUPS = 32
_BUFFER = 64 << 10
_READ = 16 << 10

Resolve = Callable[[str], Awaitable[list[str]]]
"""What looks a name up: all its addresses, best first; raises OSError where there is none."""


class TooLongError(httpcore2.ReadError):
    """The answer takes more than `WIRE_LIMIT`."""


class Resolver:
    """
    Looks names up in threads of its own, so that a dead name server holds up nobody who uses the loop's.

    The threads are daemons: one that hangs does not keep the process from ending. Who asks for a name that is being
    looked up waits for the same answer.
    """

    def __init__(self) -> None:
        self._slots: asyncio.Semaphore | None = None
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(self, host: str) -> list[str]:
        """All addresses of a name, best first; raises OSError where there is none."""
        if host not in self._asked:
            if self._slots is None:
                self._slots = asyncio.Semaphore(_LOOKUPS)
            await self._slots.acquire()
            if host in self._asked:
                self._slots.release()
            else:
                self._ask(host, self._slots)
        return await asyncio.shield(self._asked[host])

    def _ask(self, host: str, slots: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()
        self._asked[host] = answer

        def done(addresses: list[str], error: OSError | None) -> None:
            slots.release()
            del self._asked[host]
            if error is None:
                answer.set_result(addresses)
            else:
                answer.set_exception(error)
                answer.exception()  # whoever asked may be gone; then nobody has to hear of it

        def look_up() -> None:
            addresses: list[str] = []
            failure: OSError | None = None
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
            except (OSError, UnicodeError) as error:
                failure = error if isinstance(error, OSError) else OSError(str(error))
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done, addresses, failure)

        threading.Thread(target=look_up, name="gateway-resolve", daemon=True).start()


class Guard(httpcore2.AsyncNetworkBackend):
    """The network that the pools see: it dials only addresses that it has looked at."""

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._resolve = resolve
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first address that answers, once all of them were looked at."""
        addresses = [host] if is_literal(host) else await self._addresses(host)
        reasons = [port_refusal(port, allow_private=self._allow_private)]
        reasons += [refusal(address, allow_private=self._allow_private) for address in addresses]
        for reason in filter(None, reasons):
            msg = reason if is_literal(host) else f"{host}: {reason}"
            raise BlockedTargetError(msg)
        last: Exception = httpcore2.ConnectError(f"the name {host} has no address")
        for address in addresses:
            try:
                # Where there are more addresses to try, a silent one must not take all the time there is.
                async with asyncio.timeout(_DIAL_DEADLINE if len(addresses) > 1 else None):
                    return await self._dial(address, port)
            except TimeoutError:
                last = httpcore2.ConnectError(f"{address} did not answer within {_DIAL_DEADLINE:g} seconds")
            except OSError as error:
                last = httpcore2.ConnectError(f"cannot connect: {error.strerror or error}")
        raise last

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Never."""
        msg = "notifications never go to a Unix socket"
        raise BlockedTargetError(msg)

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore2 does between its own retries, which are off."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str) -> list[str]:
        try:
            async with asyncio.timeout(_RESOLVE_DEADLINE):
                return await self._resolve(host)
        except TimeoutError:
            reason = f"no answer within {_RESOLVE_DEADLINE:g} seconds"
        except OSError as error:
            reason = error.strerror or str(error)
        msg = f"the name {host} cannot be resolved: {reason}"
        raise httpcore2.ConnectError(msg)

    async def _dial(self, address: str, port: int) -> Stream:
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(Stream, address, port)
        return stream


class Stream(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """One connection. It reads ahead by `_BUFFER` at most, and `WIRE_LIMIT` in all for one answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._left = WIRE_LIMIT
        self._ended = False
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._reading = True
        self._writable = True

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Up to `max_bytes`, none at the end; raises ReadError."""
        if not self._buffer and not self._ended:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._buffer:
            if self._error is not None:
                msg = f"the connection broke: {self._error}"
                raise httpcore2.ReadError(msg) from self._error
            return b""
        if self._left < WIRE_LIMIT:
            await asyncio.sleep(0)  # parsing is slow where chunks are tiny: others come in between
        data = bytes(self._buffer[: min(max_bytes, _READ)])
        del self._buffer[: len(data)]
        self._left -= len(data)
        if self._left < 0:
            msg = f"the answer is longer than {WIRE_LIMIT >> 10} KiB"
            raise TooLongError(msg)
        if not self._reading and not self._ended and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send; raises WriteError."""
        self._left = WIRE_LIMIT
        if self._transport is None or self._transport.is_closing():
            msg = "the connection is closed"
            raise httpcore2.WriteError(msg)
        self._transport.write(buffer)
        if not self._writable:
            self._writer = asyncio.get_running_loop().create_future()
            try:
                await self._writer
            finally:
                self._writer = None
            if self._ended and self._error is not None:
                msg = f"the connection broke: {self._error}"
                raise httpcore2.WriteError(msg) from self._error

    async def aclose(self) -> None:
        """Close at once: nothing that could still be sent or read matters."""
        if self._transport is not None:
            self._transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Go on under TLS, with a certificate for `server_hostname`; raises ConnectError."""
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                cast("asyncio.Transport", self._transport), self, ssl_context, server_hostname=server_hostname
            )
        except BaseException as error:
            await self.aclose()
            if not isinstance(error, OSError):
                raise
            reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
            msg = f"no TLS connection: {reason or type(error).__name__}"
            raise httpcore2.ConnectError(msg) from error
        self._transport = secured
        return self

    def get_extra_info(self, info: str) -> Any:
        """What httpcore2 asks for: whether something (the end, at least) is there to be read, and the TLS object."""
        if info == "is_readable":
            return self._ended or bool(self._buffer)
        if info == "ssl_object" and self._transport is not None:
            return self._transport.get_extra_info("ssl_object")
        return None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's: connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Asyncio's: something came."""
        self._buffer += data
        if len(self._buffer) >= _BUFFER and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._wake(self._reader)

    def eof_received(self) -> None:
        """Asyncio's: the other side has ended; the transport closes itself."""
        self._ended = True
        self._wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's: closed or broken."""
        self._ended = True
        self._error = exc
        self._wake(self._reader)
        self._wake(self._writer)

    def pause_writing(self) -> None:
        """Asyncio's: the other side does not keep up."""
        self._writable = False

    def resume_writing(self) -> None:
        """Asyncio's: it has caught up."""
        self._writable = True
        self._wake(self._writer)

    def _wake(self, waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
