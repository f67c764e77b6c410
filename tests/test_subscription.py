"""
A subscription, end to end: real processes, a vendor on https://127.0.0.1, its certificate fetched and its link visited.

The templates are the built-in ones, told that the vendor's host is this one.
"""

from __future__ import annotations

import contextlib
import http.server
import ipaddress
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.body import parse_headers
from gateway.handshakes import VISIT_HEADER
from tests.running import ROOT, RunningGateway, running, until
from tests.signers import encoded, signer

TOPIC = "arn:aws:sns:us-east-1:123456789012:alerts"
HOST = r"'^sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$'"
LABELLED = {"content-type": "text/plain; charset=UTF-8"}
ALARM = {
    "AlarmName": "CPU",
    "AlarmArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:CPU",
    "NewStateValue": "ALARM",
}


class Vendor:
    """An HTTPS server with a signing certificate and a link to confirm; `status` is what the link answers."""

    def __init__(self, folder: Path) -> None:
        vendor, self.status, self.asked = self, 200, list[str]()
        self.signer = signer(int(time.time() * 1000))

        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                vendor.asked.append(self.path)
                body = vendor.signer.pem if self.path == "/signing.pem" else b"<ConfirmSubscriptionResponse/>"
                self.send_response(200 if self.path == "/signing.pem" else vendor.status)
                self.send_header("Location", f"https://127.0.0.1:{vendor.port}/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.authority = folder / "authority.pem"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_of_this_machine(self.authority))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def notification(self, **values: Any) -> dict[str, Any]:
        return self.signer.signed(**({"TopicArn": TOPIC, "SigningCertURL": self.url("/signing.pem")} | values))

    def confirmation(self, path: str = "/?Action=ConfirmSubscription", **values: Any) -> dict[str, Any]:
        own = {"TopicArn": TOPIC, "SigningCertURL": self.url("/signing.pem"), "SubscribeURL": self.url(path)}
        return self.signer.confirmation(**(own | values))


def _of_this_machine(path: Path) -> Path:
    """A certificate for https://127.0.0.1, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    vendor = Vendor(tmp_path_factory.mktemp("vendor"))
    yield vendor
    vendor.server.shutdown()
    vendor.server.server_close()


@contextlib.contextmanager
def _believing(authority: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority))
        yield


@pytest.fixture(scope="module")
def gateway(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    place = tmp_path_factory.mktemp("subscription")
    for slug in ("amazon-sns", "aws-cloudwatch"):
        shutil.copytree(ROOT / "plugins" / slug, place / "plugins" / f"local-{slug}")
        path = place / "plugins" / f"local-{slug}" / "template.toml"
        text = path.read_text(encoding="utf-8")
        assert text.count(HOST) == 2
        path.write_text(text.replace(HOST, rf"'127\.0\.0\.1:{vendor.port}'"), encoding="utf-8")
    settings = {"plugins_dir": str(place / "plugins"), "fetch_deadline": "3"}
    with _believing(vendor.authority), running(place / "data", **settings) as gateway:
        yield gateway


@pytest.fixture(params=["local-amazon-sns", "local-aws-cloudwatch"])
def url(request: pytest.FixtureRequest, gateway: RunningGateway, vendor: Vendor, tmp_path: Path) -> str:
    """The endpoint of a new integration whose secret is the topic's ARN."""
    vendor.status = 200
    vendor.asked.clear()
    secret = tmp_path / "secret"
    secret.write_text(TOPIC)
    name = request.node.name.translate(str.maketrans("[]", "  ")).strip()
    made = gateway.cli("integrations", "add", str(request.param), "--name", name, "--secret-file", str(secret))
    return str(made["endpoint_url"])


def send(gateway: RunningGateway, url: str, message: dict[str, Any]) -> int:
    status, answer = gateway.post(url, encoded(message), LABELLED)
    return int(answer["message_id"]) if status == 200 else status


def told(gateway: RunningGateway, message_id: int) -> tuple[list[str], list[str]]:
    """What the stored headers say of a visit, and what became of the message."""
    until(gateway.settled, gateway)

    async def question(state: Any, journal: Any) -> tuple[list[str], list[str]]:
        (message,) = await journal.read(message_id - 1, 1)
        events = await state.events([message_id])
        said = [value.decode() for name, value in parse_headers(message.headers) if name == VISIT_HEADER.encode()]
        return said, [f"{event.outcome}: {event.reason}" if event.reason else event.outcome for event in events]

    return gateway.ask(question)


def test_a_subscription_is_confirmed_and_messages_are_read(gateway: RunningGateway, vendor: Vendor, url: str) -> None:
    confirmed = send(gateway, url, vendor.confirmation(MessageId=f"{url} 1"))
    assert vendor.asked[-1] == "/?Action=ConfirmSubscription"
    assert told(gateway, confirmed) == (["visited"], ["ignored: the gateway has confirmed the subscription"])
    alarm = msgspec.json.encode(ALARM).decode()
    for version in ("1", "2"):
        message = vendor.notification(version=version, Message=alarm, MessageId=f"{url} {version}", Subject=None)
        assert told(gateway, send(gateway, url, message))[1] in (["opened"], ["appended"])
    assert send(gateway, url, vendor.notification(Message=alarm) | {"Message": alarm.replace("CPU", "RAM")}) == 401
    assert send(gateway, url, vendor.notification(TopicArn=TOPIC + "2", Message=alarm)) == 401
    assert vendor.asked.count("/signing.pem") <= 1


@pytest.mark.parametrize("status", [302, 403, 500])
def test_a_visit_in_vain_opens_an_alert_with_the_link(
    gateway: RunningGateway, vendor: Vendor, url: str, status: int
) -> None:
    vendor.status = status
    message = send(gateway, url, vendor.confirmation())
    assert told(gateway, message) == ([f"in vain: the answer is {status}"], ["opened"])
    assert "/elsewhere" not in vendor.asked
    alert = gateway.alerts()[-1]
    assert alert.subject == "Confirm the SNS subscription to alerts"
    assert alert.source_url == vendor.url("/?Action=ConfirmSubscription")
    assert (alert.description or "").endswith(f"Visit by the gateway: in vain: the answer is {status}")


def test_a_link_that_leads_elsewhere_is_neither_visited_nor_shown(
    gateway: RunningGateway, vendor: Vendor, url: str
) -> None:
    message = vendor.confirmation(SubscribeURL=f"https://127.0.0.1:{vendor.port}.evil.example/")
    said, outcomes = told(gateway, send(gateway, url, message))
    assert (said, outcomes) == (["refused: the URL is not https://, a plain host name and a path"], ["opened"])
    assert [path for path in vendor.asked if path != "/signing.pem"] == []
    assert gateway.alerts()[-1].source_url is None


def test_a_subscription_that_was_ended_stays_so(gateway: RunningGateway, vendor: Vendor, url: str) -> None:
    said, outcomes = told(gateway, send(gateway, url, vendor.confirmation(kind="UnsubscribeConfirmation")))
    assert (said, outcomes) == ([], ["ignored: the subscription was deleted in SNS"])
    assert [path for path in vendor.asked if path != "/signing.pem"] == []


def test_a_certificate_that_cannot_be_had_is_503(gateway: RunningGateway, vendor: Vendor, url: str) -> None:
    vendor.status = 500
    busy = vendor.notification(SigningCertURL=vendor.url(f"/{len(url)}/{id(url)}.pem"))
    assert send(gateway, url, busy) == 503
    assert send(gateway, url, busy) == 503
    assert len(vendor.asked) == 1
    vendor.status = 200
    other = vendor.notification(SigningCertURL=vendor.url(f"/{len(url)}/{id(url)}-2.pem"))
    assert send(gateway, url, other) == 401  # what is there is no certificate
    assert "its certificate cannot be had: the answer is 500" in gateway.log.read_text()
