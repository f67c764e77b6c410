"""Who is believed: every way of signing that vendors have, as data, and every way of getting it wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import SettingsError, TemplateError
from gateway.signatures import verify, verify_any
from gateway.verify import Refusal, Verification, check_delivery_id, delivery_id

NOW = 1_750_000_000_000
SECOND = str(NOW // 1000)
SECRET = "s3cret"
BODY = b'{"state": "firing", "text": "\xc3\xa9"}'
GITHUB = Verification(kind="hmac", header="X-Hub-Signature-256", prefix="sha256=")
SLACK = Verification(
    kind="hmac",
    header="X-Slack-Signature",
    prefix="v0=",
    signed="v0:{timestamp}:{body}",
    timestamp_header="X-Slack-Request-Timestamp",
)
STRIPE = Verification(
    kind="hmac", header="Stripe-Signature", element="v1", timestamp_element="t", signed="{timestamp}.{body}"
)
WEBHOOKS = Verification(kind="standard_webhooks")
WEBHOOKS_SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()


def mac(message: bytes, algorithm: str = "sha256", key: bytes = SECRET.encode()) -> bytes:
    return hmac.new(key, message, algorithm).digest()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def ask(
    spec: Verification, headers: Mapping[str, str], body: bytes = BODY, secret: str = SECRET, **more: Any
) -> Refusal | None:
    given = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return verify(spec, [secret], given, body, more.pop("now", NOW), **more)


def reason(spec: Verification, headers: Mapping[str, str], body: bytes = BODY, **more: Any) -> str:
    refusal = ask(spec, headers, body, **more)
    assert refusal is not None, "was believed"
    assert SECRET not in refusal.reason
    return refusal.reason


def view_of(body: object, **query: str) -> Callable[[], Mapping[str, Any]]:
    return lambda: {"body": body, "query": query, "headers": {}}


# Every vendor whose requests are signed with a shared secret, as a template would say it.

VENDORS: dict[str, tuple[str, dict[str, str]]] = {
    "GitHub": (
        'kind = "hmac"\nheader = "X-Hub-Signature-256"\nprefix = "sha256="',
        {"X-Hub-Signature-256": "sha256=" + mac(BODY).hex()},
    ),
    "Bitbucket, Jira, Snyk": (
        'kind = "hmac"\nheader = "X-Hub-Signature"\nprefix = "sha256="',
        {"X-Hub-Signature": "sha256=" + mac(BODY).hex()},
    ),
    "Slack, Zoom": (
        (
            'kind = "hmac"\nheader = "X-Slack-Signature"\nprefix = "v0="\nsigned = "v0:{timestamp}:{body}"\n'
            'timestamp_header = "X-Slack-Request-Timestamp"'
        ),
        {
            "X-Slack-Signature": "v0=" + mac(f"v0:{SECOND}:".encode() + BODY).hex(),
            "X-Slack-Request-Timestamp": SECOND,
        },
    ),
    "PagerDuty": (
        'kind = "hmac"\nheader = "X-PagerDuty-Signature"\nprefix = "v1="\nseparator = ","',
        {"X-PagerDuty-Signature": "v1=" + "0" * 64 + ",v1=" + mac(BODY).hex()},
    ),
    "CircleCI": (
        'kind = "hmac"\nheader = "circleci-signature"\nelement = "v1"',
        {"circleci-signature": "v0=abc,v1=" + mac(BODY).hex() + ",v2=xyz"},
    ),
    "Zendesk": (
        (
            'kind = "hmac"\nheader = "X-Zendesk-Webhook-Signature"\nencoding = "base64"\nsigned = "{timestamp}{body}"\n'
            'timestamp_header = "X-Zendesk-Webhook-Signature-Timestamp"\ntimestamp_unit = "iso"'
        ),
        {
            "X-Zendesk-Webhook-Signature": b64(mac(b"2025-06-15T15:06:41Z" + BODY)),
            "X-Zendesk-Webhook-Signature-Timestamp": "2025-06-15T15:06:41Z",
        },
    ),
    "Buildkite": (
        (
            'kind = "hmac"\nheader = "X-Buildkite-Signature"\nelement = "signature"\ntimestamp_element = "timestamp"\n'
            'signed = "{timestamp}.{body}"'
        ),
        {"X-Buildkite-Signature": f"timestamp={SECOND},signature=" + mac(f"{SECOND}.".encode() + BODY).hex()},
    ),
    "Buildkite token": ('kind = "token"\nheader = "X-Buildkite-Token"', {"X-Buildkite-Token": SECRET}),
    "Stripe, Tailscale, FireHydrant": (
        'kind = "hmac"\nheader = "Stripe-Signature"\nelement = "v1"\ntimestamp_element = "t"\nsigned = "{timestamp}.{body}"',
        {"Stripe-Signature": f"t={SECOND},v1={mac(f'{SECOND}.'.encode() + BODY).hex()},v0=6ffbb59b"},
    ),
    "Rootly": (
        'kind = "hmac"\nheader = "X-Rootly-Signature"\nelement = "v1"\ntimestamp_element = "t"\nsigned = "{timestamp}{body}"',
        {"X-Rootly-Signature": f"t={SECOND}, v1={mac(SECOND.encode() + BODY).hex()}"},
    ),
    "Shopify": (
        'kind = "hmac"\nheader = "X-Shopify-Hmac-SHA256"\nencoding = "base64"',
        {"X-Shopify-Hmac-SHA256": b64(mac(BODY))},
    ),
    "Heroku": (
        'kind = "hmac"\nheader = "Heroku-Webhook-Hmac-SHA256"\nencoding = "base64"',
        {"Heroku-Webhook-Hmac-SHA256": b64(mac(BODY))},
    ),
    "Sentry": ('kind = "hmac"\nheader = "Sentry-Hook-Signature"', {"Sentry-Hook-Signature": mac(BODY).hex()}),
    "Checkly": ('kind = "hmac"\nheader = "x-checkly-signature"', {"x-checkly-signature": mac(BODY).hex()}),
    "HCP Terraform": (
        'kind = "hmac"\nheader = "X-TFE-Notification-Signature"\nalgorithm = "sha512"',
        {"X-TFE-Notification-Signature": mac(BODY, "sha512").hex()},
    ),
    "Vercel": (
        'kind = "hmac"\nheader = "x-vercel-signature"\nalgorithm = "sha1"',
        {"x-vercel-signature": mac(BODY, "sha1").hex()},
    ),
    "Grafana": (
        'kind = "hmac"\nheader = "X-Grafana-Alerting-Signature"',
        {"X-Grafana-Alerting-Signature": mac(BODY).hex()},
    ),
    "Grafana with a timestamp": (
        (
            'kind = "hmac"\nheader = "X-Grafana-Alerting-Signature"\nsigned = "{timestamp}:{body}"\n'
            'timestamp_header = "X-Grafana-Timestamp"'
        ),
        {
            "X-Grafana-Alerting-Signature": mac(f"{SECOND}:".encode() + BODY).hex(),
            "X-Grafana-Timestamp": SECOND,
        },
    ),
    "MongoDB Atlas, Splunk Observability": (
        'kind = "hmac"\nheader = "X-MMS-Signature"\nalgorithm = "sha1"\nencoding = "base64"',
        {"X-MMS-Signature": b64(mac(BODY, "sha1"))},
    ),
    "Flux": (
        'kind = "hmac"\nheader = "X-Signature"\nalgorithm = "sha384"\nprefix = "sha384="',
        {"X-Signature": "sha384=" + mac(BODY, "sha384").hex()},
    ),
    "Typeform": (
        'kind = "hmac"\nheader = "Typeform-Signature"\nencoding = "base64"\nprefix = "sha256="',
        {"Typeform-Signature": "sha256=" + b64(mac(BODY))},
    ),
    "CrowdStrike": (
        (
            'kind = "hmac"\nheader = "X-CS-Primary-Signature"\nencoding = "base64"\nsigned = "{body}{timestamp}"\n'
            'timestamp_header = "X-CS-Delivery-Timestamp"\ntimestamp_unit = "ms"'
        ),
        {
            "X-CS-Primary-Signature": b64(mac(BODY + str(NOW).encode())),
            "X-CS-Delivery-Timestamp": str(NOW),
        },
    ),
    "Aruba Central": (
        (
            'kind = "hmac"\nheader = "X-Central-Signature"\nencoding = "base64"\ntimestamp_unit = "iso"\n'
            'signed = "{body}{header:X-Central-Service}{header:X-Central-Delivery-ID}{timestamp}"\n'
            'timestamp_header = "X-Central-Delivery-Timestamp"'
        ),
        {
            "X-Central-Signature": b64(mac(BODY + b"Alerts" + b"id-1" + b"2025-06-15T15:06:40Z")),
            "X-Central-Service": "Alerts",
            "X-Central-Delivery-ID": "id-1",
            "X-Central-Delivery-Timestamp": "2025-06-15T15:06:40Z",
        },
    ),
    "Standard Webhooks": (
        'kind = "standard_webhooks"',
        {
            "webhook-id": "msg_1",
            "webhook-timestamp": SECOND,
            "webhook-signature": f"v1a,AAAA v1,{b64(mac(f'msg_1.{SECOND}.'.encode() + BODY, key=b'k' * 24))}",
        },
    ),
    "Svix": (
        'kind = "standard_webhooks"',
        {
            "svix-id": "msg_1",
            "svix-timestamp": SECOND,
            "svix-signature": f"v1,{b64(mac(f'msg_1.{SECOND}.'.encode() + BODY, key=b'k' * 24))}",
        },
    ),
    "GitLab": ('kind = "token"\nheader = "X-Gitlab-Token"', {"X-Gitlab-Token": SECRET}),
    "Opsgenie": (
        'kind = "token"\nheader = "Authorization"\nprefix = "GenieKey "',
        {"Authorization": f"GenieKey {SECRET}"},
    ),
    "Moogsoft": ('kind = "bearer"', {"Authorization": f"bearer  {SECRET}"}),
    "Elastic": ('kind = "basic"', {"Authorization": "Basic " + b64(b"us\xc3\xa9r:pa:ss")}),
}
SECRETS = {
    "Standard Webhooks": WEBHOOKS_SECRET,
    "Svix": WEBHOOKS_SECRET,
    "Elastic": "usér:pa:ss",
}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_is_data(vendor: str) -> None:
    text, headers = VENDORS[vendor]
    spec = msgspec.convert(tomllib.loads(text), Verification)
    secret = SECRETS.get(vendor, SECRET)
    spec.check()
    spec.check_secret(secret)
    assert ask(spec, headers, secret="other:" + secret[::-1]) is not None
    assert ask(spec, {}, secret=secret) is not None
    if spec.kind in ("hmac", "standard_webhooks"):
        assert ask(spec, headers, BODY + b" ", secret=secret) is not None
    assert ask(spec, headers, secret=secret) is None


def test_a_secret_may_lie_in_the_body_or_the_query() -> None:
    meraki = Verification(kind="token", value="body.sharedSecret")
    google = Verification(kind="token", value="query.auth_token")
    assert ask(meraki, {}, view=view_of({"sharedSecret": SECRET})) is None
    assert reason(meraki, {}, view=view_of({"sharedSecret": "x"})) == "the token is not the one that is set"
    assert reason(meraki, {}, view=view_of(["odd"])) == "there is nothing at body.sharedSecret"
    assert reason(meraki, {}) == "there is nothing at body.sharedSecret"
    assert ask(google, {}, view=view_of(None, auth_token=SECRET)) is None


def test_mailgun_signs_inside_the_body() -> None:
    spec = Verification(
        kind="hmac",
        value="body.signature.signature",
        timestamp_value="body.signature.timestamp",
        id_value="body.signature.token",
        signed="{timestamp}{id}",
    )
    spec.check()
    signature = {"timestamp": int(SECOND), "token": "t0k", "signature": mac(f"{SECOND}t0k".encode()).hex()}
    assert ask(spec, {}, view=view_of({"signature": signature})) is None
    assert ask(spec, {}, view=view_of({"signature": signature | {"token": "t1k"}})) is not None


def test_twilio_signs_the_url_and_the_form() -> None:
    spec = Verification(
        kind="hmac", header="X-Twilio-Signature", algorithm="sha1", encoding="base64", signed="{url}{params}"
    )
    spec.check()
    url, body = "https://alerts.example.com/POSTAlert/ag_x/sms?a=1", b"To=%2B1234&From=%2B5678&Body=hi+there"
    signature = b64(mac((url + "Bodyhi thereFrom+5678To+1234").encode(), "sha1"))
    assert ask(spec, {"X-Twilio-Signature": signature}, body, url=url) is None
    assert ask(spec, {"X-Twilio-Signature": signature}, body, url=url + "0") is not None


def test_teams_has_its_key_in_base64() -> None:
    spec = Verification(
        kind="hmac", header="Authorization", prefix="HMAC ", encoding="base64", secret_encoding="base64"
    )
    secret = b64(b"\xff" * 32)
    spec.check_secret(secret)
    assert ask(spec, {"Authorization": "HMAC " + b64(mac(BODY, key=b"\xff" * 32))}, secret=secret) is None


def test_of_a_list_one_must_hold() -> None:
    """MongoDB's documentation says hex, its code base64."""
    hexed = Verification(kind="hmac", header="X-MMS-Signature", algorithm="sha1")
    based = msgspec.structs.replace(hexed, encoding="base64")
    for signature in (mac(BODY, "sha1").hex(), b64(mac(BODY, "sha1"))):
        headers = [(b"x-mms-signature", signature.encode())]
        assert verify_any([hexed, based], [SECRET], headers, BODY, NOW) is None
        assert verify_any([hexed, based], ["other"], headers, BODY, NOW) is not None
    assert verify_any([], [SECRET], [], BODY, NOW) is None


