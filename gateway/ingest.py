"""
What accepts: decides about one request, without doing any I/O.

A front calls `begin` with the head, which may refuse before any body is read, then `finish` with the body. Out of it comes
an answer, or a draft for the journal, and once that is on disk `accepted` makes the answer. Rarely it is an errand: something
has to be fetched first, and `finish` is called again with what came of it. Both fronts, `protocol.Front` and
`app.IngestASGI`, do no more than that; one set of tests holds them to the same contract.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.body import content_encoding, decode_body, gunzip, parse_query
from gateway.certificates import Keyring
from gateway.clock import Clock
from gateway.endpoints import Admitted, Endpoints
from gateway.errands import Errand, Fetched
from gateway.errors import StoreError, UnreadableError
from gateway.faults import NO_FAULTS, Faults
from gateway.handshakes import IN_VAIN, REFUSED, VISIT_HEADER, VISITED, Handshake
from gateway.metrics import IngestCounts
from gateway.signatures import verify_any
from gateway.store.base import Draft, Receipt
from gateway.verify import CertificateNeeded, Refusal, delivery_id

Headers = Sequence[tuple[bytes, bytes]]

MAX_TARGET = 2048
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 << 10
REDACTED = b"[redacted]"
_MANY_DIGITS = 19
_MOST_SAID = 200
_VISIT_HEADER = VISIT_HEADER.encode()
_BLOTTED_OUT = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"x-alert-token", _VISIT_HEADER})
_JSON = b"content-type: application/json\r\ncache-control: no-store\r\n"
_HANDSHAKE = b"content-type: %s\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
_log = logging.getLogger("gateway.ingest")


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An HTTP response. `head` is whole header lines, without Content-Length and Connection."""

    status: int
    body: bytes
    head: bytes = _JSON

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The header lines as pairs, Content-Length with them."""
        pairs = [line.split(b": ", 1) for line in self.head.split(b"\r\n") if line]
        return [(pair[0], pair[1]) for pair in pairs] + [(b"content-length", b"%d" % len(self.body))]


def refusal(status: int, code: str, message: str, hint: str = "", head: bytes = b"") -> Answer:
    """A JSON error: fixed texts alone, so that nothing of the request comes back."""
    error = {"code": code, "message": message} | ({"hint": hint} if hint else {})
    return Answer(status, msgspec.json.encode({"error": error}), _JSON + head)


BAD_REQUEST = refusal(400, "bad_request", "the request is not well-formed HTTP/1.1")
BAD_GZIP = refusal(400, "bad_gzip", "the body is not the gzip that Content-Encoding says it is")
BAD_LENGTH = refusal(400, "bad_length", "the body is not as long as Content-Length says")
UNVERIFIED = refusal(
    401,
    "unverified",
    "the sender could not be verified",
    "compare the secret in the sender's settings with the integration's; the gateway's log says what differs",
)
UNVERIFIED_BASIC = Answer(401, UNVERIFIED.body, _JSON + b'www-authenticate: Basic realm="alerts", charset="UTF-8"\r\n')
NOT_FOUND = refusal(404, "not_found", "there is nothing here", "copy the URL of the integration anew, token and name")
NOT_ALLOWED = refusal(405, "method_not_allowed", "messages are sent with POST", head=b"allow: POST\r\n")
TIMED_OUT = refusal(408, "timeout", "the request took too long to arrive")
TOO_LONG = refusal(414, "url_too_long", f"the URL is over {MAX_TARGET} bytes")
UNSUPPORTED_ENCODING = refusal(
    415, "unsupported_encoding", "the body is compressed in a way that is not read", "send it plain or with gzip",
    b"accept-encoding: gzip, identity\r\n",
)  # fmt: skip
UNMET_EXPECTATION = refusal(417, "unmet_expectation", "only Expect: 100-continue is met")
HEAD_TOO_LARGE = refusal(
    431, "headers_too_large", f"there are over {MAX_HEADERS} headers, or over {MAX_HEADER_BYTES} bytes of them"
)
TOO_MANY = refusal(
    503, "busy", "too many requests wait on this connection", "wait for the answers", b"retry-after: 5\r\n"
)
_BUSY = refusal(503, "busy", "the message could not be stored now", "send it again")


def head_flaw(target: bytes, headers: Headers) -> Answer | None:
    """What is too large about a head, if anything."""
    if len(target) > MAX_TARGET:
        return TOO_LONG
    if len(headers) > MAX_HEADERS or sum([len(name) + len(value) + 4 for name, value in headers]) > MAX_HEADER_BYTES:
        return HEAD_TOO_LARGE
    return None


def content_length(fields: Mapping[bytes, bytes]) -> int | None:
    """The body's length in bytes, None where it is not said; what is no number is too large for anything."""
    text = fields.get(b"content-length")
    if text is None:
        return None
    digits = text.strip(b" \t")
    return int(digits) if digits.isdigit() and len(digits) < _MANY_DIGITS else 10**_MANY_DIGITS


