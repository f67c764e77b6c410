"""What is installed: one loader for built-ins, packages and plugins_dir; a broken plugin is listed and stops nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.config import Settings
from gateway.errors import NotFoundError, PluginError, TemplateError, UnreadableError
from gateway.hookspecs import hookimpl
from gateway.loader import GROUP, load_plugins
from gateway.models import Event, Ignored, Integration
from gateway.plugins import PluginInfo, Plugins
from gateway.rulebook import compile_rulebook
from gateway.template import Request

TOML = """
api = 1
name = "{name}"
channel = "Chat"
[fields]
source_id = "{{id}}"
source_status = "{{status}}"
[open]
is_one_of = ["down"]
"""
INTEGRATION = Integration(id="int_1", endpoint_id="end_1", name="one", template="acme", created_at=0, updated_at=0)

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package, with a real dist-info folder, on a path of its own."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def write(
        distribution: str,
        entries: dict[str, str] | str,
        *,
        code: str | None = "",
        toml: str | None = None,
        py: str = "",
    ) -> Path:
        module = distribution.replace("-", "_")
        info = site / f"{module}-2.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n")
        lines = (
            entries if isinstance(entries, str) else "\n".join(f"{name} = {value}" for name, value in entries.items())
        )
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}\n")
        package = site / module
        if code is not None:
            package.mkdir()
            (package / "__init__.py").write_text(code)
        if toml is not None:
            (package / "template.toml").write_text(toml)
        if py:
            (package / "template.py").write_text(py)
        importlib.invalidate_caches()
        return package

    yield write
    for name in set(sys.modules) - before:
        if name.startswith(("alert_gateway_", "gateway_plugin_", "gateway_template_")):
            del sys.modules[name]


@pytest.fixture
def plugins_dir(tmp_path: Path) -> Path:
    """A folder for plugins."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    return folder


def put(plugins_dir: Path, slug: str, toml: str | None = None, py: str = "") -> Path:
    """A template folder in plugins_dir."""
    folder = plugins_dir / slug
    folder.mkdir()
    (folder / "template.toml").write_text(TOML.format(name=slug) if toml is None else toml)
    if py:
        (folder / "template.py").write_text(py)
    return folder


def info_of(plugins: Plugins, name: str) -> PluginInfo:
    """The one plugin of this name."""
    (found,) = [info for info in plugins.infos if info.name == name]
    return found


# what is broken stops nothing else


@pytest.mark.parametrize(
    "code, words",
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("1/0", "ZeroDivisionError"),
        ("raise SystemExit(1)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os\nclass plugin:\n    def __init__(self): raise OSError('at making')", "OSError: at making"),
        ("class P:\n    def __dir__(self): raise SystemExit(4)\nplugin = P()", "SystemExit"),
        (
            "from gateway import hookimpl\nclass plugin:\n    @hookimpl\n    def no_such_hook(self): ...",
            "no_such_hook",
        ),
        (
            "from gateway import hookimpl\nclass plugin:\n    @hookimpl\n    def drop_event(self, evnt): ...",
            "evnt",
        ),
        (
            "from gateway import hookimpl\nclass plugin:\n    @hookimpl\n    def register_templates(self): raise SystemExit",
            "SystemExit",
        ),
        (
            "from gateway import hookimpl\nclass plugin:\n    @hookimpl\n    def register_templates(self): return 3",
            "TypeError",
        ),
        ("nothing = 1", "has no attribute 'plugin'"),
        ("plugin = None", ""),
    ],
)
def test_a_package_that_breaks_is_listed_with_its_error(install: Install, code: str, words: str) -> None:
    install("alert-gateway-bad", {"bad": "alert_gateway_bad:plugin"}, code=code)
    install("alert-gateway-zoo", {"zoo": "alert_gateway_zoo:plugin"}, toml=TOML.format(name="Zoo"))
    plugins = load_plugins(Settings(), code=True)
    bad = info_of(plugins, "bad")
    assert words in (bad.error or "")
    assert (bad.distribution, bad.version) == ("alert-gateway-bad", "2.1")
    assert "zoo" in plugins.cards
    assert "custom" in plugins.cards


@pytest.mark.parametrize("line", ["no equals sign", "bad = ", "bad = !!", "[[["])
def test_metadata_that_breaks_stops_nothing_else(install: Install, line: str) -> None:
    install("alert-gateway-bad", line)
    install("alert-gateway-zoo", {"zoo": "alert_gateway_zoo:plugin"}, toml=TOML.format(name="Zoo"))
    plugins = load_plugins(Settings(), code=True)
    assert "zoo" in plugins.cards
    assert "custom" in plugins.cards