def test_both_secrets_hold_while_one_replaces_the_other() -> None:
    for key in (b"new", b"old"):
        headers = [(b"x-hub-signature-256", b"sha256=" + mac(BODY, key=key).hex().encode())]
        assert verify(GITHUB, ["new", "old"], headers, BODY, NOW) is None
        assert verify(GITHUB, ["newer"], headers, BODY, NOW) is not None


# What is nearly right

GOOD = mac(BODY).hex()


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        GOOD,
        "sha256=sha256=" + GOOD,
        "sha256=" + GOOD[:-2],
        "sha256=" + GOOD[:-1],
        "sha256=" + GOOD[:32],
        "sha256=" + GOOD + "00",
        "sha256=" + GOOD[:-1] + ("0" if GOOD[-1] != "0" else "1"),
        "sha256= " + GOOD,
        "sha256=" + GOOD[:20] + " " + GOOD[20:],
        "sha1=" + mac(BODY, "sha1").hex(),
        "sha256=" + mac(BODY, "sha1").hex(),
        "SHA256=" + GOOD,
        "sha256=" + "é" * 64,
        "sha256=" + "ff" * 5000,
        "sha256=" + GOOD + ",sha256=" + GOOD,
        "sha256=" + b64(mac(BODY)),
    ],
)
def test_a_signature_that_is_nearly_right_is_wrong(signature: str) -> None:
    assert ask(GITHUB, {"X-Hub-Signature-256": signature}) is not None


