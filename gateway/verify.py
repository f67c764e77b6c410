"""
Who sent it, as data; `signatures` and `certificates` carry it out.

A template says in `template.toml` how its vendor signs (`[verification]`, one table or a list of which one must hold).
Nothing here does I/O or knows a vendor.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from gateway.errors import SettingsError, TemplateError
from gateway.expressions import View, expression_flaw, search
from gateway.hosts import pattern_flaw

Algorithm = Literal["sha1", "sha256", "sha384", "sha512"]
Headers = Sequence[tuple[bytes, bytes]]
"""Headers in the order in which they came, names in lower case."""

MAX_SIGNATURES = 16
_SIGNED_PART = re.compile(r"\{([^{}]*)\}")
_SIGNED_NAMES = ("body", "timestamp", "id", "url", "method", "params")
_HEADER_KEYS = ("header", "timestamp_header", "id_header")
_VALUE_KEYS = ("value", "timestamp_value", "id_value", "certificate_value", "version_value", "pin_value")
_CERTIFICATE_NEEDS = ("signed_keys", "certificate_value", "certificate_host", "pin_value")
_CERTIFICATE_ONLY = (*_CERTIFICATE_NEEDS, "version_value", "versions", "secret_prefix")
_COMMON = ("kind", "header", "value")
DIGITS = re.compile(rb"[0-9]{1,16}")


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How a vendor's requests are told from forged ones.

    `kind` is `token` (a header holds the secret), `basic` (the secret is `user:password`), `bearer`, `hmac`,
    `standard_webhooks` (also Svix; the secret is `whsec_…`), `certificate` (the vendor signs with a key of its own, and says
    where the certificate is; the secret is what the message must name) or `none`. All other keys but `header`, `value` and
    `algorithm` are for `hmac` alone, or for `certificate`.
    """

    kind: Literal["none", "token", "basic", "bearer", "hmac", "standard_webhooks", "certificate"]
    header: str | None = None
    """The header that holds the token or the signature."""
    value: str | None = None
    """Where it is, if in no header: JMESPath over `body`, `query` and `headers`, `body.signature.signature`."""
    algorithm: Algorithm = "sha256"
    """The hash under the HMAC or the signature."""
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
    signed_keys: tuple[str, ...] = ()
    """What a certificate's key has signed: of these keys of the body those that are there, each a line, its text the next."""
    certificate_value: str | None = None
    """Where the URL of the certificate is, by JMESPath; it is fetched once, if it is https and ends in `.pem`."""
    certificate_host: str | None = None
    """Which host that URL must have: an RE2 pattern for the whole of it, and of its port where it has one."""
    version_value: str | None = None
    """Where the version of the signature is, by JMESPath."""
    versions: dict[str, Algorithm] | None = None
    """The `algorithm` of each version, `{ 1 = "sha1", 2 = "sha256" }`; others are not believed."""
    pin_value: str | None = None
    """Where that is which must be the secret, by JMESPath: the vendor's key signs for others too."""
    secret_prefix: str = ""
    """How a secret begins that is for this way alone, where there are several; what begins otherwise is for the others."""

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
        elif self.kind == "standard_webhooks" and not webhook_key(secret):
            problem = "the secret is not `whsec_` and base64, as Standard Webhooks has it"
        elif self.kind == "hmac" and not key_bytes(self, secret):
            problem = f"the secret is not {self.secret_encoding}"
        elif self.kind == "certificate" and not secret.startswith(self.secret_prefix):
            problem = f"the secret does not begin with {self.secret_prefix!r}; it is what {self.pin_value} must be"
        if problem:
            raise SettingsError(problem)

    @property
    def secret_header(self) -> bytes | None:
        """The header whose value must not be stored, in lower case: it is the secret itself."""
        return self.header.lower().encode() if self.kind == "token" and self.header else None


class Refusal(msgspec.Struct, frozen=True):
    """Why a sender was not believed: for the operator's log, never for the sender."""

    reason: str


class CertificateNeeded(Refusal, frozen=True):
    """All fits, as far as it can be told without the certificate at `url`."""

    url: str


def ways_of(specs: Sequence[Verification], secret: str) -> tuple[Verification, ...]:
    """The specs that a secret is for: those whose `secret_prefix` it has; else those without one; else all."""
    own = [spec for spec in specs if spec.secret_prefix and secret.startswith(spec.secret_prefix)]
    return tuple(own or [spec for spec in specs if not spec.secret_prefix] or specs)


