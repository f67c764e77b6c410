"""A sink that a gateway's webhook notifications arrive at."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


class Arrival(msgspec.Struct, frozen=True):
    """One request that the sink got."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The idempotency key."""
        return self.headers["webhook-id"]

    @property
    def kind(self) -> str:
        """`alert.opened`, `alert.closed`."""
        return str(json.loads(self.body)["type"])

    @property
    def alert(self) -> dict[str, Any]:
        """The alert in it."""
        alert: dict[str, Any] = json.loads(self.body)["data"]["alert"]
        return alert


class Sink:
    """Takes notifications at `url`; `answer` decides the status of each."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.answer: Callable[[Arrival], int] = lambda _arrival: 200
        sink = self

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                arrival = Arrival({name.lower(): value for name, value in self.headers.items()}, body)
                sink.arrivals.append(arrival)
                self.send_response(sink.answer(arrival))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Pass over a sender that was killed: that is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