@pytest.mark.parametrize("signature", ["sha256=" + GOOD.upper(), " sha256=" + GOOD + "\t"])
def test_hex_has_two_cases_and_headers_have_edges(signature: str) -> None:
    assert ask(GITHUB, {"X-Hub-Signature-256": signature}) is None


def test_base64_may_lack_padding_and_be_urlsafe() -> None:
    spec = Verification(kind="hmac", header="X", encoding="base64")
    body = next(body for body in (b"%d" % at for at in range(1000)) if {"+", "/"} <= set(b64(mac(body))))
    plain = b64(mac(body))
    for written in (plain, plain.rstrip("="), plain.translate(str.maketrans("+/", "-_"))):
        assert ask(spec, {"X": written}, body) is None
    for written in (plain + "=", plain + "==", plain[:-2], "=" + plain, plain[:10] + "\n" + plain[10:]):
        assert ask(spec, {"X": written}, body) is not None


def test_a_signature_header_that_comes_twice_is_refused() -> None:
    headers = [(b"x-hub-signature-256", b"sha256=" + GOOD.encode())] * 2
    refusal = verify(GITHUB, [SECRET], headers, BODY, NOW)
    assert refusal == Refusal("the header X-Hub-Signature-256 is there more than once")


def test_of_many_signatures_sixteen_are_looked_at() -> None:
    spec = Verification(kind="hmac", header="X", prefix="v1=", separator=",")
    wrong = "v1=" + "0" * 64
    assert ask(spec, {"X": ",".join([wrong] * 15 + ["v1=" + GOOD])}) is None
    assert reason(spec, {"X": ",".join([wrong] * 999 + ["v1=" + GOOD])}) == "X holds more than 16 parts"


