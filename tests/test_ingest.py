"""What accepts, without a server: the decision, the table of endpoints, and bodies as values."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body import MAX_DEPTH, decode_body, gunzip, media_type, parse_headers, parse_query, too_deep
from gateway.endpoints import MAX_PATHS, Admitted, Endpoints
from gateway.errands import Errand
from gateway.errors import StoreBusyError, UnreadableError
from gateway.handshakes import Handshake
from gateway.ingest import Admission, Answer, Ingest
from gateway.store.base import Draft, Receipt
from gateway.vault import Vault, new_token
from gateway.verify import Verification
from tests.fronts import Installation, Template

LENGTH = [(b"host", b"gateway.test"), (b"content-length", b"2")]


@pytest.fixture
def house() -> Installation:
    return Installation()


def taken(ingest: Ingest, path: str, body: bytes = b"{}", *headers: tuple[bytes, bytes]) -> Draft | Answer | Errand:
    begun = ingest.begin(b"POST", path.encode(), [(b"content-length", b"%d" % len(body)), *headers])
    return begun if isinstance(begun, Answer) else ingest.finish(begun, body)


# The decision


def test_a_head_is_refused_before_its_body(house: Installation) -> None:
    ingest, path = house.ingest(max_body=10), house.add("web").encode()
    for length, status in ((b"11", 413), (b"1" * 30, 413), (b"0010", None), (b"10 ", None)):
        begun = ingest.begin(b"POST", path, [(b"content-length", length)])
        assert (begun.status if isinstance(begun, Answer) else None) == status
    assert ingest.counts.refused == {413: 2}


def test_a_body_of_another_length_is_refused(house: Installation) -> None:
    ingest = house.ingest()
    begun = ingest.begin(b"POST", house.add("web").encode(), LENGTH)
    assert isinstance(begun, Admission)
    for body in (b"", b"{", b"{}}"):
        answer = ingest.finish(begun, body)
        assert isinstance(answer, Answer)
        assert answer.status == 400
    assert isinstance(ingest.finish(begun, b"{}"), Draft)


def test_an_answer_never_holds_what_was_sent(house: Installation) -> None:
    ingest = house.ingest(max_body=100)
    path = house.add("hub", Template(verification=Verification(kind="token", header="X-Token")), secret="s3cret")
    canary = b"canary"
    answers = [
        ingest.begin(b"POST", path.encode() + canary, LENGTH),
        ingest.begin(b"POST", path.encode() + b"?" + canary * 500, LENGTH),
        ingest.begin(b"POST", path.encode(), [(b"content-encoding", canary)]),
        ingest.begin(b"POST", path.encode(), [(b"content-length", canary)]),
        ingest.begin(canary, path.encode(), LENGTH),
        taken(ingest, path, canary, (b"x-token", canary)),
        taken(ingest, path, canary, (b"content-encoding", b"gzip")),
    ]
    for answer in answers:
        assert isinstance(answer, Answer)
        assert answer.status >= 400
        assert b"canary" not in answer.body + answer.head
        assert set(msgspec.json.decode(answer.body)["error"]) <= {"code", "message", "hint"}


def test_what_is_counted(house: Installation) -> None:
    ingest, path = house.ingest(), house.add("web")
    assert isinstance(taken(ingest, path), Draft)
    ingest.accepted(Receipt(1), 2)
    ingest.accepted(Receipt(1, duplicate=True), 2)
    ingest.busy(StoreBusyError("full"))
    taken(ingest, path + "x")
    counts = ingest.counts
    assert (counts.accepted, counts.duplicates, counts.body_bytes, counts.refused) == (1, 1, 2, {503: 1, 404: 1})


def test_why_a_sender_was_refused_is_logged_once_in_ten_seconds(
    house: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    ingest = house.ingest()
    path = house.add("hub", Template(verification=Verification(kind="token", header="X-Token")), secret="s3cret")
    for _ in range(100):
        taken(ingest, path)
    assert caplog.messages == ["a message to hub was refused: the header X-Token is missing"]
    house.clock.advance(10)
    taken(ingest, path, b"{}", (b"x-token", b"guess"))
    assert caplog.messages[1:] == ["a message to hub was refused: the token is not the one that is set"]


def test_senders_spread_their_second_tries(house: Installation) -> None:
    ingest = house.ingest()
    waits = {dict(ingest.busy(StoreBusyError("full")).headers)[b"retry-after"] for _ in range(100)}
    assert waits == {b"5", b"6", b"7", b"8", b"9", b"10"}


def test_a_form_with_json_in_payload_is_looked_into(house: Installation) -> None:
    handshake = Handshake(echo="body.challenge", when="body.type == 'url_verification'")
    path = house.add("slack", Template(handshakes=[handshake]))
    body = b"payload=%7B%22type%22%3A%22url_verification%22%2C%22challenge%22%3A%22x%22%7D"
    answer = taken(house.ingest(), path, body, (b"content-type", b"application/x-www-form-urlencoded"))
    assert isinstance(answer, Answer)
    assert answer.body == b"x"


def test_an_integration_may_say_otherwise_than_its_template(house: Installation) -> None:
    ingest = house.ingest()
    token = {"kind": "token", "header": "X-Own"}
    path = house.add("own", Template(delivery_id="body.id"), secret="s3cret", settings={"verification": token})
    assert isinstance(taken(ingest, path), Answer)
    draft = taken(ingest, path, b'{"id": 7}', (b"x-own", b"s3cret"))
    assert isinstance(draft, Draft)
    assert draft.delivery_id == "7"
    assert b"s3cret" not in draft.headers
    other = house.add("other", Template(delivery_id="body.id"), settings={"delivery_id": "header:X-Id"})
    draft = taken(ingest, other, b'{"id": 7}', (b"x-id", b"8"))
    assert isinstance(draft, Draft)
    assert draft.delivery_id == "8"


@pytest.mark.parametrize("settings", [{"verification": {"kind": "odd"}}, {"handshake": 7}])
def test_an_integration_with_broken_settings_takes_nothing(
    house: Installation, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    answer = taken(house.ingest(), house.add("web", settings=settings))
    assert isinstance(answer, Answer)
    assert answer.status == 503
    assert "web accepts nothing" in caplog.text


def test_without_its_template_only_the_unsigned_are_accepted(house: Installation) -> None:
    ingest = house.ingest()
    assert isinstance(taken(ingest, house.add("plain")), Draft)
    answer = taken(ingest, house.add("signed", secret="s3cret"))
    assert isinstance(answer, Answer)
    assert answer.status == 503


# The table of endpoints


def found(endpoints: Endpoints, path: str) -> Admitted | None:
    return endpoints.find(path.encode())


def test_a_rotated_token_works_until_its_time_is_over(house: Installation) -> None:
    endpoints, path, fresh = house.endpoints(), house.add("web"), new_token()
    assert found(endpoints, path) is not None
    old_hash = house.vault.token_hash(house.tokens["web"].encode())
    house.change(
        "web",
        token_hash=house.vault.token_hash(fresh.encode()),
        previous_token_hash=old_hash,
        previous_until=house.clock.now() + 86_400_000,
    )
    house.clock.advance(1)
    assert found(endpoints, f"/POSTAlert/{fresh}/web") is not None
    for _ in range(2):
        assert found(endpoints, path) is not None
    house.clock.advance(86_400)
    for _ in range(2):
        assert found(endpoints, path) is None
    assert found(endpoints, f"/POSTAlert/{fresh}/web") is not None


def test_the_configuration_is_looked_at_every_20_ms_and_read_when_it_changed(house: Installation) -> None:
    endpoints, path = house.endpoints(), house.add("web")
    for _ in range(100):
        assert found(endpoints, path) is not None
    assert (house.state.looks, house.state.reads) == (1, 1)
    house.clock.advance(0.021)
    assert found(endpoints, path) is not None
    assert (house.state.looks, house.state.reads) == (2, 1)
    house.switch("web", enabled=False)
    house.clock.advance(0.021)
    assert found(endpoints, path) is None
    assert house.state.reads == 2


def test_before_a_404_the_configuration_is_looked_at(house: Installation) -> None:
    endpoints = house.endpoints()
    assert found(endpoints, house.add("one")) is not None
    assert found(endpoints, house.add("two")) is not None  # within the same 20 ms


def test_what_cannot_be_a_token_costs_no_look(house: Installation) -> None:
    endpoints = house.endpoints()
    found(endpoints, house.add("web"))
    looks = house.state.looks
    for token in ("ag_", "x" * 52, "ag_" + "A" * 49, house.tokens["web"][:-1] + "_"):
        assert found(endpoints, f"/POSTAlert/{token}/web") is None
    assert house.state.looks == looks


def test_guessing_is_not_remembered(house: Installation) -> None:
    endpoints, path = house.endpoints(max_age=60), house.add("web")
    assert found(endpoints, path) is not None
    for at in range(50):
        found(endpoints, f"/POSTAlert/{new_token()}/web")
        found(endpoints, path.replace("/web", f"/w{at}"))
    assert len(endpoints._by_path) == 1
    for at in range(MAX_PATHS + 10):
        token = "".join(f"%{ord(char):02{'xX'[at >> bit & 1]}}" for bit, char in enumerate(house.tokens["web"][:13]))
        assert found(endpoints, path.replace(house.tokens["web"][:13], token)) is not None
    assert len(endpoints._by_path) <= MAX_PATHS


def test_many_misses_cost_no_look(house: Installation) -> None:
    endpoints = house.endpoints(max_age=60)
    found(endpoints, house.add("web"))
    before = (house.state.looks, house.state.reads)
    path = f"/POSTAlert/{'ag_' + 'A' * 49}/web".encode()
    for _ in range(20_000):
        assert endpoints.find(path) is None
    assert (house.state.looks, house.state.reads) == before


def test_of_clones_the_first_that_is_enabled_says_how_to_verify(house: Installation) -> None:
    path = house.add("web", Template(delivery_id="header:X-First"))
    clone = msgspec.structs.replace(house.state.used[0], id="int_2", name="a clone", template="other", sequence=1)
    house.templates["other"] = Template(delivery_id="header:X-Second")
    house.state.used.append(clone)
    admitted = found(house.endpoints(), path)
    assert admitted is not None
    assert admitted.delivery_id == "header:X-First"
    house.switch("web", enabled=False)
    admitted = found(house.endpoints(), path)
    assert admitted is not None
    assert admitted.delivery_id == "header:X-Second"


def test_a_store_that_suspends_is_not_direct(house: Installation) -> None:
    import asyncio

    path = house.add("web")
    original = house.state.config_version

    async def slow() -> int:
        await asyncio.sleep(0)
        return await original()

    house.state.config_version = slow  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="not `direct`"):
        found(house.endpoints(), path)
    endpoints = house.endpoints(direct=False)
    assert found(endpoints, path) is None
    asyncio.run(endpoints.refresh())
    assert found(endpoints, path) is not None


def test_no_secret_shows(house: Installation) -> None:
    house.add("hub", Template(verification=Verification(kind="token", header="X")), secret="s3cret")
    admitted = found(house.endpoints(), f"/POSTAlert/{house.tokens['hub']}/hub")
    assert admitted is not None
    assert admitted.secrets == ("s3cret",)
    assert "s3cret" not in repr(admitted)


def test_unsealing_is_done_once(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add("hub", Template(verification=Verification(kind="token", header="X")), secret="s3cret")
    calls: list[bytes] = []
    original = Vault.unseal

    def counted(vault: Vault, sealed: bytes) -> str:
        calls.append(sealed)
        return original(vault, sealed)

    monkeypatch.setattr(Vault, "unseal", counted)
    endpoints = house.endpoints(max_age=-1)
    for at in range(5):
        assert found(endpoints, house.add(f"web{at}")) is not None
    assert len(calls) == 1


# Bodies as values


def read(body: bytes, content_type: str = "", **options: Any) -> Any:
    headers = [(b"content-type", content_type.encode())] if content_type else []
    headers += [(b"content-encoding", b"gzip")] if options.pop("gzip", False) else []
    return decode_body(headers, body, options.pop("cap", 1 << 20), **options)


ACCENT = {"text": "é"}


@pytest.mark.parametrize(
    "body, content_type",
    [
        ('{"text": "é"}'.encode(), ""),
        ('{"text": "é"}'.encode(), "text/plain"),
        ('{"text": "é"}'.encode(), "multipart/form-data; boundary=b"),
        (b"\xef\xbb\xbf" + '{"text": "é"}'.encode(), "application/json"),
        ('{"text": "é"}'.encode("utf-16"), "application/json; charset=utf-16"),
        ('{"text": "é"}'.encode("utf-16"), "application/json"),
        ('{"text": "é"}'.encode("utf-16-le"), "application/json; charset=utf-16le"),
        ('{"text": "é"}'.encode("latin-1"), 'application/json; Charset="ISO-8859-1"'),
        ('{"text": "é"}'.encode("cp1252"), "application/vnd.vendor+json; charset=windows-1252"),
        (b"text=%C3%A9", "application/x-www-form-urlencoded"),
        (b"payload=%7B%22text%22%3A%20%22%C3%A9%22%7D", "application/x-www-form-urlencoded"),
        (
            b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xc3\xa9\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
    ],
)
def test_one_value_written_in_many_ways(body: bytes, content_type: str) -> None:
    assert read(body, content_type, payload_field="payload") == ACCENT


@pytest.mark.parametrize("body", [b"", b" \r\n\t"])
def test_an_empty_body_is_none(body: bytes) -> None:
    assert read(body, "application/json") is None


@pytest.mark.parametrize(
    "body, said",
    [
        (b'{"a": 1,}', "malformed"),
        (b"{'a': 1}", "malformed"),
        (b'{"a": 1}{"b": 2}', "trailing characters"),
        (b'{"a": ', "truncated"),
        (b'{"a": NaN}', "malformed"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
        (b"[" * 1025 + b"]" * 1025, "nested more than 64 deep"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b'{"a":' * 100_000, "nested more than 64 deep"),
    ],
)
def test_json_that_is_none_says_why(body: bytes, said: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        read(body, formats=["json"])
    assert said in str(raised.value)


def test_what_json_keeps() -> None:
    big = 2**64 + 1
    assert read(b'{"a": %d, "b": 1, "b": 2, "c": "\\u0000"}' % big) == {"a": big, "b": 2, "c": "\0"}
    assert not too_deep(read(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH))


def test_an_unknown_charset_is_named() -> None:
    for charset in ("bogus", "rot13", "zip", "undefined", "punycode", "\0"):
        with pytest.raises(UnreadableError, match="charset"):
            read(b"{}", f"application/json; charset={charset}", formats=["json"])


def test_form_fields() -> None:
    assert read(b"a=1&b=2&a=3&c=", "application/x-www-form-urlencoded") == {"a": ["1", "3"], "b": "2", "c": ""}
    with pytest.raises(UnreadableError, match="more than 1000 fields"):
        read(b"&".join(b"f%d=1" % at for at in range(10_000)), formats=["form"])
    with pytest.raises(UnreadableError, match="not a form"):
        read(b'{"a": "b=c"}', formats=["form"])
    assert parse_query(b"a=%C3%A9&b") == {"a": "é", "b": ""}


PART = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    "body, boundary, said",
    [
        (PART % (b"a", b""), "b", "ends without its last boundary"),
        (PART % (b"a", b"") + b"--b--", "", "boundary of 1 to 70"),
        (PART % (b"a", b"") + b"--b--", "b" * 5000, "boundary of 1 to 70"),
        (PART % (b"a", b"") + b"--b--", "c", "ends without"),
        (b"--b\r\nX: y\r\n\r\nx\r\n--b--", "b", "has no name"),
        (b"--b\r\nContent-Disposition: form-data; name=x\r\n--b--", "b", "has no name"),
        (b"".join(PART % (b"f%d" % at, b"") for at in range(1001)) + b"--b--", "b", "more than 1000 parts"),
    ],
)
def test_multipart_that_is_none_says_why(body: bytes, boundary: str, said: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        read(body, f"multipart/form-data; boundary={boundary}", formats=["multipart"])
    assert said in str(raised.value)


def test_a_file_in_multipart_is_described_and_written_nowhere() -> None:
    part = PART % (b"shot", b'; filename="../../etc/x.png"\r\nContent-Type: image/png')
    value = read(part + b"--b--\r\n", "multipart/form-data; boundary=b")
    assert value == {"shot": {"filename": "../../etc/x.png", "content_type": "image/png", "size": 1}}


def test_xml_as_a_dict() -> None:
    body = b'<?xml version="1.0"?><alert id="7"><host>a &amp; b</host><tag>x</tag><tag>y</tag><empty/>text</alert>'
    expected = {"@id": "7", "host": "a & b", "tag": ["x", "y"], "empty": None, "#text": "text"}
    assert read(body, "application/xml") == {"alert": expected}
    assert read("<a>é</a>".encode("latin-1"), "text/xml; charset=iso-8859-1") == {"a": "é"}
    assert read(b'<?xml version="1.0" encoding="iso-8859-1"?><a>\xe9</a>', "text/xml") == {"a": "é"}
    assert read("<a>é</a>".encode("utf-16"), "text/xml") == {"a": "é"}


@pytest.mark.parametrize(
    "body, said",
    [
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "DOCTYPE"),
        (b'<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>', "DOCTYPE"),
        (b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><a/>', "DOCTYPE"),
        (b"<a>&b;</a>", "not XML"),
        (b"<a><b></a>", "not XML"),
        (b"<a>" * 65 + b"</a>" * 65, "nested more than 64 deep"),
        (b'<?xml version="1.0" encoding="bogus"?><a/>', "not XML"),
        (b"{}", "not XML"),
    ],
)
def test_xml_that_is_none_says_why(body: bytes, said: str) -> None:
    with pytest.raises(UnreadableError) as raised:
        read(body, formats=["xml"])
    assert said in str(raised.value)


def test_the_template_says_what_is_read_and_the_sender_chooses_among_it() -> None:
    body = b"a=1"
    assert read(body, "application/json", formats=["json", "form"]) == {"a": "1"}
    assert read(body, "application/x-www-form-urlencoded", formats=["text", "form"]) == {"a": "1"}
    assert read(body, "application/x-www-form-urlencoded", formats=["text"]) == "a=1"
    with pytest.raises(UnreadableError, match="JSON"):
        read(body, "application/x-www-form-urlencoded", formats=["json"])
    with pytest.raises(UnreadableError):
        read(body, formats=[])


def test_gzip_has_limits() -> None:
    assert gunzip(gzip.compress(b"abc") + gzip.compress(b"def"), 100) == b"abcdef"
    assert gunzip(gzip.compress(b"x" * 100), 99) is None
    assert gunzip(gzip.compress(bytes(60 << 10)), 1 << 20) is not None  # small ones may be dense
    assert gunzip(gzip.compress(bytes(8 << 20)), 64 << 20) is None  # over 100 times its size
    for broken in (b"", b"abc", gzip.compress(b"abc")[:-1], gzip.compress(b"abc") + b"x", zlib.compress(b"abc")):
        with pytest.raises(UnreadableError):
            gunzip(broken, 100)
    with pytest.raises(UnreadableError, match="members"):
        gunzip(gzip.compress(b"") * 17, 100)
    assert read(gzip.compress(b'{"a": 1}'), gzip=True) == {"a": 1}
    with pytest.raises(UnreadableError, match="after gzip"):
        read(gzip.compress(b"x" * 100), gzip=True, cap=99)
    with pytest.raises(UnreadableError, match="only gzip"):
        decode_body([(b"content-encoding", b"br")], b"x", 100)


def test_a_gzip_bomb_costs_little() -> None:
    """However large it would become, no more is unpacked than may be, and the byte that is too much."""
    bomb = gzip.compress(bytes(256 << 20))
    tracemalloc.start()
    try:
        assert gunzip(bomb, 4 << 20) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_stored_headers_are_read_back() -> None:
    raw = b"Host: gateway.test\r\nX-A:  1 \r\nX-A: 2\r\nno colon\r\nempty:"
    assert parse_headers(raw) == [(b"host", b"gateway.test"), (b"x-a", b"1"), (b"x-a", b"2"), (b"empty", b"")]
    assert parse_headers(b"") == []


def test_media_types() -> None:
    assert media_type([(b"content-type", b'Application/JSON; Charset="UTF-8"')]) == ("json", {"charset": "UTF-8"})
    assert media_type([(b"content-type", b"application/problem+json")])[0] == "json"
    assert media_type([(b"content-type", b"image/svg+xml")])[0] == "xml"
    assert media_type([(b"content-type", b"text/plain")])[0] is None
    assert media_type([]) == (None, {})


@given(
    body=st.binary(max_size=300),
    content_type=st.sampled_from(
        [
            "",
            "application/json; charset=utf-16",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=b",
            "text/xml",
            "text/xml; charset=utf-16",
        ]
    ),
)
def test_noise_is_a_value_or_unreadable(body: bytes, content_type: str) -> None:
    try:
        value = read(body, content_type, payload_field="payload")
    except UnreadableError:
        return
    assert value is None or isinstance(value, dict | list | str | int | float | bool)
