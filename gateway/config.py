"""
Settings: `GATEWAY_*` in the environment, and the same names as flags of `serve`.

`GATEWAY_DATA_FILE`-style names (`_FILE` appended) read the value from a file, for secrets.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import SettingsError

PREFIX = "GATEWAY_"
DEFAULT_DATA = "gateway-data"
_YES = ("true", "1", "yes", "on")
_NO = ("false", "0", "no", "off", "")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an operator can set. Each is `GATEWAY_` and the name in capitals.

    Sizes are bytes, times seconds.
    """

    data: Path = Path(DEFAULT_DATA)
    """The data folder: journal, state and keys."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 8080
    """The port to listen on; 0 takes a free one."""
    public_url: str = ""
    """How senders reach the gateway, `https://alerts.example.com`; http://host:port where it is not set."""
    plugins_dir: Path | None = None
    """A folder of template folders, beside those that are built in or installed."""
    load_plugins: str | None = None
    """
    The distributions whose plugins are loaded, separated by commas; all where it is not set, none where it is empty.
    `NAME@sha256:…` loads it only with exactly these files.
    """
    trace_plugins: bool = False
    """Log each call of a hook."""
    allow_private_targets: bool = False
    """Let notifications reach private and loopback addresses; link-local ones stay refused."""
    smtp_url: str = ""
    """The server that sends e-mail: `smtp://user:password@host:587` (STARTTLS), `smtps://…:465`, `smtp://host:25?tls=no`."""
    smtp_from: str = "alert-gateway@localhost"
    """The sender of e-mail."""
    max_body: int = 1 << 20
    """The largest body of a message; at most 10 MiB."""
    max_decoded: int = 4 << 20
    """The largest body after gzip."""
    max_waiting: int = 10_000
    """How many messages may wait for the disk before others get a 503."""
    read_deadline: float = 2.0
    """How long a template may take to read one message."""
    read_memory: int = 512 << 20
    """How much memory (address space) the process that reads messages may take."""
    attempts: int = 20
    """How often a notification is tried before it is a dead letter."""
    retry_base: float = 5.0
    """The pause after the first failed attempt; it doubles, with jitter, up to `retry_cap`."""
    retry_cap: float = 900.0
    """The longest pause between two attempts."""
    attempt_deadline: float = 10.0
    """How long one attempt may take in all."""
    fetch_deadline: float = 5.0
    """How long it may take to fetch what a message asks for: a certificate, a confirmation. 0 fetches nothing."""
    own_policy: str = ""
    """The policy that is told of the gateway's own alerts: messages read late, notifications sent late, dead letters."""
    log_level: str = "info"
    """debug, info, warning or error."""
    forwarded_allow_ips: str = ""
    """Addresses of proxies whose X-Forwarded-For is believed, separated by commas."""
    faults: str = ""
    """Crash points for tests; see `faults.py`."""

    @property
    def base_url(self) -> str:
        """How senders reach the gateway, without a slash at the end."""
        return (self.public_url or f"http://{_dialled(self.host)}:{self.port}").rstrip("/")


def load(environ: Mapping[str, str] | None = None, /, **flags: object) -> Settings:
    """
    Settings from the environment, overridden by flags that are not None.

    Raises SettingsError that names the setting and what it takes; an unknown `GATEWAY_*` name is an error, with the
    nearest known one.
    """
    env = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    known = {field.name: field for field in msgspec.structs.fields(Settings)}
    for name, text in env.items():
        if not name.startswith(PREFIX):
            continue
        key, value = name.removeprefix(PREFIX).lower(), text
        if key not in known and key.removesuffix("_file") in known:
            key, value = key.removesuffix("_file"), _content(name, text)
        if key not in known:
            msg = f"{name}: there is no such setting{nearest(key, known, PREFIX)}"
            raise SettingsError(msg)
        values[key] = value
    values |= {key: value for key, value in flags.items() if value is not None}
    settings: dict[str, Any] = {}
    for key, value in values.items():
        settings[key] = _convert(PREFIX + key.upper(), value, known[key].type)
    return _checked(Settings(**settings))


def nearest(key: str, known: Mapping[str, object] | list[str], prefix: str = "") -> str:
    """A hint for a misspelt name: `; did you mean X?`, or the empty text where nothing is near."""
    import difflib

    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    if not close:
        return ""
    return f"; did you mean {prefix}{close[0].upper() if prefix else close[0]}?"


def _dialled(host: str) -> str:
    """An address to listen on, as a URL says it: a wildcard is no address to reach anything at."""
    try:
        ip = ipaddress.ip_address(host.strip("[]") or "0.0.0.0")  # noqa: S104 - to bind, nothing is everything
    except ValueError:
        return host
    if ip.is_unspecified:
        return "127.0.0.1"
    return f"[{ip}]" if ip.version == 6 else host  # noqa: PLR2004


def _content(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        msg = f"{name}: cannot read {path}: {error.strerror}"
        raise SettingsError(msg) from None


def _convert(name: str, value: object, kind: Any) -> object:
    text = str(value)
    if kind is bool:
        word = text.strip().lower()
        if word not in (*_YES, *_NO):
            msg = f"{name}: {text!r} is not true or false"
            raise SettingsError(msg)
        return word in _YES
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            msg = f"{name}: {text!r} is not a number"
            raise SettingsError(msg) from None
    if kind is Path and not text:
        msg = f"{name}: it is empty; leave it out, or name a folder"
        raise SettingsError(msg)
    if kind is Path or kind == Path | None:
        return Path(text) if text else None
    return text


def _checked(settings: Settings) -> Settings:
    bounds = {
        "port": (0, 65535),
        "max_body": (1, 10 << 20),
        "max_decoded": (1, 64 << 20),
        "max_waiting": (1, 1_000_000),
        "read_deadline": (0.05, 60),
        "read_memory": (128 << 20, 1 << 40),
        "attempts": (1, 1000),
        "retry_base": (0.01, 3600),
        "retry_cap": (0.01, 86_400),
        "attempt_deadline": (0.1, 300),
        "fetch_deadline": (0, 10),
    }
    for key, (low, high) in bounds.items():
        if not low <= getattr(settings, key) <= high:
            msg = f"{PREFIX}{key.upper()}: {getattr(settings, key)} is not between {low} and {high}"
            raise SettingsError(msg)
    if settings.log_level not in ("debug", "info", "warning", "error"):
        msg = f"{PREFIX}LOG_LEVEL: {settings.log_level!r} is not debug, info, warning or error"
        raise SettingsError(msg)
    return settings
