"""
The only way out: an HTTP client that looks at an address before it dials it.

Whoever may write a webhook's URL could point it at the gateway's own network. So each new connection resolves the
name, holds every address it stands for against a table, and dials the very address that was looked at: a name that
answers differently a moment later gains nothing. The TLS name and the Host header stay those of the URL.

Redirects are not followed, proxies are not taken from the environment, cookies are not kept and bodies are not
decompressed. An answer is read up to `BODY_LIMIT` and then cut.

There is one pool of connections for each origin: a pool looks at all its connections for each request, and a target
that hangs must not use up another's. The pools are httpx2's own (httpcore2), without the client on top, which merges
headers and keeps cookies for as much time as all the rest takes. Their network is ours, through the public
`AsyncNetworkBackend`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

import httpcore2
import httpx2
import msgspec

from gateway.errors import BlockedTargetError, PermanentDeliveryError, TemporaryDeliveryError

BODY_LIMIT = 64 << 10
"""How much of a body is read."""
HEADER_LIMIT = 16 << 10
"""How long all headers of an answer may be."""
WIRE_LIMIT = 256 << 10
"""How much an answer may take on the wire, with chunk marks and informational answers."""
URL_LIMIT = 2048
"""How long a URL may be."""

_RESOLVE_DEADLINE = 5.0
_DIAL_DEADLINE = 3.0
_LOOKUPS = 32
_IDLE_SECONDS = 15.0
_CONNECTIONS = 64
_BUFFER = 64 << 10
_READ = 16 << 10
_WEB_PORTS = (80, 443)
_FREE_PORTS = 1024
_LAST_PORT = 65535
_OUR_HEADERS = (
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
)

Resolve = Callable[[str], Awaitable[list[str]]]
"""What looks a name up: all its addresses, best first; raises OSError where there is none."""

_PRIVATE = (
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a carrier-grade NAT address"),
    ("127.0.0.0/8", "this machine"),
    ("172.16.0.0/12", "a private address"),
    ("192.168.0.0/16", "a private address"),
    ("::1/128", "this machine"),
    ("fc00::/7", "a private address"),
)
_NEVER = (
    ("0.0.0.0/8", "no address of a host"),
    ("100.100.100.200/32", "a cloud's metadata service"),
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("169.254.0.0/16", "link-local, where clouds keep credentials"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "reserved for documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("198.18.0.0/15", "reserved for benchmarks"),
    ("198.51.100.0/24", "reserved for documentation"),
    ("203.0.113.0/24", "reserved for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved or broadcast"),
    ("2001::/23", "a tunnel or reserved for protocols"),
    ("2001:db8::/32", "reserved for documentation"),
    ("2002::/16", "a 6to4 tunnel"),
    ("3fff::/20", "reserved for documentation"),
    ("fd00:ec2::/32", "a cloud's metadata service"),
    ("fd20:ce::254/128", "a cloud's metadata service"),
)
_GLOBAL_V6 = "2000::/3"
_NAT64 = "64:ff9b::/96"
_HINT = "GATEWAY_ALLOW_PRIVATE_TARGETS=true lets notifications go there"


class Answer(msgspec.Struct, frozen=True):
    """
    What a target answered.

    Names of headers are in small letters, and of repeated headers the first counts. `cut` says that the body went on.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False


class _Table(msgspec.Struct, frozen=True):
    private: tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str], ...]
    never: tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str], ...]
    global_v6: ipaddress.IPv6Network
    nat64: ipaddress.IPv6Network


@functools.cache
def _table() -> _Table:
    return _Table(
        private=tuple((ipaddress.ip_network(network), what) for network, what in _PRIVATE),
        never=tuple((ipaddress.ip_network(network), what) for network, what in _NEVER),
        global_v6=ipaddress.IPv6Network(_GLOBAL_V6),
        nat64=ipaddress.IPv6Network(_NAT64),
    )


