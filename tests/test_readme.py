"""README.md: what it has a reader do about a JSON of their own is done as it stands there, with a gateway that runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.pages import blocks
from tests.running import ROOT, running, until

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_any_json_from_nothing_to_open_and_close(tmp_path: Path) -> None:
    shown = {block.title: block.text for block in blocks(README) if block.title}
    for name in ("forced.json", "doors.toml"):
        (tmp_path / name).write_text(shown[name] + "\n")
    commands = shown["doors"].splitlines()
    assert len(commands) <= 5
    with running(tmp_path / "data") as gateway:
        url, printed = "", ""
        for command in commands:
            line = command.replace("alert-gateway", f"{sys.executable} -m gateway").replace("URL", url)
            done = subprocess.run(
                ["bash", "-c", line], cwd=tmp_path, env=gateway.environ, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            printed = done.stdout
            found = re.search(r"http://\S+/POSTAlert/\S+", printed)
            url = gateway.at(found[0]) if found else url
            until(gateway.settled, gateway)
        (alert,) = gateway.alerts()
        assert (alert.status, alert.severity, alert.subject) == ("closed", "critical", "North door is forced open")
        assert "North door is forced open" in printed
        log = gateway.cli("messages", "list", "--integration", "Doors")
        assert [event["outcome"] for message in log for event in message["events"]] == ["closed", "opened"]
        tried = gateway.cli("try", "custom", str(tmp_path / "forced.json"), "--settings", str(tmp_path / "doors.toml"))
        assert json.loads(json.dumps(tried))["events"][0]["subject"] == alert.subject