class Admission(msgspec.Struct, frozen=True, gc=False):
    """A request whose head was found good."""

    admitted: Admitted
    method: str
    path: bytes
    query: bytes
    headers: Headers
    length: int | None
    gzip: bool


class Ingest:
    """Decides about requests. Sizes are bytes; `base_url` is how senders reach us, for signatures over the URL."""

    def __init__(
        self,
        endpoints: Endpoints,
        clock: Clock,
        *,
        max_body: int = 1 << 20,
        max_decoded: int = 4 << 20,
        base_url: str = "",
        faults: Faults = NO_FAULTS,
        counts: IngestCounts | None = None,
    ) -> None:
        self.counts = counts or IngestCounts()
        self.max_body = max_body
        self.too_large = refusal(
            413, "too_large", f"the body is over {max_body} bytes", "GATEWAY_MAX_BODY is the limit"
        )
        self._too_large_decoded = refusal(
            413, "too_large", f"after gzip the body is over {max_decoded} bytes, or over 100 times its size"
        )
        self.failing_since: int | None = None
        self._endpoints, self._clock, self._faults = endpoints, clock, faults
        self._max_decoded, self._base_url = max_decoded, base_url
        self._told: dict[str, int] = {}
        self._keyring = Keyring()

    def begin(
        self, method: bytes, target: bytes, headers: Headers, fields: Mapping[bytes, bytes] | None = None
    ) -> Admission | Answer:
        """
        Judge a head: `target` is the raw request target, `headers` have lower-case names.

        `fields` is `dict(headers)`, where the caller has it already.
        """
        flaw = head_flaw(target, headers)
        if flaw is not None:
            return self._refused(flaw)
        if fields is None:
            fields = dict(headers)
        path, _, query = target.partition(b"?")
        if method != b"POST":
            return self._asked(method, path, query, headers)
        admitted = self._endpoints.find(path)
        if admitted is None:
            return self._refused(NOT_FOUND)
        length = content_length(fields)
        if length is not None and length > self.max_body:
            return self._refused(self.too_large)
        if b"expect" in fields and fields[b"expect"].strip(b" \t").lower() != b"100-continue":
            return self._refused(UNMET_EXPECTATION)
        gzip = False
        if b"content-encoding" in fields:
            encoding = content_encoding(headers)
            if encoding not in ("", "gzip"):
                return self._refused(UNSUPPORTED_ENCODING)
            gzip = encoding == "gzip"
        if admitted.problem is not None:
            self._tell(admitted, admitted.problem)
            return self.try_later()
        return Admission(admitted, "POST", path, query, headers, length, gzip)

    def finish(self, admission: Admission, body: bytes, fetched: Fetched | None = None) -> Draft | Answer | Errand:
        """
        Judge the body: an answer (a handshake, a refusal), what is to be stored, or what must be fetched before.

        After an errand it is called again, with what came of it.
        """
        admitted = admission.admitted
        if len(body) > self.max_body:
            return self._refused(self.too_large)
        if admission.length is not None and admission.length != len(body):
            return self._refused(BAD_LENGTH)
        if admission.gzip and body:
            try:
                if gunzip(body, self._max_decoded) is None:
                    return self._refused(self._too_large_decoded)
            except UnreadableError:
                return self._refused(BAD_GZIP)
        found, told = None, b""
        if admitted.handshakes or admitted.secrets or admitted.delivery_id is not None:
            view = _View(admission, body, self._max_decoded)
            answer = self._handshake(admission, view) or self._doubted(admission, body, view, fetched)
            if answer is not None:
                return answer
            visit = self._visit(admitted.handshakes, view, fetched)
            if isinstance(visit, Errand):
                return visit
            told = visit
            if admitted.delivery_id is not None:
                found = delivery_id(admitted.delivery_id, admission.headers, view)
        return Draft(
            admitted.endpoint_id,
            self._clock.now(),
            admission.query,
            _stored_headers(admission.headers, admitted.secret_headers) + told,
            body,
            found,
        )

    def accepted(self, receipt: Receipt, size: int) -> Answer:
        """The answer to a message of `size` bytes that is on disk."""
        self._faults.point("ingest.before_answer")
        self.failing_since = None
        counts = self.counts
        if receipt.duplicate:
            counts.duplicates += 1
            return Answer(200, b'{"message_id":"%d","duplicate":true}' % receipt.id)
        counts.accepted += 1
        counts.body_bytes += size
        return Answer(200, b'{"message_id":"%d"}' % receipt.id)

    def busy(self, error: StoreError) -> Answer:
        """The answer to a message that could not be stored now."""
        if self.failing_since is None:
            self.failing_since = self._clock.now()
            _log.warning("messages are refused with 503: %s", error)
        return self.try_later()

    def try_later(self) -> Answer:
        """A 503; senders spread their second tries."""
        return self._refused(Answer(503, _BUSY.body, _JSON + b"retry-after: %d\r\n" % (5 + secrets.randbelow(6))))

    def _refused(self, answer: Answer) -> Answer:
        self.counts.refuse(answer.status)
        return answer

    def _asked(self, method: bytes, path: bytes, query: bytes, headers: Headers) -> Answer:
        """A request that is no POST: a handshake, or nothing for us. It never says whether the endpoint exists."""
        admitted = self._endpoints.find(path) if method == b"GET" else None
        if admitted is not None and admitted.handshakes:
            admission = Admission(admitted, "GET", path, query, headers, None, False)
            answer = self._handshake(admission, _View(admission, b"", self._max_decoded))
            if answer is not None:
                return answer
        return self._refused(NOT_ALLOWED)

    def _handshake(self, admission: Admission, view: Callable[[], Mapping[str, Any]]) -> Answer | None:
        for handshake in admission.admitted.handshakes:
            reply = handshake.reply(admission.method, view)
            if reply is not None:
                self.counts.handshakes += 1
                return Answer(200, reply[1], _HANDSHAKE % reply[0])
        return None

    def _doubted(
        self, admission: Admission, body: bytes, view: Callable[[], Mapping[str, Any]], fetched: Fetched | None
    ) -> Answer | Errand | None:
        admitted = admission.admitted
        if not admitted.secrets or not admitted.verifications:
            return None
        target = admission.path + (b"?" + admission.query if admission.query else b"")

        def asked() -> Refusal | None:
            return verify_any(
                admitted.verifications,
                admitted.secrets,
                admission.headers,
                body,
                self._clock.now(),
                view=view,
                url=self._base_url + target.decode("latin-1"),
                keyring=self._keyring,
            )

        refused = asked()
        if isinstance(refused, CertificateNeeded):
            errand = Errand("certificate", refused.url)
            if fetched is None or fetched.errand != errand:
                return errand
            flaw = fetched.flaw or self._keyring.add(errand.url, fetched.body, self._clock.now())
            if flaw is not None and fetched.worth_another_try:
                self._tell(admitted, f"its certificate cannot be had: {flaw}")
                return self.try_later()
            refused = asked() if flaw is None else Refusal(f"its certificate is none: {flaw}")
        if refused is None:
            return None
        self._tell(admitted, refused.reason)
        basic = any(spec.kind == "basic" for spec in admitted.verifications)
        return self._refused(UNVERIFIED_BASIC if basic else UNVERIFIED)

    def _visit(
        self, handshakes: Sequence[Handshake], view: Callable[[], Mapping[str, Any]], fetched: Fetched | None
    ) -> bytes | Errand:
        """What is to be visited; or the line of the stored headers that says how it went, empty where nothing was to be."""
        if not handshakes:
            return b""
        visit = next(filter(None, [handshake.wanted(view) for handshake in handshakes]), None)
        if visit is None:
            return b""
        errand = Errand("visit", visit.url)
        if visit.flaw is not None:
            went = f"{REFUSED}{visit.flaw}"
        elif fetched is None or fetched.errand != errand:
            return errand
        elif fetched.flaw is not None:
            went = f"{IN_VAIN}{fetched.flaw}"
        else:
            went = VISITED
            self.counts.handshakes += 1
        said = "".join(char if " " <= char <= "~" else "?" for char in went[:_MOST_SAID])
        return b"\r\n%b: %b" % (_VISIT_HEADER, said.encode())

    def _tell(self, admitted: Admitted, reason: str) -> None:
        """Log why an endpoint refuses, at most once in 10 s for each, so that a flood does not fill the log."""
        now = self._clock.now()
        if now - self._told.get(admitted.endpoint_id, -10_000) >= 10_000:  # noqa: PLR2004
            self._told[admitted.endpoint_id] = now
            _log.warning("a message to %s was refused: %s", admitted.name, reason)


class _View:
    """What expressions look into, made when one does. A body that cannot be read is None there."""

    __slots__ = ("_admission", "_body", "_cap", "_made")

    def __init__(self, admission: Admission, body: bytes, cap: int) -> None:
        self._admission, self._body, self._cap = admission, body, cap
        self._made: Mapping[str, Any] | None = None

    def __call__(self) -> Mapping[str, Any]:
        if self._made is None:
            headers = self._admission.headers
            try:
                body = decode_body(headers, self._body, self._cap, payload_field="payload")
            except UnreadableError:
                body = None
            try:
                query = parse_query(self._admission.query)
            except UnreadableError:
                query = {}
            named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
            self._made = {"body": body, "query": query, "headers": named}
        return self._made


def _stored_headers(headers: Headers, secret_headers: frozenset[bytes]) -> bytes:
    secret = _BLOTTED_OUT | secret_headers if secret_headers else _BLOTTED_OUT
    return b"\r\n".join([b"%b: %b" % (name, REDACTED if name in secret else value) for name, value in headers])
