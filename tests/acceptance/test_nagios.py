"""Nagios Core itself, with the notification commands of the template's README."""

from __future__ import annotations

import getpass
from pathlib import Path

from tests.acceptance.senders import program, run, says, sender, set_up, write
from tests.running import RunningGateway

CHECKED = """
define timeperiod {
    timeperiod_name  24x7
    alias            always
    monday           00:00-24:00
    tuesday          00:00-24:00
    wednesday        00:00-24:00
    thursday         00:00-24:00
    friday           00:00-24:00
    saturday         00:00-24:00
    sunday           00:00-24:00
}

define command {
    command_name  what-a-file-says
    command_line  /bin/sh '$ARG1$'
}

define host {
    host_name              web-1
    alias                  Web server 1
    address                192.0.2.7
    check_command          what-a-file-says!HOST_FILE
    check_period           24x7
    check_interval         1
    retry_interval         1
    max_check_attempts     1
    notification_interval  0
    notification_period    24x7
    contacts               alert-gateway
}

define service {
    host_name              web-1
    service_description    HTTP
    check_command          what-a-file-says!SERVICE_FILE
    check_period           24x7
    check_interval         1
    retry_interval         1
    max_check_attempts     1
    notification_interval  0
    notification_period    24x7
    contacts               alert-gateway
}
"""
MAIN = r"""
cfg_file=FOLDER/objects.cfg
resource_file=FOLDER/resource.cfg
log_file=FOLDER/nagios.log
object_cache_file=FOLDER/objects.cache
status_file=FOLDER/status.dat
temp_file=FOLDER/nagios.tmp
temp_path=FOLDER
check_result_path=FOLDER/results
lock_file=FOLDER/nagios.lock
query_socket=FOLDER/nagios.qh
nagios_user=USER
use_syslog=0
check_for_updates=0
check_external_commands=0
retain_state_information=0
illegal_macro_output_chars=`~$&|'"<>
interval_length=1
check_result_reaper_frequency=1
cached_host_check_horizon=0
service_inter_check_delay_method=n
host_inter_check_delay_method=n
enable_flap_detection=0
"""


def test_a_service_and_its_host_fail_and_recover(gateway: RunningGateway, tmp_path: Path) -> None:
    nagios = program("nagios4", "nagios4-core")
    program("curl", "curl")
    setup = set_up(gateway, "nagios")
    host = says(tmp_path / "host.sh", 0, "PING OK")
    service = says(tmp_path / "service.sh", 0, "HTTP OK")
    checked = CHECKED.replace("HOST_FILE", str(host)).replace("SERVICE_FILE", str(service))
    objects = setup.step("notify-service-by-alert-gateway\n    command_line") + setup.step("define contact") + checked
    write(tmp_path / "objects.cfg", objects)
    write(tmp_path / "resource.cfg", setup.step("$USER5$="))
    (tmp_path / "results").mkdir()
    main = MAIN.replace("FOLDER", str(tmp_path)).replace("USER", getpass.getuser())
    file = write(tmp_path / "nagios.cfg", main)
    run([nagios, "-v", file])
    with sender(gateway, tmp_path, [nagios, file]) as running:
        says(service, 2, "CRITICAL - Socket timeout 'after 10 s")
        running.until_outcomes("opened")
        (opened,) = gateway.alerts()
        assert (opened.source, opened.source_name, opened.source_id) == ("Nagios", "web-1", "web-1;HTTP")
        assert (opened.status, opened.severity, opened.subject) == ("open", "critical", "HTTP on web-1")
        assert opened.description == "CRITICAL - Socket timeout after 10 s", "a quote would end curl's argument"
        assert (
            opened.source_url == "https://nagios.example.com/nagios/cgi-bin/extinfo.cgi?type=2&host=web-1&service=HTTP"
        )
        assert "address:192.0.2.7" in opened.tags
        says(service, 0, "HTTP OK")
        running.until_outcomes("opened", "closed")

        says(host, 2, "PING CRITICAL - Packet loss = 100%")
        running.until_outcomes("opened", "closed", "opened")
        closed, opened = gateway.alerts()
        assert (closed.source_id, closed.status) == ("web-1;HTTP", "closed")
        assert (opened.source_id, opened.status, opened.severity) == ("web-1", "open", "critical")
        assert (opened.subject, opened.description) == ("Host web-1 is down", "PING CRITICAL - Packet loss = 100%")
        says(host, 0, "PING OK")
        running.until_outcomes("opened", "closed", "opened", "closed")
        _, closed = gateway.alerts()
        assert (closed.status, closed.subject) == ("closed", "Host web-1 is down"), "of the problem"
