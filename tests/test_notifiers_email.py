from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import email
import email.policy
import importlib.util
import ssl
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.config import Settings
from gateway.errors import PermanentDeliveryError, SettingsError, TemporaryDeliveryError
from gateway.models import Alert, Contact, Notification
from gateway.notifiers.base import Sent
from gateway.notifiers.email import EmailNotifier, Server, mail, read_address, read_server, text

pytestmark = [
    pytest.mark.anyio,
    # aiosmtpd 1.4.6 says so of its own inside, when it is made and when it answers AUTH.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:aiosmtpd"),
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
]

NOW = 1_750_000_000_000


def a_notification(address: str = "ops@example.com", **fields: Any) -> Notification:
    alert = Alert(
        id=42,
        endpoint_id="end_1",
        integration_id="int_1",
        status="open",
        source="Sematext",
        source_name="Disk",
        source_id="host-1:/var",
        source_url="https://apps.example/alerts/42",
        source_status="firing",
        severity="critical",
        subject="disk full",
        description="/var is at 99 %",
        tags=("prod", "db"),
        opened_at=NOW,
        updated_at=NOW,
    )
    whole = {"status", "closed_at", "subject", "description", "source_name", "source_url"} & set(fields)
    alert = msgspec.structs.replace(alert, **{name: fields.pop(name) for name in whole})
    return msgspec.structs.replace(
        Notification(
            id="ntf_abc",
            alert_id=42,
            seq=1,
            kind="opened",
            contact=Contact(id="con_1", kind="email", address=address),
            user="Ann",
            integration="prod metrics",
            alert=alert,
            due_at=NOW,
            created_at=NOW,
        ),
        **fields,
    )


