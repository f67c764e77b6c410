"""Prometheus Alertmanager itself, set up as the template's README says."""

from __future__ import annotations

import contextlib
import json
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from tests.acceptance.senders import Sender, Setup, free_port, program, run, sender, set_up, write
from tests.running import RunningGateway

QUICK = {"group_wait: 30s": "group_wait: 0s", "group_interval: 5m": "group_interval: 1s"}


@contextlib.contextmanager
def alertmanager(gateway: RunningGateway, folder: Path, setup: Setup) -> Iterator[tuple[Sender, str]]:
    """One with the README's receiver, that with the secret, and its route; and its address."""
    command, amtool = program("prometheus-alertmanager", "prometheus-alertmanager"), tool()
    receiver = setup.step("receivers:").partition("      - url:")[0] + setup.step("credentials:")
    route = setup.step("route:", instead=QUICK)
    file = write(folder / "alertmanager.yml", f"global:\n  resolve_timeout: 5s\n{receiver}{route}")
    run([amtool, "check-config", file])
    at = f"127.0.0.1:{free_port()}"
    own = [f"--config.file={file}", f"--storage.path={folder / 'alerts'}"]
    loopback = [f"--web.listen-address={at}", "--cluster.listen-address="]
    with sender(gateway, folder, [command, *own, *loopback]) as running:
        running.until(lambda: answers(f"http://{at}/-/ready"))
        yield running, f"http://{at}"


def tool() -> str:
    """The tool that comes with it."""
    return program("amtool", "prometheus-alertmanager")


def answers(url: str) -> bool:
    """Whether there is somebody."""
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.URLError:
        return False
    return True


def api(url: str, alerts: list[dict[str, Any]] | None = None) -> Any:
    """Post alerts as Prometheus does, or get those that are there."""
    body = None if alerts is None else json.dumps(alerts).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def test_an_alert_fires_and_is_resolved(gateway: RunningGateway, tmp_path: Path) -> None:
    began = datetime.fromtimestamp(SystemClock().now() / 1000, UTC)
    alert = {
        "labels": {"alertname": "DiskFull", "severity": "critical", "instance": "db-7", "job": "node"},
        "annotations": {"summary": "Disk of db-7 is full", "description": "No space is left on /var."},
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=up",
        "startsAt": began.isoformat(),
    }
    with alertmanager(gateway, tmp_path, set_up(gateway, "alertmanager")) as (running, url):
        api(url, [{**alert, "endsAt": (began + timedelta(hours=1)).isoformat()}])
        running.until_outcomes("opened")
        (opened,) = gateway.alerts()
        (known,) = api(url)
        assert (opened.source, opened.source_name) == ("Prometheus Alertmanager", "node")
        assert opened.source_id == known["fingerprint"]
        assert (opened.status, opened.severity, opened.subject) == ("open", "critical", "Disk of db-7 is full")
        assert (opened.description, opened.source_url) == ("No space is left on /var.", alert["generatorURL"])
        assert "severity:critical" in opened.tags

        ended = datetime.fromtimestamp(SystemClock().now() / 1000, UTC)
        api(url, [{**alert, "endsAt": ended.isoformat()}])
        running.until_outcomes("opened", "closed")
        (closed,) = gateway.alerts()
        assert (closed.id, closed.status, closed.subject) == (opened.id, "closed", opened.subject)


def test_an_alert_that_says_only_when_it_ends_closes_before_that(gateway: RunningGateway, tmp_path: Path) -> None:
    began = datetime.fromtimestamp(SystemClock().now() / 1000, UTC)
    ends = began + timedelta(minutes=30)
    alert = {"labels": {"alertname": "DiskFull", "instance": "db-7"}}
    with alertmanager(gateway, tmp_path, set_up(gateway, "alertmanager")) as (running, url):
        api(url, [{**alert, "endsAt": ends.isoformat()}])
        running.until_outcomes("opened")
        (known,) = api(url)
        assert datetime.fromisoformat(known["startsAt"]) > began + timedelta(minutes=29), "as when it ends"
        ended = datetime.fromtimestamp(SystemClock().now() / 1000, UTC)
        api(url, [{**alert, "endsAt": ended.isoformat()}])
        running.until_outcomes("opened", "closed")


def test_the_trial_of_the_readme_opens_and_closes_by_itself(gateway: RunningGateway, tmp_path: Path) -> None:
    setup = set_up(gateway, "alertmanager")
    with alertmanager(gateway, tmp_path, setup) as (running, url):
        line = shlex.split(setup.step("amtool alert add", instead={"http://localhost:9093": url}))
        run([tool(), *line[1:]], HOME=str(tmp_path))
        running.until_outcomes("opened")
        (opened,) = gateway.alerts()
        assert (opened.status, opened.severity, opened.subject) == ("open", "warning", "A trial")
        running.until_outcomes("opened", "closed")
        (closed,) = gateway.alerts()
        assert (closed.id, closed.status) == (opened.id, "closed")
