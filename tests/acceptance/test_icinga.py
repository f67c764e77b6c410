"""Icinga 2 itself, with the notification commands of the template's README."""

from __future__ import annotations

import getpass
import grp
import os
from pathlib import Path

from tests.acceptance.senders import program, run, says, sender, set_up, write
from tests.running import RunningGateway

CHECKED = """
include <itl>

object CheckerComponent "checker" {
}

object NotificationComponent "notification" {
}

object CheckCommand "what-a-file-says" {
  command = [ "/bin/sh", "$file$" ]
}

template Host "quick" {
  check_command = "what-a-file-says"
  check_interval = 0.5
  retry_interval = 0.5
  max_check_attempts = 1
}

object Host "web-1" {
  import "quick"
  display_name = "Web server 1"
  vars.file = "HOST_FILE"
}

object Service "http" {
  host_name = "web-1"
  display_name = "HTTP"
  check_command = "what-a-file-says"
  check_interval = 0.5
  retry_interval = 0.5
  max_check_attempts = 1
  vars.file = "SERVICE_FILE"
}
"""


def test_a_service_and_its_host_fail_and_recover(gateway: RunningGateway, tmp_path: Path) -> None:
    icinga = program("icinga2", "icinga2-bin")
    program("curl", "curl")
    setup = set_up(gateway, "icinga")
    host = says(tmp_path / "host.sh", 0, "PING OK")
    service = says(tmp_path / "service.sh", 0, "HTTP OK")
    checked = CHECKED.replace("HOST_FILE", str(host)).replace("SERVICE_FILE", str(service))
    file = write(tmp_path / "icinga2.conf", checked + setup.step("object NotificationCommand"))
    folders = {
        name: tmp_path / name for name in ("ConfigDir", "DataDir", "LogDir", "CacheDir", "InitRunDir", "SpoolDir")
    }
    for folder in folders.values():
        folder.mkdir()
    own = {"RunAsUser": getpass.getuser(), "RunAsGroup": grp.getgrgid(os.getgid()).gr_name, **folders}
    constants = [word for name, text in own.items() for word in ("-D", f"{name}={text}")]
    command: list[str | Path] = [icinga, "daemon", "-c", file, *constants]
    run([*command, "-C"])
    with sender(gateway, tmp_path, command) as running:
        says(service, 2, "CRITICAL - Can't connect")
        running.until_outcomes("opened")
        (opened,) = gateway.alerts()
        assert (opened.source, opened.source_name, opened.source_id) == ("Icinga", "web-1", "web-1!http")
        assert (opened.status, opened.severity, opened.subject) == ("open", "critical", "HTTP on Web server 1")
        assert opened.description == "CRITICAL - Can't connect"
        assert opened.source_url == "https://icinga.example.com/icingaweb2/icingadb/service?name=http&host.name=web-1"
        says(service, 0, "HTTP OK")
        running.until_outcomes("opened", "closed")

        says(host, 2, "PING CRITICAL - Packet loss = 100%")
        running.until_outcomes("opened", "closed", "opened")
        closed, opened = gateway.alerts()
        assert (closed.source_id, closed.status) == ("web-1!http", "closed")
        assert (opened.source_id, opened.status, opened.severity) == ("web-1", "open", "critical")
        assert opened.subject == "Host Web server 1 is down"
        assert opened.description == "PING CRITICAL - Packet loss = 100%"
        says(host, 0, "PING OK")
        running.until_outcomes("opened", "closed", "opened", "closed")
        _, closed = gateway.alerts()
        assert (closed.status, closed.subject) == ("closed", "Host Web server 1 is down"), "of the problem"
