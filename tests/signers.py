"""A vendor that signs with a key of its own, and the messages it signs: real RSA keys, certificates made by themselves."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from gateway.handshakes import Handshake
from gateway.verify import Verification

HOST = r"^keys\.[a-z0-9-]+\.vendor\.example(\.cn)?$"
CERTIFICATE_URL = "https://keys.eu-1.vendor.example/signing-1.pem"
SUBSCRIBE_URL = "https://keys.eu-1.vendor.example/?Action=Confirm&Token=t0ken"
TOPIC = "arn:vendor:eu-1:42:alerts"
SIGNED_KEYS = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
CERTIFIED = Verification(
    kind="certificate",
    value="body.Signature",
    signed_keys=SIGNED_KEYS,
    certificate_value="body.SigningCertURL",
    certificate_host=HOST,
    version_value="body.SignatureVersion",
    versions={"1": "sha1", "2": "sha256"},
    pin_value="body.TopicArn",
    secret_prefix="arn:",
)
VISITING = Handshake(visit="body.SubscribeURL", when="body.Type == 'SubscriptionConfirmation'", host=HOST)
_HASHES = {"1": hashes.SHA1, "2": hashes.SHA256}


class Signer:
    """A key and its certificate, which is valid around `now` (milliseconds)."""

    def __init__(self, now: int, *, days: int = 30, bits: int = 2048) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        self.pem = certificate(self.key, now, days=days)

    def signed(self, version: str = "2", **values: Any) -> dict[str, Any]:
        """A notification with these values, None leaving one out; signed over what is in it."""
        message = {
            "Type": "Notification",
            "MessageId": "m-1",
            "TopicArn": TOPIC,
            "Subject": "Disk is full",
            "Message": "line 1\nline 2: \u00e9 \U0001f525",
            "Timestamp": "2025-06-15T15:06:40.000Z",
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE_URL,
        } | values
        message = {name: value for name, value in message.items() if value is not None}
        return message | {"Signature": self.signature(message, version)}

    def signature(self, message: Mapping[str, Any], version: str = "2") -> str:
        """As the vendor's documentation has it: each key and each value on a line of its own."""
        text = "".join(f"{name}\n{message[name]}\n" for name in SIGNED_KEYS if name in message)
        algorithm = _HASHES.get(version, hashes.SHA256)()
        return base64.b64encode(self.key.sign(text.encode(), padding.PKCS1v15(), algorithm)).decode()

    def confirmation(self, kind: str = "SubscriptionConfirmation", **values: Any) -> dict[str, Any]:
        """What asks for a visit, signed."""
        own = {"Type": kind, "Subject": None, "Token": "t0ken", "SubscribeURL": SUBSCRIBE_URL}
        return self.signed(**(own | values))


@functools.cache
def signer(now: int) -> Signer:
    """One for all tests: a key takes a while to find."""
    return Signer(now)


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, now: int, *, days: int = 30) -> bytes:
    """A certificate in PEM that is valid for some days before and after `now`; before both where `days` is negative."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vendor.example")])
    moment = datetime.fromtimestamp(now / 1000, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=abs(days) * 2))
        .not_valid_after(moment + timedelta(days=days))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def encoded(message: Mapping[str, Any]) -> bytes:
    """A message as it is sent."""
    return msgspec.json.encode(message)