@pytest.mark.parametrize(
    "off, said",
    [
        (301, "the timestamp is 301 s in the past, more than 300 s; compare the clocks"),
        (-301, "the timestamp is 301 s in the future, more than 300 s; compare the clocks"),
        (299, None),
        (-299, None),
    ],
)
def test_an_old_timestamp_is_refused_and_the_skew_is_told(off: int, said: str | None) -> None:
    stamp = str(NOW // 1000 - off)
    headers = {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": "v0=" + mac(f"v0:{stamp}:".encode() + BODY).hex(),
    }
    refusal = ask(SLACK, headers)
    assert (refusal.reason if refusal else None) == said


@pytest.mark.parametrize(
    "stamp", ["", "x", "-1", "+1750000000", "1.75e9", "1" * 18, "9" * 400, str(NOW), "0", "\u0661", "1750000000 "]
)
def test_a_timestamp_that_is_none_is_refused(stamp: str) -> None:
    raw = stamp.encode()
    headers = [
        (b"x-slack-request-timestamp", raw),
        (b"x-slack-signature", b"v0=" + mac(b"v0:" + raw.strip() + b":" + BODY).hex().encode()),
    ]
    believed = verify(SLACK, [SECRET], headers, BODY, NOW) is None
    assert believed == (raw.strip() == SECOND.encode())


@pytest.mark.parametrize("stamp", ["", "yesterday", "2025-13-01T00:00:00Z", "0001-01-01", "9999-12-31T23:59:59"])
def test_an_iso_timestamp_that_is_none_is_refused(stamp: str) -> None:
    spec = Verification(kind="hmac", header="X", timestamp_header="T", timestamp_unit="iso", signed="{timestamp}{body}")
    assert ask(spec, {"X": mac(stamp.encode() + BODY).hex(), "T": stamp}) is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "v1=",
        "t=1",
        f"t={SECOND}",
        f"v1={GOOD}",
        f"t={SECOND},t={SECOND},v1={mac(f'{SECOND}.'.encode() + BODY).hex()}",
        f"t={SECOND};v1={mac(f'{SECOND}.'.encode() + BODY).hex()}",
        f"t={SECOND},v0={mac(f'{SECOND}.'.encode() + BODY).hex()}",
        f"t=1,v1={mac(f'{SECOND}.'.encode() + BODY).hex()}",
    ],
)
def test_elements_that_are_not_all_there_are_refused(header: str) -> None:
    assert ask(STRIPE, {"Stripe-Signature": header}) is not None


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + b64(b"user"),
        "Basic " + b64(b"user:pa"),
        "Basic " + b64(b"user:pa:ss:"),
        "Basic " + b64(b":pa:ss"),
        "Basic " + b64(b"\xff\xfe"),
        "Bearer " + b64(b"user:pa:ss"),
        "Basic " + b64(b"user:pa:ss") + " x",
    ],
)
def test_basic_that_is_nearly_right_is_wrong(authorization: str) -> None:
    assert ask(Verification(kind="basic"), {"Authorization": authorization}, secret="user:pa:ss") is not None


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", f"Token {SECRET}", SECRET, f"Bearer{SECRET}", "Bearer é"]
)
def test_bearer_that_is_nearly_right_is_wrong(authorization: str) -> None:
    assert ask(Verification(kind="bearer"), {"Authorization": authorization}) is not None