def test_a_package_whose_module_is_missing_is_listed(install: Install) -> None:
    install("alert-gateway-bad", {"bad": "alert_gateway_bad:plugin"}, code=None)
    for code in (False, True):
        assert "No module named 'alert_gateway_bad'" in (
            info_of(load_plugins(Settings(), code=code), "bad").error or ""
        )


def test_an_import_that_takes_too_long_is_cut(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.loader.IMPORT_DEADLINE", 0.1)
    install("alert-gateway-slow", {"slow": "alert_gateway_slow:plugin"}, code="import time\ntime.sleep(60)")
    assert info_of(load_plugins(Settings(), code=True), "slow").error == "PluginError: importing slow took over 0.1 s"


@pytest.mark.parametrize(
    "toml, words",
    [
        ("", "`api` is missing"),
        ('api = 2\nname = "x"', "this gateway reads templates of api = 1"),
        ('api = 1\nnam = "x"', 'unknown key "nam" in the top level; did you mean name?'),
        ("api = 1 2", "not TOML"),
    ],
)
def test_a_template_that_is_wrong_is_a_card_with_its_error(plugins_dir: Path, toml: str, words: str) -> None:
    put(plugins_dir, "bad", toml)
    put(plugins_dir, "good")
    plugins = load_plugins(Settings(plugins_dir=plugins_dir))
    (card,) = [card for card in plugins.gallery() if card.slug == "bad"]
    assert words in (card.error or "")
    assert str(plugins_dir / "bad" / "template.toml") in (card.error or "")
    assert "good" in plugins.cards
    with pytest.raises(TemplateError, match=r"template\.toml"):
        plugins.template("bad")
    assert plugins.sender("bad") is None


def test_a_slug_taken_twice_names_both_packages(install: Install, plugins_dir: Path) -> None:
    install("alert-gateway-one", {"acme": "alert_gateway_one:plugin"}, toml=TOML.format(name="One"))
    install("alert-gateway-two", {"acme": "alert_gateway_two:plugin"}, toml=TOML.format(name="Two"))
    put(plugins_dir, "custom")
    plugins = load_plugins(Settings(plugins_dir=plugins_dir))
    (acme,) = [card for card in plugins.gallery() if card.slug == "acme" and card.error]
    assert acme.error is not None
    assert "alert-gateway-one" in acme.error
    assert "alert-gateway-two" in acme.error
    assert plugins.cards["acme"].distribution != acme.distribution
    (custom,) = [card for card in plugins.gallery() if card.slug == "custom" and card.error]
    assert "alert-gateway and" in (custom.error or "")
    assert str(plugins_dir) in (custom.error or "")
    assert plugins.cards["custom"].distribution == "alert-gateway"


def test_two_packages_with_one_entry_name_are_both_loaded(install: Install) -> None:
    for name in ("one", "two"):
        does = f"return '{name}' if event.subject == '{name}' else None"
        code = f"from gateway import hookimpl\n@hookimpl\ndef drop_event(event): {does}"
        install(f"alert-gateway-{name}", {"same": f"alert_gateway_{name}"}, code=code)
    plugins = load_plugins(Settings(), code=True)
    assert [info.error for info in plugins.infos if info.name == "same"] == [None, None]
    drops = {plugins.dropped(Event(source_id="x", subject=name), INTEGRATION) for name in ("one", "two")}
    assert len(drops) == 2
    assert None not in drops


def test_a_plugins_dir_that_is_not_there_is_listed(tmp_path: Path) -> None:
    plugins = load_plugins(Settings(plugins_dir=tmp_path / "none"))
    assert "is not a folder" in (plugins.infos[-1].error or "")
    assert "custom" in plugins.cards


def test_a_plugins_dir_that_is_a_template_itself_is_told(plugins_dir: Path) -> None:
    folder = put(plugins_dir, "acme", py="raise SystemExit")
    plugins = load_plugins(Settings(plugins_dir=folder), code=True)
    assert (
        plugins.infos[-1].error
        == f"GATEWAY_PLUGINS_DIR: {folder} is a template folder itself; name the folder that it is in, {plugins_dir}"
    )
    assert "custom" in plugins.cards
    put(folder, "inner")
    assert "inner" in load_plugins(Settings(plugins_dir=folder)).cards, "a stray file stops nothing else"


def test_a_plugins_dir_is_not_loaded_where_the_switches_cannot_be_read(plugins_dir: Path, tmp_path: Path) -> None:
    put(plugins_dir, "acme")
    (tmp_path / "plugins.toml").write_text("disabled = 3")
    plugins = load_plugins(Settings(plugins_dir=plugins_dir, data=tmp_path))
    assert "acme" not in plugins.cards
    assert "plugins.toml: `disabled` is no list of texts" in (plugins.infos[-1].error or "")


def test_an_unknown_template_hints_at_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"there is no template 'datadgo'; did you mean datadog\?"):
        load_plugins(Settings()).template("datadgo")


