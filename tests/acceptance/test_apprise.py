"""Apprise itself: its `json://` and `form://` posts, against a Custom integration with the settings of docs/acceptance.md."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.acceptance.senders import SECRET, code_of, outcomes, run, set_up, write
from tests.running import ROOT, RunningGateway, until

APPRISE = Path(sys.executable).parent / "apprise"


@pytest.mark.parametrize("scheme", ["json", "form"])
def test_a_failure_opens_and_a_success_closes(scheme: str, gateway: RunningGateway, tmp_path: Path) -> None:
    (settings,) = (text for text in code_of((ROOT / "docs" / "acceptance.md").read_text()) if "source_id" in text)
    setup = set_up(gateway, "custom", write(tmp_path / "apprise.toml", settings))
    url = f"{setup.url.replace('http', scheme, 1)}?+X-Alert-Token={SECRET}"

    def notify(kind: str, body: str) -> None:
        run([APPRISE, "-v", "-n", kind, "-t", "Backup of db-7", "-b", body, url], HOME=str(tmp_path))

    notify("failure", "No space is left on /var & /srv.")
    until(lambda: outcomes(gateway), gateway)
    assert outcomes(gateway) == ["opened"]
    (opened,) = gateway.alerts()
    assert (opened.source, opened.source_id, opened.status) == ("Apprise", "Backup of db-7", "open")
    assert (opened.severity, opened.subject) == ("critical", "Backup of db-7")
    assert opened.description == "No space is left on /var & /srv."

    notify("success", "Done.")
    until(lambda: len(outcomes(gateway)) > 1, gateway)
    assert outcomes(gateway) == ["opened", "closed"]
    (closed,) = gateway.alerts()
    assert (closed.id, closed.status) == (opened.id, "closed")