@pytest.mark.parametrize(
    "spec", [GITHUB, SLACK, STRIPE, WEBHOOKS, Verification(kind="token", header="X-Hub-Signature-256")]
)
@pytest.mark.parametrize("secrets", [[], [""], ["", ""]])
def test_an_empty_secret_believes_nobody(spec: Verification, secrets: list[str]) -> None:
    headers = [(b"x-hub-signature-256", b"sha256=" + mac(BODY, key=b"").hex().encode())]
    assert verify(spec, secrets, headers, BODY, NOW) == Refusal("no secret is set")


def test_no_verification_believes_everybody() -> None:
    assert verify(Verification(kind="none"), [], [], BODY, NOW) is None


@given(
    spec=st.sampled_from([GITHUB, SLACK, STRIPE, WEBHOOKS, Verification(kind="basic"), Verification(kind="bearer")]),
    values=st.lists(st.binary(max_size=80), min_size=3, max_size=3),
    secret=st.text(min_size=1, max_size=20),
)
def test_noise_is_refused_and_never_raises(spec: Verification, values: list[bytes], secret: str) -> None:
    names = [b"x-hub-signature-256", b"x-slack-signature", b"stripe-signature", b"authorization", b"webhook-signature"]
    stamps = [b"x-slack-request-timestamp", b"webhook-timestamp"]
    headers = [
        *((name, values[0]) for name in names),
        *((name, values[1]) for name in stamps),
        (b"webhook-id", values[2]),
    ]
    refusal = verify(spec, [secret], headers, BODY, NOW)
    assert refusal is not None or secret.encode() in values[0]


