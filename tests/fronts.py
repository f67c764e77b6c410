"""What the tests of accepting share: stores in memory, an installation to post to, and both fronts on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import msgspec
import pytest
import uvloop
from starlette.routing import BaseRoute

from gateway.app import create_app
from gateway.clock import ManualClock
from gateway.connections import Limits, Watch
from gateway.endpoints import Endpoints, Sender
from gateway.errors import StoreBusyError, StoreError
from gateway.faults import NO_FAULTS, Faults
from gateway.fetching import Fetching
from gateway.handshakes import Handshake
from gateway.http import Client
from gateway.ingest import Ingest
from gateway.models import Endpoint, Integration, Message
from gateway.protocol import Front
from gateway.store.base import Counts, Draft, Journal, Receipt, State
from gateway.vault import Vault, new_token
from gateway.verify import Verification
from gateway.web_process import Server, server_config

FRONTS = ("parser", "asgi-httptools", "asgi-h11")
QUICK = Limits(head=0.5, body=0.7, idle=0.4, linger=0.4, drain=0.2, sweep=0.05)


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """As much of a template as accepting looks at."""

    verification: Verification | Sequence[Verification] | None = None
    handshakes: Sequence[Handshake] = ()
    delivery_id: str | None = None


class MemoryJournal:
    """A journal without a disk. `refusing` makes `append` raise; `failing` is what `done` gets; `held` keeps it waiting."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.refusing: StoreError | None = None
        self.failing: StoreError | None = None
        self.holding = False
        self.held: list[Callable[[], None]] = []

    def append(self, draft: Draft, done: Callable[[Receipt | StoreError], None]) -> None:
        if self.refusing is not None:
            raise self.refusing
        outcome: Receipt | StoreError
        outcome = self.failing if self.failing is not None else self._store(draft)
        if self.holding:
            loop = asyncio.get_running_loop()
            self.held.append(lambda: cast("None", loop.call_soon_threadsafe(done, outcome)))
        else:
            asyncio.get_running_loop().call_soon(done, outcome)

    def _store(self, draft: Draft) -> Receipt:
        for at, known in enumerate(self.drafts, 1):
            if draft.delivery_id is not None and known.delivery_id == draft.delivery_id:
                return Receipt(at, duplicate=True)
        self.drafts.append(draft)
        return Receipt(len(self.drafts))

    def release(self) -> None:
        self.holding = False
        while self.held:
            self.held.pop(0)()

    async def head(self) -> int:
        return len(self.drafts)

    async def read(self, after: int, limit: int) -> list[Message]:
        return [
            Message(id=at, endpoint_id=draft.endpoint_id, received_at=draft.received_at, body=draft.body)
            for at, draft in enumerate(self.drafts, 1)
            if after < at <= after + limit
        ]


class MemoryState:
    """The configuration, without a disk."""

    def __init__(self) -> None:
        self.version = 0
        self.rows: list[Endpoint] = []
        self.used: list[Integration] = []
        self.looks = 0
        self.reads = 0
        self.broken = False
        self.at = 0

    async def config_version(self) -> int:
        self.looks += 1
        if self.broken:
            msg = "the state is locked"
            raise StoreBusyError(msg)
        return self.version

    async def endpoints(self) -> list[Endpoint]:
        self.reads += 1
        return list(self.rows)

    async def integrations(self) -> list[Integration]:
        return list(self.used)

    async def cursor(self) -> int:
        if self.broken:
            msg = "the state is locked"
            raise StoreBusyError(msg)
        return self.at

    async def counts(self) -> Counts:
        if self.broken:
            msg = "the state is locked"
            raise StoreBusyError(msg)
        return Counts(
            alerts={"open": 2},
            notifications={"dead": 1},
            outcomes={"opened": 3},
            deferred=4,
            cursor=self.at,
            oldest_due_at=None,
        )


class Installation:
    """A vault, a clock, and integrations to post to."""

    def __init__(self) -> None:
        self.vault = Vault(bytes(range(32)))
        self.clock = ManualClock()
        self.state = MemoryState()
        self.journal = MemoryJournal()
        self.templates: dict[str, Template] = {}
        self.tokens: dict[str, str] = {}
        self.trouble: str | None = None

    def add(
        self,
        name: str = "web",
        template: Template | None = None,
        *,
        secret: str | None = None,
        enabled: bool = True,
        settings: dict[str, Any] | None = None,
    ) -> str:
        """A new integration; the path that messages are posted to."""
        token = new_token()
        self.tokens[name] = token
        if template is not None:
            self.templates[name] = template
        endpoint = Endpoint(
            id=f"end_{name}",
            name=name,
            token_hash=self.vault.token_hash(token.encode()),
            token_hint="",
            secret=None if secret is None else self.vault.seal(secret),
            created_at=0,
        )
        integration = Integration(
            id=f"int_{name}",
            endpoint_id=endpoint.id,
            name=name,
            template=name,
            enabled=enabled,
            settings=settings or {},
            created_at=0,
            updated_at=0,
        )
        self.state.rows.append(endpoint)
        self.state.used.append(integration)
        self.state.version += 1
        return f"/POSTAlert/{token}/{name}"

    def change(self, name: str, **changes: Any) -> None:
        """Change the endpoint of an integration."""
        self.state.rows = [
            msgspec.structs.replace(row, **changes) if row.name == name else row for row in self.state.rows
        ]
        self.state.version += 1

    def switch(self, name: str, *, enabled: bool) -> None:
        """Enable or disable an integration."""
        self.state.used = [
            msgspec.structs.replace(row, enabled=enabled) if row.name == name else row for row in self.state.used
        ]
        self.state.version += 1

    def endpoints(self, **options: Any) -> Endpoints:
        def template_of(slug: str) -> Sender | None:
            return cast("Sender | None", self.templates.get(slug))

        return Endpoints(cast("State", self.state), self.vault, template_of, self.clock, **options)

    def ingest(self, *, faults: Faults = NO_FAULTS, **limits: Any) -> Ingest:
        # The clock stands still, so every request looks at the configuration.
        return Ingest(self.endpoints(max_age=-1), self.clock, faults=faults, **limits)


