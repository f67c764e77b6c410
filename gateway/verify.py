"""
Who sent it: verification and handshakes as data, carried out on the bytes that arrived.

A template says in `template.toml` how its vendor signs (`[verification]`) and how it asks whether the URL is ours
(`[handshake]`); either may be one table or a list. Of a list of verifications one must hold, of a list of handshakes the
first that applies answers. Nothing here does I/O or knows a vendor.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError

from gateway.errors import SettingsError, TemplateError

Headers = Sequence[tuple[bytes, bytes]]
"""Headers in the order in which they came, names in lower case."""
View = Callable[[], Mapping[str, Any]]
"""Makes `{"body": …, "query": …, "headers": …}` of a request when an expression asks for it."""

MAX_SIGNATURES = 16
MAX_ECHO = 1024
_SIGNED_PART = re.compile(r"\{([^{}]*)\}")
_SIGNED_NAMES = ("body", "timestamp", "id", "url", "method", "params")
_DIGITS = re.compile(rb"[0-9]{1,16}")
_MISSING_VIEW: Mapping[str, Any] = {}


class Refusal(msgspec.Struct, frozen=True):
    """Why a sender was not believed: for the operator's log, never for the sender."""

    reason: str


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How a vendor's requests are told from forged ones.

    `kind` is `token` (a header holds the secret), `basic` (the secret is `user:password`), `bearer`, `hmac`,
    `standard_webhooks` (also Svix; the secret is `whsec_…`) or `none`. All other keys but `header` and `value` are for
    `hmac` alone.
    """

    kind: Literal["none", "token", "basic", "bearer", "hmac", "standard_webhooks"]
    header: str | None = None
    """The header that holds the token or the signature."""
    value: str | None = None
    """Where it is, if in no header: JMESPath over `body`, `query` and `headers`, `body.signature.signature`."""
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    """The hash under the HMAC."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is written; either case of hex, either alphabet of base64, with padding or without."""
    prefix: str = ""
    """What stands before the token or before each signature, `sha256=`."""
    signed: str = "{body}"
    """What is signed: text and {body} {timestamp} {id} {url} {method} {params} {header:Name}, `v0:{timestamp}:{body}`."""
    secret_encoding: Literal["text", "hex", "base64"] = "text"
    """How the secret is written."""
    timestamp_header: str | None = None
    """The header that says when it was signed."""
    timestamp_value: str | None = None
    """The same, by JMESPath."""
    timestamp_element: str | None = None
    """The same, as an element of `header`: `t` in `t=1700000000,v1=…`."""
    timestamp_unit: Literal["s", "ms", "iso"] = "s"
    """Seconds or milliseconds since 1970, or ISO 8601."""
    tolerance: int = 300
    """How many seconds the timestamp may be off, either way."""
    separator: str | None = None
    """What stands between several signatures (at most 16) or elements in one header; `,` where there are elements."""
    element: str | None = None
    """The element of `header` that is a signature: `v1` in `t=1700000000,v1=…`."""
    id_header: str | None = None
    """The header that holds the id that is signed."""
    id_value: str | None = None
    """The same, by JMESPath."""

    def check(self) -> None:
        """Raise TemplateError where the keys do not fit together; the message names the key and what to do."""
        problem = _flaw(self)
        if problem:
            raise TemplateError(problem)

    def check_secret(self, secret: str) -> None:
        """Raise SettingsError where senders could never be verified with this secret; the secret is not repeated."""
        problem = None
        if not secret:
            problem = "the secret is empty"
        elif self.kind == "basic" and ":" not in secret:
            problem = "the secret of basic authentication is `user:password`, with a colon"
        elif self.kind == "standard_webhooks" and not _webhook_key(secret):
            problem = "the secret is not `whsec_` and base64, as Standard Webhooks has it"
        elif self.kind == "hmac" and not _key(self, secret):
            problem = f"the secret is not {self.secret_encoding}"
        if problem:
            raise SettingsError(problem)

    @property
    def secret_header(self) -> bytes | None:
        """The header whose value must not be stored, in lower case: it is the secret itself."""
        return self.header.lower().encode() if self.kind == "token" and self.header else None


