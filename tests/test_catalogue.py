"""The built-in templates speak with one voice: what docs/template-style.md says, where it can be counted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.template import TemplateFolder
from gateway.testing.samples import read_sample

ROOT = Path(__file__).parent.parent
STYLE = (ROOT / "docs" / "template-style.md").read_text(encoding="utf-8")
TEMPLATES = {path.parent.name: TemplateFolder(path.parent) for path in sorted(ROOT.glob("plugins/*/template.toml"))}
VENDORS = {slug: template for slug, template in TEMPLATES.items() if "generic" not in template.file.categories}

TEXT_MESSAGE = 160
_STATUS_IN_FRONT = re.compile(
    r"\W*(?:firing|triggered|alert|alarm|problem|down|critical|error|warning|resolved|recovered|recovery|ok|up)\b\s*(?:[:\]|!-]|\d)",
    re.IGNORECASE,
)
_LEFT_OVER = re.compile(r"\b(?:null|None|undefined|NaN)\b|\{\{|\}\}|\$\{|\$[A-Z]{3}|##[A-Z]|%[a-z]{4}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}", re.IGNORECASE)


def _section(title: str) -> str:
    """What stands under a heading of the style page."""
    return STYLE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _cells(title: str) -> list[list[str]]:
    """The rows of the table under a heading, without its head."""
    rows = [line.strip("| ").split(" | ") for line in _section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def _events(template: TemplateFolder) -> list[tuple[str, dict[str, Any]]]:
    """Every event that is expected of the samples, with the sample's name."""
    return [(path.stem, event) for path in template.samples() for event in read_sample(path).expected()]


def _reasons(template: TemplateFolder) -> set[str]:
    """Every reason for which samples are ignored, but for those that the core gives."""
    found = {rule.reason for rule in template.file.ignore}
    return found | {event["reason"] for _, event in _events(template) if event["action"] == "ignore"}


# what a person reads


@pytest.mark.parametrize("slug", VENDORS)
def test_a_subject_is_one_line_that_says_something(slug: str) -> None:
    """An alert opens with a subject, which fits into a text message and holds nothing that was not filled in."""
    for case, event in _events(VENDORS[slug]):
        subject = event.get("subject")
        if event["action"] == "open":
            assert subject, f"{slug}/{case}: opens without a subject"
        if subject:
            assert subject == " ".join(subject.split()), f"{slug}/{case}: {subject!r} is not one line"
            assert len(subject) <= TEXT_MESSAGE, f"{slug}/{case}: {subject!r} is too long for a text message"
            assert not _LEFT_OVER.search(subject), f"{slug}/{case}: something in {subject!r} was not filled in"
            assert subject[-1] not in ",;:-", f"{slug}/{case}: {subject!r} looks cut"


@pytest.mark.parametrize("slug", VENDORS)
def test_a_subject_has_no_noise(slug: str) -> None:
    """No status in front, no vendor's name, no number that only a machine can read."""
    name = VENDORS[slug].file.name.lower()
    for case, event in _events(VENDORS[slug]):
        subject = event.get("subject") or ""
        assert not _STATUS_IN_FRONT.match(subject), f"{slug}/{case}: the status is in front of {subject!r}"
        assert not subject.lower().startswith(name), f"{slug}/{case}: {subject!r} begins with the vendor's name"
        assert not _UUID.search(subject), f"{slug}/{case}: there is an id in {subject!r}"


@pytest.mark.parametrize("slug", VENDORS)
def test_the_source_is_the_vendors_product(slug: str) -> None:
    sources = {event["source"] for _, event in _events(VENDORS[slug]) if event["action"] != "ignore"}
    assert sources == {VENDORS[slug].file.name}


# what happens


