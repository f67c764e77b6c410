"""
Signatures of vendors that sign with a key of their own: what they signed, and the certificates that were fetched for it.

That a certificate is the vendor's is told by where it is fetched from: https, and a host that the template names. The
vendor's key signs for all its customers, so the message must name what the secret says as well. Nothing here does I/O.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway.body import decode_body
from gateway.errors import UnreadableError
from gateway.expressions import search
from gateway.hosts import url_flaw
from gateway.verify import Algorithm, CertificateNeeded, Headers, Refusal, Verification, from_base64

ENDING = ".pem"
_MOST = 64
_KEY_BITS = range(2048, 8193)
_CAP = 64 << 20  # `ingest` has a smaller one of its own
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


class Keyring:
    """The keys of certificates that were fetched, by URL, each until its certificate expires; the oldest make room."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[rsa.RSAPublicKey, float]] = {}

    def find(self, url: str, now_ms: int) -> rsa.RSAPublicKey | None:
        """The key of the certificate at a URL; None where it is not known, or not any more."""
        found = self._keys.get(url)
        if found is None:
            return None
        if now_ms >= found[1]:
            del self._keys[url]
            return None
        return found[0]

    def add(self, url: str, pem: bytes, now_ms: int) -> str | None:
        """Keep the key of a certificate that was fetched; why not, where it is of no use."""
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            key = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            return "there is no X.509 certificate in PEM"
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begins <= datetime.fromtimestamp(now_ms / 1000, UTC) < ends:
            return (
                f"the certificate is valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, and not now; compare the clocks"
            )
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size not in _KEY_BITS:
            return f"the certificate's key is not RSA of {_KEY_BITS[0]} to {_KEY_BITS[-1]} bits"
        if len(self._keys) >= _MOST:
            del self._keys[next(iter(self._keys))]
        self._keys[url] = key, ends.timestamp() * 1000
        return None


def certified(
    spec: Verification, secrets: Sequence[str], headers: Headers, body: bytes, now_ms: int, keyring: Keyring
) -> Refusal | None:
    """
    None where the message names one of the secrets and the vendor has signed it, else why it is not believed.

    The certificate is asked for last: a message that could not be believed with it has none fetched.
    """
    try:
        # As JSON whatever its Content-Type says: so do templates read it, and both must see the same.
        data = decode_body(headers, body, _CAP, formats=("json",))
    except UnreadableError:
        data = None
    if not isinstance(data, dict):
        return Refusal("the body is no JSON object")
    given = {
        "body": data,
        "query": {},
        "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in headers},
    }
    pinned = _text(spec.pin_value, given).encode("utf-8", "replace")
    if not max([hmac.compare_digest(pinned, secret.encode()) for secret in secrets]):
        return Refusal(f"{spec.pin_value} is not what the secret says")
    algorithm = _algorithm(spec, given)
    if algorithm is None:
        return Refusal(f"{spec.version_value} is not a version of signatures that the template knows")
    signature = from_base64(_signature(spec, given).encode("utf-8", "replace"))
    if not signature:
        return Refusal(f"there is no signature in base64 at {spec.header or spec.value}")
    signed = _signed(spec, data)
    if signed is None:
        return Refusal("a value that is signed is no text")
    url = search(spec.certificate_value or "", given)
    flaw = url_flaw(url, spec.certificate_host or "", ending=ENDING)
    if flaw is not None or not isinstance(url, str):
        return Refusal(f"{spec.certificate_value}: {flaw}")
    key = keyring.find(url, now_ms)
    if key is None:
        return CertificateNeeded("the certificate that it was signed with is not here", url)
    try:
        key.verify(signature, signed, padding.PKCS1v15(), _HASHES[algorithm]())
    except InvalidSignature:
        return Refusal("the signature does not fit the body and the certificate")
    return None


def _algorithm(spec: Verification, given: Mapping[str, Any]) -> Algorithm | None:
    if spec.version_value is None or spec.versions is None:
        return spec.algorithm
    return spec.versions.get(_text(spec.version_value, given))


def _signature(spec: Verification, given: Mapping[str, Any]) -> str:
    if spec.header is not None:
        return str(given["headers"].get(spec.header.lower(), "")).strip()
    return _text(spec.value, given)


def _text(expression: str | None, given: Mapping[str, Any]) -> str:
    """What is there as text; empty where there is neither text nor a whole number."""
    found = search(expression or "", given)
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""


def _signed(spec: Verification, data: Mapping[str, Any]) -> bytes | None:
    """What the vendor signed; None where one of the values is no text."""
    lines: list[str] = []
    for key in spec.signed_keys:
        value = data.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            return None
        lines += (key, value)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
