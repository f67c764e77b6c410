"""Signatures by certificate: what is believed, what is not, and that nothing is fetched for what could not be believed."""

from __future__ import annotations

import gzip
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.certificates import Keyring
from gateway.errors import SettingsError, TemplateError
from gateway.signatures import verify, verify_any
from gateway.verify import CertificateNeeded, Refusal, Verification, ways_of
from tests.signers import CERTIFICATE_URL, CERTIFIED, TOPIC, Signer, certificate, encoded, signer

NOW = 1_750_000_000_000
DAY = 86_400_000
LABELLED = [(b"content-type", b"text/plain; charset=UTF-8")]
BASIC = Verification(kind="basic")


@pytest.fixture(scope="module")
def vendor() -> Signer:
    return signer(NOW)


@pytest.fixture
def keyring(vendor: Signer) -> Keyring:
    keyring = Keyring()
    assert keyring.add(CERTIFICATE_URL, vendor.pem, NOW) is None
    return keyring


def ask(message: dict[str, Any] | bytes, keyring: Keyring, *, secret: str = TOPIC, **more: Any) -> Refusal | None:
    body = message if isinstance(message, bytes) else encoded(message)
    return verify(CERTIFIED, [secret], more.pop("headers", LABELLED), body, NOW, keyring=keyring, **more)


def reason(message: dict[str, Any] | bytes, keyring: Keyring, **more: Any) -> str:
    refusal = ask(message, keyring, **more)
    assert refusal is not None, "was believed"
    assert not isinstance(refusal, CertificateNeeded), "a certificate would be fetched for it"
    return refusal.reason


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["Disk is full", None])
def test_what_the_vendor_signed_is_believed(
    vendor: Signer, keyring: Keyring, version: str, subject: str | None
) -> None:
    assert ask(vendor.signed(version, Subject=subject), keyring) is None
    assert ask(vendor.confirmation(version=version), keyring) is None


def test_a_version_may_be_a_number_and_a_body_compressed(vendor: Signer, keyring: Keyring) -> None:
    assert ask(vendor.signed(SignatureVersion=2), keyring) is None
    packed = gzip.compress(encoded(vendor.signed()))
    assert ask(packed, keyring, headers=[*LABELLED, (b"content-encoding", b"gzip")]) is None


@pytest.mark.parametrize("name", ["Message", "MessageId", "Subject", "Timestamp", "Type"])
@pytest.mark.parametrize("value", ["forged", None, 7, ["a"], {"a": "b"}, True, "\ud800"])
def test_a_field_that_was_changed_is_not(vendor: Signer, keyring: Keyring, name: str, value: object) -> None:
    changed = vendor.signed() | {name: value}
    body = encoded(changed) if value != "\ud800" else encoded(changed | {name: "?"}).replace(b'"?"', b'"\\ud800"')
    assert reason(body, keyring)


@pytest.mark.parametrize("name", ["SubscribeURL", "Token"])
def test_nor_is_one_that_was_added(vendor: Signer, keyring: Keyring, name: str) -> None:
    assert "does not fit" in reason(vendor.signed() | {name: "https://keys.eu-1.vendor.example/"}, keyring)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/signing-1.pem",
        "https://keys.eu-1.vendor.example.evil.example/signing-1.pem",
        "https://evil.example/keys.eu-1.vendor.example/signing-1.pem",
        "http://keys.eu-1.vendor.example/signing-1.pem",
        "https://keys.eu-1.vendor.example@evil.example/signing-1.pem",
        "https://evil.example@keys.eu-1.vendor.example/signing-1.pem",
        "https://a:b@keys.eu-1.vendor.example/signing-1.pem",
        "https://keys.eu-1.vendor.example:8443/signing-1.pem",
        "https://keys.eu-1.vendor.example:443/signing-1.pem",
        "https://keys.eu-1.vendor.example\\@evil.example/signing-1.pem",
        "https://evil.example\\keys.eu-1.vendor.example/signing-1.pem",
        "https://evil.example#keys.eu-1.vendor.example/signing-1.pem",
        "https://evil.example?keys.eu-1.vendor.example/signing-1.pem",
        "https://KEYS.eu-1.vendor.example/signing-1.pem",
        "https://keys.eu-1.vendor.example./signing-1.pem",
        "https://keys.\u0435u-1.vendor.example/signing-1.pem",
        "https://keys.eu-1.vendor.example\n/signing-1.pem",
        "https://keys.eu-1.vendor.example/signing-1.pem\n",
        "https://keys.eu-1.vendor.example/signing-1.pem?a=b",
        "https://keys.eu-1.vendor.example/signing-1.pem#.pem",
        "https://keys.eu-1.vendor.example/?redirect=evil.pem",
        "https://keys.eu-1.vendor.example/signing-1.txt",
        "https://keys.eu-1.vendor.example/" + "x" * 2048 + ".pem",
        "//keys.eu-1.vendor.example/signing-1.pem",
        "file:///etc/ssl/cert.pem",
        "HTTPS://keys.eu-1.vendor.example/signing-1.pem",
        "https:keys.eu-1.vendor.example/signing-1.pem",
        "https://169.254.169.254/signing-1.pem",
        "https://[::1]/signing-1.pem",
        "",
        None,
        7,
        ["https://keys.eu-1.vendor.example/signing-1.pem"],
    ],
)
def test_a_certificate_from_elsewhere_is_not_even_fetched(vendor: Signer, url: object) -> None:
    said = reason(vendor.signed() | {"SigningCertURL": url}, Keyring())
    assert said.startswith("body.SigningCertURL: ")
    assert "evil" not in said


