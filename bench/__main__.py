"""
Measure the gateway and print what its claims of speed rest on.

    python3 dev.py bench                  all of it, some minutes
    python3 dev.py bench --quick          the same, roughly, in a quarter of the time
    python3 dev.py bench --only accept    one section: accept, latency, reading, rules, start, stored
    python3 dev.py bench --json FILE      the figures as JSON, too

Everything is on the loopback and ends by itself. What could not be measured says why.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from bench.accept import Accept
from bench.capacity import Reading, Start, Stored
from bench.extent import Extent, told
from bench.figures import Figure, figures_table, servers_table, what_is_missing
from bench.latency import Latency
from bench.patterns import Rules

USUAL = Extent(rounds=3, seconds=5, latency_seconds=10, stored=100_000)
QUICK = Extent(rounds=1, seconds=2, latency_seconds=4, stored=20_000)
FULL = Extent(rounds=5, seconds=8, latency_seconds=30, stored=1_000_000)


BUSY = 0.7
"""The load above which figures say more of the machine's other work than of the gateway."""


class Section(Protocol):
    """Some figures, and what measures them."""

    figures: list[Figure]

    def measure(self, extent: Extent) -> None:
        """Give the figures their values."""


def main() -> int:
    """Measure what was asked for; 0 also where a target was missed, for that is what it is there to say."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="extent", const=QUICK, default=USUAL, help="a short run")
    size.add_argument(
        "--full", action="store_const", dest="extent", const=FULL, help="longer, with a million alerts stored"
    )
    parser.add_argument("--only", action="append", choices=["accept", "latency", "reading", "rules", "start", "stored"])
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    extent: Extent = arguments.extent
    accept = Accept()
    sections: dict[str, Section] = {
        "accept": accept,
        "latency": Latency(),
        "reading": Reading(),
        "rules": Rules(),
        "start": Start(),
        "stored": Stored(extent),
    }
    started, busy = time.monotonic(), os.getloadavg()[0]
    for name in arguments.only or sections:
        told(name)
        measure(sections[name], extent)
    chosen = arguments.only or list(sections)
    figures = [figure for name in chosen for figure in sections[name].figures]
    print(f"{machine()}; {time.monotonic() - started:.0f} s, {extent.rounds} rounds of {extent.seconds} s, medians\n")
    if busy > BUSY:
        print(f"The machine had other work when this began (load {busy:.1f}): repeat it when it is quiet.\n")
    if "accept" in chosen:
        print("Keep-alive, 64 connections, 2 KiB bodies, server on one core, load on another:\n")
        print(servers_table(accept.servers))
        print("\nA new connection for each request:\n")
        print(servers_table(accept.closing), end="\n\n")
    print(figures_table(figures))
    if missing := what_is_missing(figures):
        print(f"\n{missing}")
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(accept, figures), indent=2) + "\n")
    return 0


def measure(section: Section, extent: Extent) -> None:
    """Measure one section; where that fails, its figures say so and the rest goes on."""
    try:
        section.measure(extent)
    except Exception as error:  # noqa: BLE001 - whatever it was is the reason that is printed
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]  # what the first of them met
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        for figure in section.figures:
            if figure.value is None:
                figure.reason = reason


def machine() -> str:
    """What it ran on."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def as_json(accept: Accept, figures: list[Figure]) -> dict[str, Any]:
    """The same as the tables, for programs."""
    return {
        "machine": machine(),
        "keep_alive": [asdict(server) for server in accept.servers],
        "new_connections": [asdict(server) for server in accept.closing],
        "figures": [asdict(figure) | {"target": figure.target, "verdict": figure.verdict} for figure in figures],
    }


if __name__ == "__main__":
    sys.exit(main())
