"""
The contract of a template: a folder that says how one vendor's webhook is read.

    template.toml     what is read and what the words mean, as data
    template.py       `read(request)`, only where a table does not suffice
    README.md         the vendor's own steps; `{endpoint_url}` stands for the integration's URL
    samples/          payloads, each with the events that are expected of it, and where it comes from

The metadata is read without importing code; `template.py` is imported when its first message comes.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import msgspec

from gateway.advanced import KEYS as ADVANCED_KEYS
from gateway.config import nearest
from gateway.errors import TemplateError, UnreadableError
from gateway.handshakes import Handshake
from gateway.models import Channel, Event, Ignored
from gateway.rules import Condition, Filters, IgnoreRule, SeverityRules
from gateway.tables import endless_in, struct_of
from gateway.verify import Verification, check_delivery_id

SUPPORTED_API = range(1, 2)
"""The versions of the contract that this gateway reads; a template says in `api` which one it was written for."""
SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
Accepted = Literal["json", "form", "xml", "text"]

T = TypeVar("T")


class FieldTexts(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[fields]`: for each field of an event, a text with holes."""

    source: str | None = None
    """The vendor's product; the template's `name` where it is not said."""
    source_name: str | None = None
    """Which instance of the vendor's things: account, site, cluster, host."""
    source_id: str | None = None
    """The vendor's own id of the problem; needed, unless `template.py` gives it."""
    source_url: str | None = None
    """The page a person wants to open."""
    source_status: str | None = None
    """The vendor's word for the state; `[open]`, `[close]` and `[update]` look at it."""
    source_severity: str | None = None
    """The vendor's word for how bad it is; `[severity]` looks at it."""
    subject: str | None = None
    """What is wrong and where, in one line."""
    description: str | None = None
    """What else helps; it may have paragraphs."""
    short_text: str | None = None
    """The subject in few words, for a text message."""
    assignee: str | None = None
    """Who has it at the vendor's."""
    topic: str | None = None
    """What the alert is about, in the vendor's own classes."""
    occurred_at: str | None = None
    """When it happened: ISO 8601, or seconds or milliseconds since 1970. An event older than the alert changes nothing."""
    tags: list[str] | None = None
    """A list of texts: lists are spread, objects become `key:value`, a hole's text is split at commas."""
    custom: dict[str, str] | None = None
    """Fields of your own, by name: `customer = "{labels.customer}"`. Conditions look at them as `custom.customer`."""


class TemplateFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """template.toml: how one vendor's webhook is read, and what the vendor's words mean."""

    api: int
    """The version of this contract that the template was written for."""
    name: str
    """The vendor's product, as the vendor writes it."""
    channel: Channel = "API"
    """How messages reach an integration."""
    docs_url: str = ""
    """The vendor's own page about its webhook."""
    categories: list[str] = []
    """Where the gallery shows it: `observability`, `uptime`, `ci`."""
    accepts: list[Accepted] = msgspec.field(default_factory=lambda: ["json", "form"])
    """What a body may be, in order of preference; `form` takes multipart too."""
    form_field: str | None = None
    """The field of a form that holds the JSON: `payload`."""
    each: str | None = None
    """JMESPath to a list, every element of which is one event; without it the message is one event."""
    fields: FieldTexts = msgspec.field(default_factory=FieldTexts)
    """For each field of an event, a text with holes; left out where `template.py` gives the fields."""
    open: Condition | None = None
    """When an alert is opened, or appended to where it is open already. Needed."""
    close: Condition | None = None
    """When it is closed."""
    update: Condition | None = None
    """When an open alert is updated, and none is opened."""
    acknowledge: Condition | None = None
    """
    What says that somebody at the vendor's has it, beside what opens or updates. An integration with `auto_acknowledge` then
    assigns the alert, and nobody more is told of it.
    """
    ignore: list[IgnoreRule] = []
    """What asks nothing of anyone, each with the reason; looked at first."""
    filters: Filters = msgspec.field(default_factory=Filters)
    """Which events are this integration's; one that does not pass is offered to the next in sequence."""
    fallback: Literal["ignore", "open"] = "ignore"
    """What a status in no list does."""
    severity: SeverityRules = msgspec.field(default_factory=SeverityRules)
    """Which of the vendor's severities is which of ours."""
    verification: list[Verification] | Verification = msgspec.field(default_factory=lambda: Verification(kind="none"))
    """
    How the vendor's requests are told from forged ones, once the integration has a secret; one table, or several where the
    vendor has several ways and any of them will do.
    """
    handshake: list[Handshake] | Handshake = []
    """How the vendor asks whether the URL is ours; one table or several."""
    delivery_id: str | None = None
    """
    Where the vendor's id of a delivery is: `header:X-GitHub-Delivery`, or JMESPath over `body`, `query` and `headers`. A
    message whose id was there before is answered, and not stored again.
    """
    exempt: dict[str, str] = {}
    """Laws of the conformance suite that cannot hold for this vendor, by name, each with the reason."""

    @property
    def verifications(self) -> list[Verification]:
        """`verification` as a list, also where one table was written."""
        return self.verification if isinstance(self.verification, list) else [self.verification]

    @property
    def is_verified(self) -> bool:
        """Whether there is any way to tell the vendor's requests from forged ones."""
        return any(spec.kind != "none" for spec in self.verifications)

    @property
    def handshakes(self) -> list[Handshake]:
        """`handshake` as a list, also where one table was written."""
        return self.handshake if isinstance(self.handshake, list) else [self.handshake]


