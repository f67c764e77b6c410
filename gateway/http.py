"""
The only way out: an HTTP client whose every connection is guarded.

Which addresses may be reached is in `targets`; that they are looked at before they are dialled, in `dialing`. The TLS
name and the Host header stay those of the URL.

Redirects are not followed, proxies are not taken from the environment, cookies are not kept and bodies are not
decompressed. An answer is read up to `BODY_LIMIT` and then cut.

There is one pool of connections for each origin: a pool looks at all its connections for each request, and a target
that hangs must not use up another's. The pools are httpx2's own (httpcore2), without the client on top, which merges
headers and keeps cookies for as much time as all the rest takes. Their network is ours, through the public
`AsyncNetworkBackend`.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterable, Mapping

import httpcore2
import msgspec

from gateway.dialing import Guard, Resolve, Resolver, TooLongError
from gateway.errors import PermanentDeliveryError, TemporaryDeliveryError
from gateway.targets import Target, checked_target

BODY_LIMIT = 64 << 10
"""How much of a body is read."""
HEADER_LIMIT = 16 << 10
"""How long all headers of an answer may be."""

_IDLE_SECONDS = 15.0
_CONNECTIONS = 64
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
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]{0,4096}")


class Answer(msgspec.Struct, frozen=True):
    """
    What a target answered.

    Names of headers are in small letters, and of repeated headers the first counts. `cut` says that the body went on.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False


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
        self._guard = Guard(resolve or Resolver().resolve, allow_private=allow_private)
        self._tls = tls
        self._pools: dict[tuple[str, str, int], _Pool] = {}
        self._sweep_at = 0.0

    def check(self, url: str) -> Target:
        """
        Read a URL and refuse what can be refused without looking its name up.

        Raises PermanentDeliveryError, BlockedTargetError among them.
        """
        return checked_target(url, allow_private=self._allow_private)

    async def post(self, url: str, *, content: bytes, headers: Mapping[str, str]) -> Answer:
        """
        Post `content` and return the answer, whatever its status.

        Raises BlockedTargetError where the address or port is refused, PermanentDeliveryError where the URL or a header
        cannot be used, TemporaryDeliveryError where no whole answer came: no such name, refused, reset, broken TLS,
        broken HTTP, too slow.
        """
        return await self._sent("POST", self.check(url), _header_lines(headers), content)

    async def get(self, url: str) -> Answer:
        """Get what is there, without any header of ours, and return the answer; raises what `post` raises."""
        return await self._sent("GET", self.check(url), _header_lines({}), None)

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.connections.aclose()

    async def _sent(
        self, method: str, target: Target, headers: list[tuple[bytes, bytes]], content: bytes | None
    ) -> Answer:
        try:
            async with asyncio.timeout(self._deadline):
                return await self._answer(method, target, headers, content)
        except TimeoutError:
            reason = f"no whole answer within {self._deadline:g} seconds"
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError) as error:
            reason = str(error) or type(error).__name__
        msg = f"{target.origin}: {reason}"
        raise TemporaryDeliveryError(msg)

    async def _answer(
        self, method: str, target: Target, headers: list[tuple[bytes, bytes]], content: bytes | None
    ) -> Answer:
        pool = await self._pool(target)
        url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        pool.users += 1
        try:
            async with pool.connections.stream(method, url, headers=headers, content=content) as response:
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
                except TooLongError:
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
