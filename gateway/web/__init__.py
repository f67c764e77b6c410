"""Pages for people. So far one: what this is, and where to go on."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

import msgspec


class Page(msgspec.Struct, frozen=True):
    """A page and the headers that keep it harmless."""

    body: bytes
    headers: dict[str, str]


def index() -> Page:
    """The first page: one file, without anything from elsewhere."""
    body = files(__name__).joinpath("index.html").read_bytes()
    style = body.partition(b"<style>")[2].partition(b"</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(
        body,
        {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cache-control": "no-cache",
        },
    )
