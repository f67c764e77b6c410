from __future__ import annotations

import pytest

from gateway.errors import BlockedTargetError, PermanentDeliveryError
from gateway.targets import checked_target, port_refusal, read_url, refusal

# Which addresses


PUBLIC = ["8.8.8.8", "93.184.216.34", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e", "172.32.0.1"]
PUBLIC += [
    "100.128.0.1",
    "11.0.0.1",
    "169.253.0.1",
    "223.255.255.255",
    "192.0.1.1",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]
PRIVATE = ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "127.0.0.1"]
PRIVATE += ["127.255.255.255", "127.1.2.3", "100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fd12:3456::1"]
PRIVATE += ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::192.168.1.1"]
NEVER = ["0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "169.254.170.2", "168.63.129.16", "100.100.100.200"]
NEVER += ["192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1"]
NEVER += ["203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::2", "::127.0.0.1"]
NEVER += ["::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1::7f00:1"]
NEVER += ["100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1"]
NEVER += ["2002:7f00:1::", "2002:0808:0808::1", "3fff::1", "5f00::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1"]
NEVER += ["ff02::1", "ff0e::1", "fd00:ec2::254", "fd20:ce::254", "4000::1", "8000::1", "not an address", "127.1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert refusal(address) is None
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_where_the_operator_says_so(address: str) -> None:
    assert "GATEWAY_ALLOW_PRIVATE_TARGETS" in (refusal(address) or "")
    assert refusal(address, allow_private=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(address: str) -> None:
    assert refusal(address)
    assert refusal(address, allow_private=True)


# Which URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/x",
        "//hooks.example.com/x",
        "ftp://example.com/",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "gopher://example.com/",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://:@example.com/",
        "http://@example.com/",
        "http://example.com\\@10.0.0.1/",
        "http://example.com\t/",
        "http://exam\nple.com/",
        "http://example.com/\r\nX: y",
        "http://example.com/ x",
        "http://exa mple.com/",
        "http://example.com\u200b/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:x/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://a%2eb/",
        "http://ex\u00adample.com/",
        "http://①②⑦.0.0.1/",
        "http://example.com/" + "x" * 2048,
    ],
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(PermanentDeliveryError) as raised:
        read_url(url)
    assert "pass@" not in str(raised.value)


def test_what_is_read_from_a_url() -> None:
    target = read_url("HTTPS://Bücher.example/töpfe?q=ö#part")
    assert (target.scheme, target.host, target.port) == ("https", "xn--bcher-kva.example", 443)
    assert target.path == b"/t%C3%B6pfe?q=%C3%B6"
    assert target.origin == "https://xn--bcher-kva.example:443"
    assert read_url("http://[2606:4700::1111]:8080/").origin == "http://[2606:4700::1111]:8080"


@pytest.mark.parametrize("port", [1, 22, 25, 53, 110, 389, 445, 587, 1023])
def test_low_ports_are_for_operators_who_allow_private_targets(port: int) -> None:
    assert port_refusal(port)
    assert port_refusal(port, allow_private=True) is None


@pytest.mark.parametrize("port", [80, 443, 1024, 8080, 8443, 65535])
def test_ports_of_webhooks(port: int) -> None:
    assert port_refusal(port) is None


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_no_ports(port: int) -> None:
    assert port_refusal(port, allow_private=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[::1]/", "http://localhost/", "https://a.localhost./"])
def test_what_is_refused_before_anything_is_looked_up(url: str) -> None:
    with pytest.raises(BlockedTargetError, match="GATEWAY_ALLOW_PRIVATE_TARGETS"):
        checked_target(url)
    checked_target(url, allow_private=True)