def delivery_id(where: str, headers: Headers, view: View) -> str | None:
    """
    The vendor's own id of a delivery: `header:X-GitHub-Delivery`, or JMESPath over `body`, `query` and `headers`.

    Text or a whole number; anything else is no id. An id of over 200 characters is replaced by its hash.
    """
    if where.startswith("header:"):
        name = where.removeprefix("header:").strip().lower().encode()
        found: object = next((value.strip().decode("latin-1") for key, value in headers if key == name), None)
    else:
        found = search(where, view())
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
        problem = expression_flaw("delivery_id", where)
    if problem:
        raise TemplateError(problem)


def webhook_key(secret: str) -> bytes | None:
    """The bytes of a secret of Standard Webhooks, `whsec_…`; None where it is none."""
    return from_base64(secret.removeprefix("whsec_").encode()) or None


def key_bytes(spec: Verification, secret: str) -> bytes | None:
    """The bytes of a secret, as `secret_encoding` has them written; None where it is not written so."""
    if spec.secret_encoding == "text":
        return secret.encode()
    if spec.secret_encoding == "base64":
        return from_base64(secret.encode())
    try:
        return bytes.fromhex(secret)
    except ValueError:
        return None


@functools.lru_cache(maxsize=1024)
def signed_parts(signed: str) -> tuple[tuple[bool, str], ...]:
    """`signed`, split into (is a hole, text)."""
    pieces = _SIGNED_PART.split(signed)
    return tuple((bool(index % 2), piece) for index, piece in enumerate(pieces) if piece or index % 2)


def from_hex(text: bytes) -> bytes | None:
    """The bytes that hexadecimal digits stand for; None where there is anything else between them."""
    try:
        found = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return None
    return found if len(text) == 2 * len(found) else None


def from_base64(text: bytes) -> bytes | None:
    """The bytes that base64 stands for, in either alphabet, padded or not; None where it is neither."""
    plain = text.translate(bytes.maketrans(b"-_", b"+/"))
    bare = plain.rstrip(b"=")
    padding = -len(bare) % 4
    if len(plain) - len(bare) not in (0, padding):
        return None
    try:
        return base64.b64decode(bare + b"=" * padding, validate=True)
    except (binascii.Error, ValueError):
        return None


def _flaw(spec: Verification) -> str | None:
    """What is wrong with a spec, if anything."""
    if spec.kind in ("none", "basic", "bearer", "standard_webhooks"):
        changed = [name for name, value in _changed(spec).items() if name != "kind" and value]
        return f'`{changed[0]}` means nothing with kind = "{spec.kind}": leave it out' if changed else None
    if (spec.header is None) == (spec.value is None):
        return f'kind = "{spec.kind}" needs either `header` or `value`: where the vendor puts the {_noun(spec)}'
    strange = [name for name in _changed(spec) if not _belongs(name, spec.kind)]
    if strange:
        hint = ', or make it kind = "hmac"' if spec.kind == "token" else ""
        return f'`{strange[0]}` means nothing with kind = "{spec.kind}": leave it out{hint}'
    flaws = [_header_flaw(key, getattr(spec, key)) for key in _HEADER_KEYS]
    flaws += [expression_flaw(key, getattr(spec, key)) for key in _VALUE_KEYS]
    return next(filter(None, flaws), None) or (
        _certificate_flaw(spec) if spec.kind == "certificate" else _hmac_flaw(spec)
    )


def _certificate_flaw(spec: Verification) -> str | None:
    missing = [name for name in _CERTIFICATE_NEEDS if not getattr(spec, name)]
    if missing:
        return f'kind = "certificate" needs `{missing[0]}`'
    if (spec.version_value is None) != (spec.versions is None):
        return "`version_value` and `versions` go together: where the version is, and what each means"
    return pattern_flaw("certificate_host", spec.certificate_host or "")


def _hmac_flaw(spec: Verification) -> str | None:
    holes = [name for hole, name in signed_parts(spec.signed) if hole]
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


_FLAWS: Mapping[str, Callable[[Verification], str | None]] = {
    "token": lambda _: None,
    "hmac": _hmac_flaw,
    "certificate": _certificate_flaw,
}


def _belongs(key: str, kind: str) -> bool:
    """Whether a key means something with this kind, which has a `header` or a `value`."""
    if key in _COMMON:
        return True
    if kind == "token":
        return key == "prefix"
    if kind == "certificate":
        return key == "algorithm" or key in _CERTIFICATE_ONLY
    return key not in _CERTIFICATE_ONLY


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