class Handshake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How a vendor asks whether a URL is ours: it wants a text of its own back. Such a request is answered, not stored.

    Slack: `echo = "body.challenge"`, `when = "body.type == 'url_verification'"`. Microsoft Graph:
    `echo = "query.validationToken"`.
    """

    echo: str
    """What goes back: JMESPath over `body`, `query` and `headers` (names in lower case) that gives text, at most 1 KiB."""
    answer: Literal["plain", "json"] = "plain"
    """As plain text, or as JSON `{key: text}`."""
    when: str | None = None
    """The condition, JMESPath; where there is none, whether `echo` gives text."""
    method: Literal["POST", "GET", "any"] = "POST"
    """The method of the request."""
    key: str | None = None
    """The key of the JSON answer."""

    def check(self) -> None:
        """Raise TemplateError where the keys do not fit together; the message names the key and what to do."""
        for key, expression in (("echo", self.echo), ("when", self.when)):
            problem = _expression_flaw(key, expression)
            if problem:
                raise TemplateError(problem)
        if (self.answer == "json") != (self.key is not None):
            msg = '`key` goes with answer = "json": name the key of the JSON answer, or leave out both'
            raise TemplateError(msg)

    def reply(self, method: str, view: View) -> tuple[bytes, bytes] | None:
        """Content type and body of the answer to a request; None where it is no handshake."""
        if self.method not in (method, "any"):
            return None
        given = view()
        echo = _search(self.echo, given)
        if not isinstance(echo, str) or not echo or len(echo.encode("utf-8", "replace")) > MAX_ECHO:
            return None
        if self.when is not None and _search(self.when, given) is not True:
            return None
        if self.answer == "json":
            return b"application/json", msgspec.json.encode({self.key: echo})
        return b"text/plain; charset=utf-8", echo.encode("utf-8", "replace")


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
) -> Refusal | None:
    """
    None where one of the secrets (the current one, the previous one) proves the sender, else why not.

    `body` is what arrived, before any decoding. `view` serves the specs that look into the body or the query, `url` (as
    the sender wrote it) and `method` those that sign them.
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
    sent = _Sent(headers, body, view, method, url)
    try:
        if spec.kind == "token":
            return _token(spec, known, sent)
        if spec.kind == "standard_webhooks":
            return _standard_webhooks(known, sent, now_ms)
        keys = [key for key in (_key(spec, secret) for secret in known) if key]
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
) -> Refusal | None:
    """None where one of the specs holds or there is none, else the reason the first did not."""
    first: Refusal | None = None
    for spec in specs:
        refusal = verify(spec, secrets, headers, body, now_ms, view=view, method=method, url=url)
        if refusal is None:
            return None
        first = first or refusal
    return first


def delivery_id(where: str, headers: Headers, view: View) -> str | None:
    """
    The vendor's own id of a delivery: `header:X-GitHub-Delivery`, or JMESPath over `body`, `query` and `headers`.

    Text or a whole number; anything else is no id. An id of over 200 characters is replaced by its hash.
    """
    if where.startswith("header:"):
        name = where.removeprefix("header:").strip().lower().encode()
        found: object = next((value.strip().decode("latin-1") for key, value in headers if key == name), None)
    else:
        found = _search(where, view())
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    text = str(found)
    if len(text) > 200:  # noqa: PLR2004 - what the store keeps
        return "sha256:" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return text or None


def check_delivery_id(where: str) -> None:
    """Raise TemplateError where `delivery_id` is neither `header:Name` nor JMESPath."""
    problem = _header_flaw(
        "delivery_id", where.removeprefix("header:").strip() if where.startswith("header:") else None
    )
    if not where.startswith("header:"):
        problem = _expression_flaw("delivery_id", where)
    if problem:
        raise TemplateError(problem)


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
        found = _search(expression or "", self.view() if self.view else _MISSING_VIEW)
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
    pair = _from_base64(packed.strip(b" \t"))
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
    keys = [key for key in map(_webhook_key, secrets) if key]
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


def _webhook_key(secret: str) -> bytes | None:
    return _from_base64(secret.removeprefix("whsec_").encode()) or None


def _key(spec: Verification, secret: str) -> bytes | None:
    if spec.secret_encoding == "text":
        return secret.encode()
    if spec.secret_encoding == "base64":
        return _from_base64(secret.encode())
    try:
        return bytes.fromhex(secret)
    except ValueError:
        return None


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
    decode = _from_hex if spec.encoding == "hex" else _from_base64
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
    elif _DIGITS.fullmatch(stamp):
        signed_at = float(stamp) * (1000 if spec.timestamp_unit == "s" else 1)
    else:
        return f"the timestamp is not a whole number of {spec.timestamp_unit} since 1970"
    seconds = (now_ms - signed_at) / 1000
    if abs(seconds) <= spec.tolerance:
        return None
    side = "in the past" if seconds > 0 else "in the future"
    return f"the timestamp is {abs(seconds):.0f} s {side}, more than {spec.tolerance} s; compare the clocks"


@functools.lru_cache(maxsize=1024)
def _parts(signed: str) -> tuple[tuple[bool, str], ...]:
    """`signed`, split into (is a hole, text)."""
    pieces = _SIGNED_PART.split(signed)
    return tuple((bool(index % 2), piece) for index, piece in enumerate(pieces) if piece or index % 2)


def _message(spec: Verification, sent: _Sent, stamp: bytes | None) -> bytes:
    if spec.signed == "{body}":
        return sent.body
    return b"".join(_part(spec, sent, stamp, name) if hole else name.encode() for hole, name in _parts(spec.signed))


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


