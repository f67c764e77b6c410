"""
A gateway with hostile templates beside a good one, under load: is every good message handled, and how fast is it accepted?

    python -m tests.hostile --seconds 20

posts to all of them at once and prints the counts and the times to a 200. `test_hostile.py` runs a short form.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec

from gateway.models import Alert, EventRecord
from gateway.store.sqlite import SqliteJournal, SqliteState
from tests.running import ROOT, RunningGateway, running, until

PLUGINS = ROOT / "tests" / "hostile_plugins"
DRAIN = 120.0


class Found(msgspec.Struct, kw_only=True):
    """What a run found; `times` are seconds from request to answer, in order of size."""

    good: int = 0
    hostile: int = 0
    handled: int = 0
    outcomes: dict[str, int] = {}
    times: list[float] = []
    violations: list[str] = []

    def percentile(self, share: float) -> float:
        """The time under which this share of the answers came."""
        return self.times[min(len(self.times) - 1, int(len(self.times) * share))]


TRICKS = {
    "dies": "exit leaving kill killing_the_group abort wild_pointer closed_files",
    "dies-at-import": "anything",
    "eats": "at_once bit_by_bit leak files threads disk",
    "garbage": "None number text object class nothing nones cycle coroutine endless million id_number id_empty id_huge "
    "tags_cycle time_text ignored_cycle bytes huge_subject surrogates many_tags open_and_close",
    "hangs": "loop sleep interpreter pattern silence",
    "hangs-at-import": "anything",
    "raises": "ValueError KeyError BaseException SystemExit KeyboardInterrupt GeneratorExit StopIteration CancelledError "
    "WithoutTextError UnreadableError TemplateError surrogates long",
    "raises-at-import": "anything",
}
"""What the templates in `hostile_plugins` do when they are told to."""


def tricks() -> list[tuple[str, str]]:
    """Every hostile thing: template and what it is told to do."""
    return [(slug, trick) for slug, names in TRICKS.items() for trick in names.split()]


def run(data: Path, seconds: float, pause: float = 0.01) -> Found:
    """Post for so long, wait until all is handled, and look."""
    found = Found()
    lock = threading.Lock()
    with running(data, plugins_dir=str(PLUGINS), read_deadline="0.5", read_memory=str(400 << 20)) as gateway:
        urls = {slug: gateway.add(slug, slug).url(gateway.url) for slug in ["good", *TRICKS]}
        end = time.monotonic() + seconds

        def post(url: str, body: object) -> None:
            begun = time.perf_counter()
            status, answer = gateway.post(url, msgspec.json.encode(body))
            took = time.perf_counter() - begun
            with lock:
                found.times.append(took)
                if status != 200:
                    found.violations.append(f"answered {status} {answer}")

        def good(number: int) -> None:
            count = 0
            while time.monotonic() < end:
                count += 1
                post(urls["good"], {"id": f"{number}-{count}", "status": "down", "text": "a good one"})
                with lock:
                    found.good += 1
                time.sleep(pause)

        def hostile() -> None:
            for slug, trick in tricks():
                post(urls[slug], {"do": trick})
                found.hostile += 1

        threads = [threading.Thread(target=good, args=(number,)) for number in range(4)]
        threads.append(threading.Thread(target=hostile))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(gateway.settled, gateway, DRAIN)
        _look(gateway, found)
    found.times.sort()
    return found


def _look(gateway: RunningGateway, found: Found) -> None:
    async def question(state: SqliteState, journal: SqliteJournal) -> tuple[list[EventRecord], list[Alert], int]:
        head = await journal.head()
        return await state.events(range(1, head + 1)), await state.alerts(limit=100_000), head

    events, alerts, head = gateway.ask(question)
    handled = {event.message_id for event in events}
    found.handled = len(handled)
    found.outcomes = dict(Counter(event.outcome for event in events))
    if head != found.good + found.hostile:
        found.violations.append(f"{found.good + found.hostile} messages were accepted, {head} are recorded")
    if len(handled) != head:
        found.violations.append(f"{head - len(handled)} messages were never handled")
    opened = {alert.source_id for alert in alerts if alert.source == "Good"}
    if len(opened) != found.good:
        found.violations.append(f"{found.good} good messages opened {len(opened)} alerts")


def main() -> int:
    """Run it and print what was found; 1 where anything was violated."""
    parser = argparse.ArgumentParser(description="A good template among hostile ones.")
    parser.add_argument("--seconds", type=float, default=20)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder, "data"), seconds)
    print(f"good {found.good} hostile {found.hostile} handled {found.handled} outcomes {found.outcomes}")
    print(f"accepted in p50 {found.percentile(0.5) * 1000:.1f} ms, p99 {found.percentile(0.99) * 1000:.1f} ms")
    for violation in found.violations:
        print(f"VIOLATED: {violation}")
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
