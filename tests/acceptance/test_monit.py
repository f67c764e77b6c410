"""Monit itself, with the script and the rules of the template's README."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.acceptance.senders import free_port, program, run, sender, set_up, write
from tests.running import RunningGateway

OWN = """
set daemon 1
set pidfile FOLDER/monit.pid
set statefile FOLDER/monit.state
set idfile FOLDER/monit.id
"""


class Page(BaseHTTPRequestHandler):
    """What Monit looks at."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()


@contextlib.contextmanager
def website(port: int) -> Iterator[None]:
    """A web server for the length of a block."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_port_fails_and_answers_again(gateway: RunningGateway, tmp_path: Path) -> None:
    monit = program("monit", "monit")
    program("curl", "curl")
    setup = set_up(gateway, "monit")
    script = write(tmp_path / "alert-gateway", setup.step("#!/bin/sh"), 0o700)
    pidfile, port = write(tmp_path / "nginx.pid", str(os.getpid())), free_port()
    own = {"/usr/local/bin/alert-gateway": str(script), "/run/nginx.pid": str(pidfile)}
    rules = setup.step("check process", instead={**own, "port 443 protocol https": f"port {port} protocol http"})
    file = write(tmp_path / "monitrc", OWN.replace("FOLDER", str(tmp_path)) + rules)
    run([monit, "-t", "-c", file])
    with sender(gateway, tmp_path, [monit, "-I", "-c", file]) as running:
        running.until_outcomes("opened")
        (opened,) = gateway.alerts()
        host = socket.gethostname()
        assert (opened.source, opened.source_name, opened.source_id) == ("Monit", host, "nginx/https")
        assert (opened.status, opened.severity, opened.subject) == ("open", "critical", f"nginx https on {host}")
        assert opened.description is not None
        assert opened.description.startswith("Connection failed: failed protocol test [HTTP]")
        with website(port):
            running.until_outcomes("opened", "closed")
        (closed,) = gateway.alerts()
        assert (closed.id, closed.status, closed.subject) == (opened.id, "closed", opened.subject)