def _from_hex(text: bytes) -> bytes | None:
    try:
        found = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return None
    return found if len(text) == 2 * len(found) else None


def _from_base64(text: bytes) -> bytes | None:
    plain = text.translate(bytes.maketrans(b"-_", b"+/"))
    bare = plain.rstrip(b"=")
    padding = -len(bare) % 4
    if len(plain) - len(bare) not in (0, padding):
        return None
    try:
        return base64.b64decode(bare + b"=" * padding, validate=True)
    except (binascii.Error, ValueError):
        return None


@functools.lru_cache(maxsize=4096)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def _search(expression: str, given: Mapping[str, Any]) -> object:
    try:
        return cast("object", _compiled(expression).search(given))
    except (JMESPathError, TypeError, ValueError, RecursionError):  # a function met a value it does not take
        return None


def _flaw(spec: Verification) -> str | None:
    """What is wrong with a spec, if anything."""
    if spec.kind in ("none", "basic", "bearer", "standard_webhooks"):
        changed = [name for name, value in _changed(spec).items() if name != "kind" and value]
        return f'`{changed[0]}` means nothing with kind = "{spec.kind}": leave it out' if changed else None
    if (spec.header is None) == (spec.value is None):
        return f'kind = "{spec.kind}" needs either `header` or `value`: where the vendor puts the {_noun(spec)}'
    if spec.kind == "token":
        strange = [name for name in _changed(spec) if name not in ("kind", "header", "value", "prefix")]
        if strange:
            return f'`{strange[0]}` means nothing with kind = "token": leave it out, or make it kind = "hmac"'
    flaws = [_header_flaw(key, getattr(spec, key)) for key in ("header", "timestamp_header", "id_header")]
    flaws += [_expression_flaw(key, getattr(spec, key)) for key in ("value", "timestamp_value", "id_value")]
    return next(filter(None, flaws), None) or (_hmac_flaw(spec) if spec.kind == "hmac" else None)


def _hmac_flaw(spec: Verification) -> str | None:
    holes = [name for hole, name in _parts(spec.signed) if hole]
    unknown = [name for name in holes if name not in _SIGNED_NAMES and not name.startswith("header:")]
    if unknown or _SIGNED_PART.sub("", spec.signed).strip("{}") != _SIGNED_PART.sub("", spec.signed):
        return (
            f"`signed` knows {' '.join(f'{{{name}}}' for name in _SIGNED_NAMES)} {{header:Name}}, not {spec.signed!r}"
        )
    stamps = [
        name for name in ("timestamp_header", "timestamp_value", "timestamp_element") if getattr(spec, name) is not None
    ]
    ids = [name for name in ("id_header", "id_value") if getattr(spec, name) is not None]
    if not {"body", "params", "id"} & set(holes):
        return "`signed` has neither {body} nor {params} nor {id}: the signature would fit any message"
    if len(stamps) > 1 or len(ids) > 1:
        both = " and ".join(f"`{name}`" for name in (stamps if len(stamps) > 1 else ids))
        return f"{both} say the same thing twice: leave one out"
    if "timestamp" in holes and not stamps:
        return "`signed` has {timestamp}: say where it is with `timestamp_header`, `timestamp_element` or `timestamp_value`"
    if "id" in holes and not ids:
        return "`signed` has {id}: say where it is with `id_header` or `id_value`"
    if "id" not in holes and ids:
        return f"`{ids[0]}` is not in `signed`; the delivery id has a key of its own, `delivery_id`"
    if spec.timestamp_element is not None and spec.element is None:
        return "`timestamp_element` needs `element`, the name of the signature in the same header"
    if spec.separator == "":
        return "`separator` is empty: leave it out where there is one signature"
    if not 1 <= spec.tolerance <= 86_400:  # noqa: PLR2004 - a day
        return f"`tolerance` is {spec.tolerance}; it is seconds, 1 to 86400"
    return None


def _changed(spec: Verification) -> dict[str, object]:
    """The keys that were set to something other than their default."""
    return {
        field.name: getattr(spec, field.name)
        for field in msgspec.structs.fields(spec)
        if getattr(spec, field.name) != field.default
    }


def _noun(spec: Verification) -> str:
    return "token" if spec.kind == "token" else "signature"


def _header_flaw(key: str, name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        return f"`{key}` is not the name of a header: {name!r}"
    return None


def _expression_flaw(key: str, expression: str | None) -> str | None:
    if expression is None:
        return None
    try:
        _compiled(expression)
    except (JMESPathError, RecursionError) as error:
        return f"`{key}` is not JMESPath: {expression!r}: {str(error).splitlines()[0]}"
    if not re.search(r"\b(body|query|headers)\b", expression):
        return f"`{key}` looks at nothing that was sent: begin with body, query or headers, `body.{expression}`"
    return None
