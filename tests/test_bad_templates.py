"""
Each folder of `bad_templates/` breaks one law, and is caught by that law alone, with a message that says where and what to do.

All are tried in one pytest of their own, as a third party would run it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from gateway.testing import TemplateConformance
from tests.running import ROOT

FOLDERS = ROOT / "tests" / "bad_templates"
TOML, README, PAIRS = "template_toml_is_right", "readme_has_the_steps", "nothing_is_unpaired"
CODE, PROVENANCE, SENDER = "template_py_is_imported", "provenance_is_told", "sender_is_verified"
RECOVERY, WORDS, EXEMPT = "recovery_closes_what_fired", "words_of_the_rules_occur", "nothing_is_exempt_needlessly"
EXPECTED, TWICE, MUTATIONS = "expected_outcome", "same_twice", "mutations_are_read_or_refused"
PRIVATE, GATEWAY = "nothing_private", "a_real_gateway_reads_the_same"

CAUGHT = {
    # By which law, and what the message says. Every folder stands here, and every law.
    "unknown_key": (TOML, 'template.toml: unknown key "fieds" in the top level; did you mean fields?'),
    "unknown_key_in_a_table": (TOML, 'unknown key "source_state" in [fields]; did you mean source_status?'),
    "api_of_tomorrow": (TOML, "it was written for api = 99, and this gateway reads templates of api = 1: upgrade"),
    "api_missing": (TOML, "`api` is missing; write `api = 1`"),
    "name_missing": (TOML, 'the key "name" is missing in the top level'),
    "wrong_type": (TOML, "categories is a text; write a list, ["),
    "not_toml": (TOML, "template.toml: not TOML: "),
    "template_toml_missing": (TOML, "template.toml: No such file or directory"),
    "Slug": (TOML, "the slug 'Slug' is not lower-case letters, digits and single hyphens"),
    "open_missing": (TOML, "[open] is missing: no message would ever open an alert"),
    "source_id_missing": (TOML, "[fields] has no source_id: without it a recovery cannot be tied to its problem"),
    "condition_of_two_kinds": (TOML, "[open]: a condition takes one of "),
    "condition_without_values": (TOML, "[close]: `is_one_of` has no values, or an empty one"),
    "pattern_with_look_around": (TOML, "[close]: RE2 refuses the pattern '(?=up)up'"),
    "hole_not_closed": (TOML, "[fields] subject: '{title' has a { at 0 that is not closed"),
    "hole_that_is_no_jmespath": (TOML, "[fields] subject: {title ||} is not JMESPath"),
    "hole_that_negates_a_part": (
        TOML,
        "[fields] subject: {(!check.down && 'Up') || title}: `!check.down` is `(!check)` and",
    ),
    "hole_that_filters_each_element": (TOML, "a filter right after `[]` looks into each element, not at the list"),
    "verification_without_header": (TOML, 'kind = "token" needs either `header` or `value`'),
    "handshake_without_echo": (TOML, "a handshake needs either `echo`"),
    "delivery_id_that_is_no_jmespath": (TOML, "`delivery_id` is not JMESPath: "),
    "docs_url_missing": (TOML, "docs_url = '' is no https address of the vendor's own page"),
    "categories_missing": (TOML, "categories is empty: the gallery has no place for it"),
    "exempt_from_an_unknown_law": (
        TOML,
        "[exempt] sender_verifed: there is no such law; did you mean sender_verified?",
    ),
    "exempt_without_a_reason": (TOML, "[exempt] sender_verified = 'no' is no reason"),
    "exempt_needlessly": (EXEMPT, "[exempt] recovery_closes: the template keeps this law"),
    "code_does_not_import": (CODE, "ModuleNotFoundError: No module named 'no_such_module'"),
    "code_without_read": (CODE, "has no attribute 'read'"),
    "readme_missing": (README, "there is no README.md"),
    "readme_without_the_url": (README, "{endpoint_url} is nowhere in it"),
    "readme_without_steps": (README, "it has no numbered steps"),
    "samples_missing": (PAIRS, "there are no samples"),
    "sample_without_expected": (PAIRS, "disk_resolved.json: there is no disk_resolved.expected.json"),
    "expected_without_sample": (PAIRS, "disk_repeated.expected.json: there is no sample of that name"),
    "samples_of_one_name": (PAIRS, "disk_firing.json and disk_firing.http have one name"),
    "stray_file": (PAIRS, "notes.md is neither a sample ("),
    "provenance_missing": (PROVENANCE, 'it has a table ["NAME.json"] with kind, url and date for each sample'),
    "provenance_of_one_missing": (PROVENANCE, '["disk_resolved.json"] is missing'),
    "provenance_of_nothing": (PROVENANCE, '["disk_repeated.json"] speaks of a sample that is not there'),
    "provenance_of_unknown_kind": (PROVENANCE, "Invalid enum value 'invented'"),
    "provenance_without_https": (PROVENANCE, "url = 'a colleague' is no https address"),
    "provenance_adapted_without_note": (
        PROVENANCE,
        '["disk_firing.json"] is adapted, and no note says how it came about',
    ),
    "sender_unverified": (SENDER, "[verification] is missing, or its kind is none"),
    "recovery_of_another_id": (
        RECOVERY,
        "disk_firing.json opens ('Example', '', 'disk-42'); disk_resolved.json closes",
    ),
    "recovery_without_problem": (RECOVERY, "host_resolved.json: there is no host_firing"),
    "recovery_that_is_never_shown": (RECOVERY, "[close] is there, but no pair X_firing.json and X_resolved.json"),
    "status_that_no_sample_has": (WORDS, "[open] 'flapping' occurs in no sample"),
    "severity_that_no_sample_has": (WORDS, "[severity] info 'low' occurs in no sample"),
    "ignore_that_no_sample_meets": (WORDS, "[[ignore]] 'test message': no sample is ignored for it"),
    "expected_is_wrong": (EXPECTED, "events[0].subject: read 'Disk is full', expected 'Disc is full'"),
    "expected_with_an_unknown_key": (EXPECTED, "events[0].subjekt: there is no such key; did you mean subject?"),
    "expected_is_not_json": (EXPECTED, "disk_firing.expected.json: not JSON: "),
    "sample_is_not_json": (EXPECTED, "JSON is malformed: invalid character"),
    "sample_is_no_request": (EXPECTED, "disk_repeated.http: it does not begin with `POST / HTTP/1.1`"),
    "asks_the_clock": (TWICE, "events[0].occurred_at: "),
    "asks_chance": (TWICE, "events[0].topic: "),
    "remembers": (TWICE, "events[0].short_text: "),
    "crashes_on_what_is_missing": (MUTATIONS, "disk_firing.json with null at the whole message: TypeError"),
    "makes_an_id_of_nothing": (MUTATIONS, "disk_firing.json with dropped at id: 'None' is no id"),
    "works_in_tests_alone": (GATEWAY, "disk_firing.json: here its events open, there "),
    "private_address": (PRIVATE, "the address 10.20.30.40: write one of 192.0.2.0/24"),
    "private_mail": (PRIVATE, "the e-mail address jane.doe@contoso.com: write somebody@example.com"),
    "private_key": (PRIVATE, "a key or password: write example"),
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, str]]:
    """For each folder, what the laws that it breaks say."""
    place = tmp_path_factory.mktemp("bad")
    (place / "test_bad.py").write_text(
        "from pathlib import Path\n\n"
        "from gateway.testing import TemplateConformance\n\n\n"
        "class TestBad(TemplateConformance):\n"
        f"    folders = sorted(path for path in Path({str(FOLDERS)!r}).iterdir() if path.is_dir())\n"
    )
    verdicts = place / "verdicts.jsonl"
    plugin = ("-p", "gateway.testing.verdicts", "--verdicts", verdicts, "-p", "no:cacheprovider", "-p", "no:xdist")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", *map(str, plugin), "test_bad.py"]
    done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {name: {} for name in CAUGHT}
    for line in verdicts.read_text().splitlines():
        verdict = json.loads(line)
        if verdict["outcome"] == "failed":
            slug = verdict["case"].partition("/")[0]
            name = next((name for name in CAUGHT if name.replace("_", "-") == slug), slug)
            found.setdefault(name, {}).setdefault(verdict["test"].removeprefix("test_"), verdict["text"])
    return found


@pytest.mark.parametrize("name", CAUGHT)
def test_it_is_caught_by_its_law_alone(failures: Mapping[str, dict[str, str]], name: str) -> None:
    law, words = CAUGHT[name]
    said = failures[name]
    assert list(said) == [law], "\n".join([f"{name} breaks {list(said) or 'no law'}, not {law}", *said.values()])
    text = said[law]
    assert words in text
    assert str(FOLDERS / name) in text.splitlines()[0], "the first line says which file it is about"
    assert "  law: " in text
    assert "  fix: " in text, "what is to be done about it"


def test_every_folder_and_every_law_is_tried(failures: Mapping[str, dict[str, str]]) -> None:
    assert {path.name for path in FOLDERS.iterdir() if path.is_dir()} == CAUGHT.keys() == failures.keys()
    laws = {name.removeprefix("test_") for name in vars(TemplateConformance) if name.startswith("test_")}
    assert {law for law, _ in CAUGHT.values()} == laws
