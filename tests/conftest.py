"""
What holds for every test.

Async tests run through anyio's pytest plugin: mark them `@pytest.mark.anyio`, or a whole module with `pytestmark`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
    del os.environ[name]  # the settings of whoever runs the tests are not the tests' settings


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Plain asyncio: what the loop is made of is tested where a server runs."""
    return "asyncio", {"use_uvloop": False}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--must-run`. (A flag and no GATEWAY_… variable: the gateway refuses settings that it does not know.)"""
    parser.addoption("--must-run", action="store_true", help="a skipped test is a failed test, as in .ci/run")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what was skipped, where nothing may be."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--must-run"):
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that skips itself, where nothing may be skipped."""
    report = yield
    if report.skipped and collector.config.getoption("--must-run"):
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} did not run, and --must-run says that every test must: {reason}"
