"""The files of a new template: red at first, and green once its questions are answered."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.checking import Law, laws_of, template_folder, todos_in
from gateway.cli.reading import event_shape
from gateway.errors import ConflictError, GatewayError, NotFoundError, PluginError
from gateway.models import Reading
from gateway.proposal import Payload, propose
from gateway.rulebook import compile_rulebook
from gateway.scaffold import Capture, Scaffold, check_name, check_slug, scaffold_of, write_files
from gateway.scaffold.toml import toml_text
from gateway.template import TemplateFolder
from gateway.testing.samples import read_sample, written

TODAY = date(2026, 11, 22)
DOWN = {
    "event": "check.failed",
    "incident": {"key": "INC-20931"},
    "check": {"name": "Checkout page"},
    "priority": "high",
}
UP = DOWN | {"event": "check.recovered"}


def capture(name: str, data: Any, suffix: str = ".json", content: bytes | None = None) -> Capture:
    body = json.dumps(data).encode()
    return Capture(
        name=name,
        suffix=suffix,
        content=content or body,
        headers=b"content-type: application/json",
        query=b"",
        body=body,
        data=data,
        expected_of=event_shape,
    )


def scaffold(*captures: Capture, package: bool = True, name: str = "Acme Watch") -> Scaffold:
    proposal = propose([Payload(one.name, one.data) for one in captures]) if captures else None
    return scaffold_of("acme", name, package=package, proposal=proposal, captures=captures, today=TODAY)


def broken(laws: list[Law]) -> dict[str, str]:
    return {law.law: " ".join(law.problems) for law in laws if not law.kept}


# names


@pytest.mark.parametrize("slug", ["acme", "acme-cloud", "site24x7", "a"])
def test_a_slug_is_lower_case(slug: str) -> None:
    assert check_slug(slug, []) == slug


@pytest.mark.parametrize(
    ("slug", "hint"),
    [
        ("Acme", "write 'acme'"),
        ("Acme Cloud", "write 'acme-cloud'"),
        ("acme_cloud", "write 'acme-cloud'"),
        ("alert-gateway-acme", "'acme'"),
        ("../acme", "write 'acme'"),
        ("9to5", "a letter first"),
        ("", "a letter first"),
        ("-x", "hyphens"),
        ("ümlaut", "lower-case"),
        ("a" * 60, "at most 50"),
    ],
)
def test_a_bad_slug_is_refused_with_a_better_one(slug: str, hint: str) -> None:
    with pytest.raises(GatewayError, match=hint):
        check_slug(slug, [])


def test_a_taken_slug_is_refused() -> None:
    with pytest.raises(ConflictError, match="is taken"):
        check_slug("acme", ["acme"])


@pytest.mark.parametrize("name", ["", " ", 'A"cme', "A\\cme", "A\0", "<b>", "x" * 101])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(GatewayError, match="--name"):
        check_name(name)


@pytest.mark.parametrize(
    "text", ["plain", 'a "b"', "it's", "both \"a\" and 'b'", "back\\slash", "\x7f", "ü\n\t", '{a."b-c"}']
)
def test_a_text_is_toml(text: str) -> None:
    assert tomllib.loads(f"x = {toml_text(text)}") == {"x": text}


# what is written


def test_a_package_has_what_a_package_needs() -> None:
    made = scaffold()
    assert made.folder == "alert-gateway-acme"
    assert {
        "pyproject.toml", "README.md", "LICENSE", ".gitignore", ".github/workflows/test.yml", "tests/test_template.py",
        "src/alert_gateway_acme/__init__.py", "src/alert_gateway_acme/template.toml", "src/alert_gateway_acme/README.md",
        "src/alert_gateway_acme/samples/problem_firing.json", "src/alert_gateway_acme/samples/problem_resolved.json",
        "src/alert_gateway_acme/samples/provenance.toml",
    } == made.files.keys()  # fmt: skip
    project = tomllib.loads(made.files["pyproject.toml"].decode())
    assert project["project"]["entry-points"]["gateway.plugins"] == {"acme": "alert_gateway_acme:plugin"}
    assert {"Environment :: Plugins", "Topic :: System :: Monitoring"} <= set(project["project"]["classifiers"])
    assert "alert-gateway-plugin" in project["project"]["keywords"]
    assert all(b"@" not in content.replace(b"actions/checkout@", b"").replace(b"actions/setup-python@", b"")
               for content in made.files.values())  # fmt: skip
    for path, content in made.files.items():
        if path.endswith(".py"):
            compile(content, path, "exec")


def test_a_folder_has_the_template_alone() -> None:
    made = scaffold(package=False)
    assert made.folder == "acme"
    assert sorted(made.files) == [
        "README.md", "samples/problem_firing.json", "samples/problem_resolved.json", "samples/provenance.toml", "template.toml",
    ]  # fmt: skip


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    with pytest.raises(ConflictError, match="is there already"):
        write_files(tmp_path / "acme", {"x": b""})
    assert not list((tmp_path / "acme").iterdir())


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewayError, match="cannot be written"):
        write_files(tmp_path / "file" / "acme", {"x": b""})


# captured payloads


def test_captures_become_samples_in_pairs_with_what_is_expected(tmp_path: Path) -> None:
    made = scaffold(capture("disk-down", DOWN), capture("disk-up", UP))
    assert [(case.file, case.role) for case in made.cases] == [
        ("disk_firing.json", "open"),
        ("disk_resolved.json", "close"),
    ]
    write_files(tmp_path / "acme", made.files)
    template = TemplateFolder(template_folder(tmp_path / "acme"))
    assert template.slug == "acme"
    book = compile_rulebook(template, {})
    for path in template.samples():
        sample = read_sample(path)
        assert sample.expected_path.read_text() == written(book.readings(sample.request(book))), (
            "as gateway.testing writes it"
        )


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (("disk", "b"), ["disk_firing.json", "disk_resolved.json"]),
        (("acme_firing", "acme_resolved"), ["acme_firing.json", "acme_resolved.json"]),
        (("payload1", "payload2"), ["payload1_firing.json", "payload1_resolved.json"]),
        (("down", "up"), ["problem_firing.json", "problem_resolved.json"]),
        (("../../evil", "x y"), ["evil_firing.json", "evil_resolved.json"]),
    ],
)  # fmt: skip
def test_samples_are_named_by_what_they_do(names: tuple[str, str], files: list[str]) -> None:
    made = scaffold(capture(names[0], DOWN), capture(names[1], UP))
    assert [case.file for case in made.cases] == files


def test_a_recovery_is_named_like_the_problem_that_it_closes() -> None:
    other = DOWN | {"incident": {"key": "INC-20932"}}
    made = scaffold(capture("web", DOWN), capture("disk", other), capture("x", other | {"event": "check.recovered"}))
    assert [case.name for case in made.cases] == ["web_firing", "disk_firing", "disk_resolved"]


def test_without_an_id_there_is_nothing_to_expect_yet(tmp_path: Path) -> None:
    made = scaffold(capture("down", {"state": "down"}), capture("up", {"state": "up"}))
    assert [case.expected for case in made.cases] == [None, None]
    assert "no source_id" in (made.cases[0].error or "")
    write_files(tmp_path / "acme", made.files)
    said = broken(laws_of(template_folder(tmp_path / "acme")))
    assert "[fields] has no source_id" in said["template.toml is right"]
    assert "problem_firing.expected.json" in said["nothing is unpaired"]


def test_headers_that_are_secrets_are_not_copied() -> None:
    content = b"POST / HTTP/1.1\r\nAuthorization: Bearer abc123\r\nX-Kind: a\r\n\r\n" + json.dumps(DOWN).encode()
    made = scaffold(capture("down", DOWN, ".http", content))
    sample = made.cases[0].content
    assert b"abc123" not in sample
    assert b"Authorization: example\r\nX-Kind: a\r\n\r\n{" in sample


def test_the_expected_shape_is_that_of_the_suite() -> None:
    from gateway.testing.samples import expected_of

    reading = Reading(action="ignore", reason="test message")
    assert [event_shape(reading)] == expected_of([reading])


# red, then green


def test_a_new_template_is_red_and_says_what_to_write(tmp_path: Path) -> None:
    write_files(tmp_path / "acme", scaffold().files)
    said = broken(laws_of(template_folder(tmp_path / "acme")))
    assert "[fields] has no source_id" in said["template.toml is right"]
    assert "no numbered steps" in said["readme has the steps"]
    assert "problem_firing.json: there is no problem_firing.expected.json" in said["nothing is unpaired"]
    assert "url = '' is no https address" in said["provenance is told"]
    assert "[verification] is missing" in said["sender is verified"]
    todos = todos_in(tmp_path / "acme")
    assert {todo.file.rpartition("/")[2] for todo in todos} >= {
        "template.toml",
        "README.md",
        "provenance.toml",
        "LICENSE",
    }
    assert any("source_id" in todo.text for todo in todos)


def test_a_proposal_is_green_once_the_questions_are_answered(tmp_path: Path) -> None:
    """What is left after --from-sample: the vendor's page, the category, the steps, who sent it, where the samples are from."""
    write_files(tmp_path / "acme", scaffold(capture("down", DOWN), capture("up", UP)).files)
    folder = template_folder(tmp_path / "acme")
    page = "https://watch.example.com/docs/webhooks"
    toml = (folder / "template.toml").read_text()
    toml = toml.replace('docs_url = ""', f'docs_url = "{page}"').replace("categories = []", 'categories = ["uptime"]')
    toml = toml.replace("# [verification]", "[verification]").replace('# kind = "token"', 'kind = "token"')
    toml = toml.replace('# header = "X-Alert-Token"', 'header = "X-Alert-Token"')
    (folder / "template.toml").write_text("\n".join(line for line in toml.splitlines() if not line.startswith("#")))
    (folder / "README.md").write_text("# Acme\n\n1. Paste `{endpoint_url}` under **Webhooks**.\n")
    provenance = (folder / "samples" / "provenance.toml").read_text()
    provenance = provenance.replace('url = ""', f'url = "{page}"').replace("TODO", "")
    (folder / "samples" / "provenance.toml").write_text(provenance)
    laws = laws_of(folder)
    assert broken(laws) == {}
    assert len(laws) >= 10
    assert [todo.file for todo in todos_in(tmp_path / "acme")] == ["LICENSE"]


