"""A template folder: what is wrong with it is said with file, key and the nearest known key; its code is not imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.errors import TemplateError, UnreadableError
from gateway.models import Event
from gateway.template import Request, TemplateFolder, check_settings, describe, merge

TOML = """
api = 1
name = "Acme"

[fields]
source_id = "{id}"
subject = "{title}"

[open]
is_one_of = ["firing"]

[severity]
critical = ["P1"]
default = "error"
"""

Make = Callable[..., TemplateFolder]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a template folder."""

    def write(toml: str | bytes = TOML, slug: str = "acme", **files: str) -> TemplateFolder:
        folder = tmp_path / slug
        folder.mkdir(exist_ok=True)
        (folder / "template.toml").write_bytes(toml if isinstance(toml, bytes) else toml.encode())
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_text(content)
        return TemplateFolder(folder)

    return write


def refused(template: TemplateFolder) -> str:
    """What is said of a folder that is wrong; it begins with the file."""
    with pytest.raises(TemplateError) as caught:
        template.file  # noqa: B018  # reads it
    text = str(caught.value)
    assert text.startswith(str(template.path / "template.toml"))
    return text


@pytest.mark.parametrize(
    "table, words",
    [
        ("[fieds]", 'unknown key "fieds" in the top level; did you mean fields?'),
        ('nam = "x"', 'unknown key "nam" in the top level; did you mean name?'),
        ('zzzzzz = "x"', 'unknown key "zzzzzz" in the top level'),
        ('[fields]\nsubjet = "x"', 'unknown key "subjet" in [fields]; did you mean subject?'),
        ('[close]\nis_oneof = ["x"]', 'unknown key "is_oneof" in [close]; did you mean is_one_of?'),
        ('[close]\nnot_ = true\ncontains = ["x"]', 'unknown key "not_" in [close]; did you mean not?'),
        ('[close]\nall = [{is_one = ["x"]}]', 'unknown key "is_one" in [close.all[0]]; did you mean is_one_of?'),
        (
            "[close]\nall = [{contains = ['a']}, {any = [{is_presen = true}]}]",
            'unknown key "is_presen" in [close.all[1].any[0]]; did you mean is_present?',
        ),
        ("[severity]\ncritcal = []", 'unknown key "critcal" in [severity]; did you mean critical?'),
        (
            '[severity]\nerror = {contain = ["x"]}',
            'unknown key "contain" in [severity.error]; did you mean contains?',
        ),
        (
            '[[ignore]]\nreason = "x"\nfild = "a"\nis_present = true',
            'unknown key "fild" in [ignore[0]]; did you mean field?',
        ),
        ('[[ignore]]\nfield = "subject"\nis_present = true', 'the key "reason" is missing in [ignore[0]]'),
        ('[verification]\nkid = "hmac"', 'unknown key "kid" in [verification]; did you mean kind?'),
        ('[handshake]\nech = "body.x"', 'unknown key "ech" in [handshake]; did you mean echo?'),
        ('[[handshake]]\nech = "body.x"', 'unknown key "ech" in [handshake[0]]; did you mean echo?'),
        ('channel = "Api"', "channel is 'Api'; it is one of API, Email, Chat, Heartbeat"),
        ('accepts = ["json", "jsn"]', "accepts[1] is 'jsn'; it is one of json, form, xml, text; did you mean json?"),
        ("fields = 3", "fields is a whole number; write a table, [fields]"),
        ('[fields]\ntags = "a"', 'fields.tags is a text; write a list, ["…"]'),
        (
            '[severity]\ndefault = "warn"',
            "severity.default is 'warn'; it is one of info, warning, error, critical; did you mean warning?",
        ),
        ('[verification]\nkind = "hmac"', "header"),
        ('delivery_id = "nowhere"', "delivery_id"),
    ],
)
def test_what_is_wrong_is_named_with_file_key_and_nearest_key(make: Make, table: str, words: str) -> None:
    head, _, tables = table.partition("\n") if table.startswith("[") else (table, "", "")
    rest = f"{head}\n{tables}"
    toml = f'api = 1\nname = "Acme"\n{rest}\n' if not table.startswith("nam") else f"api = 1\n{table}\n"
    assert words in refused(make(toml))