SETTINGS_KEYS = (
    "accepts", "form_field", "each", "fields", "open", "close", "update", "acknowledge", "ignore", "filters", "fallback",
    "severity", "verification", "handshake", "delivery_id",
)  # fmt: skip
"""The keys of template.toml that an integration may set for itself."""
_ELSEWHERE = {
    "maintenance": "see `alert-gateway maintenance add`",
    "policy": "give it with --policy; another one by what a message says or by the hour is an [[override]]",
    "users": "give them with --user",
}


class Request:
    """
    A message as a template sees it.

    `headers` and `query` are read-only mappings of text to text, header names in lower case, the last value of a repeated
    name; `body` is the bytes as they were sent; `data` is what the body says: an object, a list or a text.
    """

    __slots__ = ("body", "data", "headers", "query", "table")

    def __init__(
        self,
        data: Any,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        query: Mapping[str, str] = MappingProxyType({}),
        body: bytes = b"",
    ) -> None:
        self.data = data
        self.headers = headers
        self.query = query
        self.body = body
        self.table: Read | None = None  # what template.toml reads, set by the rulebook

    def decode(self, type: type[T]) -> T:  # noqa: A002  # the name that msgspec gives it
        """`data` as this type, numbers in text allowed; raises UnreadableError with the path of what does not fit."""
        try:
            return msgspec.convert(self.data, type, strict=False)
        except (msgspec.ValidationError, RecursionError) as error:
            raise UnreadableError(str(error)) from None

    @property
    def scope(self) -> dict[str, Any]:
        """What a hole sees: the keys of the object, and `_message`, `_headers`, `_query`."""
        return self.scope_of(self.data)

    def scope_of(self, element: Any) -> dict[str, Any]:
        """What a hole sees of one element of the message."""
        scope: dict[str, Any] = dict(element) if isinstance(element, dict) else {}
        scope["_element"] = element
        scope["_message"] = self.data
        scope["_headers"] = self.headers
        scope["_query"] = self.query
        return scope


Read = Callable[[Request], Iterable[Event | Ignored]]


class TemplateFolder:
    """
    One template: a folder, or a file beside which the folder's files lie (`TemplateFolder(__file__)` in a package).

    Making one reads nothing. `slug` is the folder's name where it is not given.
    """

    def __init__(self, path: str | Path, slug: str | None = None) -> None:
        path = Path(path)
        self.path = path.parent if path.suffix == ".py" else path
        self.slug = slug or self.path.name.replace("_", "-").removeprefix("alert-gateway-")
        self._file: TemplateFile | None = None
        self._raw: dict[str, Any] = {}
        self._read: Read | None = None

    def __repr__(self) -> str:
        return f"TemplateFolder({str(self.path)!r}, {self.slug!r})"

    @property
    def file(self) -> TemplateFile:
        """template.toml; raises TemplateError that names the file, the key and what to do."""
        if self._file is None:
            path = self.path / "template.toml"
            if not SLUG.fullmatch(self.slug):
                msg = f"{path}: the slug {self.slug!r} is not lower-case letters, digits and single hyphens"
                raise TemplateError(msg)
            try:
                self._raw = tomllib.loads(path.read_text(encoding="utf-8"))
            except OSError as error:
                msg = f"{path}: {error.strerror}"
                raise TemplateError(msg) from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                msg = f"{path}: not TOML: {error}"
                raise TemplateError(msg) from None
            problem = _api_flaw(self._raw)
            if problem is not None:
                msg = f"{path}: {problem}"
                raise TemplateError(msg)
            self._file = convert(self._raw, str(path))
        return self._file

    @property
    def raw(self) -> dict[str, Any]:
        """template.toml as plain tables."""
        self.file  # noqa: B018  # reads it
        return self._raw

    @property
    def readme(self) -> str:
        """The setup steps, empty where there are none."""
        path = self.path / "README.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @property
    def has_code(self) -> bool:
        """Whether there is a template.py."""
        return (self.path / "template.py").is_file()

    def samples(self) -> list[Path]:
        """The sample payloads, by name: `*.json`, `*.http`, `*.xml`, `*.txt`, not what is expected of them."""
        folder = self.path / "samples"
        if not folder.is_dir():
            return []
        kinds = {".json", ".http", ".xml", ".txt", ".form"}
        return sorted(
            path for path in folder.iterdir() if path.suffix in kinds and not path.name.endswith(".expected.json")
        )

    def load_read(self) -> Read | None:
        """
        The `read` of template.py, imported now where it was not yet; None where the table suffices.

        Raises TemplateError where the import fails, whatever it raised.
        """
        if self._read is None and self.has_code:
            path, name = self.path / "template.py", "gateway_template_" + self.slug.replace("-", "_")
            try:
                self._read = import_file(path, name).read
            except MemoryError:
                raise
            except BaseException as error:
                sys.modules.pop(name, None)  # also where it has no `read`: what is half there is not used
                msg = f"{path}: {describe(error)}"
                raise TemplateError(msg) from error
        return self._read

    def merged(self, settings: Mapping[str, Any]) -> TemplateFile:
        """
        template.toml with an integration's own settings over it; raises TemplateError that names the key.

        Its Advanced Settings (`advanced.KEYS`) are not of the template, and passed over.
        """
        check_settings(settings)
        own = {key: value for key, value in settings.items() if key not in ADVANCED_KEYS}
        if not own:
            return self.file
        where = f"settings of an integration with {self.slug}"
        return convert(merge(self.raw, own), where, (*SETTINGS_KEYS, *ADVANCED_KEYS))