def refusal(address: str, *, allow_private: bool = False) -> str | None:
    """
    Why notifications must not go to an IP address, or None where they may.

    An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as what it is. Of the other IPv6 addresses only the
    global ones pass, so that what is not in the table is refused rather than missed.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return f"{address!r} is not an IP address"
    table = _table()
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return f"{address} is link-local: notifications never go there"
        ip = _embedded(ip) or ip
    what = next((what for network, what in table.never if ip in network), None)
    if what is not None:
        return f"{address} is {what}: notifications never go there"
    what = next((what for network, what in table.private if ip in network), None)
    if what is not None:
        return None if allow_private else f"{address} is {what}; {_HINT}"
    if isinstance(ip, ipaddress.IPv6Address) and ip not in table.global_v6:
        return f"{address} is not a public address: notifications never go there"
    return None


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _table().nat64 else None)


def port_refusal(port: int, *, allow_private: bool = False) -> str | None:
    """
    Why notifications must not go to a port, or None where they may.

    80, 443 and all from 1024 on; any where private targets are allowed, for what answers there is the operator's own.
    """
    if not 0 < port <= _LAST_PORT:
        return f"{port} is no port"
    if allow_private or port in _WEB_PORTS or port >= _FREE_PORTS:
        return None
    return f"port {port} is neither 80, 443 nor above 1023; {_HINT}"


class Target(msgspec.Struct, frozen=True):
    """A URL that was read: what is dialled, and what is asked for there."""

    scheme: str
    host: str
    port: int
    path: bytes

    @property
    def origin(self) -> str:
        """The part of the URL that is no secret; the path and the query of a webhook often are."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


_BAD_CHARACTERS = re.compile(r"[\x00-\x20\x7f-\x9f\\\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_HOST = re.compile(r"[a-z0-9_.-]{1,253}|[0-9a-f:.]{2,45}")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")


def read_url(url: str) -> Target:
    """Read an http or https URL; raises PermanentDeliveryError that says what is wrong, without the path."""
    if len(url) > URL_LIMIT:
        return _bad_url(f"it is longer than {URL_LIMIT} characters")
    if _BAD_CHARACTERS.search(url):
        return _bad_url("it holds a space, a control character or a backslash")
    try:
        read = httpx2.URL(url)
        host = read.raw_host.decode("ascii")
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        return _bad_url("it cannot be read")
    if read.scheme not in ("http", "https"):
        return _bad_url("it does not begin with https:// or http://")
    if read.userinfo or "@" in url.partition("://")[2].split("/", 1)[0]:
        return _bad_url("it holds a user or a password; put a token into its path instead")
    if "%" in host and ":" in host:
        msg = "the URL names a network interface: notifications never go to link-local addresses"
        raise BlockedTargetError(msg)
    if not _HOST.fullmatch(host):
        return _bad_url("it has no usable host name")
    port = read.port
    if port is None:
        port = 443 if read.scheme == "https" else 80
    elif not 0 < port <= _LAST_PORT:
        return _bad_url(f"{port} is no port")
    return Target(scheme=read.scheme, host=host, port=port, path=read.raw_path)


def _bad_url(reason: str) -> Target:
    msg = f"the URL cannot be used: {reason}"
    raise PermanentDeliveryError(msg)