@pytest.mark.parametrize("slug", TEMPLATES)
def test_reasons_are_the_same_everywhere(slug: str) -> None:
    """A test message is one in the same two words, and a reason is no sentence with a period."""
    for reason in _reasons(TEMPLATES[slug]):
        assert reason == reason.strip(" ."), f"{slug}: {reason!r} ends in a period"
        assert reason == "test message" or not re.search(r"\b(?:tests?|testing|ping)\b", reason), f"{slug}: {reason!r}"
    for case, event in _events(TEMPLATES[slug]):
        if re.search(r"(?:^|_)(?:test_message|ping|not_filled_in)$", case):
            assert (event["action"], event["reason"]) == ("ignore", "test message"), f"{slug}/{case}"


def test_the_reasons_of_the_page_are_in_use() -> None:
    used = set().union(*map(_reasons, TEMPLATES.values()))
    listed = [row[0].strip("`") for row in _cells("Reasons")]
    assert [reason for reason in listed if reason not in used] == []


@pytest.mark.parametrize("slug", TEMPLATES)
def test_what_was_acknowledged_is_updated(slug: str) -> None:
    for case, event in _events(TEMPLATES[slug]):
        if re.search(r"(?:^|_)(?:un)?acknowledged?$", case):
            assert event["action"] == "update", f"{slug}/{case}: {event['action']}"


@pytest.mark.parametrize("slug", TEMPLATES)
def test_without_severities_a_problem_is_an_error(slug: str) -> None:
    severity = TEMPLATES[slug].file.severity
    if not any((severity.critical, severity.error, severity.warning, severity.info)):
        assert severity.default == "error", f"{slug}: a check without severities is down, and somebody should look"


# how it is sorted


def test_categories_are_those_of_the_page() -> None:
    listed = re.findall(r"`([^`]+)`", _section("Categories"))
    listed = list(dict.fromkeys(listed))
    used = {category for template in TEMPLATES.values() for category in template.file.categories}
    assert listed == sorted(listed), "the list is in alphabetical order"
    assert sorted(used) == listed, "docs/template-style.md lists the categories; use one of them, or add yours there"


@pytest.mark.parametrize("slug", TEMPLATES)
def test_a_template_has_few_categories(slug: str) -> None:
    categories = TEMPLATES[slug].file.categories
    assert 1 <= len(set(categories)) == len(categories) <= 4


@pytest.mark.parametrize("slug", TEMPLATES)
def test_a_tag_is_key_and_value_or_one_word(slug: str) -> None:
    for case, event in _events(TEMPLATES[slug]):
        for tag in event.get("tags") or ():
            assert re.fullmatch(r"[^\s:]+(?::\S.*)?", tag), f"{slug}/{case}: {tag!r}"


@pytest.mark.parametrize("slug", TEMPLATES)
def test_one_thing_has_one_key(slug: str) -> None:
    """Keys that a template writes itself; labels of the user's are passed on as they are."""
    instead = {word: row[0] for row in _cells("Tags") for word in re.findall(r"`([^`]+)`", row[2])}
    assert instead, "docs/template-style.md has the keys"
    tags = TEMPLATES[slug].file.fields.tags
    written = {
        match[1] for text in tags or () for match in re.finditer(r"^([\w.-]+):\{|\['([\w.-]+)', ?to_string", text)
    }
    for key in written & set(instead):
        pytest.fail(f"{slug}: the tag {key}: is {instead[key]} in all templates")


# the setup steps


@pytest.mark.parametrize("slug", VENDORS)
def test_a_readme_has_its_sections_in_order(slug: str) -> None:
    """The steps first, then what happens, what is good to know last, and where it is from."""
    text = VENDORS[slug].readme or ""
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert text.startswith(f"# {VENDORS[slug].file.name}\n"), f"{slug}: the title is the vendor's name"
    assert re.match(r"In |On ", heads[0]), f"{slug}: the first section is ## In {VENDORS[slug].file.name}"
    assert "What happens" in heads, f"{slug}: there is no ## What happens"
    assert heads[-1] == "Good to know", f"{slug}: the last section is ## Good to know"
    assert re.search(r"\b(?:is|are) known by\b", text), f"{slug}: it does not say what an alert is known by"
    assert text.rfind("\nSource: ") > text.rfind("\n## "), f"{slug}: it does not end with Source:"
