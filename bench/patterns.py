"""Rules: one message against an integration with very many patterns over a long field."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from bench.extent import Extent
from bench.figures import Figure
from bench.servers import ROOT
from gateway.rulebook import Rulebook, compile_rulebook
from gateway.template import Request, TemplateFolder

RULES = 100
PATTERNS = 100
FIELD = 64 << 10
READINGS = 20


class Rules:
    """How long one message takes in the process that reads; the rules are compiled once, and are not counted."""

    def __init__(self) -> None:
        what = f"{RULES} rules of {PATTERNS} patterns each over a field of {FIELD >> 10} KiB"
        self.figures = [
            Figure(name=f"{what}, ASCII", unit="ms", most=50),
            Figure(name=f"{what}, not ASCII", unit="ms", most=50),
        ]

    def measure(self, _: Extent) -> None:
        """Read the same message again and again; the slowest of the readings counts, but for the first, which is told."""
        book = compile_rulebook(TemplateFolder(ROOT / "plugins" / "custom"), settings())
        for figure, letters in zip(self.figures, ("abcdefghij foobar0123", "äöü fooé bar 0123"), strict=True):
            first, *times = readings(book, letters)
            figure.value = max(times)
            usual = statistics.median(times)
            figure.note = f"median {usual:.1f} ms; the very first, in which RE2 prepares itself: {first:.0f} ms"


def settings() -> dict[str, Any]:
    """Overrides, each with patterns of its own."""
    return {
        "override": [
            {
                "policy": f"policy {rule}",
                "when": {
                    "any": [
                        {"field": "{text}", "matches": f"(foo{rule}x{n}|bar{rule})[0-9]+y$|(a+)+z"}
                        for n in range(PATTERNS)
                    ]
                },
            }
            for rule in range(RULES)
        ]
    }


def readings(book: Rulebook, letters: str) -> list[float]:
    """Milliseconds for each reading of a message whose field is made of these letters."""
    dice = random.Random(1)
    text = "".join(dice.choices(letters, k=FIELD))
    request = Request({"source_id": "x", "status": "open", "subject": "s", "text": text})
    times = []
    for _ in range(READINGS):
        started = time.perf_counter()
        (reading,) = book.readings(request)
        times.append((time.perf_counter() - started) * 1000)
        if reading.overrides:
            msg = "a pattern was found, which none should be"
            raise AssertionError(msg)
    return times