def told(caplog: pytest.LogCaptureFixture) -> str:
    """What the test had logged, tracebacks and all; to be asked when it is over."""
    # uvicorn's access log is off; caplog, which listens to loggers that do not propagate, switches it on for itself.
    every = [*caplog.get_records("setup"), *caplog.get_records("call")]
    records = [record for record in every if record.name != "uvicorn.access"]
    return "\n".join(map(logging.Formatter("%(levelname)s %(name)s: %(message)s").format, records))


class Response(msgspec.Struct, frozen=True):
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Running:
    """A server on a port of its own."""

    def __init__(self, port: int, server: Server, fetching: Fetching, ingest: Ingest, house: Installation) -> None:
        self.port, self.server, self.fetching, self.ingest, self.house = port, server, fetching, ingest, house

    @property
    def drafts(self) -> list[Draft]:
        return self.house.journal.drafts

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def raw(self, *pieces: bytes, pause: float = 0.0, finish: bool = False) -> bytes:
        """All that comes back for these bytes until the server closes; `finish` closes our side first."""
        with self.connect() as connection, contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            if finish:
                connection.shutdown(socket.SHUT_WR)
            return _until_closed(connection)
        return b""

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, *, chunked: bool = False
    ) -> Response:
        """One request on a connection of its own."""
        lines = {"Host": "gateway.test", "Connection": "close"} | (headers or {})
        if chunked:
            lines["Transfer-Encoding"] = "chunked"
            half = len(body) // 2
            body = (
                b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
                + b"0\r\n\r\n"
            )
        elif body or method == "POST":
            lines.setdefault("Content-Length", str(len(body)))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return responses(self.raw(head.encode() + b"\r\n" + body), method)[-1]

    def post(self, path: str, body: bytes = b"{}", **headers: str) -> Response:
        """One message; underscores in names of headers are dashes."""
        return self.ask("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})


def _until_closed(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def responses(raw: bytes, method: str = "POST") -> list[Response]:
    """The responses in what came back; an answer that is longer or shorter than it says fails."""
    found = []
    while raw:
        head, gap, raw = raw.partition(b"\r\n\r\n")
        assert gap, f"half a response: {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", first)
        assert match is not None, f"no response: {first!r}"
        status = int(match[1])
        if status < 200:
            continue
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if method == "HEAD" else int(headers["content-length"])
        assert len(raw) >= length, f"the body is shorter than {length}: {raw!r}"
        found.append(Response(status, headers, raw[:length]))
        raw = raw[length:]
    return found


@contextlib.contextmanager
def serving(
    front: str,
    house: Installation,
    *,
    limits: Limits = QUICK,
    faults: Faults = NO_FAULTS,
    routes: Sequence[BaseRoute] = (),
    trouble: Callable[[], str | None] = lambda: None,
    max_body: int = 1 << 20,
    client: Client | None = None,
) -> Iterator[Running]:
    """One of FRONTS, in a thread, until the block ends; with a `client`, it fetches what messages ask for."""
    ingest = house.ingest(faults=faults, max_body=max_body)
    journal = cast("Journal", house.journal)
    fetching = Fetching(ingest, client, house.clock)
    app = create_app(
        ingest=ingest,
        journal=journal,
        fetching=fetching,
        state=cast("State", house.state),
        clock=house.clock,
        trouble=trouble,
        routes=routes,
        body_deadline=limits.body,
    )
    protocol = functools.partial(Front, ingest=ingest, journal=journal, fetching=fetching, watch=Watch(limits))
    server = Server(server_config(app, protocol if front == "parser" else front.removeprefix("asgi-")))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        port = listener.getsockname()[1]
        factory = uvloop.new_event_loop if front == "parser" else asyncio.new_event_loop

        def run() -> None:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(server.serve(sockets=[listener]))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.002)
            yield Running(port, server, fetching, ingest, house)
        finally:
            house.journal.release()
            server.stop()
            thread.join(10)
    assert not thread.is_alive(), "the server did not stop"
