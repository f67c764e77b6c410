"""The head of a request: what the parser lets through and HTTP does not, and heads that ask for another protocol."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import httptools

from gateway import ingest as rules
from gateway.ingest import Answer

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%\[\]:-]+")
_UPGRADE = (b"upgrade", b"http2-settings", b"connection")


def framing_flaw(
    url: bytes, headers: Sequence[tuple[bytes, bytes]], fields: Mapping[bytes, bytes], version: str
) -> Answer | None:
    """
    The answer to a head that is refused; None where nothing is wrong with it.

    `fields` are the headers by name, the last of each.
    """
    if version not in ("1.1", "1.0") or url[:1] != b"/":
        return rules.BAD_REQUEST
    host = fields.get(b"host")
    if (host is None and version == "1.1") or (host is not None and not _HOST.fullmatch(host.rstrip(b" \t"))):
        return rules.BAD_REQUEST
    if len(fields) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
        return rules.BAD_REQUEST
    if b"transfer-encoding" in fields:
        coding = fields[b"transfer-encoding"].strip(b" \t").lower()
        if version == "1.0" or coding != b"chunked":
            return rules.BAD_REQUEST
    if b"expect" in fields and version == "1.1" and fields[b"expect"].strip(b" \t").lower() != b"100-continue":
        return rules.UNMET_EXPECTATION
    return None


def head_without_upgrade(
    parser: httptools.HttpRequestParser, url: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """
    The head that was read, as if nobody had asked for another protocol, for a new parser; HTTP allows to ignore that.

    The old parser takes what follows such a head for the other protocol, and would report an empty body.
    """
    lines = [b"%b: %b" % pair for pair in headers if pair[0] not in _UPGRADE]
    options = b",".join(value for name, value in headers if name == b"connection").split(b",")
    kept = [option.strip() for option in options if option.strip().lower() not in (*_UPGRADE, b"")]
    if kept:
        lines.append(b"connection: " + b", ".join(kept))
    first = b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())
    return b"\r\n".join([first, *lines, b"", b""])