@pytest.mark.parametrize(
    "toml, words",
    [
        ('name = "x"', "`api` is missing; write `api = 1`"),
        (
            'api = 2\nname = "x"\nnew_key = 1',
            "written for api = 2, and this gateway reads templates of api = 1: upgrade the gateway",
        ),
        ('api = "1"\nname = "x"', "`api = 1`"),
        ("api = 1", 'the key "name" is missing in the top level'),
        ("api = ", "not TOML: "),
        ("[fields\n", "not TOML: "),
        ('name = "a"\nname = "b"', "not TOML: "),
        (b"\xff\xfe", "not TOML: "),
    ],
)
def test_a_file_that_cannot_be_read_says_why(make: Make, toml: str | bytes, words: str) -> None:
    assert words in refused(make(toml))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in refused(TemplateFolder(tmp_path / "acme"))


@pytest.mark.parametrize("slug", ["Acme", "acme corp", "1acme", "acme--x", "-acme", "acme-", "ac/me", "ačme", "..", ""])
def test_a_slug_is_lower_case_words(make: Make, slug: str) -> None:
    template = TemplateFolder(make().path, slug or "A")
    assert "is not lower-case letters, digits and single hyphens" in refused(template)


def test_the_slug_is_the_folders_name(tmp_path: Path) -> None:
    assert TemplateFolder(tmp_path / "aws_cloudwatch").slug == "aws-cloudwatch"
    assert TemplateFolder(tmp_path / "alert_gateway_acme" / "__init__.py").slug == "acme"
    assert TemplateFolder(tmp_path / "alert_gateway_acme" / "__init__.py").path == tmp_path / "alert_gateway_acme"
    assert TemplateFolder(tmp_path / "x", "acme-2").slug == "acme-2"


def test_making_one_reads_nothing(tmp_path: Path) -> None:
    template = TemplateFolder(tmp_path / "acme")
    assert template.readme == ""
    assert template.samples() == []
    assert not template.has_code
    assert template.load_read() is None


def test_what_a_folder_says(make: Make) -> None:
    template = make(README_md="# Steps with {endpoint_url}")
    assert template.file.name == "Acme"
    assert template.file.channel == "API"
    assert template.file.accepts == ["json", "form"]
    assert template.file.severity.default == "error"
    assert template.readme == "# Steps with {endpoint_url}"
    assert template.raw["fields"] == {"source_id": "{id}", "subject": "{title}"}


def test_one_handshake_or_several(make: Make) -> None:
    one = make(TOML + '[handshake]\necho = "body.challenge"\n')
    assert len(one.file.handshakes) == 1
    assert make(slug="b").file.handshakes == []


def test_samples_are_payloads_and_not_what_is_expected_of_them(make: Make) -> None:
    folder = make().path / "samples"
    folder.mkdir()
    for name in ("b.json", "a.http", "b.expected.json", "provenance.toml", "c.xml", "d.txt", "README.md"):
        (folder / name).write_text("")
    assert [path.name for path in make().samples()] == ["a.http", "b.json", "c.xml", "d.txt"]


# template.py


@pytest.mark.parametrize(
    "code, words",
    [
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("def read(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E: (its text could not be had)"),
        ("x = 1", "has no attribute 'read'"),
        ("def f(): f()\nf()", "RecursionError"),
    ],
)
def test_code_that_cannot_be_imported_is_a_template_error(make: Make, code: str, words: str) -> None:
    template = make(template_py=code)
    with pytest.raises(TemplateError) as caught:
        template.load_read()
    assert str(template.path / "template.py") in str(caught.value)
    assert words in str(caught.value)
    assert "gateway_template_acme" not in sys.modules