@pytest.mark.parametrize("region", ["eu-1", "us-gov-west-1", "x"])
def test_the_vendors_own_hosts_are_asked(vendor: Signer, region: str) -> None:
    for host in (f"keys.{region}.vendor.example", f"keys.{region}.vendor.example.cn"):
        url = f"https://{host}/some/where/signing-2.pem"
        needed = ask(vendor.signed(SigningCertURL=url), Keyring())
        assert isinstance(needed, CertificateNeeded)
        assert needed.url == url


@pytest.mark.parametrize(
    "topic", ["arn:vendor:eu-1:42:other", TOPIC + "x", TOPIC[:-1], TOPIC.upper(), "", None, 7, [TOPIC]]
)
def test_a_signature_for_somebody_else_is_not_ours(vendor: Signer, topic: object) -> None:
    """Whoever is a customer of the vendor can have it sign; nothing is fetched for them."""
    assert "is not what the secret says" in reason(vendor.signed(TopicArn=topic), Keyring())


@pytest.mark.parametrize("version", ["3", "0", "", "sha1", None, 1.0, True, ["2"]])
def test_an_unknown_version_is_not_believed(vendor: Signer, version: object) -> None:
    assert "version" in reason(vendor.signed() | {"SignatureVersion": version}, Keyring())


def test_a_signature_of_the_other_version_is_not(vendor: Signer, keyring: Keyring) -> None:
    assert "does not fit" in reason(vendor.signed("1") | {"SignatureVersion": "2"}, keyring)


@pytest.mark.parametrize("signature", ["", "!", "é", None, 7, "AAAA", "A" * 344])
def test_a_signature_that_is_none_is_not_believed(vendor: Signer, keyring: Keyring, signature: object) -> None:
    assert "signature" in reason(vendor.signed() | {"Signature": signature}, keyring)


def test_the_signature_of_another_key_is_not(vendor: Signer, keyring: Keyring) -> None:
    assert "does not fit" in reason(Signer(NOW).signed(), keyring)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"text"', b"{", b"Type=Notification", b"<a/>", b"\xff"])
def test_what_is_no_json_object_is_not(keyring: Keyring, body: bytes) -> None:
    for kind in (b"text/plain", b"application/x-www-form-urlencoded", b"text/xml"):
        assert reason(body, keyring, headers=[(b"content-type", kind)]) == "the body is no JSON object"


def test_a_form_with_the_same_fields_is_not(vendor: Signer, keyring: Keyring) -> None:
    from urllib.parse import urlencode

    form = urlencode(vendor.signed()).encode()
    labelled = [(b"content-type", b"application/x-www-form-urlencoded")]
    assert reason(form, keyring, headers=labelled) == "the body is no JSON object"


def test_both_secrets_hold_while_one_is_rotated(vendor: Signer, keyring: Keyring) -> None:
    assert verify(CERTIFIED, ["arn:other", TOPIC], LABELLED, encoded(vendor.signed()), NOW, keyring=keyring) is None


# Several ways


def test_what_pins_the_certificate_is_no_password(vendor: Signer, keyring: Keyring) -> None:
    """The name of a topic is no secret: who knows it must not get in by basic authentication."""
    import base64

    sent = [*LABELLED, (b"authorization", b"Basic " + base64.b64encode(TOPIC.encode()))]
    for ways in ([BASIC, CERTIFIED], [CERTIFIED, BASIC]):
        assert verify_any(ways, [TOPIC], sent, b"{}", NOW, keyring=keyring) is not None
        assert verify_any(ways, [TOPIC], LABELLED, encoded(vendor.signed()), NOW, keyring=keyring) is None
        other = [(b"authorization", b"Basic " + base64.b64encode(b"sns:s3cret"))]
        assert verify_any(ways, ["sns:s3cret"], other, b"{}", NOW, keyring=keyring) is None
        assert verify_any(ways, ["sns:s3cret"], LABELLED, encoded(vendor.signed()), NOW, keyring=keyring) is not None


