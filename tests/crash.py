"""
Kill a gateway under load, then count: is every message that was answered 2xx recorded once, and was everyone told?

    python -m tests.crash --kills 100

posts messages from several senders while it kills web, worker, delivery and reader at random moments, again with people who
wait to be told, then once more for each named crash point, and prints the counts. The suite runs a short form of the same
(`test_crash.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from gateway.faults import POINTS
from gateway.models import EventRecord, Message
from gateway.store.sqlite import SqliteJournal, SqliteState
from tests.running import RunningGateway, Sink, until

KINDS = ("web", "worker", "delivery", "reader")
SENDERS = 8
DRAIN = 120.0
KILLED = "(signal 9)"


class Counts(msgspec.Struct, kw_only=True):
    """What a run did and what was found after it; everything under `violations` should not be there."""

    kills: int = 0
    posted: int = 0
    answered: int = 0
    refused: int = 0
    unanswered: int = 0
    recorded: int = 0
    opened: int = 0
    arrivals: int = 0
    repeated: int = 0
    violations: list[str] = msgspec.field(default_factory=list)


class Senders:
    """Post messages, each with an id of its own, and remember what was answered."""

    def __init__(self, gateway: RunningGateway, url: str, pause: float) -> None:
        self.acknowledged: dict[int, tuple[str, str]] = {}
        self.counts = Counts()
        self._gateway, self._url, self._pause = gateway, url, pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop after the message that is under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            source_id = f"{number}-{count}"
            body = msgspec.json.encode({"source_id": source_id, "status": "open", "subject": f"Problem {source_id}"})
            with self._lock:
                self.counts.posted += 1
            try:
                status, answer = self._gateway.post(self._url, body)
            except (OSError, ValueError):
                with self._lock:
                    self.counts.unanswered += 1
                continue
            with self._lock:
                if status == 200:
                    self.counts.answered += 1
                    key = int(answer["message_id"])
                    if key in self.acknowledged:
                        self.counts.violations.append(f"message id {key} was given twice")
                    self.acknowledged[key] = (source_id, hashlib.sha256(body).hexdigest())
                else:
                    self.counts.refused += 1
                    if status != 503:
                        self.counts.violations.append(f"{source_id} was answered {status}")
            time.sleep(self._pause)


WAITING = {"delay": {"wait": "1500ms"}, "close_after": "1h"}
"""Settings with which people wait to be told, over the deaths of those who will tell them."""


def at_random(
    data: Path, sink: Sink, kills: int, seed: int, pause: float = 0.05, settings: Mapping[str, Any] | None = None
) -> Counts:
    """Kill `kills` processes at random moments under load."""
    chance = random.Random(seed)
    gateway = RunningGateway(data).start()
    try:
        made = gateway.add("custom", "crash", tell=sink.url, **(settings or {}))
        senders = Senders(gateway, made.url(gateway.url), pause)
        for _ in range(kills):
            time.sleep(chance.uniform(0.02, 0.4))
            kind = chance.choice(KINDS)
            until(partial(gateway.kill, kind), gateway)
            senders.counts.kills += 1
        senders.stop()
        return _checked(gateway, sink, senders)
    finally:
        _end(gateway)


def at_point(data: Path, sink: Sink, point: str, seconds: float = 2.0, nth: int = 7) -> Counts:
    """Have processes kill themselves whenever they pass this point for the n-th time, under load."""
    gateway = RunningGateway(data, faults=f"{point}=kill:{nth}").start()
    try:
        made = gateway.add("custom", "crash", tell=sink.url)
        senders = Senders(gateway, made.url(gateway.url), 0.02)
        with contextlib.suppress(AssertionError):  # it never comes to that: the counts say so
            until(lambda: KILLED in gateway.log.read_text(), gateway)
        time.sleep(seconds)
        senders.stop()
        # The gateway is started anew without the fault: with it, what waits would drain a few at a time.
        gateway.stop()
        deaths = gateway.log.read_text().count(KILLED)
        gateway.environ.pop("GATEWAY_FAULTS")
        gateway.start()
        counts = _checked(gateway, sink, senders)
        counts.kills = deaths
        if not deaths:
            counts.violations.append(f"nothing passed {point}")
        return counts
    finally:
        _end(gateway)


def _end(gateway: RunningGateway) -> None:
    if gateway.process is not None:
        gateway.process.kill()
        gateway.process.wait()


def _checked(gateway: RunningGateway, sink: Sink, senders: Senders) -> Counts:
    until(gateway.settled, gateway, DRAIN)
    counts = senders.counts

    async def look(state: SqliteState, journal: SqliteJournal) -> tuple[list[Message], list[EventRecord]]:
        messages: list[Message] = []
        while batch := await journal.read(messages[-1].id if messages else 0, 1000):
            messages += batch
        return messages, await state.events([message.id for message in messages])

    messages, events = gateway.ask(look)
    recorded = {message.id: message for message in messages}
    counts.recorded = len(recorded)
    for message_id, (source_id, digest) in senders.acknowledged.items():
        message = recorded.get(message_id)
        if message is None:
            counts.violations.append(f"message {message_id} ({source_id}) was answered 200 and is not there")
        elif hashlib.sha256(message.body).hexdigest() != digest:
            counts.violations.append(f"message {message_id} ({source_id}) is not what was sent")
    effects = Counter(event.message_id for event in events)
    counts.violations += [f"message {key} took effect {effects[key]} times" for key in recorded if effects[key] != 1]
    opened = {event.alert_id for event in events if event.outcome == "opened"}
    counts.opened = len(opened)
    keys: dict[int, set[str]] = {}
    for arrival in sink.arrivals:
        keys.setdefault(int(arrival.alert["id"]), set()).add(arrival.id)
    counts.arrivals = len(sink.arrivals)
    counts.repeated = counts.arrivals - sum(len(ids) for ids in keys.values())
    for alert_id in opened:
        if alert_id is not None and len(keys.get(alert_id, ())) != 1:
            counts.violations.append(f"alert {alert_id} arrived under {len(keys.get(alert_id, ()))} keys")
    _, traceback, text = gateway.log.read_text().partition("Traceback")
    if traceback:
        counts.violations.append(f"there is a traceback in the log: {text[:4000]}")
    return counts


def main() -> int:
    """Run the long form; 1 where anything was violated."""
    parser = argparse.ArgumentParser(description="Kill a gateway under load and count what is left.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        runs: list[tuple[str, Callable[[Path, Sink], Counts]]] = [
            ("at random moments", partial(at_random, kills=arguments.kills, seed=arguments.seed)),
            ("while people wait", partial(at_random, kills=arguments.kills, seed=arguments.seed, settings=WAITING)),
            *((point, partial(at_point, point=point)) for point in POINTS),
        ]
        for number, (name, run) in enumerate(runs):
            sink = Sink()
            counts = run(Path(folder, f"run-{number}"), sink)
            sink.close()
            figures = {field: value for field, value in msgspec.structs.asdict(counts).items() if field != "violations"}
            print(f"{name:24}", *(f"{field} {value}" for field, value in figures.items()))
            for violation in counts.violations:
                print(f"  VIOLATED: {violation}")
            bad += len(counts.violations)
    print("every promise was kept" if not bad else f"{bad} promises were broken")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
