"""What `doctor` looks at. Each check gives findings: what was found, and what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.cli.session import Session
from gateway.clock import iso
from gateway.errors import GatewayError, SettingsError
from gateway.own_alerts import LATE, backlog_of

if TYPE_CHECKING:
    from gateway.store.sqlite import SqliteJournal, SqliteState

_EARLIEST = 1_760_000_000_000  # October 2025; this code is younger than that
_SKEW = 60_000
_LEAST_FREE = 1 << 30
_PATIENCE = 2.0


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. A `note` is worth knowing; a `problem` is to be dealt with, `fix` says how."""

    check: str
    level: Literal["ok", "note", "problem"]
    found: str
    fix: str = ""


async def all_findings(session: Session, *, thorough: bool = False) -> list[Finding]:
    """Everything that is looked at; stops where the settings are wrong, for then nothing else can be known."""
    try:
        settings = session.settings
    except SettingsError as error:
        return [Finding("settings", "problem", str(error), "correct it in the environment, then run this again")]
    findings = [Finding("settings", "ok", f"read; the data folder is {settings.data.absolute()}")]
    findings += [*_folder(session), *_plugins(session), *_port(session), *_clock(session)]
    if not session.has_data:
        return findings
    try:
        async with session.store() as (journal, state):
            findings += [finding async for finding in _store(session, journal, state, thorough=thorough)]
    except GatewayError as error:
        findings.append(Finding("store", "problem", str(error), "the message says what to do; nothing was changed"))
    return findings


def _folder(session: Session) -> Iterator[Finding]:
    data = session.settings.data
    if not data.exists():
        yield Finding("data folder", "note", f"{data} is not there yet", "`alert-gateway serve` makes it")
        return
    if not data.is_dir():
        yield Finding("data folder", "problem", f"{data} is no folder", "give another one with --data or GATEWAY_DATA")
        return
    wrong = [path for path in (data, *sorted(data.iterdir())) if not os.access(path, os.R_OK | os.W_OK)]
    if wrong:
        fix = f"`chown -R` the folder to the user of the gateway (this is user {os.getuid()})"
        yield Finding("data folder", "problem", f"{wrong[0]} cannot be read and written", fix)
        return
    key = data / "secret.key"
    if key.exists() and stat.S_IMODE(key.stat().st_mode) & 0o077:
        mode = stat.S_IMODE(key.stat().st_mode)
        yield Finding("data folder", "problem", f"others can read {key} (mode {mode:04o})", f"chmod 600 {key}")
    if stat.S_IMODE(data.stat().st_mode) & 0o077:
        mode = stat.S_IMODE(data.stat().st_mode)
        yield Finding("data folder", "problem", f"others can look into {data} (mode {mode:04o})", f"chmod 700 {data}")
    if not key.exists() and session.has_data:
        fix = "restore secret.key from the backup: without it no URL works and no sender can be verified"
        yield Finding("data folder", "problem", f"{key} is missing, and there is a store", fix)
    free = shutil.disk_usage(data).free
    if free < _LEAST_FREE:
        yield Finding(
            "disk", "problem", f"{free >> 20} MiB are free", "free some space; a full disk answers senders with 503"
        )
    else:
        yield Finding("data folder", "ok", f"{data}; {free >> 30} GiB are free on its disk")


def _plugins(session: Session) -> Iterator[Finding]:
    from gateway.permits import Permits

    plugins, permits = session.plugins_tried, Permits(session.settings)
    off, broken = [], 0
    for info in plugins.infos:
        is_package = info.origin == "installed"
        name = info.distribution if is_package else info.name
        if permits.left_out(name, is_package=is_package):
            off.append(name)
            continue
        for error in info.errors:
            broken += 1
            fix = f"mend or uninstall {info.distribution}; the other plugins work without it"
            yield Finding("plugins", "problem", f"{info.name} of {info.distribution}: {error}", fix)
    if off:
        fix = "nothing, where that is meant: GATEWAY_LOAD_PLUGINS and `alert-gateway plugins disable` have it so"
        yield Finding("plugins", "note", f"left out: {', '.join(dict.fromkeys(off))}", fix)
    if not broken:
        found = f"{len(plugins.cards)} templates, {len(plugins.infos) - len(off)} plugins, none broken"
        yield Finding("plugins", "ok", found)
    yield from _allow_list(session)


def _allow_list(session: Session) -> Iterator[Finding]:
    from gateway.config import nearest
    from gateway.permits import allowed
    from gateway.roster import normal

    installed = {normal(info.distribution) for info in session.plugins_tried.infos if info.origin == "installed"}
    for name in allowed(session.settings.load_plugins or ""):
        if name not in installed:
            found = (
                f"GATEWAY_LOAD_PLUGINS names {name}, and no such plugin is installed{nearest(name, list(installed))}"
            )
            yield Finding(
                "plugins", "problem", found, "correct the name there, or install it: `alert-gateway plugins install`"
            )


