"""
The pytest plugin: `--update-expected`, and the fixture `gateway`.

pytest loads it in every environment that the gateway is installed in, so it imports nothing until it is asked for something.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gateway.testing.running import RunningGateway

UPDATE = "update_expected"
REWRITTEN = "gateway_expected_file"
"""Under this name a test records which expected file it wrote."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-expected`."""
    parser.getgroup("alert-gateway").addoption(
        "--update-expected",
        action="store_true",
        dest=UPDATE,
        help="write the expected files of templates anew from what is read now; a test whose file changed fails this once",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, also where markers are strict."""
    config.addinivalue_line(
        "markers",
        "gateway(**settings): settings for the fixture `gateway`, those of GATEWAY_… in lower case; "
        "a relative `plugins_dir` is looked for beside the test's file",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which expected files were written."""
    written = sorted(
        str(path)
        for report in terminalreporter.getreports("failed")
        for name, path in getattr(report, "user_properties", ())
        if name == REWRITTEN
    )
    if written:
        terminalreporter.section(
            "expected files written; read the differences, then run again without --update-expected"
        )
        for path in written:
            terminalreporter.line(path)


@pytest.fixture
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningGateway]:
    """
    A real gateway on a store of its own: its processes, with all plugins of this environment, stopped when the test ends.

    `@pytest.mark.gateway(plugins_dir="plugins")` gives it settings.
    """
    from gateway.testing.running import running

    marker = request.node.get_closest_marker("gateway")
    settings = {name: str(value) for name, value in marker.kwargs.items()} if marker else {}
    if "plugins_dir" in settings:
        settings["plugins_dir"] = str(request.path.parent / settings["plugins_dir"])
    with running(tmp_path / "gateway", **settings) as started:
        yield started
