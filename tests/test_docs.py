"""
Pages say what is so: what follows from the code is current, what is shown is run, and links lead somewhere.

How a page is run is in `tests/pages.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from gateway import hookspecs, ingest
from gateway.advanced import Router, advanced_of
from gateway.cli.root import COMMANDS
from gateway.clock import SystemClock
from gateway.config import Settings
from gateway.configuration_file import parse
from gateway.errors import SettingsError
from gateway.http import Client
from gateway.loader import GROUP, load_plugins
from gateway.models import Event, Integration
from gateway.notifiers.base import Outbound
from gateway.plugins import Plugins
from gateway.rulebook import compile_rulebook
from gateway.template import Request, import_file
from gateway.testing.running import running
from gateway.vault import Vault
from tests.pages import Block, Run, Walk, blocks

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN_WHOLE = ("mapping.md", "rules.md", "verification.md", "advanced.md")
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
    text = re.sub(r"\\\[[^\]]*\]", "", path.read_text(encoding="utf-8"))  # a bracket that is escaped begins no link
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
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
            assert taken, (
                f"{_name(path)}, line {block.line}: a block of the title {block.title!r} is not run; use a title that is"
            )
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
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    walk = Walk(folder, environ)
    try:
        for block in blocks(page):
            if block.language == "table":
                continue
            try:
                walk.take(block)
            except Exception as error:
                error.add_note(f"docs/tutorial.md, line {block.line}: {block.title}")
                raise
    finally:
        walk.close()
    assert f"{walk.commands} commands" in page, "the tutorial says how many commands there are"


def test_the_examples_of_tests_pass(tmp_path: Path) -> None:
    """Those of testing.md, by a pytest of their own."""
    for block in blocks((DOCS / "testing.md").read_text(encoding="utf-8")):
        if block.title.endswith(".py"):
            (tmp_path / block.title).write_text(block.text + "\n", encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pytest.ini", "--rootdir", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_package_of_publishing_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry point is of the group that the gateway looks for, and names what `__init__.py` has."""
    shown = {block.title: block.text for block in blocks((DOCS / "publishing.md").read_text(encoding="utf-8"))}
    project = tomllib.loads(shown["pyproject.toml"])["project"]
    assert project["entry-points"] == {GROUP: {"acme": "alert_gateway_acme:plugin"}}
    package = tmp_path / "alert_gateway_acme"
    copytree(ROOT / "plugins" / "custom", package)
    (package / "__init__.py").write_text(shown["src/alert_gateway_acme/__init__.py"])
    monkeypatch.setitem(sys.modules, "alert_gateway_acme", None)  # so that it is gone afterwards: others have one, too
    plugin = import_file(package / "__init__.py", "alert_gateway_acme").plugin
    assert (plugin.slug, plugin.file.name) == ("acme", "Custom")


# operations


def test_the_backup_is_one(tmp_path: Path) -> None:
    """Taken by the page's own script while the gateway runs, restored, and everything is there."""
    (script,) = (
        block.text
        for block in blocks((DOCS / "operations.md").read_text(encoding="utf-8"))
        if block.title == "backup.sh"
    )
    (tmp_path / "backup.sh").write_text(script + "\n")
    with running(tmp_path / "data") as gateway:
        made = gateway.add("custom", "Doors")
        gateway.post(made.url(gateway.url), {"source_id": "7", "status": "open", "subject": "Door 7 is open"})
        assert len(gateway.alerts()) == 1
        environ = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GATEWAY_DATA": str(gateway.data),
        }
        subprocess.run(
            ["sh", "backup.sh", str(tmp_path / "restored")], cwd=tmp_path, env=environ, check=True, timeout=60
        )
    assert {path.name for path in (tmp_path / "restored").iterdir()} == {"state.db", "journal.db", "secret.key"}
    with running(tmp_path / "restored") as gateway:
        assert [alert.subject for alert in gateway.alerts()] == ["Door 7 is open"]
        status, _ = gateway.post(made.url(gateway.url), {"source_id": "7", "status": "close"})
        assert status == 200
        assert [alert.status for alert in gateway.alerts()] == ["closed"]


def test_the_answers_to_senders_are_all_there() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    (table,) = (block for block in blocks(page) if block.title.startswith("Status | When"))
    said = {int(status) for row in table.rows for status in row[0].split(",")}
    assert said == {answer.status for answer in vars(ingest).values() if isinstance(answer, ingest.Answer)} - {417} | {
        200,
        413,
    }


def test_the_unit_starts_what_there_is() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    (unit,) = (block.text for block in blocks(page) if block.title.endswith(".service"))
    known = {f"GATEWAY_{name.upper()}" for name in Settings.__struct_fields__}
    assert set(re.findall(r"GATEWAY_\w+", unit)) <= known


@pytest.mark.parametrize("path", PAGES, ids=_name)
def test_a_page_speaks_of_settings_that_there_are(path: Path) -> None:
    known = {f"GATEWAY_{name.upper()}" for name in Settings.__struct_fields__}
    spoken = set(re.findall(r"\bGATEWAY_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert spoken <= known, "a setting that is not in config.py"


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
    assert found == expected, "docs/hooks.md has a heading ## `signature` for each hook of hookspecs.py, in order"


@pytest.mark.parametrize("hook", _hooks())
def test_the_example_of_a_hook_works(hook: str, tmp_path: Path) -> None:
    (example,) = (block for block in _hook_page()[_hooks()[hook]] if block.title == "plugin.py")
    (tmp_path / "plugin.py").write_text(example.text, encoding="utf-8")
    plugins = load_plugins(Settings(plugins_dir=tmp_path), code=True)
    (info,) = (info for info in plugins.infos if info.name == "plugin")
    assert info.error is None
    assert info.hooks == [hook]
    if hook in EFFECTS:
        EFFECTS[hook](plugins, tmp_path)


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


def test_cli_md_knows_every_command() -> None:
    """Each command of `alert-gateway`, and each that is under another, by its name in a table."""
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    table = page[page.index("| Command |") : page.index("## What every command does")]
    missing = []
    for name, (module, _) in COMMANDS.items():
        command = importlib.import_module(f"gateway.cli.{module}").command
        under = command.commands if isinstance(command, click.Group) else {}
        row = "\n".join(line for line in table.splitlines() if f"`{name}" in line)
        missing += [f"{name} {one}" for one in under if not re.search(rf"\b{one}\b", row)]
        missing += [] if row else [name]
    assert not missing, f"docs/cli.md has no line for {', '.join(missing)}"


def test_the_configuration_file_that_is_shown_is_one() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    (shown,) = [block.text for block in blocks(page) if block.title == "gateway.toml"]
    assert [table.name for table in parse(shown, "gateway.toml").integration] == ["Doors", "Doors of the lab"]
    for table in parse(shown, "gateway.toml").integration:
        Router(advanced_of(table.settings))
