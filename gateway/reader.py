"""
The process that reads messages: the only one that runs templates' code.

It has no store, no keys and no network of its own; it gets jobs through a socket and answers each with readings or an
error, one at a time and in order. Whoever gave the job kills it when an answer takes too long.

Frames are a length of four bytes and that many bytes of MessagePack.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway import body as bodies
from gateway.config import Settings, load
from gateway.errors import GatewayError
from gateway.loader import load_plugins
from gateway.models import Integration, Message, Reading
from gateway.plugins import Plugins
from gateway.rulebook import Rulebook, compile_rulebook
from gateway.sequence import Way, shared_out
from gateway.template import Request, describe
from gateway.tidying import clean, tidy

MAX_REPLY = 64 << 20
"""The largest reply, in bytes: what is made of one message is written to the state in one piece."""
_HEADER_BYTES = 4
_PR_SET_PDEATHSIG = 1
_MOST_FILES = 256
_MOST_THREADS = 32
_JOBS_BETWEEN_LOOKS = 8


class Job(msgspec.Struct, frozen=True, tag="job"):
    """
    A message to read, with the integration that it came in by, and the others on its endpoint in sequence.

    With `fan_out` each of them takes the events that pass its filters, without it the first that does.
    """

    message: Message
    integration: Integration
    others: tuple[Integration, ...] = ()
    fan_out: bool = False


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    The readings of a message, or why there are none.

    `killed` says that no answer came, and reading it again may stop the next process too; `worn_out` that this process
    ends now, having run out of memory or been left full of open files, memory or threads.
    """

    message_id: int
    readings: list[Reading] = []
    error: str | None = None
    killed: bool = False
    worn_out: bool = False


READY = Reply(0)
"""What a process says when its plugins are loaded."""


class Readings:
    """Reads messages with the templates that are installed; keeps one compiled rulebook for each integration."""

    def __init__(self, plugins: Plugins, max_decoded: int) -> None:
        self._plugins = plugins
        self._max_decoded = max_decoded
        self._books: dict[str, tuple[int, str, Rulebook]] = {}

    def read(self, job: Job) -> list[Reading]:
        """
        What the message says, and which integrations of its endpoint take it.

        Raises whatever the template's code raises, UnreadableError where the message is at fault.
        """
        if not job.others:
            return self._read_one(job.message, job.integration)

        def read(integration: Integration) -> tuple[Way, list[Reading]]:
            readings, book = self._read_one(job.message, integration), self.rulebook(integration)
            if [reading.reason for reading in readings] == [book.nothing]:  # another may find something
                readings = [msgspec.structs.replace(readings[0], dropped_by=book.nothing)]
            return (integration.template, book.file.each, len(readings)), readings

        return shared_out([job.integration, *job.others], read, fan_out=job.fan_out)

    def _read_one(self, message: Message, integration: Integration) -> list[Reading]:
        book = self.rulebook(integration)
        readings = book.readings(request_of(message, book, self._max_decoded))
        if self._plugins.has_event_hooks:
            readings = [self._hooked(reading, integration) for reading in readings]
        return readings

    def rulebook(self, integration: Integration) -> Rulebook:
        """The compiled rules of an integration, anew where it has changed."""
        known = self._books.get(integration.id)
        if known is None or known[:2] != (integration.updated_at, integration.template):
            template = self._plugins.template(integration.template)
            book = compile_rulebook(template, integration.settings, self._plugins.read_of(integration.template))
            known = (integration.updated_at, integration.template, book)
            self._books[integration.id] = known
        return known[2]

    def _hooked(self, reading: Reading, integration: Integration) -> Reading:
        if reading.event is None or reading.action == "ignore":
            return reading
        event = self._plugins.enriched(reading.event, integration)
        if event is not reading.event:
            event = tidy(event, integration.template)
        return msgspec.structs.replace(reading, event=event, dropped_by=self._plugins.dropped(event, integration))


def request_of(message: Message, book: Rulebook, max_decoded: int) -> Request:
    """A stored message as its template sees it; raises UnreadableError where the body is not what the template accepts."""
    headers = bodies.parse_headers(message.headers)
    accepts = book.file.accepts
    data = bodies.decode_body(
        headers,
        message.body,
        max_decoded,
        formats=[*accepts, "multipart"] if "form" in accepts else accepts,
        payload_field=book.file.form_field,
    )
    return Request(
        data,
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in headers},
        query={
            name: text if isinstance(text, str) else text[-1]
            for name, text in bodies.parse_query(message.query).items()
        },
        body=message.body,
    )