# what is installed


def test_the_built_in_templates_are_there_without_an_error() -> None:
    plugins = load_plugins(Settings())
    assert set(plugins.cards) >= {"custom", "datadog", "newrelic", "sematext"}
    assert [card.error for card in plugins.gallery() if card.error] == []
    assert plugins.infos[0].name == "built-in"
    assert plugins.infos[0].hooks == ["register_templates"]


def test_a_package_that_is_a_template_is_listed_without_importing_it(install: Install) -> None:
    code = "raise RuntimeError('imported')"
    install(
        "alert-gateway-acme", {"acme": "alert_gateway_acme:plugin"}, code=code, toml=TOML.format(name="Acme"), py=code
    )
    for with_code in (False, True):
        card = load_plugins(Settings(), code=with_code).cards["acme"]
        assert (card.name, card.channel, card.distribution, card.version) == (
            "Acme",
            "Chat",
            "alert-gateway-acme",
            "2.1",
        )
        assert "alert_gateway_acme" not in sys.modules
        assert "gateway_template_acme" not in sys.modules


def test_a_package_of_code_is_imported_only_where_code_is_asked_for(install: Install) -> None:
    code = "from gateway import hookimpl\n@hookimpl\ndef drop_event(): ..."
    install("alert-gateway-hooks", {"hooks": "alert_gateway_hooks"}, code=code)
    listed = info_of(load_plugins(Settings()), "hooks")
    assert (listed.error, listed.hooks) == (None, [])
    assert "alert_gateway_hooks" not in sys.modules
    assert info_of(load_plugins(Settings(), code=True), "hooks").hooks == ["drop_event"]


def test_a_template_package_may_say_it_in_code(install: Install) -> None:
    code = "from gateway import TemplateFolder\nplugin = TemplateFolder(__file__)"
    package = install(
        "alert-gateway-acme", {"acme": "alert_gateway_acme:plugin"}, code=code, toml=TOML.format(name="Acme")
    )
    assert load_plugins(Settings(), code=True).cards["acme"].folder.path == package


def test_a_package_may_bring_many(install: Install, plugins_dir: Path) -> None:
    folders = [put(plugins_dir, slug) for slug in ("a1", "b1")]
    code = f"""
from gateway import TemplateFolder, hookimpl
class plugin:
    @hookimpl
    def register_templates(self):
        return [TemplateFolder({str(folders[0])!r}), 5, TemplateFolder({str(folders[1])!r})]
"""
    install("alert-gateway-many", {"many": "alert_gateway_many:plugin"}, code=code)
    plugins = load_plugins(Settings(), code=True)
    assert "a1" in plugins.cards
    assert info_of(plugins, "many").error  # the 5 is no folder


def test_the_allow_list_names_distributions(install: Install) -> None:
    install("alert-gateway-acme", {"acme": "alert_gateway_acme:plugin"}, toml=TOML.format(name="Acme"))
    install("alert-gateway-zoo", {"zoo": "alert_gateway_zoo:plugin"}, toml=TOML.format(name="Zoo"))
    only = load_plugins(Settings(load_plugins=" Alert_Gateway.Acme , other"))
    assert "acme" in only.cards
    assert "zoo" not in only.cards
    assert info_of(only, "zoo").error == "not loaded: GATEWAY_LOAD_PLUGINS does not name its distribution"
    none = load_plugins(Settings(load_plugins=""))
    assert not {"acme", "zoo"} & set(none.cards)
    assert "custom" in none.cards