# finding the folder


def test_the_folder_is_found_in_a_package_or_named(tmp_path: Path) -> None:
    inner = tmp_path / "src" / "alert_gateway_acme"
    inner.mkdir(parents=True)
    with pytest.raises(NotFoundError, match=r"no template\.toml"):
        template_folder(tmp_path)
    (inner / "template.toml").write_text("")
    assert template_folder(tmp_path) == template_folder(inner) == inner
    (tmp_path / "src" / "other").mkdir()
    (tmp_path / "src" / "other" / "template.toml").write_text("")
    with pytest.raises(NotFoundError, match="2 templates: name one of"):
        template_folder(tmp_path)


def test_a_template_that_is_no_toml_breaks_laws_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "template.toml").write_text("[[[")
    said = broken(laws_of(tmp_path))
    assert "not TOML" in said["template.toml is right"]


@pytest.mark.parametrize("code", ["import os\nos._exit(3)\n", "import os\ndef read(request): os._exit(0)\n"])
def test_code_that_ends_the_process_is_told(tmp_path: Path, code: str) -> None:
    write_files(tmp_path / "acme", scaffold(capture("down", DOWN), package=False).files)
    (tmp_path / "acme" / "template.py").write_text(code)
    with pytest.raises(PluginError, match="did not run to its end"):
        laws_of(tmp_path / "acme")
