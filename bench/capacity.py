"""Capacity: templates and rules, start-up, memory, and what a million stored alerts change."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench import servers, stores
from bench.extent import Extent, event, folder, told
from bench.figures import Figure, NotMeasuredError, ratio
from bench.load import Post, wrk

AT_REST = 5.0
"""Seconds that a gateway is left alone before its memory is counted."""
TEMPLATES = 250


class Reading:
    """A backlog is worked off: messages read by their templates, ruled on, applied to alerts, recorded."""

    SECONDS = 10.0
    KEYS = 500

    def __init__(self) -> None:
        self.figures = [
            Figure(name="templates and rules, one worker: Custom, 2 KiB", unit="msg/s", least=3000),
            Figure(name="templates and rules, one worker: all vendors' samples", unit="msg/s", least=3000),
        ]

    def measure(self, _: Extent) -> None:
        """Load it for a few seconds, then watch how fast the backlog goes, with nothing else to do."""
        with folder() as place:
            path = servers.add_integration(place / "data", "custom", "bench")
            posts = [
                Post(path, event(f"bench-{n % self.KEYS}", "close" if n % 5 == 4 else "open"))
                for n in range(self.KEYS * 2)
            ]
            self._drain(place, posts, self.figures[0])
            self.figures[0].note = "1 in 5 closes; 500 alerts"
        with folder() as place:
            self._drain(place, samples(place / "data"), self.figures[1])
            self.figures[1].note = "the samples of the built-in templates, in turn"

    def _drain(self, place: Path, posts: list[Post], figure: Figure) -> None:
        with servers.gateway(place) as (port, _):
            result = wrk(place, port, posts, 4, core=False)
            told(f"backlog: {result.accepted:,} messages accepted at {result.rate:,.0f}/s")
            figure.value = asyncio.run(drain_rate(place / "data", self.SECONDS))


def samples(data: Path) -> list[Post]:
    """Each JSON sample of each built-in template, on an integration of its template."""
    posts: list[Post] = []
    for vendor in sorted(path.parent for path in (servers.ROOT / "plugins").glob("*/template.toml")):
        path = servers.add_integration(data, vendor.name, f"bench-{vendor.name}")
        files = sorted(file for file in (vendor / "samples").glob("*.json") if not file.name.endswith(".expected.json"))
        posts += [Post(path, file.read_bytes()) for file in files]
    return posts


async def drain_rate(data: Path, seconds: float) -> float:
    """Messages a second that take effect, until the backlog is gone or the time is over."""
    async with stores.opened(data) as (journal, state):
        end = await journal.head()
        first, start = await state.cursor(), time.monotonic()
        if end - first < 2000:
            msg = f"the backlog of {end - first} messages is too short to measure: the worker keeps up"
            raise NotMeasuredError(msg)
        while (cursor := await state.cursor()) < end and time.monotonic() < start + seconds:
            await asyncio.sleep(0.01)
        return (cursor - first) / (time.monotonic() - start)


class Start:
    """From the command to the first accepted message, with many templates installed; and memory, when all is quiet."""

    def __init__(self) -> None:
        self.figures = [
            Figure(
                name=f"start with {TEMPLATES} templates installed, to the first accepted message", unit="s", most=1.5
            ),
            Figure(name="memory, idle, all processes", unit="MiB", most=250),
            Figure(name=f"memory, idle, all processes, with {TEMPLATES} templates", unit="MiB"),
        ]

    def measure(self, extent: Extent) -> None:
        """The first start is not counted: it makes the files, and Python's own caches."""
        with folder() as place:
            plugins = place / "plugins"
            generate_templates(plugins)
            path = servers.add_integration(place / "data", "custom", "bench")
            times = []
            for _ in range(extent.rounds + 1):
                with first_accepted(place, path, GATEWAY_PLUGINS_DIR=str(plugins)) as (seconds, pid):
                    times.append(seconds)
                    if len(times) > extent.rounds:
                        self.figures[2].value = memory(pid)
            self.figures[0].value = statistics.median(times[1:])
            self.figures[0].note = f"the very first: {times[0]:.2f} s"
        with folder() as place:
            path = servers.add_integration(place / "data", "custom", "bench")
            with first_accepted(place, path) as (_, pid):
                self.figures[1].value = memory(pid)
                count = len(servers.descendants(pid)) + 1
                self.figures[1].note = f"{count} processes; shared pages counted once (PSS)"


