"""
Named crash points, so that a test can kill a process exactly where it hurts.

`GATEWAY_FAULTS` is a comma-separated list of `point=action` or `point=action:n` (at the n-th time; 1 by default).
Actions: `kill` (SIGKILL to itself), `raise`, `sleep` (60 s). Without the setting a point costs one method call.
"""

from __future__ import annotations

import os
import signal
import time

from gateway.errors import SettingsError

POINTS = (
    "ingest.before_commit",
    "ingest.after_commit",
    "ingest.before_answer",
    "state.before_commit",
    "state.after_commit",
    "delivery.claimed",
    "delivery.before_send",
    "delivery.after_send",
    "delivery.after_mark",
)
ACTIONS = ("kill", "raise", "sleep")


class Faults:
    """What is to go wrong, by point."""

    def __init__(self, spec: str = "") -> None:
        self._plan: dict[str, tuple[str, int]] = {}
        for item in filter(None, (part.strip() for part in spec.split(","))):
            point, _, rest = item.partition("=")
            action, _, nth = rest.partition(":")
            if point not in POINTS or action not in ACTIONS or not (nth or "1").isdigit():
                msg = f"GATEWAY_FAULTS: {item!r} is not `point=action:n` with a point of {POINTS} and an action of {ACTIONS}"
                raise SettingsError(msg)
            self._plan[point] = (action, int(nth or "1"))

    def point(self, name: str) -> None:
        """Do what was planned for this point, if anything."""
        if not self._plan or name not in self._plan:
            return
        action, left = self._plan[name]
        if left > 1:
            self._plan[name] = (action, left - 1)
            return
        del self._plan[name]
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "raise":
            msg = f"GATEWAY_FAULTS asked for this at {name}"
            raise RuntimeError(msg)
        time.sleep(60)


NO_FAULTS = Faults()
