"""The pytest plugin that ships with the gateway, in a pytest of its own, as a third party has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import EXAMPLES

ACME = EXAMPLES / "alert-gateway-acme"
LATER = "gateway.testing.conformance gateway.testing.running gateway.plugins gateway.reader apsw hypothesis starlette"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest in a folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", "-p", "no:xdist", *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=110, check=False)


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """A third party's repository."""
    folder = tmp_path / "acme"
    shutil.copytree(ACME, folder, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    return folder


def test_three_lines_are_a_whole_suite(acme: Path) -> None:
    done = run(acme)
    assert done.returncode == 0, done.stdout
    assert "test_expected_outcome[acme/door_firing.json] PASSED" in run(acme, "-vv", "-k", "expected").stdout


def test_expected_files_are_written_when_that_is_asked_for(acme: Path) -> None:
    samples = acme / "src" / "alert_gateway_acme" / "samples"
    wrong, missing, right = (
        samples / f"{name}.expected.json" for name in ("door_firing", "door_resolved", "test_message")
    )
    before = {path: path.read_text() for path in (wrong, missing, right)}
    wrong.write_text(before[wrong].replace("Door open", "Door closed"))
    missing.unlink()
    right.write_text(json.dumps(json.loads(before[right])))  # the same in other words

    done = run(acme)
    assert done.returncode == 1
    assert "read 'Door open in Loading dock', expected 'Door closed in Loading dock'" in done.stdout
    assert "Door closed" in wrong.read_text(), "nothing is written unless it is asked for"

    done = run(acme, "--update-expected")
    assert done.returncode == 1, "a file that changed fails its test once, so that somebody looks"
    _, _, told = done.stdout.partition("expected files written")
    written = [line for line in told.splitlines() if line.startswith(str(samples)) and line.endswith(".expected.json")]
    assert written == [str(wrong), str(missing)]
    assert wrong.read_text() == before[wrong]
    assert missing.read_text() == before[missing]
    assert right.read_text() != before[right], "a file that says the same is left as it is"

    done = run(acme, "--update-expected")
    assert done.returncode == 0, done.stdout
    assert "expected files written" not in done.stdout


def test_a_gateway_for_a_test(acme: Path) -> None:
    """Settings come from the marker; a template that is not installed lies in a folder beside the test."""
    plugins = acme / "tests" / "plugins"
    shutil.copytree(acme / "src" / "alert_gateway_acme", plugins / "acme")
    (acme / "tests" / "test_running.py").write_text(
        "import json\n"
        "import pathlib\n\n"
        "import pytest\n\n\n"
        "@pytest.mark.gateway(plugins_dir='plugins')\n"
        "def test_an_alert(gateway):\n"
        "    url = gateway.add('acme', 'Freezers').url(gateway.url)\n"
        "    sample = pathlib.Path(__file__).parent / 'plugins' / 'acme' / 'samples' / 'door_firing.json'\n"
        "    assert gateway.post(url, sample.read_bytes())[0] == 200\n"
        "    assert [alert.subject for alert in gateway.alerts()] == ['Door open in Loading dock']\n"
    )
    done = run(acme, "--strict-markers", "tests/test_running.py")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_who_does_not_use_it_does_not_pay_for_it(tmp_path: Path) -> None:
    """It is loaded by every pytest of its environment, so what it imports is next to nothing."""
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\n\n"
        "def test_nothing(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.hasplugin('alert_gateway')\n"
        f"    assert not set({LATER!r}.split()) & set(sys.modules)\n"
    )
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
