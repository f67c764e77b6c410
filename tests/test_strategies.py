"""Hostile payloads: they are JSON, they are hostile enough, and no built-in template crashes on any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from gateway.body import decode_body
from gateway.errors import UnreadableError
from gateway.template import Request, TemplateFolder
from gateway.testing.mutations import paths
from gateway.testing.reading import book_of
from gateway.testing.samples import read_sample
from gateway.testing.strategies import changed, json_values, nested, numbers, texts
from tests.running import ROOT

TEMPLATES = [TemplateFolder(path) for path in (ROOT / "plugins" / "custom", ROOT / "plugins" / "newrelic")]
TEMPLATES += [TemplateFolder(path.parent) for path in sorted((ROOT / "plugins").glob("*/template.py"))]
"""Two tables, one of them with `each`, and all that have code: the tables are read by the same code."""
QUICK = settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SAMPLE = {"id": 1, "labels": {"host": "db-7"}, "alerts": [{"status": "firing"}]}


def depth(value: Any) -> int:
    """How deep lists and objects lie in one another."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


@given(json_values())
@settings(max_examples=50, deadline=None)
def test_all_of_it_is_json(value: Any) -> None:
    """And the gateway takes it: what a template is given is what was sent."""
    body = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    assert decode_body([(b"content-type", b"application/json")], body, 1 << 20, formats=["json"]) == value


@pytest.mark.parametrize(
    "strategy, wanted",
    [
        (numbers(), lambda value: isinstance(value, int) and value > 1 << 64),
        (texts(), lambda value: "\0" in value),
        (json_values(), lambda value: isinstance(value, dict) and "" in value),
        (nested(), lambda value: depth(value) >= 20),
        (changed(SAMPLE), lambda value: isinstance(value, dict) and "labels" not in value),
        (changed(SAMPLE), lambda value: isinstance(value, dict) and not isinstance(value.get("alerts", []), list)),
    ],
    ids=["huge numbers", "NUL", "odd keys", "deep nesting", "dropped keys", "wrong types"],
)
def test_it_is_hostile(strategy: st.SearchStrategy[Any], wanted: Any) -> None:
    looking = settings(max_examples=2000, database=None, deadline=None, phases=[Phase.generate])
    find(strategy, wanted, settings=looking)


@given(changed(SAMPLE))
@QUICK
def test_a_sample_is_changed_in_a_copy(value: Any) -> None:
    assert SAMPLE == {"id": 1, "labels": {"host": "db-7"}, "alerts": [{"status": "firing"}]}
    assert value != SAMPLE or list(paths(value)) == list(paths(SAMPLE))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.slug)
@given(st.data())
@QUICK
def test_no_template_crashes_on_hostile_payloads(template: TemplateFolder, data: st.DataObject) -> None:
    """An event, or a refusal by name; whatever else is raised is a fault of the template, or of the gateway."""
    book = book_of(template)
    sample: Path = data.draw(st.sampled_from(template.samples()))
    request = read_sample(sample).request(book)
    payload = data.draw(st.one_of(changed(request.data), json_values()))
    try:
        readings = book.readings(Request(payload, headers=request.headers, query=request.query, body=b"{}"))
    except UnreadableError:
        return
    msgspec.msgpack.encode(readings)
