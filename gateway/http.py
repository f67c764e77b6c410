"""
The only way out: an HTTP client that looks at an address before it dials it.

Whoever may write a webhook's URL could point it at the gateway's own network. So each new connection resolves the name,
holds every address it stands for against a table, and dials the very address that was looked at: a name that answers
differently a moment later gains nothing. The TLS name and the Host header stay those of the URL.

Redirects are not followed, proxies are not taken from the environment, cookies are not kept and bodies are not
decompressed. An answer is read up to `BODY_LIMIT` and then cut.

One pool of connections for each origin: a pool looks at all its connections for each request, and a target that hangs
must not use up another's. The pools are httpx2's own (httpcore2), without its client on top, which does no more for a
POST than merge headers and keep cookies and costs as much as all the rest; their network is ours, through the public
`AsyncNetworkBackend`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import httpcore2
import httpx2
import msgspec

from gateway.errors import BlockedTargetError, PermanentDeliveryError, TemporaryDeliveryError

BODY_LIMIT = 64 << 10
"""How much of a body is read."""
HEADER_LIMIT = 16 << 10
"""How long all headers of an answer may be."""
WIRE_LIMIT = 256 << 10
"""How much an answer may take on the wire, with chunk marks and informational answers."""
URL_LIMIT = 2048
"""How long a URL may be."""

_RESOLVE_DEADLINE = 5.0
_DIAL_DEADLINE = 3.0
_LOOKUPS = 32
_IDLE_SECONDS = 15.0
_IDLE_CONNECTIONS = 4
_BUFFER = 64 << 10
_WELL_KNOWN_PORTS = (80, 443)
_FIRST_FREE_PORT = 1024
_LAST_PORT = 65535
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade", "te", "expect"})

type _IP = ipaddress.IPv4Address | ipaddress.IPv6Address
