"""What the tests share of running a gateway; `gateway.testing` has it, since third parties test with it too."""

from __future__ import annotations

from pathlib import Path

from gateway.testing.running import RunningGateway, running, until
from gateway.testing.sink import Arrival, Sink

__all__ = ["ROOT", "Arrival", "RunningGateway", "Sink", "running", "until"]

ROOT = Path(__file__).parent.parent
