"""
Pages say what is so: what follows from the code is current, what is shown is run, and links lead somewhere.

How a page is run is in `tests/pages.py`.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.pages import Run, blocks

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN_WHOLE = ("mapping.md", "rules.md", "verification.md")
"""Pages on which no block may stand that is not run."""


def _generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("name", _generate().PAGES)
def test_generated_page_is_current(name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    assert page == _generate().PAGES[name](), "run `python docs/generate.py` and read what changed"


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "AGENTS.md", *PAGES], ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing, f"{path.name} links to what is not there"


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_what_a_page_shows_is_so(path: Path, tmp_path: Path) -> None:
    run = Run(tmp_path)
    for block in blocks(path.read_text(encoding="utf-8")):
        try:
            taken = run.take(block)
        except Exception as error:
            error.add_note(f"{_name(path)}, line {block.line}: {block.title}")
            raise
        if path.name in RUN_WHOLE and block.language != "table":
            assert taken, f"{_name(path)}, line {block.line}: a block of the title {block.title!r} is not run; use a title that is"
    if path.name in RUN_WHOLE:
        assert run.ran
