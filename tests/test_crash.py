"""The short form of `python -m tests.crash`: nothing that was answered 2xx is lost, nothing takes effect twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.faults import POINTS
from tests.crash import WAITING, Counts, at_point, at_random
from tests.running import Sink


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Where notifications arrive."""
    sink = Sink()
    yield sink
    sink.close()


def test_killed_at_random_moments(tmp_path: Path, sink: Sink) -> None:
    counts = at_random(tmp_path / "data", sink, kills=8, seed=20261122)
    _check(counts)
    assert counts.kills == 8


def test_killed_while_people_wait_to_be_told(tmp_path: Path, sink: Sink) -> None:
    _check(at_random(tmp_path / "data", sink, kills=8, seed=20261125, settings=WAITING))


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_point(tmp_path: Path, sink: Sink, point: str) -> None:
    _check(at_point(tmp_path / "data", sink, point, seconds=1.0, nth=5))


def _check(counts: Counts) -> None:
    assert counts.violations == []
    assert counts.answered
    assert counts.recorded >= counts.answered
    assert counts.opened == counts.recorded