class Client:
    """
    Sends requests, each within `deadline` seconds in all, to addresses that the table allows.

    `resolve` and `tls` are for tests: how names are looked up, and whose certificates are believed.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        deadline: float = 10.0,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._deadline = deadline
        self._guard = _Guard(resolve or _Resolver().resolve, allow_private=allow_private)
        self._tls = tls
        self._pools: dict[tuple[str, str, int], _Pool] = {}
        self._sweep_at = 0.0

    def check(self, url: str) -> Target:
        """
        Read a URL and refuse what can be refused without looking its name up.

        Raises PermanentDeliveryError, BlockedTargetError among them.
        """
        target = read_url(url)
        reason = port_refusal(target.port, allow_private=self._allow_private)
        if reason is None and _is_literal(target.host):
            reason = refusal(target.host, allow_private=self._allow_private)
        if reason is None and not self._allow_private and re.fullmatch(r"(.*\.)?localhost\.?", target.host):
            reason = f"{target.host} is this machine; {_HINT}"
        if reason is not None:
            raise BlockedTargetError(reason)
        return target

    async def post(self, url: str, *, content: bytes, headers: Mapping[str, str]) -> Answer:
        """
        Post `content` and return the answer, whatever its status.

        Raises BlockedTargetError where the address or port is refused, PermanentDeliveryError where the URL or a header
        cannot be used, TemporaryDeliveryError where no whole answer came: no such name, refused, reset, broken TLS,
        broken HTTP, too slow.
        """
        target = self.check(url)
        lines = _header_lines(headers)
        try:
            async with asyncio.timeout(self._deadline):
                return await self._post(target, content, lines)
        except TimeoutError:
            reason = f"no whole answer within {self._deadline:g} seconds"
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError) as error:
            reason = str(error) or type(error).__name__
        msg = f"{target.origin}: {reason}"
        raise TemporaryDeliveryError(msg)

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.connections.aclose()

    async def _post(self, target: Target, content: bytes, headers: list[tuple[bytes, bytes]]) -> Answer:
        pool = await self._pool(target)
        url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        pool.users += 1
        try:
            async with pool.connections.stream("POST", url, headers=headers, content=content) as response:
                if sum(len(name) + len(value) + 4 for name, value in response.headers) > HEADER_LIMIT:
                    msg = f"the headers of the answer are longer than {HEADER_LIMIT >> 10} KiB"
                    raise httpcore2.RemoteProtocolError(msg)
                body = bytearray()
                cut = False
                try:
                    async for part in response.aiter_stream():
                        body += part
                        if len(body) > BODY_LIMIT:
                            cut = True
                            break
                except _TooLongError:
                    cut = True
                return Answer(response.status, _first(response.headers), bytes(body[:BODY_LIMIT]), cut)
        finally:
            pool.users -= 1

    async def _pool(self, target: Target) -> _Pool:
        now = asyncio.get_running_loop().time()
        key = (target.scheme, target.host, target.port)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(
                httpcore2.AsyncConnectionPool(
                    ssl_context=self._tls_context() if target.scheme == "https" else None,
                    max_connections=_CONNECTIONS,  # a target takes a few of its host's, and a pool looks at each of them
                    max_keepalive_connections=_CONNECTIONS,
                    keepalive_expiry=_IDLE_SECONDS,
                    network_backend=self._guard,
                )
            )
        pool.used_at = now
        if now >= self._sweep_at:
            self._sweep_at = now + _IDLE_SECONDS
            idle = [key for key, each in self._pools.items() if not each.users and each.used_at < now - _IDLE_SECONDS]
            for old in [self._pools.pop(key) for key in idle]:
                await old.connections.aclose()
        return pool

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpcore2.default_ssl_context()
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls


class _Pool:
    def __init__(self, connections: httpcore2.AsyncConnectionPool) -> None:
        self.connections = connections
        self.users = 0
        self.used_at = 0.0


def _header_lines(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    lines = [(b"accept-encoding", b"identity")]
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in _OUR_HEADERS:
            msg = f"the header {name[:100]!r} cannot be sent: its name is taken, or it is not plain ASCII"
            raise PermanentDeliveryError(msg)
        lines.append((name.encode("ascii"), value.encode("ascii")))
    return lines


def _first(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _TooLongError(httpcore2.ReadError):
    """The answer takes more than `WIRE_LIMIT`."""


class _Resolver:
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


class _Guard(httpcore2.AsyncNetworkBackend):
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
        addresses = [host] if _is_literal(host) else await self._addresses(host)
        reasons = [port_refusal(port, allow_private=self._allow_private)]
        reasons += [refusal(address, allow_private=self._allow_private) for address in addresses]
        for reason in filter(None, reasons):
            msg = reason if _is_literal(host) else f"{host}: {reason}"
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

    async def _dial(self, address: str, port: int) -> _Stream:
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(_Stream, address, port)
        return stream


class _Stream(asyncio.Protocol, httpcore2.AsyncNetworkStream):
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
            raise _TooLongError(msg)
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