def test_plugins_dir_holds_folders_and_files(plugins_dir: Path) -> None:
    put(plugins_dir, "acme")
    (plugins_dir / "notes").mkdir()
    (plugins_dir / "re.py").write_text("from gateway import hookimpl\n@hookimpl\ndef drop_event(): return 'always'")
    (plugins_dir / "broken.py").write_text("raise SystemExit")
    listed = load_plugins(Settings(plugins_dir=plugins_dir))
    assert listed.cards["acme"].distribution == str(plugins_dir)
    assert not listed.has_event_hooks
    plugins = load_plugins(Settings(plugins_dir=plugins_dir), code=True)
    assert plugins.dropped(Event(source_id="x"), INTEGRATION) == "re: always"
    assert "SystemExit" in (info_of(plugins, "broken").error or "")
    import re

    assert re.compile("a").match("a")  # a file named like a module of the standard library shadows nothing
    for name in ("re", "broken"):
        sys.modules.pop(f"gateway_plugin_{name}", None)


def test_two_sets_of_plugins_share_nothing(plugins_dir: Path) -> None:
    put(plugins_dir, "acme")
    one, other = load_plugins(Settings(plugins_dir=plugins_dir)), load_plugins(Settings())
    assert "acme" in one.cards
    assert "acme" not in other.cards
    assert one.manager is not other.manager


# read


class Watching:
    """A plugin that wraps every `read`."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    @hookimpl(wrapper=True)
    def read(self, request: Request) -> Any:
        """Look at the request and at what is read, and add an event."""
        self.seen.append(request.data)
        try:
            found = yield
        except Exception as error:
            self.seen.append(error)
            raise
        self.seen.append(list(found))
        return [*found, Ignored("added")]


PY = """
from gateway import Event
def read(request):
    if request.data.get("bad"):
        raise ValueError("bad")
    yield Event(source_id="coded", source_status="down")