def _api_flaw(raw: Mapping[str, Any]) -> str | None:
    """Why this gateway cannot read a template.toml of that version, and what to do; looked at before any other key."""
    oldest, newest = SUPPORTED_API[0], SUPPORTED_API[-1]
    readable = f"{oldest}" if oldest == newest else f"{oldest} to {newest}"
    api = raw.get("api")
    if not isinstance(api, int) or isinstance(api, bool):
        return f"`api` is {'missing' if api is None else 'no whole number'}; write `api = {newest}`"
    if api in SUPPORTED_API:
        return None
    remedy = (
        "upgrade the gateway, or install an older version of the template" if api > newest else "upgrade the template"
    )
    return f"it was written for api = {api}, and this gateway reads templates of api = {readable}: {remedy}"


def import_file(path: Path, name: str) -> Any:
    """A module made of this file under this name; raises whatever its code raises."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"{path} cannot be imported"
        raise ImportError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # msgspec and dataclasses look up annotations by the module's name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def check_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    The settings, if they hold only what an integration may set.

    Raises TemplateError with the nearest key for another one, and for numbers that JSON, which settings are kept in, has not.
    """
    known = [*SETTINGS_KEYS, *ADVANCED_KEYS]
    for key in settings:
        if key not in known:
            hint = f"; it is no part of the settings: {_ELSEWHERE[key]}" if key in _ELSEWHERE else nearest(key, known)
            msg = f"an integration cannot set {key!r}{hint}; it can set {', '.join(known)}"
            raise TemplateError(msg)
        for number in endless_in(settings[key]):
            msg = f"[{key}]: {number} is no number that a message can hold; leave it out"
            raise TemplateError(msg)
    return settings


def merge(raw: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` (with `custom` in it) and `severity` are merged by key; everything else is replaced as a whole."""
    merged = dict(raw)
    for key, value in settings.items():
        if key in ("fields", "severity", "custom") and isinstance(value, Mapping):
            merged[key] = merge(raw.get(key, {}), value) if key == "fields" else {**raw.get(key, {}), **value}
        else:
            merged[key] = value
    return merged


def convert(raw: Mapping[str, Any], where: str, top: Collection[str] = ()) -> TemplateFile:
    """
    Plain tables as a TemplateFile; raises TemplateError: `where: unknown key "fieds"; did you mean fields?`.

    `top` are the keys that may stand beside its own.
    """
    file = struct_of(raw, TemplateFile, where, top)
    try:
        for verification in file.verifications:
            verification.check()
        for handshake in file.handshakes:
            handshake.check()
        if file.delivery_id is not None:
            check_delivery_id(file.delivery_id)
    except TemplateError as error:
        msg = f"{where}: {error}"
        raise TemplateError(msg) from None
    return file


def describe(error: BaseException) -> str:
    """An exception as `KeyError: 'x'`, cut to 500 characters, also where its own text cannot be had."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001  # a plugin's exception may do anything when it is printed
        text = "(its text could not be had)"
    return f"{type(error).__name__}: {text}"[:500].rstrip(": ")