class Mailbox:
    """What a real SMTP server is told to say, and what it got."""

    def __init__(self, rcpt: str = "250 OK", data: str = "250 queued as 17") -> None:
        self.rcpt = rcpt
        self.data = data
        self.mails: list[tuple[str, list[str], EmailMessage]] = []
        self.secured = False
        self.users: list[bytes] = []

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        read = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(read, EmailMessage)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, read))
        self.secured = session.ssl is not None
        return self.data

    def authenticate(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.users.append(data.login)
        return AuthResult(success=data.password == b"right/pass", handled=False)


@contextlib.asynccontextmanager
async def smtp_server(box: Mailbox, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    made: list[SMTP] = []

    def connected() -> SMTP:
        made.append(SMTP(box, hostname="mail.example", loop=loop, tls_context=tls, **options))
        return made[-1]

    server = await loop.create_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for each in made:
            if isinstance(each.transport, asyncio.WriteTransport):
                each.transport.abort()
        await asyncio.sleep(0.01)


def notifier(url: str, tls: ssl.SSLContext | None = None, deadline: float = 3.0) -> EmailNotifier:
    return EmailNotifier(Settings(smtp_url=url, smtp_from="gw@alerts.example", attempt_deadline=deadline), tls=tls)


# A real server


async def test_a_mail_arrives() -> None:
    box = Mailbox()
    async with smtp_server(box) as port:
        it = notifier(f"smtp://127.0.0.1:{port}?tls=no")
        assert await it.send(a_notification()) == Sent(250, "queued as 17")
        await it.close()
    sender, recipients, read = box.mails[0]
    assert (sender, recipients) == ("gw@alerts.example", ["ops@example.com"])
    assert read["Subject"] == "[critical] disk full"
    assert "/var is at 99 %" in read.get_content()


@pytest.mark.parametrize("rcpt", ["550 5.1.1 no such user", "553 no", "501 what"])
async def test_a_recipient_that_is_refused_is_given_up(rcpt: str) -> None:
    async with smtp_server(Mailbox(rcpt=rcpt)) as port:
        with pytest.raises(PermanentDeliveryError, match=f"the mail server answered {rcpt[:3]}") as raised:
            await notifier(f"smtp://127.0.0.1:{port}?tls=no").send(a_notification())
    assert raised.value.status == int(rcpt[:3])
    assert raised.value.response == rcpt[4:]


@pytest.mark.parametrize("rcpt", ["451 4.7.1 greylisted", "450 busy", "421 too many"])
async def test_greylisting_is_tried_again(rcpt: str) -> None:
    async with smtp_server(Mailbox(rcpt=rcpt)) as port:
        with pytest.raises(TemporaryDeliveryError, match=rcpt[:3]) as raised:
            await notifier(f"smtp://127.0.0.1:{port}?tls=no").send(a_notification())
    assert raised.value.status == int(rcpt[:3])


@pytest.mark.parametrize("data, error", [("554 spam", PermanentDeliveryError), ("452 full", TemporaryDeliveryError)])
async def test_a_text_that_is_refused(data: str, error: type[Exception]) -> None:
    async with smtp_server(Mailbox(data=data)) as port:
        with pytest.raises(error, match=data.replace(" ", ": ")):
            await notifier(f"smtp://127.0.0.1:{port}?tls=no").send(a_notification())


async def test_a_server_without_starttls_gets_nothing() -> None:
    box = Mailbox()
    async with smtp_server(box) as port:
        with pytest.raises(TemporaryDeliveryError, match="STARTTLS"):
            await notifier(f"smtp://127.0.0.1:{port}").send(a_notification())
    assert box.mails == []


def certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "cert.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


async def test_starttls_and_a_password(tmp_path: Path) -> None:
    path = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    trusting = ssl.create_default_context(cafile=str(path))
    box = Mailbox()
    options = {"authenticator": box.authenticate, "auth_required": True, "require_starttls": True}
    async with smtp_server(box, tls, **options) as port:
        it = notifier(f"smtp://ann%40corp:right%2Fpass@localhost:{port}", trusting)
        assert (await it.send(a_notification())).code == 250
        assert box.secured
        assert box.users == [b"ann@corp"]

        with pytest.raises(TemporaryDeliveryError, match="535") as raised:
            await notifier(f"smtp://ann:wrongpass@localhost:{port}", trusting).send(a_notification())
        assert "wrongpass" not in str(raised.value)

        with pytest.raises(TemporaryDeliveryError, match=r"(?i)certificate"):
            await notifier(f"smtp://ann:right%2Fpass@localhost:{port}").send(a_notification())
    assert len(box.mails) == 1


async def test_nobody_listens() -> None:
    async with smtp_server(Mailbox()) as port:
        pass
    with pytest.raises(TemporaryDeliveryError, match=f"the mail server 127.0.0.1:{port}"):
        await notifier(f"smtp://127.0.0.1:{port}?tls=no").send(a_notification())


@pytest.mark.parametrize("banner", [b"", b"554 go away\r\n", b"421 later\r\n", b"x" * 1_000_000, b"\xff\xfe\r\n"])
async def test_a_server_that_does_not_greet(banner: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(banner)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    it = notifier(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}?tls=no", deadline=0.3)
    with pytest.raises(TemporaryDeliveryError):
        async with asyncio.timeout(10):
            await it.send(a_notification())
    server.close()
    await asyncio.sleep(0.01)


# The mail


def test_open_and_close_are_one_thread() -> None:
    opened = mail(a_notification(), sender="gw@alerts.example", recipient="ops@example.com")
    closed = mail(
        a_notification(id="ntf_def", seq=2, kind="closed", status="closed", closed_at=NOW + 1),
        sender="gw@alerts.example",
        recipient="ops@example.com",
    )
    assert opened["Message-ID"] == "<ntf_abc@alerts.example>"
    assert closed["Message-ID"] == "<ntf_def@alerts.example>"
    assert opened["References"] == closed["References"] == "<alert-42.int_1@alerts.example>"
    assert opened["In-Reply-To"] == closed["In-Reply-To"] == opened["References"]
    assert opened["Auto-Submitted"] == "auto-generated"
    assert closed["Subject"] == "[closed] disk full"
    assert opened["Date"] == "Sun, 15 Jun 2025 15:06:40 +0000"


def test_the_mail_is_the_same_at_each_attempt() -> None:
    first, again = a_notification(), a_notification(attempts=3, due_at=NOW + 9, error="451")
    made = [mail(each, sender="gw@alerts.example", recipient="ops@example.com").as_bytes() for each in (first, again)]
    assert made[0] == made[1]


def test_what_it_says() -> None:
    assert text(a_notification()) == (
        "CRITICAL: disk full\n"
        "\n"
        "Since:   2025-06-15 15:06:40 UTC\n"
        "Source:  Sematext / Disk / host-1:/var\n"
        "Status:  firing\n"
        "Link:    https://apps.example/alerts/42\n"
        "Tags:    prod, db\n"
        "\n"
        "/var is at 99 %\n"
        "\n"
        "--\n"
        "Alert 42 of prod metrics, to Ann (ntf_abc)\n"
    )
    closed = text(a_notification(kind="closed", status="closed", closed_at=NOW + 61_000))
    assert closed.startswith(
        "CLOSED: disk full\n\nSince:   2025-06-15 15:06:40 UTC\nClosed:  2025-06-15 15:07:41 UTC\n"
    )


@pytest.mark.parametrize(
    "subject",
    [
        "a\r\nBcc: all@example.com",
        "a\nb",
        "a\rb",
        "a\x00b\x1b[31m",
        "a\u2028b\u202egnp.exe",
        "ü" * 500,
        "漢字" * 300,
        "x" * 5000,
        "\ud800",
        "=?utf-8?q?hidden?=",
        "",
        " ",
        "🔥" * 100,
    ],
)
async def test_a_hostile_subject_is_harmless(subject: str) -> None:
    box = Mailbox()
    hostile = a_notification(subject=subject, description=subject, source_name=subject, source_url=subject)
    hostile = msgspec.structs.replace(hostile, user=subject, integration=subject)
    async with smtp_server(box) as port:
        await notifier(f"smtp://127.0.0.1:{port}?tls=no").send(hostile)
    read = box.mails[0][2]
    assert read["Bcc"] is None
    assert read["Subject"].startswith("[critical]")
    assert len(read["Subject"]) <= 200
    assert not set(read["Subject"]) & set("\r\n\x00\x1b\u2028\u202e")
    assert box.mails[0][1] == ["ops@example.com"]
    assert all(len(line) < 998 for line in read.as_bytes().splitlines())


def test_a_long_description_is_cut() -> None:
    assert len(text(a_notification(description="x" * 1_000_000))) < 21_000


async def test_lines_of_dots_survive() -> None:
    box = Mailbox()
    async with smtp_server(box) as port:
        await notifier(f"smtp://127.0.0.1:{port}?tls=no").send(
            a_notification(description="a\r\n.\r\n..\rMAIL FROM:<x>")
        )
    assert "\na\n.\n..\nMAIL FROM:<x>\n" in box.mails[0][2].get_content().replace("\r\n", "\n")


# Settings and addresses


@pytest.mark.parametrize(
    "url, server",
    [
        ("smtp://mail.example", Server(host="mail.example", port=587, tls="starttls")),
        ("smtp://mail.example:25", Server(host="mail.example", port=25, tls="starttls")),
        ("smtp://127.0.0.1?tls=no", Server(host="127.0.0.1", port=25, tls="no")),
        ("smtp://[::1]:2525/?tls=no", Server(host="::1", port=2525, tls="no")),
        ("smtps://m.example", Server(host="m.example", port=465, tls="implicit")),
        (
            "smtps://u%40x:p%3Aw@m.example:466",
            Server(host="m.example", port=466, tls="implicit", username="u@x", password="p:w"),
        ),
    ],
)
def test_servers(url: str, server: Server) -> None:
    assert read_server(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "mail.example:25",
        "http://mail.example",
        "smtp://",
        "smtp://mail.example:port",
        "smtp://mail.example?tls=maybe",
        "smtp://mail.example?starttls=no",
        "smtp://mail.example/path",
        "smtps://mail.example?tls=no",
        "smtp://user:hunter2@mail.example?tls=no",
        "smtp://user:hunter2@[::1",
    ],
)
def test_servers_that_cannot_be_read(url: str) -> None:
    with pytest.raises(SettingsError, match="GATEWAY_SMTP_URL") as raised:
        EmailNotifier(Settings(smtp_url=url))
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "address, kept",
    [
        (" Ops+Night@Example.COM ", "Ops+Night@example.com"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("ops@bücher.example", "ops@xn--bcher-kva.example"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_addresses(address: str, kept: str) -> None:
    assert read_address(address, "email") == kept


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ops",
        "@example.com",
        "ops@",
        "Ops <ops@example.com>",
        "ops@example.com, all@example.com",
        "ops@example.com\r\nBcc: all@example.com",
        "ops@example.com>\nRCPT TO:<all@example.com",
        "ops all@example.com",
        '"a b"@example.com',
        "öps@example.com",
        "ops@exam ple.com",
        "ops@-example.com",
        "ops@example..com",
        "ops@[127.0.0.1]",
        "a" * 65 + "@example.com",
        "a@" + "b" * 300,
        "a@" + "b." * 5000,
        "ops\x00@example.com",
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="is not an e-mail address"):
        read_address(address, "email")


async def test_a_bad_address_in_the_store_is_given_up() -> None:
    with pytest.raises(PermanentDeliveryError, match="is not an e-mail address"):
        await notifier("smtp://127.0.0.1?tls=no").send(a_notification("x\r\ny@example.com"))


async def test_without_a_server_it_says_so() -> None:
    it = EmailNotifier(Settings())
    with pytest.raises(SettingsError, match="set GATEWAY_SMTP_URL"):
        it.check("ops@example.com")
    with pytest.raises(PermanentDeliveryError, match="set GATEWAY_SMTP_URL"):
        await it.send(a_notification())


async def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PermanentDeliveryError, match=r"install alert-gateway\[email\]"):
        await notifier("smtp://127.0.0.1?tls=no").send(a_notification())
