"""
Who sent it: what a template says about its vendor's signature, carried out on the bytes that arrived.

Compared in constant time, on bytes, in full length. Nothing here does I/O or knows a vendor.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from gateway.certificates import Keyring, certified
from gateway.expressions import NO_VIEW, View, search
from gateway.verify import (
    DIGITS,
    MAX_SIGNATURES,
    CertificateNeeded,
    Headers,
    Refusal,
    Verification,
    from_base64,
    from_hex,
    key_bytes,
    signed_parts,
    ways_of,
    webhook_key,
)


def verify(
    spec: Verification,
    secrets: Sequence[str],
    headers: Headers,
    body: bytes,
    now_ms: int,
    *,
    view: View | None = None,
    method: str = "POST",
    url: str = "",
    keyring: Keyring | None = None,
) -> Refusal | None:
    """
    None where one of the secrets (the current one, the previous one) proves the sender, else why not.

    `body` is what arrived, before any decoding. `view` serves the specs that look into the body or the query, `url` (as
    the sender wrote it) and `method` those that sign them, `keyring` those that sign with a certificate: where it lacks
    theirs, it is CertificateNeeded that is returned.
    """
    if spec.kind == "none":
        return None
    known = [secret for secret in secrets if secret]
    if not known:
        return Refusal("no secret is set")
    if spec.kind == "basic":
        return _basic(known, headers)
    if spec.kind == "bearer":
        return _bearer(known, headers)
    if spec.kind == "certificate":
        return certified(spec, known, headers, body, now_ms, keyring or Keyring())
    sent = _Sent(headers, body, view, method, url)
    try:
        if spec.kind == "token":
            return _token(spec, known, sent)
        if spec.kind == "standard_webhooks":
            return _standard_webhooks(known, sent, now_ms)
        keys = [key for key in (key_bytes(spec, secret) for secret in known) if key]
        return _hmac(spec, keys, sent, now_ms)
    except _Unverified as unverified:
        return Refusal(str(unverified))


def verify_any(
    specs: Sequence[Verification],
    secrets: Sequence[str],
    headers: Headers,
    body: bytes,
    now_ms: int,
    *,
    view: View | None = None,
    method: str = "POST",
    url: str = "",
    keyring: Keyring | None = None,
) -> Refusal | None:
    """
    None where one of the specs holds or there is none, else the reason the first did not.

    Where one would hold if its certificate were there, that is the reason: CertificateNeeded.
    """
    if len(specs) == 1:  # nearly always
        return verify(specs[0], secrets, headers, body, now_ms, view=view, method=method, url=url, keyring=keyring)
    first: Refusal | None = None
    prefixed = any(spec.secret_prefix for spec in specs)
    for spec in specs:
        own = [secret for secret in secrets if spec in ways_of(specs, secret)] if prefixed else secrets
        if not own and secrets:
            continue
        refusal = verify(spec, own, headers, body, now_ms, view=view, method=method, url=url, keyring=keyring)
        if refusal is None:
            return None
        if first is None or (isinstance(refusal, CertificateNeeded) and not isinstance(first, CertificateNeeded)):
            first = refusal
    return first


class _Unverified(Exception):  # noqa: N818 - it never leaves this module
    """The reason that becomes a Refusal."""


class _Sent:
    """The request, as far as a spec looks at it."""

    __slots__ = ("body", "headers", "method", "url", "view")

    def __init__(self, headers: Headers, body: bytes, view: View | None, method: str, url: str) -> None:
        self.headers, self.body, self.view, self.method, self.url = headers, body, view, method, url

    def header(self, name: str) -> bytes:
        key = name.lower().encode()
        found = [value for given, value in self.headers if given == key]
        if len(found) != 1:
            msg = f"the header {name} is {'missing' if not found else 'there more than once'}"
            raise _Unverified(msg)
        return found[0].strip(b" \t")

    def at(self, header: str | None, expression: str | None) -> bytes:
        if header is not None:
            return self.header(header)
        found = search(expression or "", self.view() if self.view else NO_VIEW)
        if isinstance(found, bool) or not isinstance(found, str | int):
            msg = f"there is nothing at {expression}"
            raise _Unverified(msg)
        return str(found).encode("utf-8", "replace")


def _token(spec: Verification, secrets: Sequence[str], sent: _Sent) -> Refusal | None:
    token = sent.at(spec.header, spec.value)
    prefix = spec.prefix.encode()
    if not token.startswith(prefix):
        return Refusal(f"the token does not begin with {spec.prefix!r}")
    return _one_of(token[len(prefix) :], secrets, "the token is not the one that is set")


def _bearer(secrets: Sequence[str], headers: Headers) -> Refusal | None:
    scheme, _, token = _authorization(headers).partition(b" ")
    if scheme.lower() != b"bearer":
        return Refusal("there is no `Authorization: Bearer`")
    return _one_of(token.strip(b" \t"), secrets, "the bearer token is not the one that is set")


def _basic(secrets: Sequence[str], headers: Headers) -> Refusal | None:
    scheme, _, packed = _authorization(headers).partition(b" ")
    if scheme.lower() != b"basic":
        return Refusal("there is no `Authorization: Basic`")
    pair = from_base64(packed.strip(b" \t"))
    # The user ends at the first colon in both, so comparing the pairs compares user and password.
    if pair is None or b":" not in pair:
        return Refusal("the basic credentials are not base64 of `user:password`")
    return _one_of(pair, [secret for secret in secrets if ":" in secret], "user or password is not the one that is set")


def _authorization(headers: Headers) -> bytes:
    found = [value for name, value in headers if name == b"authorization"]
    return found[0].strip(b" \t") if len(found) == 1 else b""


def _one_of(given: bytes, secrets: Sequence[str], reason: str) -> Refusal | None:
    held = False
    for secret in secrets:  # each is compared, so that the time does not tell which one it was
        held |= hmac.compare_digest(given, secret.encode())
    return None if held else Refusal(reason)


def _standard_webhooks(secrets: Sequence[str], sent: _Sent, now_ms: int) -> Refusal | None:
    family = "svix" if not any(name == b"webhook-id" for name, _ in sent.headers) else "webhook"
    keys = [key for key in map(webhook_key, secrets) if key]
    if not keys:
        return Refusal("the secret that is set is not `whsec_` and base64")
    return _hmac(_webhook_spec(family), keys, sent, now_ms)


@functools.cache
def _webhook_spec(family: str) -> Verification:
    return Verification(
        kind="hmac",
        header=f"{family}-signature",
        encoding="base64",
        prefix="v1,",
        separator=" ",
        signed="{id}.{timestamp}.{body}",
        timestamp_header=f"{family}-timestamp",
        id_header=f"{family}-id",
    )


def _hmac(spec: Verification, keys: Sequence[bytes], sent: _Sent, now_ms: int) -> Refusal | None:
    if not keys:
        return Refusal(f"the secret that is set is not {spec.secret_encoding}")
    given = sent.at(spec.header, spec.value)
    signatures, stamp = _taken_apart(spec, given)
    if spec.timestamp_header is not None or spec.timestamp_value is not None:
        stamp = sent.at(spec.timestamp_header, spec.timestamp_value)
    if stamp is not None:
        late = _skew(spec, stamp, now_ms)
        if late:
            return Refusal(late)
    size = hashlib.new(spec.algorithm).digest_size
    decode = from_hex if spec.encoding == "hex" else from_base64
    candidates = [found for found in map(decode, signatures) if found is not None and len(found) == size]
    if not candidates:
        return Refusal(f"the signature is not {spec.algorithm} in {spec.encoding} as {_where(spec)} should have it")
    message = _message(spec, sent, stamp)
    held = False
    for key in keys:
        expected = hmac.digest(key, message, spec.algorithm)
        for candidate in candidates:
            held |= hmac.compare_digest(expected, candidate)
    return None if held else Refusal("the signature does not fit the body and the secret that is set")


def _taken_apart(spec: Verification, given: bytes) -> tuple[list[bytes], bytes | None]:
    """The signatures in a header, without their prefix, and the timestamp if it is one of the elements."""
    elements = spec.element is not None or spec.timestamp_element is not None
    separator = spec.separator or ("," if elements else None)
    pieces = [given] if separator is None else given.split(separator.encode(), MAX_SIGNATURES)
    if len(pieces) > MAX_SIGNATURES:
        msg = f"{_where(spec)} holds more than {MAX_SIGNATURES} parts"
        raise _Unverified(msg)
    stamps: list[bytes] = []
    if elements:
        pairs = [piece.strip(b" \t").partition(b"=") for piece in pieces]
        stamps = [value for name, _, value in pairs if name.decode("latin-1") == spec.timestamp_element]
        pieces = [value for name, _, value in pairs if name.decode("latin-1") == spec.element]
    if spec.timestamp_element is not None and len(stamps) != 1:
        msg = f"{_where(spec)} does not hold one {spec.timestamp_element}="
        raise _Unverified(msg)
    prefix = spec.prefix.encode()
    signatures = [
        piece[len(prefix) :] for piece in (piece.strip(b" \t") for piece in pieces) if piece.startswith(prefix)
    ]
    if not any(signatures):
        msg = f"{_where(spec)} holds no signature that begins with {spec.prefix or (spec.element or '') + '='!r}"
        raise _Unverified(msg)
    return signatures, stamps[0] if stamps else None


def _where(spec: Verification) -> str:
    return spec.header or spec.value or "the request"


def _skew(spec: Verification, stamp: bytes, now_ms: int) -> str | None:
    """What is wrong with a timestamp, if anything."""
    if spec.timestamp_unit == "iso":
        try:
            moment = datetime.fromisoformat(stamp.decode("ascii"))
        except ValueError:
            return "the timestamp is not ISO 8601"
        signed_at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    elif DIGITS.fullmatch(stamp):
        signed_at = float(stamp) * (1000 if spec.timestamp_unit == "s" else 1)
    else:
        return f"the timestamp is not a whole number of {spec.timestamp_unit} since 1970"
    seconds = (now_ms - signed_at) / 1000
    if abs(seconds) <= spec.tolerance:
        return None
    side = "in the past" if seconds > 0 else "in the future"
    return f"the timestamp is {abs(seconds):.0f} s {side}, more than {spec.tolerance} s; compare the clocks"


def _message(spec: Verification, sent: _Sent, stamp: bytes | None) -> bytes:
    if spec.signed == "{body}":
        return sent.body
    return b"".join(
        _part(spec, sent, stamp, name) if hole else name.encode() for hole, name in signed_parts(spec.signed)
    )


def _part(spec: Verification, sent: _Sent, stamp: bytes | None, name: str) -> bytes:
    match name:
        case "body":
            return sent.body
        case "timestamp":
            return stamp or b""
        case "id":
            return sent.at(spec.id_header, spec.id_value)
        case "url":
            return sent.url.encode()
        case "method":
            return sent.method.encode()
        case "params":
            fields = parse_qsl(sent.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
            return "".join(key + value for key, value in sorted(fields)).encode()
    return sent.header(name.removeprefix("header:").strip())
