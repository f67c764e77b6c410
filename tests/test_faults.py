"""Crash points: a wrong plan is refused; a point does what was planned, once, at the n-th time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.errors import SettingsError
from gateway.faults import NO_FAULTS, POINTS, Faults


@pytest.mark.parametrize(
    "spec", ["nowhere=kill", "ingest.before_commit", "ingest.before_commit=", "ingest.before_commit=stop",
             "ingest.before_commit=kill:x", "ingest.before_commit=kill:-1", "=kill", "ingest.before_commit:kill"],
)  # fmt: skip
def test_a_plan_that_is_wrong_is_refused_by_name(spec: str) -> None:
    with pytest.raises(SettingsError, match=r"GATEWAY_FAULTS: .* is not `point=action:n`"):
        Faults(spec)


def test_it_raises_at_the_nth_time_and_once() -> None:
    faults = Faults("state.before_commit=raise:3, delivery.claimed=raise,")
    faults.point("state.before_commit")
    faults.point("state.before_commit")
    faults.point("state.after_commit")
    with pytest.raises(RuntimeError, match=r"asked for this at state\.before_commit"):
        faults.point("state.before_commit")
    faults.point("state.before_commit")
    with pytest.raises(RuntimeError):
        faults.point("delivery.claimed")


def test_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    Faults("ingest.before_answer=sleep").point("ingest.before_answer")
    assert slept == [60]


def test_it_kills() -> None:
    program = "from gateway.faults import Faults\nFaults('state.after_commit=kill').point('state.after_commit')"
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parent.parent)
    assert done.returncode == -signal.SIGKILL


def test_without_a_plan_every_point_is_passed() -> None:
    for point in POINTS:
        NO_FAULTS.point(point)


@pytest.mark.parametrize("point", POINTS)
def test_every_point_is_somewhere_in_the_code(point: str) -> None:
    """A point that nothing passes makes its test pass for nothing."""
    package = Path(__file__).parent.parent / "gateway"
    users = [path for path in package.rglob("*.py") if path.name != "faults.py" and f'"{point}"' in path.read_text()]
    assert users, f"no module calls faults.point({point!r}): call it, or take it out of POINTS"
