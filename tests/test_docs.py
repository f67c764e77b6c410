"""
Pages say what is so: what follows from the code is current, what is shown is run, and links lead somewhere.

How a page is run is in `tests/pages.py`.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from gateway import hookspecs
from gateway.clock import SystemClock
from gateway.config import Settings
from gateway.errors import SettingsError
from gateway.http import Client
from gateway.loader import load_plugins
from gateway.models import Event, Integration
from gateway.notifiers.base import Outbound
from gateway.plugins import Plugins
from gateway.rulebook import compile_rulebook
from gateway.template import Request
from gateway.vault import Vault
from tests.pages import Block, Run, Walk, blocks

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


# the tutorial


def test_the_tutorial_leads_to_an_alert(tmp_path: Path) -> None:
    """Word for word; what needs a network is left out, since what it installs is there."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    environ = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GATEWAY_PORT": "0",
    }
    walk = Walk(folder, environ)
    try:
        for block in blocks((DOCS / "tutorial.md").read_text(encoding="utf-8")):
            if block.language == "table":
                continue
            try:
                walk.take(block)
            except Exception as error:
                error.add_note(f"docs/tutorial.md, line {block.line}: {block.title}")
                raise
    finally:
        walk.close()


# hooks


def _hooks() -> dict[str, str]:
    """Each hook and its signature, in the order of hookspecs.py."""
    functions = [value for value in vars(hookspecs).values() if hasattr(value, "gateway_spec")]
    return {one.__name__: f"{one.__name__}{inspect.signature(one)}".replace("'", "") for one in functions}


def _hook_page() -> dict[str, list[Block]]:
    """The blocks under each heading of hooks.md that is a signature."""
    page = (DOCS / "hooks.md").read_text(encoding="utf-8")
    sections = re.split(r"^## `(.+)`$", page, flags=re.MULTILINE)
    return {head: blocks(text) for head, text in zip(sections[1::2], sections[2::2], strict=True)}


def test_every_hook_is_documented_under_its_true_signature() -> None:
    expected, found = list(_hooks().values()), list(_hook_page())
    assert found == expected, "give docs/hooks.md one heading ## `signature` for each hook of gateway/hookspecs.py, in its order"


@pytest.mark.parametrize("hook", _hooks())
def test_the_example_of_a_hook_works(hook: str, tmp_path: Path) -> None:
    (example,) = (block for block in _hook_page()[_hooks()[hook]] if block.title == "plugin.py")
    (tmp_path / "plugin.py").write_text(example.text, encoding="utf-8")
    plugins = load_plugins(Settings(plugins_dir=tmp_path), code=True)
    (info,) = (info for info in plugins.infos if info.name == "plugin")
    assert info.error is None
    assert info.hooks == [hook]
    EFFECTS.get(hook, lambda _plugins, _folder: None)(plugins, tmp_path)


INTEGRATION = Integration(id="i", endpoint_id="e", name="Acme", template="custom", created_at=0, updated_at=0)


def _brings_templates(_: Plugins, folder: Path) -> None:
    copytree(ROOT / "plugins" / "custom", folder / "acme-own")
    assert "acme-own" in load_plugins(Settings(plugins_dir=folder), code=True).cards


def _brings_a_notifier(plugins: Plugins, folder: Path) -> None:
    settings = Settings(data=folder / "data")
    outbound = Outbound(settings=settings, client=Client(), vault=Vault.open(settings.data), clock=SystemClock())
    chat = plugins.notifiers(outbound)["chat"]
    assert chat.check("https://chat.example.com/rooms/7") == "https://chat.example.com/rooms/7"
    with pytest.raises(SettingsError, match="GATEWAY_ALLOW_PRIVATE_TARGETS"):
        chat.check("http://127.0.0.1/rooms/7")


def _brings_a_command(plugins: Plugins, _: Path) -> None:
    cli = click.Group()
    plugins.manager.hook.register_commands(cli=cli)
    assert CliRunner().invoke(cli, ["greet", "Ann"]).output == "Hello, Ann.\n"


def _wraps_reading(plugins: Plugins, _: Path) -> None:
    book = compile_rulebook(plugins.template("custom"), {}, plugins.read_of("custom"))
    data = {"source_id": "1", "status": "open", "subject": "Card 4111 1111 1111 1111 was declined"}
    (reading,) = book.readings(Request(data))
    assert reading.event is not None
    assert reading.event.subject == "Card [card] was declined"


def _enriches(plugins: Plugins, _: Path) -> None:
    event = plugins.enriched(Event(source_id="1", source_name="db-1", tags=("a",)), INTEGRATION)
    assert event.tags == ("a", "team:storage")
    other = Event(source_id="1")
    assert plugins.enriched(other, INTEGRATION) is other


def _drops(plugins: Plugins, _: Path) -> None:
    assert plugins.dropped(Event(source_id="1", tags=("env:test",)), INTEGRATION) == "plugin: the test system"
    assert plugins.dropped(Event(source_id="1"), INTEGRATION) is None


EFFECTS: dict[str, Callable[[Plugins, Path], None]] = {
    "register_templates": _brings_templates,
    "register_notifiers": _brings_a_notifier,
    "register_commands": _brings_a_command,
    "read": _wraps_reading,
    "enrich_event": _enriches,
    "drop_event": _drops,
}
"""What each example does, tried."""