@contextlib.contextmanager
def first_accepted(place: Path, path: str, **settings: str) -> Iterator[tuple[float, int]]:
    """A gateway: how long it took to accept a message, and its first process."""
    port, log = servers.free_port(), place / "gateway.log"
    start = time.monotonic()
    with servers.running(servers.gateway_command(place / "data", port), log, **settings) as process:
        while process.poll() is None and time.monotonic() < start + servers.PATIENCE:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if servers.request(port, "POST", path, event("bench"))[0] == http.client.OK:
                    yield time.monotonic() - start, process.pid
                    return
            time.sleep(0.005)
    msg = f"no message was accepted: {log.read_text(errors='replace').strip()[-200:]}"
    raise NotMeasuredError(msg)


def generate_templates(plugins: Path) -> None:
    """Many vendors' templates, like the simplest built-in one, half of them with code."""
    for n in range(TEMPLATES):
        vendor = plugins / f"vendor{n:03}"
        (vendor / "samples").mkdir(parents=True)
        (vendor / "template.toml").write_text(TEMPLATE.format(n=n))
        (vendor / "README.md").write_text(f"# Vendor {n}\n\nPaste {{endpoint_url}} into the vendor's form.\n")
        (vendor / "samples" / "down_firing.json").write_text('{"monitor": {"id": 1, "name": "a"}, "state": "down"}\n')
        if n % 2:
            (vendor / "template.py").write_text(CODE)


TEMPLATE = """\
api = 1
name = "Vendor {n}"
channel = "API"
docs_url = "https://vendor{n}.example/webhooks"
categories = ["observability"]

[fields]
source = "Vendor {n}"
source_name = "{{monitor.name}}"
source_id = "{{monitor.id}}"
source_status = "{{state}}"
subject = "{{monitor.name}} is {{state}}"

[open]
is_one_of = ["down"]

[close]
is_one_of = ["up"]

[exempt]
sender_verified = "made up for a measurement"
"""
CODE = '''\
from collections.abc import Iterator

from gateway import Event, Request


def read(request: Request) -> Iterator[Event]:
    """One event."""
    data = request.json()
    yield Event(source_id=str(data["monitor"]["id"]), source_status=data["state"])
'''


def memory(pid: int) -> float:
    """What a process and all it started take, in MiB, after a while at rest; shared pages are counted once."""
    time.sleep(AT_REST)
    total = 0
    for one in [pid, *servers.descendants(pid)]:
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except ProcessLookupError:  # it ended in the meantime
            continue
        except OSError as error:
            msg = f"memory is counted from /proc/<pid>/smaps_rollup: {error.strerror}"
            raise NotMeasuredError(msg) from None
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


class Stored:
    """Many alerts in the store."""

    def __init__(self, extent: Extent) -> None:
        many = f"{extent.stored:,} alerts stored"
        self.figures = [
            Figure(name=f"{many}: newest 50, p99", unit="ms", most=20),
            Figure(name=f"{many}: find by key, p99", unit="ms", most=1),
            Figure(name=f"{many}: accept, against an empty store", unit="×", least=0.9),
        ]

    def measure(self, extent: Extent) -> None:
        """Fill a store through its contract, then look things up, and accept in turn with it and with an empty one."""
        with folder() as full, folder() as empty:
            paths = {place: servers.add_integration(place / "data", "custom", "bench") for place in (full, empty)}
            told(f"storing {extent.stored:,} alerts")
            asyncio.run(stores.fill(full / "data", extent.stored))
            self.figures[0].value, self.figures[1].value = asyncio.run(stores.look_ups(full / "data", extent.stored))
            rates: dict[Path, list[float]] = {full: [], empty: []}
            for place in (full, empty) * extent.rounds:
                with servers.gateway(place, core=servers.SERVER_CORE) as (port, _):
                    rates[place].append(wrk(place, port, [Post(paths[place], event("bench"))], extent.seconds).rate)
            self.figures[2].value = ratio(statistics.median(rates[full]), statistics.median(rates[empty]))