def _port(session: Session) -> Iterator[Finding]:
    running = session.running
    if running is not None:
        answer = _answer_of(str(running["url"]), str(running.get("host", "")), int(running.get("port", 0)))
        if answer == "200":
            yield Finding("gateway", "ok", f"runs (process {running.get('pid')}) and answers on {running['url']}")
        else:
            fix = "look into its log, or start it again; if none runs, delete running.json in the data folder"
            yield Finding("gateway", "problem", f"says that it runs on {running['url']}, but {answer}", fix)
        return
    host, port = session.settings.host, session.settings.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            fix = "stop what listens there, or set GATEWAY_HOST and GATEWAY_PORT to a free address"
            yield Finding(
                "gateway", "problem", f"does not run, and could not: {host} port {port}: {error.strerror}", fix
            )
            return
    yield Finding("gateway", "note", f"does not run; {host} port {port} is free", "`alert-gateway serve` starts it")


def _answer_of(url: str, host: str, port: int) -> str:
    """The status of the gateway's own health page, or why there is none: asked where it listens, not at its public URL."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host) or urlsplit(url).hostname or ""  # noqa: S104 - compared
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE) as connection:
            connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head = connection.recv(64).decode("latin-1").split(" ")
    except OSError as error:
        return f"does not answer ({error.strerror or error})"
    return head[1] if head[1:2] == ["200"] else f"/healthz answers {' '.join(head[1:2]) or 'nothing'}"


def _clock(session: Session) -> Iterator[Finding]:
    now = session.clock.now()
    if now < _EARLIEST:
        yield Finding(
            "clock", "problem", f"it says {iso(now)}, which has long been", "set the clock, and keep it with NTP"
        )
    else:
        yield Finding("clock", "ok", f"{iso(now)}")


async def _store(
    session: Session, journal: SqliteJournal, state: SqliteState, *, thorough: bool
) -> AsyncIterator[Finding]:
    from gateway.store.sqlite import check_together

    await check_together(journal, state)
    if thorough or session.running is None:
        for name, wrong in (("journal.db", await journal.check()), ("state.db", await state.check())):
            if wrong:
                fix = "stop the gateway, keep the file, and put the one from the backup in its place"
                yield Finding("store", "problem", f"{name} is damaged: {wrong[0]}", fix)
            else:
                yield Finding("store", "ok", f"{name} is sound")
    else:
        yield Finding("store", "ok", "opens, with the schema that this version knows (--thorough reads all of it)")
    now = session.clock.now()
    newest = await journal.newest(1)
    if newest and newest[0].received_at > now + _SKEW:
        found = f"the newest message was received at {iso(newest[0].received_at)}, which is still to come"
        yield Finding("clock", "problem", found, "the clock was set back; keep it with NTP")
    yield await _backlog(session, journal, state)
    counts = await state.counts()
    dead = counts.notifications.get("dead", 0)
    if dead:
        fix = "`alert-gateway notifications list --status dead` says why; `notifications retry --all-dead` tries again"
        yield Finding("notifications", "problem", f"{dead} dead letters: people were not told", fix)
    due = counts.oldest_due_at
    if due is not None and due < now - LATE:
        fix = "look into the log of the delivery process" if session.running else "start the gateway"
        yield Finding("notifications", "problem", f"one has been due since {iso(due)}", fix)
    elif not dead:
        yield Finding("notifications", "ok", f"{counts.notifications.get('pending', 0)} pending, no dead letters")
    yield _own_policy(session.settings.own_policy, [policy.name for policy in await state.policies()])
    usable = session.plugins_with_code.cards
    integrations = await state.integrations()
    lost = [f"{one.name} ({one.template})" for one in integrations if one.template not in usable]
    if lost:
        found = f"their templates are gone or broken, so their messages are kept as failed: {', '.join(lost)}"
        fix = "install the plugin again and start the gateway anew, then `alert-gateway messages replay --failed`"
        yield Finding("integrations", "problem", found, fix)
    silent = [one.name for one in integrations if one.enabled and one.policy_id is None]
    if silent:
        found = f"no policy, so nobody is notified: {', '.join(silent)}"
        yield Finding("integrations", "note", found, "`alert-gateway integrations set NAME --policy POLICY` names one")


def _own_policy(name: str, policies: list[str]) -> Finding:
    fix = "GATEWAY_OWN_POLICY names the policy to tell"
    if not name:
        return Finding("own alerts", "note", "nobody is told of the gateway's own alerts", fix)
    if name not in policies:
        return Finding("own alerts", "problem", f"there is no policy {name!r}, so nobody is told of them", fix)
    return Finding("own alerts", "ok", f"policy {name} is told of them")


async def _backlog(session: Session, journal: SqliteJournal, state: SqliteState) -> Finding:
    behind, oldest = await backlog_of(journal, await state.cursor())
    deferred = len(await state.deferred(100_000))
    said = f"{behind} messages wait to be read, {deferred} wait aside"
    if not behind and not deferred:
        return Finding("backlog", "ok", "every message was read")
    if session.running is None:
        return Finding("backlog", "problem", said, "start the gateway; it goes on where it stopped")
    if oldest is not None and oldest < session.clock.now() - LATE:
        fix = "look into the log of the worker; `alert-gateway messages list --outcome pending` lists them"
        return Finding("backlog", "problem", f"{said}, the oldest since {iso(oldest)}", fix)
    return Finding("backlog", "ok", said)
