"""The hooks by themselves, and in a gateway that runs."""

from __future__ import annotations

import pytest
from gateway import Event
from gateway.testing import RunningGateway

from alert_gateway_inventory import Inventory

CSV = "host,owner,maintenance\ndb-7,data,\nweb-1,shop,until 18:00\n"


@pytest.fixture(autouse=True)
def inventory(tmp_path, monkeypatch):
    """The file, which the gateway too is told of."""
    path = tmp_path / "inventory.csv"
    path.write_text(CSV)
    monkeypatch.setenv("INVENTORY_CSV", str(path))
    return path


def test_an_event_is_tagged_by_its_host():
    event = Inventory().enrich_event(Event(source_id="1", source_name="db-7", tags=("disk",)))
    assert event.tags == ("disk", "owner:data")
    assert Inventory().enrich_event(Event(source_id="1", tags=("host:db-7",))).tags == ("host:db-7", "owner:data")
    assert Inventory().enrich_event(Event(source_id="1", source_name="db-8")) is None


def test_the_file_is_read_again_when_it_changes(inventory):
    plugin = Inventory()
    event = Event(source_id="1", source_name="db-7")
    assert plugin.enrich_event(event).tags == ("owner:data",)
    inventory.write_text(CSV.replace("data", "storage"))
    assert plugin.enrich_event(event).tags == ("owner:storage",)


def test_in_a_gateway(gateway: RunningGateway):
    """The fixture is a real gateway with all plugins of this environment."""
    url = gateway.add("custom", "Hosts").url(gateway.url)
    for host in ("db-7", "web-1"):
        gateway.post(url, {"source_id": host, "source_name": host, "status": "open", "subject": "Disk is full"})
    (alert,) = gateway.alerts()
    assert alert.tags == ("owner:data",)
    (_, message) = gateway.cli("messages", "list")[::-1]
    assert message["events"][0]["outcome"] == "filtered"
    assert message["events"][0]["reason"] == "inventory: under maintenance: until 18:00"