def test_a_certificate_that_is_needed_is_asked_for_whichever_way_comes_first(vendor: Signer) -> None:
    token = Verification(kind="token", header="X-Token")
    free = msgspec.structs.replace(CERTIFIED, secret_prefix="")
    for ways in ([token, free], [free, token]):
        refusal = verify_any(ways, [TOPIC], LABELLED, encoded(vendor.signed()), NOW, keyring=Keyring())
        assert isinstance(refusal, CertificateNeeded)
    assert verify_any([token, free], [TOPIC], [(b"x-token", TOPIC.encode())], b"{}", NOW) is None


def test_a_secret_is_for_the_way_that_it_begins_like() -> None:
    assert ways_of([BASIC, CERTIFIED], TOPIC) == (CERTIFIED,)
    assert ways_of([BASIC, CERTIFIED], "user:password") == (BASIC,)
    assert ways_of([CERTIFIED], "user:password") == (CERTIFIED,)
    CERTIFIED.check_secret(TOPIC)
    with pytest.raises(SettingsError, match=r"does not begin with 'arn:'; it is what body\.TopicArn must be"):
        CERTIFIED.check_secret("user:password")


# Certificates


def test_a_key_is_kept_until_its_certificate_expires(vendor: Signer, keyring: Keyring) -> None:
    assert keyring.find(CERTIFICATE_URL, NOW + 29 * DAY) is not None
    assert keyring.find(CERTIFICATE_URL, NOW + 30 * DAY) is None
    assert keyring.find(CERTIFICATE_URL, NOW) is None


def test_the_oldest_make_room(vendor: Signer) -> None:
    keyring = Keyring()
    for at in range(200):
        assert keyring.add(f"https://keys.eu-1.vendor.example/{at}.pem", vendor.pem, NOW) is None
    kept = [at for at in range(200) if keyring.find(f"https://keys.eu-1.vendor.example/{at}.pem", NOW) is not None]
    assert kept == list(range(136, 200))


def test_certificates_of_no_use(vendor: Signer) -> None:
    curve = certificate(ec.generate_private_key(ec.SECP256R1()), NOW)
    for pem, said in (
        (b"", "no X.509 certificate"),
        (b"<html>", "no X.509 certificate"),
        (vendor.pem[:300], "no X.509 certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no X.509 certificate"),
        (curve, "not RSA"),
        (Signer(NOW, bits=1024).pem, "not RSA of 2048"),
        (certificate(vendor.key, NOW, days=-1), "and not now"),
        (certificate(vendor.key, NOW + 90 * DAY), "and not now"),
    ):
        keyring = Keyring()
        flaw = keyring.add(CERTIFICATE_URL, pem, NOW)
        assert flaw is not None
        assert said in flaw
        assert keyring.find(CERTIFICATE_URL, NOW) is None


# As data


@pytest.mark.parametrize(
    "change, said",
    [
        ({"pin_value": None}, 'kind = "certificate" needs `pin_value`'),
        ({"signed_keys": ()}, "needs `signed_keys`"),
        ({"certificate_value": None}, "needs `certificate_value`"),
        ({"certificate_host": None}, "needs `certificate_host`"),
        ({"certificate_host": "keys.(eu"}, "`certificate_host` is no RE2 pattern"),
        ({"certificate_host": "(?=a)b"}, "`certificate_host` is no RE2 pattern"),
        ({"certificate_host": "a" * 1025}, "1 to 1024 characters"),
        ({"versions": None}, "`version_value` and `versions` go together"),
        ({"value": None}, "needs either `header` or `value`"),
        ({"value": "Signature"}, "`body.Signature`"),
        ({"pin_value": "body.["}, "`pin_value` is not JMESPath"),
        ({"signed": "{timestamp}"}, '`signed` means nothing with kind = "certificate"'),
        ({"encoding": "base64"}, '`encoding` means nothing with kind = "certificate"'),
        ({"kind": "hmac"}, 'means nothing with kind = "hmac"'),
        ({"kind": "token"}, 'means nothing with kind = "token"'),
    ],
)
def test_a_spec_that_cannot_work_says_why(change: dict[str, Any], said: str) -> None:
    with pytest.raises(TemplateError) as raised:
        msgspec.structs.replace(CERTIFIED, **change).check()
    assert said in str(raised.value)


def test_the_spec_of_these_tests_is_right() -> None:
    CERTIFIED.check()
    msgspec.structs.replace(CERTIFIED, version_value=None, versions=None, algorithm="sha512").check()