def answer(read: Callable[[Job], list[Reading]], job: Job) -> Reply:
    """The reply to a job, whatever happens on the way."""
    try:
        return Reply(job.message.id, readings=read(job))
    except MemoryError:
        return Reply(
            job.message.id, error="reading it took more memory than a template may have", killed=True, worn_out=True
        )
    except GatewayError as error:  # made to be read, unless a template's code made it
        return Reply(job.message.id, error=clean(describe(error).partition(": ")[2]) or type(error).__name__)
    except BaseException as error:  # noqa: BLE001  # a template may raise anything, SystemExit included
        return Reply(job.message.id, error=clean(f"the template {job.integration.template} raised {describe(error)}"))


def main(descriptor: int, parent: int) -> None:
    """Read jobs from a socket until it is closed, or the process `parent` is gone."""
    die_with_parent(parent)
    settings = load()
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    confine(settings)
    os.set_inheritable(descriptor, False)  # what a template starts must not hold the lane's line
    connection = socket.socket(fileno=descriptor)
    own = os.getpid()
    wear = _Wear(settings.read_memory)
    plugins = load_plugins(settings, code=True)
    readings = Readings(plugins, settings.max_decoded)
    decode = msgspec.msgpack.Decoder(Job).decode
    connection.sendall(pack(READY))
    while (frame := _receive(connection)) is not None:
        reply = answer(readings.read, decode(frame))
        if os.getpid() != own:
            os._exit(0)  # a child that a template forked comes back here too, and must not answer
        if not reply.worn_out and wear.shows(after_error=reply.error is not None):
            reply = msgspec.structs.replace(reply, worn_out=True)
        connection.sendall(pack(reply))
        if reply.worn_out:
            return


class _Wear:
    """What templates leave behind in this process: once it is much, the next process starts clean, before others suffer."""

    def __init__(self, memory: int) -> None:
        self._pages = memory * 3 // 4 // resource.getpagesize()
        self._jobs = 0

    def shows(self, *, after_error: bool) -> bool:
        """Looked at now and then, and after each error."""
        self._jobs += 1
        if self._jobs % _JOBS_BETWEEN_LOOKS and not after_error:
            return False
        try:
            files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as little as can be, where there may be no memory
            pages = int(Path("/proc/self/statm").read_text().split()[0])
        except MemoryError:
            return True
        except OSError as error:
            return error.errno in (errno.EMFILE, errno.ENFILE)  # else no such folder here: only Linux tells
        return files > _MOST_FILES // 2 or pages > self._pages or threading.active_count() > _MOST_THREADS


def confine(settings: Settings) -> None:
    """Limit what this process may take: memory, files, no core dumps."""
    resource.setrlimit(resource.RLIMIT_AS, (settings.read_memory, settings.read_memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES, _MOST_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def die_with_parent(parent: int) -> None:
    """
    Have the system kill this process when its parent dies; at once where that has happened already.

    Only Linux can; elsewhere a closed socket, or the missing parent at the next pulse, ends it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def pack(struct: Any) -> bytes:
    """A frame; what cannot be encoded is answered for in words, since a template's garbage may reach here."""
    try:
        data = msgspec.msgpack.encode(struct)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        data = msgspec.msgpack.encode(
            Reply(struct.message_id, error=f"what the template gave cannot be passed on: {error}")
        )
    if len(data) > MAX_REPLY and isinstance(struct, Reply):
        too_much = f"what the template made of it has {len(data)} bytes; at most {MAX_REPLY} are passed on"
        data = msgspec.msgpack.encode(Reply(struct.message_id, error=too_much))
    return len(data).to_bytes(_HEADER_BYTES, "big") + data


def _receive(connection: socket.socket) -> bytes | None:
    head = _exactly(connection, _HEADER_BYTES)
    return None if head is None else _exactly(connection, int.from_bytes(head, "big"))


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):  # whoever asked has died: there is nobody left to answer, or to tell
        main(int(os.environ.pop("ALERT_GATEWAY_READER_FD")), int(os.environ.pop("ALERT_GATEWAY_PARENT")))
