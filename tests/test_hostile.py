"""A hostile template harms nobody but itself."""

from __future__ import annotations

from pathlib import Path

from tests.hostile import run, tricks


def test_good_messages_among_hostile_ones_are_all_handled(tmp_path: Path) -> None:
    found = run(tmp_path / "data", seconds=3, pause=0.05)
    assert found.violations == []
    assert found.good
    assert found.hostile == len(tricks()) > 30
    assert found.outcomes["failed"] > 20