def test_code_is_imported_once_and_late(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway_template_acme", raising=False)
    template = make(template_py="loads = []\nloads.append(1)\ndef read(request):\n    return loads")
    assert template.has_code
    assert template.file.name == "Acme"
    assert "gateway_template_acme" not in sys.modules
    read = template.load_read()
    assert read is not None
    assert template.load_read() is read
    assert list(read(Request({}))) == [1]
    del sys.modules["gateway_template_acme"]


def test_structs_in_code_find_their_own_names(make: Make) -> None:
    code = """
from __future__ import annotations
import msgspec
from gateway import Event
class Inner(msgspec.Struct):
    id: str
class Payload(msgspec.Struct):
    inner: Inner
def read(request):
    yield Event(source_id=request.decode(Payload).inner.id)
"""
    read = make(template_py=code, slug="structs").load_read()
    assert read is not None
    assert list(read(Request({"inner": {"id": "x"}}))) == [Event(source_id="x")]
    with pytest.raises(UnreadableError, match=r"\$\.inner"):
        list(read(Request({"inner": 3})))
    del sys.modules["gateway_template_structs"]


# what an integration may set


def test_settings_are_a_difference_to_the_template(make: Make) -> None:
    template = make()
    assert template.merged({}) is template.file
    file = template.merged(
        {"fields": {"subject": "{headline}"}, "severity": {"error": ["P2"]}, "open": {"contains": ["bad"]}}
    )
    assert (file.fields.source_id, file.fields.subject) == ("{id}", "{headline}")
    assert (file.severity.critical, file.severity.error, file.severity.default) == (["P1"], ["P2"], "error")
    assert file.open is not None
    assert (file.open.is_one_of, file.open.contains) == (None, ["bad"])
    assert template.file.fields.subject == "{title}"
    assert template.raw["fields"]["subject"] == "{title}"


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"name": "x"}, "an integration cannot set 'name'"),
        ({"field": {}}, "cannot set 'field'; did you mean fields?"),
        ({"fields": {"subjet": "x"}}, 'unknown key "subjet" in [fields]; did you mean subject?'),
        ({"fields": 3}, "fields is a whole number; write a table, [fields]"),
        ({"open": {"is_one": ["a"]}}, 'unknown key "is_one" in [open]'),
        ({"open": {"close_after": "2h"}}, "[open]; close_after belongs at the top level, before the first [table]"),
        ({"severity": {"critical": "P1"}}, 'severity.critical is a text; write a list, ["…"] or a table, { … }'),
        ({"maintenance": {}}, "it is no part of the settings: see `alert-gateway maintenance add`; it can set"),
        ({"policy": "p"}, "it is no part of the settings: give it with --policy; another one by"),
        ({"open": {"is_one_of": [float("nan")]}}, "[open]: nan is no number that a message can hold; leave it out"),
        ({"filters": {"any": [{"is_one_of": [1.5, float("-inf")]}]}}, "[filters]: -inf is no number"),
        ({"verification": {"kind": "hmac"}}, "settings of an integration with acme: "),
    ],
)
def test_settings_that_are_wrong_name_the_key(make: Make, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        make().merged(settings)
    assert words in str(caught.value)


def test_merging_touches_neither_side() -> None:
    raw: dict[str, Any] = {"fields": {"a": 1}, "open": {"x": 1}}
    settings: dict[str, Any] = {"fields": {"b": 2}, "open": {"y": 2}}
    assert merge(raw, settings) == {"fields": {"a": 1, "b": 2}, "open": {"y": 2}}
    assert raw == {"fields": {"a": 1}, "open": {"x": 1}}
    assert check_settings({"each": "alerts"}) == {"each": "alerts"}


# requests


class Wanted(msgspec.Struct):
    """What a test reads."""

    count: int
    name: str = ""


def test_decode_takes_numbers_in_text_and_names_what_does_not_fit() -> None:
    assert Request({"count": "3", "more": []}).decode(Wanted) == Wanted(3)
    with pytest.raises(UnreadableError, match=r"Expected `int`.*\$\.count"):
        Request({"count": []}).decode(Wanted)
    with pytest.raises(UnreadableError, match="missing required field `count`"):
        Request({}).decode(Wanted)
    nothing: list[object] = []
    for data in (None, nothing, "text", 3):
        with pytest.raises(UnreadableError):
            Request(data).decode(Wanted)


@pytest.mark.parametrize("data", [None, [1], "text", {"_message": 1, "a": 2}])
def test_a_hole_sees_the_object_and_the_whole_message(data: object) -> None:
    request = Request(data, headers={"x": "1"}, query={"q": "2"})
    scope = request.scope
    assert scope["_message"] is data
    assert scope["_element"] is data
    assert (scope["_headers"], scope["_query"]) == ({"x": "1"}, {"q": "2"})
    assert scope.get("a") == (2 if isinstance(data, dict) else None)
    assert request.scope_of({"b": 3})["b"] == 3


def test_an_exception_is_described_shortly_whatever_it_does() -> None:
    class WithoutTextError(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert describe(KeyError("x")) == "KeyError: 'x'"
    assert describe(ValueError()) == "ValueError"
    assert describe(WithoutTextError()) == "WithoutTextError: (its text could not be had)"
    assert len(describe(ValueError("x" * 10_000))) == 500