# Specs that cannot work

HMAC = {"kind": "hmac", "header": "X-Signature"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "hmac"}, "needs either `header` or `value`"),
    (HMAC | {"value": "body.signature"}, "needs either `header` or `value`"),
    ({"kind": "token"}, "where the vendor puts the token"),
    ({"kind": "token", "header": "X", "signed": "{timestamp}"}, '`signed` means nothing with kind = "token"'),
    ({"kind": "basic", "header": "X"}, '`header` means nothing with kind = "basic"'),
    ({"kind": "none", "tolerance": 5}, '`tolerance` means nothing with kind = "none"'),
    ({"kind": "standard_webhooks", "encoding": "base64"}, "`encoding` means nothing"),
    (HMAC | {"header": "X Signature"}, "`header` is not the name of a header"),
    (HMAC | {"signed": "{bdoy}"}, "`signed` knows {body} {timestamp}"),
    (HMAC | {"signed": "{body"}, "`signed` knows"),
    (HMAC | {"signed": "always the same"}, "the signature would fit any message"),
    (HMAC | {"signed": "{timestamp}{body}"}, "say where it is with `timestamp_header`"),
    (HMAC | {"signed": "{id}{body}"}, "say where it is with `id_header`"),
    (HMAC | {"id_header": "X-Id"}, "`delivery_id`"),
    (HMAC | {"timestamp_header": "T", "timestamp_value": "body.at"}, "say the same thing twice"),
    (HMAC | {"timestamp_element": "t"}, "needs `element`"),
    (HMAC | {"separator": ""}, "`separator` is empty"),
    (HMAC | {"tolerance": 0}, "`tolerance` is 0; it is seconds, 1 to 86400"),
    ({"kind": "token", "value": "body.[["}, "`value` is not JMESPath"),
    ({"kind": "token", "value": "sharedSecret"}, "`body.sharedSecret`"),
]


@pytest.mark.parametrize("keys, said", WRONG)
def test_a_spec_that_cannot_work_says_why(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(TemplateError) as raised:
        msgspec.convert(keys, Verification).check()
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "keys", [{"kind": "rsa"}, {"kind": "hmac", "algorithm": "md5"}, {"kind": "none", "headr": "X"}]
)
def test_a_spec_with_unknown_words_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(keys, Verification)


@pytest.mark.parametrize(
    "spec, secret, said",
    [
        (GITHUB, "", "the secret is empty"),
        (Verification(kind="basic"), "password", "with a colon"),
        (WEBHOOKS, "whsec_###", "not `whsec_` and base64"),
        (WEBHOOKS, "whsec_", "not `whsec_` and base64"),
        (Verification(kind="hmac", header="X", secret_encoding="hex"), "xyz", "the secret is not hex"),
    ],
)
def test_a_secret_that_cannot_work_is_refused_when_it_is_set(spec: Verification, secret: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        spec.check_secret(secret)


# Delivery ids


def test_a_delivery_id_comes_from_a_header_or_the_body() -> None:
    headers = [(b"x-github-delivery", b" 7d2c ")]
    assert delivery_id("header:X-GitHub-Delivery", headers, view_of(None)) == "7d2c"
    assert delivery_id("body.event.id", headers, view_of({"event": {"id": 17}})) == "17"
    for body in (
        None,
        {},
        {"event": {"id": None}},
        {"event": {"id": True}},
        {"event": {"id": ["x"]}},
        {"event": {"id": ""}},
    ):
        assert delivery_id("body.event.id", headers, view_of(body)) is None
    assert delivery_id("header:X-Other", headers, view_of(None)) is None


def test_a_long_delivery_id_is_hashed() -> None:
    found = delivery_id("body.id", [], view_of({"id": "x" * 201}))
    assert found == "sha256:" + hashlib.sha256(b"x" * 201).hexdigest()
    assert delivery_id("body.id", [], view_of({"id": "x" * 200})) == "x" * 200


@pytest.mark.parametrize("where", ["header:", "header:X Y", "id", "body.[", "X-GitHub-Delivery"])
def test_a_delivery_id_that_is_nowhere_is_refused(where: str) -> None:
    with pytest.raises(TemplateError, match="delivery_id"):
        check_delivery_id(where)
