"""
What was sent, as values: gzip undone, the charset heeded, JSON, form, multipart, XML or text made into Python.

The journal keeps bodies as they came; a template reads what this makes of them. The parsers are those that the template
accepts; what the sender says its body is only chooses among them. Nothing is written to disk, nothing is fetched.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Mapping, Sequence
from email.message import Message as EmailHeader
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl
from xml.parsers import expat

import msgspec

from gateway.errors import UnreadableError

Headers = Sequence[tuple[bytes, bytes]]
Format = Literal["json", "form", "multipart", "xml", "text"]

FORMATS: tuple[Format, ...] = get_args(Format)
MAX_DEPTH = 64
MAX_FIELDS = 1000
MAX_RATIO = 100
_RATIO_FREE = 64 << 10
_MAX_MEMBERS = 16
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSETS = ("utf-8", "utf-16", "utf-32", "iso8859", "latin", "ascii", "cp125", "cp8", "koi8", "shift_jis", "gb")


def decode_body(
    headers: Headers,
    body: bytes,
    cap: int,
    *,
    formats: Sequence[Format] = FORMATS,
    payload_field: str | None = None,
) -> Any:
    """
    The body as a value: JSON as it is, a form as a dict, XML as a dict, text as a string; an empty body is None.

    `headers` have lower-case names, `cap` is in bytes after gzip. `formats` are what the template accepts, in order of
    preference. Where `payload_field` is given and a form has that field, its value is read as JSON in its place.

    Raises UnreadableError that says which format, what is wrong and where; no input is repeated in it.
    """
    plain = _inflated(headers, body, cap)
    if not plain.strip():
        return None
    said, parameters = media_type(headers)
    order = sorted(formats, key=lambda name: name != said)
    first: UnreadableError | None = None
    for name in order:
        try:
            value = _PARSERS[name](plain, parameters)
        except UnreadableError as error:
            first = first or error
            continue
        if payload_field is not None and name in ("form", "multipart") and isinstance(value.get(payload_field), str):
            return _json(value[payload_field].encode(), {})
        return value
    raise first or UnreadableError("the template accepts no format at all")


def parse_headers(raw: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a stored message: lines `name: value`, joined by CRLF. Names become lower case."""
    found = []
    for line in raw.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            found.append((name.strip().lower(), value.strip(b" \t")))
    return found


def parse_query(query: bytes) -> dict[str, Any]:
    """The fields of a query or a form: text, or a list of texts where a name comes more than once."""
    return _fields(query.decode("utf-8", "replace"))


def content_encoding(headers: Headers) -> str:
    """`gzip`, the empty text for none, or what it is instead, in lower case."""
    said = b", ".join(value.strip() for name, value in headers if name == b"content-encoding").decode("latin-1").lower()
    return {"identity": "", "x-gzip": "gzip"}.get(said, said)


def gunzip(body: bytes, cap: int) -> bytes | None:
    """
    The body without its gzip; None where it is larger than `cap` bytes, or than 100 times what was sent.

    Raises UnreadableError where it is no gzip, ends early, or goes on after its end.
    """
    limit = min(cap, max(MAX_RATIO * len(body), _RATIO_FREE))
    parts: list[bytes] = []
    size = 0
    for _ in range(_MAX_MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(body, limit - size + 1)
        except zlib.error:
            msg = "the body is not gzip" if not parts else "the body goes on after its gzip ends"
            raise UnreadableError(msg) from None
        parts.append(part)
        size += len(part)
        if size > limit:
            return None
        if not stream.eof:
            msg = "the gzip ends too early"
            raise UnreadableError(msg)
        body = stream.unused_data
        if not body:
            return b"".join(parts)
    msg = f"the gzip has more than {_MAX_MEMBERS} members"
    raise UnreadableError(msg)


def media_type(headers: Headers) -> tuple[Format | None, dict[str, str]]:
    """The format that the Content-Type speaks of, if we know it, and the parameters (charset, boundary)."""
    said = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
    kind, *rest = said.split(";")
    parameters = {}
    for part in rest:
        name, _, value = part.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    kind = kind.strip().lower()
    if kind.endswith(("/json", "+json", "/x-json")):
        return "json", parameters
    if kind.endswith(("/xml", "+xml")):
        return "xml", parameters
    known: dict[str, Format] = {
        "application/x-www-form-urlencoded": "form",
        "multipart/form-data": "multipart",
    }  # not text/plain: senders without an opinion say it, of JSON too
    return known.get(kind), parameters


def too_deep(value: object, depth: int = MAX_DEPTH) -> bool:
    """Whether lists and dicts lie more than `depth` deep in one another."""
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        inside = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for children in inside for child in children if isinstance(child, dict | list)]
    return bool(level)


def _inflated(headers: Headers, body: bytes, cap: int) -> bytes:
    encoding = content_encoding(headers)
    if not encoding:
        return body
    if encoding != "gzip":
        msg = f"the body is sent with Content-Encoding {encoding[:40]!r}; only gzip is read"
        raise UnreadableError(msg)
    plain = gunzip(body, cap)
    if plain is None:
        msg = f"the body is over {cap} bytes, or over {MAX_RATIO} times its size, after gzip"
        raise UnreadableError(msg)
    return plain


def _text(body: bytes, parameters: Mapping[str, str]) -> str:
    """The body as text: by its byte order mark, else by its charset, else UTF-8."""
    for mark, charset in _BOMS:
        if body.startswith(mark):
            return _decoded(body[len(mark) :], charset)
    said = parameters.get("charset", "utf-8")
    try:
        charset = codecs.lookup(said).name
    except (LookupError, ValueError):
        charset = ""
    if not charset.startswith(_CHARSETS):
        msg = f"the charset {said[:40]!r} is not known"
        raise UnreadableError(msg)
    return _decoded(body, charset)


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset)
    except UnicodeError as error:
        at = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        msg = f"the body is not {charset}{at}"
        raise UnreadableError(msg) from None


