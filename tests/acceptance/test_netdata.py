"""The Netdata Agent itself, with the custom notification of the template's README."""

from __future__ import annotations

import getpass
import shutil
import socket
from pathlib import Path

import pytest

from tests.acceptance.senders import Setup, free_port, outcomes, program, run, sender, set_up, write
from tests.running import RunningGateway

PACKAGE = "netdata-plugins-bash"
CONF = """
[global]
    run as user = USER
    hostname = web-1
[directories]
    config = FOLDER/config
    stock config = FOLDER/stock
    health config = FOLDER/config/health.d
    stock health config = FOLDER/stock/health.d
    plugins = FOLDER/plugins
    cache = FOLDER/cache
    lib = FOLDER/lib
    log = FOLDER/log
    home = FOLDER
[db]
    mode = ram
[logs]
    error = stderr
    access = none
[cloud]
    enabled = no
[health]
    run at least every seconds = 1
[web]
    bind to = 127.0.0.1
[statsd]
    bind to = udp:127.0.0.1
    default port = PORT
[plugins]
    enable running new plugins = no
    cgroups = no
    diskspace = no
    idlejitter = no
    netdata monitoring = no
    proc = no
    profile = no
    tc = no
    timex = no
"""
ALARM = """
alarm: disk_full
   on: statsd_disk.used_gauge
 calc: $gauge
every: 1s
 warn: $this > 80
 crit: $this > 95
 info: the disk is nearly full
   to: sysadmin
"""


def installed(name: str) -> Path:
    """A file of the Agent; it lies elsewhere in Netdata's own packages than in Debian's."""
    folders = [Path(folder) for folder in ("/usr/lib/netdata", "/usr/libexec/netdata")]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    return pytest.skip(f"{name} of Netdata is not installed: apt-get install --no-install-recommends {PACKAGE}")


def configured(folder: Path, setup: Setup) -> Path:
    """
    A folder of plugins that has the notifications only: others of them ask the network who they are.

    `edit-config` copies the file that Netdata comes with, for its user to change; mail is what that one would send.
    """
    stock = installed("conf.d/health_alarm_notify.conf").read_text()
    write(folder / "stock" / "health_alarm_notify.conf", stock)
    own = stock + setup.step("custom_sender()") + 'SEND_EMAIL="NO"\n'
    write(folder / "config" / "health_alarm_notify.conf", own)
    script = folder / "plugins" / "alarm-notify.sh"
    script.parent.mkdir()
    shutil.copy(installed("plugins.d/alarm-notify.sh"), script)
    for name in ("cache", "lib", "log", "stock/health.d"):
        (folder / name).mkdir()
    return script


def test_an_alarm_is_raised_and_cleared(gateway: RunningGateway, tmp_path: Path) -> None:
    netdata = program("netdata", PACKAGE)
    program("curl", "curl")
    configured(tmp_path, set_up(gateway, "netdata"))
    write(tmp_path / "config" / "health.d" / "trial.conf", ALARM)
    web, statsd = free_port(), free_port()
    conf = CONF.replace("FOLDER", str(tmp_path)).replace("USER", getpass.getuser()).replace("PORT", str(statsd))
    file = write(tmp_path / "config" / "netdata.conf", conf)

    def is_used(percent: int) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(f"disk.used:{percent}|g".encode(), ("127.0.0.1", statsd))
        return bool(outcomes(gateway))

    command: list[str | Path] = [netdata, "-D", "-p", str(web), "-c", file]
    with sender(gateway, tmp_path, command, DISABLE_TELEMETRY="1") as running:
        running.until(lambda: is_used(99))
        running.until_outcomes("opened")
        (opened,) = gateway.alerts()
        assert (opened.source, opened.source_name, opened.status) == ("Netdata", "web-1", "open")
        assert opened.source_id.isdigit()
        assert (opened.severity, opened.subject) == ("critical", "disk_full on web-1")
        assert opened.description is not None
        assert "the disk is nearly full" in opened.description
        assert "chart:statsd_disk.used_gauge" in opened.tags
        is_used(9)
        running.until_outcomes("opened", "closed")
        (closed,) = gateway.alerts()
        assert (closed.id, closed.status) == (opened.id, "closed")


def test_the_trial_of_the_readme_wakes_nobody(gateway: RunningGateway, tmp_path: Path) -> None:
    script = configured(tmp_path, set_up(gateway, "netdata"))
    program("curl", "curl")
    folders = {
        "NETDATA_USER_CONFIG_DIR": str(tmp_path / "config"),
        "NETDATA_STOCK_CONFIG_DIR": str(tmp_path / "stock"),
        "NETDATA_CACHE_DIR": str(tmp_path / "cache"),
    }
    run([script, "test"], **folders)
    assert gateway.alerts() == []
    assert outcomes(gateway) == ["ignored", "ignored", "ignored"]
