"""Tiers are computed from files: each thing taken away from a golden template costs what it is worth."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.template import TemplateFolder
from gateway.tiers import needs, tier_of

TOML = """
api = 1
name = "Acme"
docs_url = "https://acme.example/webhooks"
categories = ["x"]
[fields]
source_id = "{id}"
source_status = "{status}"
[open]
any = [{ is_one_of = ["Down"] }, { contains = ["bröken"], field = "subject" }]
[close]
is_one_of = ["up"]
[severity]
critical = [1]
error = { starts_with = ["P2"] }
[verification]
kind = "token"
header = "X-Token"
"""
SAMPLES = {
    "disk_firing.json": '{"id": 1, "status": "down", "priority": 1}',
    "disk_resolved.json": '{"id": 1, "status": "UP", "priority": "P2 high"}',
    "form.http": "POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\nid=1&subject=it+is+br%C3%B6ken",
    "test_message.json": '{"id": 1, "test": true}',
}
Change = Callable[[Path], object]


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A template that has everything, and whose code must not run."""
    samples = tmp_path / "acme" / "samples"
    samples.mkdir(parents=True)
    folder = samples.parent
    (folder / "template.toml").write_text(TOML)
    (folder / "template.py").write_text("raise SystemExit")
    (folder / "README.md").write_text("1. Enter {endpoint_url}")
    for name, content in SAMPLES.items():
        (samples / name).write_text(content)
        action = "ignore" if name.startswith("test") else "open"
        expected = json.dumps({"events": [{"action": action}]})
        (samples / f"{name.rpartition('.')[0]}.expected.json").write_text(expected)
    entries = [
        f'["{name}"]\nkind = "{"captured" if name == "disk_firing.json" else "documented"}"\nurl = "https://a.example"'
        for name in SAMPLES
    ]
    (samples / "provenance.toml").write_text("\n\n".join(entries) + "\n")
    return folder


def replaced(name: str, old: str, new: str = "") -> Change:
    """Changes a text in a file."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def removed(name: str) -> Change:
    """Removes a file."""
    return lambda folder: (folder / name).unlink()


def without_samples(folder: Path) -> None:
    for path in (folder / "samples").iterdir():
        path.unlink()
    (folder / "samples").rmdir()


@pytest.mark.parametrize(
    "change, tier, words",
    [
        (removed("template.toml"), "none", "bronze: "),
        (replaced("template.toml", "name =", "nam ="), "none", 'unknown key "nam"'),
        (removed("README.md"), "none", "README.md says where"),
        (replaced("README.md", "{endpoint_url}"), "none", "README.md says where"),
        (without_samples, "none", "samples/ has a payload NAME.json"),
        (removed("samples/disk_resolved.json"), "bronze", "its recovery X_resolved.json"),
        (removed("samples/form.expected.json"), "bronze", "an expected file for form.http"),
        (removed("samples/provenance.toml"), "bronze", "disk_firing.json, disk_resolved.json, form.http and 1 more"),
        (replaced("samples/provenance.toml", '"documented"', '"guessed"'), "bronze", "provenance.toml says where"),
        (replaced("samples/provenance.toml", "kind", "knid"), "bronze", "provenance.toml says where"),
        (replaced("samples/provenance.toml", "kind = ", "kind = = "), "bronze", "provenance.toml says where"),
        (replaced("samples/form.http", "%C3%B6", "o"), "bronze", "a sample with 'bröken'"),
        (replaced("samples/disk_resolved.json", "P2", "P3"), "bronze", "a sample with 'P2'"),
        (replaced("template.toml", 'docs_url = "https://acme.example/webhooks"'), "bronze", "docs_url"),
        (replaced("template.toml", 'kind = "token"\nheader = "X-Token"', 'kind = "none"'), "bronze", "[verification]"),
        (replaced("samples/provenance.toml", "captured", "adapted"), "silver", "gold: samples/ has a payload"),
        (replaced("samples/test_message.expected.json", "ignore", "open"), "silver", "to test the URL"),
    ],
)
def test_what_is_missing_costs_a_tier_and_is_named(golden: Path, change: Change, tier: str, words: str) -> None:
    change(golden)
    template = TemplateFolder(golden)
    assert tier_of(template) == tier
    assert words in "\n".join(needs(template))


def test_a_template_that_has_everything_is_gold_and_was_not_imported(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gateway_template_acme", raising=False)  # another test's
    template = TemplateFolder(golden)
    assert tier_of(template) == "gold"
    assert needs(template) == []
    assert "gateway_template_acme" not in sys.modules


@pytest.mark.parametrize(
    "change, waiver",
    [
        (removed("samples/disk_resolved.json"), "recovery_closes"),
        (replaced("samples/disk_resolved.json", "P2", "P3"), "words_occur"),
        (replaced("template.toml", 'kind = "token"\nheader = "X-Token"', 'kind = "none"'), "sender_verified"),
    ],
)
def test_what_is_waived_with_a_reason_costs_nothing(golden: Path, change: Change, waiver: str) -> None:
    change(golden)
    with (golden / "template.toml").open("a") as file:
        file.write(f'\n[exempt]\n{waiver} = "the vendor cannot do it"\nwords_occur = "x"\n'.replace(
            'words_occur = "x"\n', "" if waiver == "words_occur" else 'words_occur = "the sample is gone with it"\n'
        ))  # fmt: skip
    assert tier_of(TemplateFolder(golden)) == "gold"


def test_a_handshake_is_as_good_as_a_test_message(golden: Path) -> None:
    replaced("samples/test_message.expected.json", "ignore", "open")(golden)
    with (golden / "template.toml").open("a") as file:
        file.write('\n[handshake]\necho = "body.challenge"\n')
    assert tier_of(TemplateFolder(golden)) == "gold"


def test_provenance_may_be_written_in_any_toml(golden: Path) -> None:
    lines = [f'"{name}" = {{ date = 2026-11-22, kind = "captured" }}' for name in SAMPLES]
    (golden / "samples" / "provenance.toml").write_text("\n".join(lines))
    assert tier_of(TemplateFolder(golden)) == "gold"