def _json(body: bytes, parameters: Mapping[str, str]) -> Any:
    charset = parameters.get("charset", "utf-8").lower()
    plain = charset in ("utf-8", "utf8", "us-ascii") and body[:1] not in (b"\xef", b"\xff", b"\xfe", b"\x00")
    source: bytes | str = body if plain else _text(body, parameters)
    try:
        value = msgspec.json.decode(source)
    except UnicodeDecodeError:
        msg = "the JSON holds bytes that are not UTF-8"
        raise UnreadableError(msg) from None
    except RecursionError:
        msg = f"the JSON is nested more than {MAX_DEPTH} deep"
        raise UnreadableError(msg) from None
    except msgspec.MsgspecError as error:
        raise UnreadableError(str(error)) from None
    brackets = body.count(b"[") + body.count(b"{")  # a bound that is cheap: most bodies are not walked
    if brackets > MAX_DEPTH and too_deep(value):
        msg = f"the JSON is nested more than {MAX_DEPTH} deep"
        raise UnreadableError(msg)
    return value


def _form(body: bytes, parameters: Mapping[str, str]) -> dict[str, Any]:
    text = _text(body, parameters)
    if "=" not in text or text.lstrip()[:1] in "{[<":
        msg = "the body is not a form: there is no name=value"
        raise UnreadableError(msg)
    return _fields(text)


def _fields(text: str) -> dict[str, Any]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError:
        msg = f"the form has more than {MAX_FIELDS} fields"
        raise UnreadableError(msg) from None
    return _collected(pairs)


def _collected(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    repeated: set[str] = set()
    for name, value in pairs:
        if name in repeated:
            fields[name].append(value)
        elif name in fields:
            fields[name] = [fields[name], value]
            repeated.add(name)
        else:
            fields[name] = value
    return fields


def _multipart(body: bytes, parameters: Mapping[str, str]) -> dict[str, Any]:
    boundary = parameters.get("boundary", "").encode("latin-1", "replace")
    if not 0 < len(boundary) <= 70:  # noqa: PLR2004 - RFC 2046
        msg = "the multipart body has no boundary of 1 to 70 characters"
        raise UnreadableError(msg)
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_FIELDS + 2)
    if len(pieces) > MAX_FIELDS + 1:
        msg = f"the multipart body has more than {MAX_FIELDS} parts"
        raise UnreadableError(msg)
    if not pieces or not pieces[-1].startswith(b"--"):
        msg = "the multipart body ends without its last boundary"
        raise UnreadableError(msg)
    return _collected([_part(piece) for piece in pieces[:-1]])


def _part(piece: bytes) -> tuple[str, Any]:
    """One field of a multipart body. A file is told by its name, type and size; its content stays in the journal."""
    head, gap, content = piece.lstrip(b" \t").partition(b"\r\n\r\n")
    headers = dict(parse_headers(head))
    said = EmailHeader()
    said["content-disposition"] = " ".join(headers.get(b"content-disposition", b"").decode("utf-8", "replace").split())
    name, filename = said.get_param("name", header="content-disposition"), said.get_filename()
    if not gap or not isinstance(name, str):
        msg = "a part of the multipart body has no name"
        raise UnreadableError(msg)
    if filename is not None:
        said_type = headers.get(b"content-type", b"").decode("latin-1")
        return name, {"filename": filename, "content_type": said_type, "size": len(content)}
    return name, _text(content, media_type(list(headers.items()))[1])


def _xml(body: bytes, parameters: Mapping[str, str]) -> dict[str, Any]:
    """`<a b="1">x<c/></a>` as `{"a": {"@b": "1", "#text": "x", "c": None}}`; what comes twice is a list."""
    marked = body.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    recoded = not marked and "charset" in parameters
    parser = expat.ParserCreate("utf-8" if recoded else None)
    tree = _Tree()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = tree.doctype
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.text
    try:
        parser.Parse(_text(body, parameters).encode() if recoded else body, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        msg = f"the body is not XML: {error}"
        raise UnreadableError(msg) from None
    return tree.found


class _Tree:
    """Builds dicts out of the parser's calls, without recursion."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._open: list[tuple[dict[str, Any], list[str]]] = [(self.found, [])]

    def doctype(self, *_: object) -> None:
        msg = "the XML has a DOCTYPE, which is never read"
        raise UnreadableError(msg)

    def start(self, _name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > MAX_DEPTH:
            msg = f"the XML is nested more than {MAX_DEPTH} deep"
            raise UnreadableError(msg)
        self._open.append(({f"@{name}": value for name, value in attributes.items()}, []))

    def text(self, text: str) -> None:
        self._open[-1][1].append(text)

    def end(self, name: str) -> None:
        fields, texts = self._open.pop()
        text = "".join(texts).strip()
        if fields and text:
            fields["#text"] = text
        value: Any = fields or text or None
        outer = self._open[-1][0]
        if name not in outer:
            outer[name] = value
        elif isinstance(outer[name], list):
            outer[name].append(value)
        else:
            outer[name] = [outer[name], value]


def _plain(body: bytes, parameters: Mapping[str, str]) -> str:
    return _text(body, parameters)


_PARSERS: Mapping[Format, Callable[[bytes, Mapping[str, str]], Any]] = {
    "json": _json,
    "form": _form,
    "multipart": _multipart,
    "xml": _xml,
    "text": _plain,
}