"""


def loaded(plugins_dir: Path) -> Plugins:
    """Plugins with a template of a table and one of code."""
    put(plugins_dir, "table")
    put(plugins_dir, "coded", py=PY)
    return load_plugins(Settings(plugins_dir=plugins_dir))


@pytest.mark.parametrize("slug, identity", [("table", "x"), ("coded", "coded")])
def test_wrappers_see_tables_and_code_alike(plugins_dir: Path, slug: str, identity: str) -> None:
    plugins = loaded(plugins_dir)
    watching = Watching()
    plugins.manager.register(watching)
    read = plugins.read_of(slug)
    book = compile_rulebook(plugins.template(slug), {}, read)
    readings = book.readings(Request({"id": "x", "status": "down"}))
    assert [reading.action for reading in readings] == ["open", "ignore"]
    assert readings[1].reason == "added"
    assert watching.seen[0] == {"id": "x", "status": "down"}
    (event,) = cast("list[Event]", watching.seen[1])
    assert event.source_id == identity


def test_a_wrapper_sees_what_a_generator_raises(plugins_dir: Path) -> None:
    plugins = loaded(plugins_dir)
    watching = Watching()
    plugins.manager.register(watching)
    book = compile_rulebook(plugins.template("coded"), {}, plugins.read_of("coded"))
    with pytest.raises(ValueError, match="bad"):
        book.readings(Request({"bad": 1}))
    assert isinstance(watching.seen[1], ValueError)


def test_each_template_reads_for_itself_alone(plugins_dir: Path) -> None:
    plugins = loaded(plugins_dir)
    for slug in ("table", "coded", "custom", "table"):
        plugins.read_of(slug)
    book = compile_rulebook(plugins.template("coded"), {}, plugins.read_of("coded"))
    (reading,) = book.readings(Request({}))
    assert reading.event is not None
    assert reading.event.source_id == "coded"
    assert plugins.read_of("coded") is plugins.read_of("coded")


def test_a_rulebook_that_is_kept_reads_with_its_own_template_when_others_come_later(plugins_dir: Path) -> None:
    plugins = loaded(plugins_dir)
    put(plugins_dir, "other", py=PY.replace('"coded"', '"other"'))
    plugins = load_plugins(Settings(plugins_dir=plugins_dir))
    books = {}
    for slug in ("table", "coded", "other"):
        books[slug] = compile_rulebook(plugins.template(slug), {}, plugins.read_of(slug))
    for slug, book in books.items():
        (reading,) = book.readings(Request({"id": "table", "status": "down"}))
        assert reading.event is not None
        assert reading.event.source_id == slug


@pytest.mark.parametrize(
    "body, words",
    [
        ("return None", "gave None"),
        ("return 7", "gave a int, not a list"),
        ("return True", "gave a bool, not a list"),
        ("return object", "gave a type, not a list"),
        ("return {'a': 1}", "gave a str"),
    ],
)
def test_code_that_reads_garbage_is_refused_by_name(plugins_dir: Path, body: str, words: str) -> None:
    put(plugins_dir, "acme", py=f"def read(request):\n    {body}\n")
    plugins = load_plugins(Settings(plugins_dir=plugins_dir))
    book = compile_rulebook(plugins.template("acme"), {}, plugins.read_of("acme"))
    with pytest.raises(UnreadableError, match=words):
        book.readings(Request({}))


def test_a_coroutine_is_refused_and_closed(plugins_dir: Path) -> None:
    put(plugins_dir, "acme", py="async def read(request):\n    return []\n")
    plugins = load_plugins(Settings(plugins_dir=plugins_dir))
    with pytest.raises(UnreadableError, match="gave a coroutine"):
        plugins.read_of("acme")(Request({}))


# enrich_event, drop_event


class Enrich:
    """A plugin that gives what it was told to for every event."""

    def __init__(self, gives: object) -> None:
        self.gives = gives

    @hookimpl
    def enrich_event(self, event: Event, integration: Integration) -> Any:
        """Give it, or raise it, or call it."""
        if isinstance(self.gives, BaseException):
            raise self.gives
        return self.gives(event) if callable(self.gives) else self.gives


class Drop(Enrich):
    """The same for dropping."""

    @hookimpl
    def drop_event(self, event: Event) -> Any:
        """Give it, or raise it."""
        if isinstance(self.gives, BaseException):
            raise self.gives
        return self.gives

    enrich_event = None  # type: ignore[assignment]


EVENT = Event(source_id="x", subject="s")


def with_plugins(**plugins: object) -> Plugins:
    """Plugins with these registered, in this order."""
    made = Plugins(Settings())
    for name, plugin in plugins.items():
        made.manager.register(plugin, name)
    return made


@pytest.mark.parametrize("gives", [3, "text", {"source_id": "y"}, [], False, Event, Ignored("x")])
def test_an_enriched_event_is_an_event(gives: object) -> None:
    with pytest.raises(PluginError, match=r"enrich_event of acme gave a \w+, not an Event"):
        with_plugins(acme=Enrich(lambda _: gives)).enriched(EVENT, INTEGRATION)


@pytest.mark.parametrize("gives", [3, False, True, "", "  ", [], EVENT])
def test_a_reason_to_drop_is_words(gives: object) -> None:
    """`return False` is an easy mistake; it must not drop an alert."""
    with pytest.raises(PluginError, match="drop_event of acme gave"):
        with_plugins(acme=Drop(gives)).dropped(EVENT, INTEGRATION)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), KeyboardInterrupt("no"), GeneratorExit("no")])
def test_a_hook_that_raises_is_named(error: BaseException) -> None:
    with pytest.raises(PluginError, match=f"a hook of the plugin acme raised {type(error).__name__}: no"):
        with_plugins(acme=Enrich(error)).enriched(EVENT, INTEGRATION)
    with pytest.raises(PluginError, match="a hook of the plugin acme raised"):
        with_plugins(acme=Drop(error)).dropped(EVENT, INTEGRATION)


def test_each_plugin_sees_what_the_one_before_made() -> None:
    plugins = with_plugins(
        first=Enrich(lambda event: Event(source_id=event.source_id, subject=f"{event.subject}1")),
        second=Enrich(None),
        third=Enrich(lambda event: Event(source_id=event.source_id, subject=f"{event.subject}3")),
    )
    assert (
        plugins.enriched(EVENT, INTEGRATION).subject == "s31"
    )  # the last that was registered comes first, as in pluggy


def test_the_first_that_gives_a_reason_decides() -> None:
    assert with_plugins(a=Drop(None)).dropped(EVENT, INTEGRATION) is None
    assert with_plugins(a=Drop("one"), b=Drop(" two "), c=Drop(None)).dropped(EVENT, INTEGRATION) == "b: two"
    assert with_plugins(a=Drop("x" * 10_000)).dropped(EVENT, INTEGRATION) == "a: " + "x" * 500


def test_calls_are_traced_where_that_is_asked_for(plugins_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(plugins_dir, "acme")
    for trace in (False, True):
        with caplog.at_level("INFO", logger="gateway.plugins"):
            plugins = load_plugins(Settings(plugins_dir=plugins_dir, trace_plugins=trace))
            book = compile_rulebook(plugins.template("acme"), {}, plugins.read_of("acme"))
            book.readings(Request({"id": "x", "status": "down"}))
        assert ("read" in caplog.text) is trace
