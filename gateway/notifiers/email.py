"""
E-mail: a plain text that can be read at three in the morning.

The server is the operator's own (`GATEWAY_SMTP_URL`), often on a private network or on this machine, and no address
that a user writes changes where the gateway connects to. So the guard of `gateway.http` does not stand before it; what
users write is the recipient, and that is checked.

TLS is on, and the server's certificate verified, unless the URL says `?tls=no`; a server that no longer offers
STARTTLS gets nothing. All mails of one alert are replies to one Message-ID, so that mail readers show them together.

What an answer means: 4xx, no connection, no TLS or a refused log-in are tried again, since an operator can mend them
without this notification's help; 5xx to the sender, the recipient or the text is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import re
import socket
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from gateway.config import Settings
from gateway.errors import PermanentDeliveryError, SettingsError, TemporaryDeliveryError
from gateway.models import Notification
from gateway.notifiers.base import Sent, excerpt

CONNECTIONS = 8
"""How many connections to the server there are at a time."""

_SUBJECT_LIMIT = 200
_TEXT_LIMIT = 20_000
_ADDRESS_LIMIT = 254
_PERMANENT = 500
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_LINE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What GATEWAY_SMTP_URL says."""

    host: str
    port: int
    tls: str
    username: str | None = None
    password: str | None = None


class EmailNotifier:
    """
    Sends notifications by e-mail. `tls` is for tests: whose certificates are believed.

    Raises SettingsError where GATEWAY_SMTP_URL or GATEWAY_SMTP_FROM cannot be read; where there is no server at all, or
    no aiosmtplib, only `check` and `send` complain.
    """

    kind = "email"

    def __init__(self, settings: Settings, *, tls: ssl.SSLContext | None = None) -> None:
        self._server = read_server(settings.smtp_url) if settings.smtp_url else None
        self._from = read_address(settings.smtp_from, "GATEWAY_SMTP_FROM")
        self._deadline = settings.attempt_deadline
        self._tls = tls
        self._slots = asyncio.Semaphore(CONNECTIONS)

    def check(self, address: str) -> str:
        """The address, its domain in small letters; raises SettingsError."""
        self._ready()
        return read_address(address, "email")

    async def send(self, notification: Notification) -> Sent:
        """Send it once; raises TemporaryDeliveryError or PermanentDeliveryError."""
        try:
            server = self._ready()
            recipient = self.check(notification.contact.address)
        except SettingsError as error:
            raise PermanentDeliveryError(str(error)) from None
        message = mail(notification, sender=self._from, recipient=recipient)
        async with self._slots:
            return await self._send(server, message, recipient)

    async def close(self) -> None:
        """Nothing: each mail has a connection of its own."""

    def _ready(self) -> Server:
        if self._server is None:
            msg = "email: there is no server to send it with; set GATEWAY_SMTP_URL, for example to smtp://mail.example.com"
            raise SettingsError(msg)
        if importlib.util.find_spec("aiosmtplib") is None:
            msg = "email: the package aiosmtplib is missing; install alert-gateway[email]"
            raise SettingsError(msg)
        return self._server

    async def _send(self, server: Server, message: EmailMessage, recipient: str) -> Sent:
        import aiosmtplib

        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            local_hostname=socket.gethostname(),  # its own default asks the name server, and waits for it
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "starttls",
            tls_context=self._tls_context() if server.tls != "no" else None,
            timeout=self._deadline,
        )
        try:
            try:
                await smtp.connect()
            except (aiosmtplib.SMTPException, OSError) as error:
                raise _temporary(error, f"{server.host}:{server.port}") from error
            try:
                _, response = await smtp.send_message(message, sender=self._from, recipients=[recipient])
            except aiosmtplib.SMTPRecipientsRefused as error:
                raise _refusal(error.recipients[0]) from error
            except aiosmtplib.SMTPResponseException as error:
                raise _refusal(error) from error
            except (aiosmtplib.SMTPException, OSError) as error:
                raise _temporary(error, f"{server.host}:{server.port}") from error
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):  # it is sent; how the talk ends is no matter
                await smtp.quit(timeout=1)
            return Sent(250, excerpt(response))
        finally:
            smtp.close()

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls


def read_server(url: str) -> Server:
    """Read GATEWAY_SMTP_URL; raises SettingsError, in which no password is shown."""
    example = "; write smtp://user:password@host:587, smtps://user:password@host:465 or smtp://host:25?tls=no"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        msg = f"GATEWAY_SMTP_URL: it cannot be read as a URL{example}"
        raise SettingsError(msg) from None
    options = parse_qs(parts.query, keep_blank_values=True)
    tls = {"no": "no", "yes": ""}.get(options.pop("tls", ["yes"])[-1])
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or options or tls is None or parts.path.strip("/"):
        msg = f"GATEWAY_SMTP_URL: it is none of the forms that can be used{example}"
        raise SettingsError(msg)
    if parts.scheme == "smtps":
        if tls:
            msg = f"GATEWAY_SMTP_URL: smtps:// and tls=no contradict each other{example}"
            raise SettingsError(msg)
        tls = "implicit"
    if tls == "no" and parts.username:
        msg = f"GATEWAY_SMTP_URL: a password must not travel without TLS; leave out tls=no or the user{example}"
        raise SettingsError(msg)
    tls = tls or "starttls"
    return Server(
        host=parts.hostname,
        port=port or {"implicit": 465, "starttls": 587, "no": 25}[tls],
        tls=tls,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


def read_address(address: str, where: str) -> str:
    """One `name@domain`, the domain in ASCII and small letters; raises SettingsError that begins with `where`."""
    local, at, domain = address.strip()[: _ADDRESS_LIMIT + 1].rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = domain.encode("idna").decode("ascii").lower()
    read = f"{local}@{domain}"
    if not at or len(read) > _ADDRESS_LIMIT or not _ADDRESS.fullmatch(read):
        shown = _cut(_line(address), _ADDRESS_LIMIT)
        msg = f"{where}: {shown!r} is not an e-mail address; write it like ops@example.com"
        raise SettingsError(msg)
    return read


def mail(notification: Notification, *, sender: str, recipient: str) -> EmailMessage:
    """The mail of a notification: the same at each attempt, Message-ID and date included."""
    alert = notification.alert
    domain = sender.rpartition("@")[2]
    thread = f"<alert-{alert.id}.{_line(alert.integration_id)}@{domain}>"
    word = "closed" if notification.kind == "closed" else alert.severity
    message = EmailMessage()
    message["From"] = f"Alert Gateway <{sender}>"
    message["To"] = recipient
    message["Subject"] = _cut(f"[{word}] {_line(alert.subject)}", _SUBJECT_LIMIT)
    message["Date"] = format_datetime(datetime.fromtimestamp(notification.created_at / 1000, UTC))
    message["Message-ID"] = f"<{notification.id}@{domain}>"
    message["In-Reply-To"] = thread
    message["References"] = thread
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(text(notification), cte="quoted-printable")
    return message


def text(notification: Notification) -> str:
    """What the mail says: first what it is about, last what identifies it."""
    alert = notification.alert
    word = "CLOSED" if notification.kind == "closed" else alert.severity.upper()
    source = " / ".join(filter(None, (_line(alert.source), _line(alert.source_name), _line(alert.source_id))))
    rows = [
        ("Since", _moment(alert.opened_at)),
        ("Closed", _moment(alert.closed_at) if notification.kind == "closed" and alert.closed_at is not None else ""),
        ("Source", source),
        ("Status", _line(alert.source_status or "")),
        ("Link", _line(alert.source_url or "")),
        ("Tags", ", ".join(_line(tag) for tag in alert.tags)),
    ]
    lines = [f"{word}: {_line(alert.subject)}", ""]
    lines += [f"{name + ':':<8} {_cut(value, 2000)}" for name, value in rows if value]
    if alert.description:
        body = _NOT_TEXT.sub("\ufffd", alert.description.replace("\r\n", "\n").replace("\r", "\n")).strip()
        lines += ["", _cut(body, _TEXT_LIMIT)]
    lines += [
        "",
        "--",
        f"Alert {alert.id} of {_line(notification.integration)}, to {_line(notification.user)} ({notification.id})",
        "",
    ]
    return "\n".join(lines)


def _refusal(error: Exception) -> TemporaryDeliveryError | PermanentDeliveryError:
    code = getattr(error, "code", 0)
    said = excerpt(str(getattr(error, "message", "")))
    msg = f"the mail server answered {code}: {_line(said)}"
    if code >= _PERMANENT:
        return PermanentDeliveryError(msg, status=code, response=said)
    return TemporaryDeliveryError(msg, status=code or None, response=said)


def _temporary(error: Exception, server: str) -> TemporaryDeliveryError:
    code = getattr(error, "code", None)
    said = excerpt(str(getattr(error, "message", "") or error))
    answered = f" answered {code}" if code else ""
    msg = f"the mail server {server}{answered}: {_line(said) or type(error).__name__}"
    return TemporaryDeliveryError(msg, status=code, response=said)


def _line(value: str) -> str:
    """Text on one line: nothing in it ends a header or turns the direction of reading."""
    return _NOT_LINE.sub(" ", value).strip()


def _cut(value: str, limit: int) -> str:
    return value if len(value) <= limit else value[: limit - 1] + "…"


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
