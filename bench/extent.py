"""What all measurements share: how long they take, where they put their files, what they send."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.load import padded


@dataclass(frozen=True)
class Extent:
    """How long and how often to measure."""

    rounds: int
    seconds: int
    latency_seconds: float
    stored: int


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder for one server's turn."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def event(source_id: str, status: str = "open") -> bytes:
    """2 KiB of the gateway's own JSON."""
    said: dict[str, object] = {"source_id": source_id, "status": status, "subject": "host-17 does not answer"}
    return padded(said | {"severity": "critical", "source_name": "host-17", "tags": ["bench"]}, "description")


def told(text: str) -> None:
    """Say how far it is, apart from what is printed at the end."""
    print(f"… {text}", file=sys.stderr, flush=True)
