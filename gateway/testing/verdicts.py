"""
A pytest plugin that writes down what became of each law, for `alert-gateway plugins check`.

    python -m pytest -p gateway.testing.verdicts --verdicts FILE …

Each line of the file is `{"test", "case", "outcome", "text"}`; `case` is the template or the sample. The last one has the
outcome `finished`: without it, something ended the process before its time.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FINISHED = "finished"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--verdicts FILE`."""
    parser.addoption(
        "--verdicts", metavar="FILE", help="write what became of each test to this file, a line of JSON each"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start with an empty file."""
    if config.getoption("--verdicts"):
        config.pluginmanager.register(_Verdicts(Path(config.getoption("--verdicts"))))


class _Verdicts:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.write_text("", encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write one line for each test, when it is over or where its set-up failed."""
        if report.when == "call" or report.outcome != "passed":
            test, _, case = report.nodeid.rpartition("::")[2].partition("[")
            self._write(test, case.removesuffix("]"), report.outcome, _text(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write what could not even be collected."""
        if report.failed:
            self._write("collection", "", "failed", report.longreprtext)

    def pytest_sessionfinish(self) -> None:
        """Write that every test had its turn."""
        self._write("", "", FINISHED, "")

    def _write(self, test: str, case: str, outcome: str, text: str) -> None:
        line = json.dumps({"test": test, "case": case, "outcome": outcome, "text": text})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _text(report: pytest.TestReport) -> str:
    """What pytest says of a test; of one that was skipped, the reason alone."""
    if isinstance(report.longrepr, tuple):  # the file, the line and the reason
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext
