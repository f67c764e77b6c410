"""`plugins install`, `upgrade`, `uninstall`: what pip and uv are told, what is refused, what is written down."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

import gateway
from gateway.cli import main
from gateway.cli.plugins_record import lines_of
from gateway.config import Settings
from gateway.errors import GatewayError, PluginError, SettingsError
from gateway.fingerprint import of_distribution, of_path
from gateway.installing import (
    Change,
    Done,
    Installer,
    Wanted,
    check_editable,
    check_file,
    check_requirement,
    find_tool,
    name_of,
)
from gateway.loader import load_plugins
from gateway.permits import Permits, allowed
from gateway.roster import disabled, normal, record, recorded, switch
from tests.installed import Environment, wheel_of

ROOT = Path(__file__).parent.parent


class FakeTool:
    """Stands for pip or uv: keeps what it was told, and says what the test wants."""

    def __init__(self, kind: Literal["pip", "uv"] = "pip") -> None:
        self.kind: Literal["pip", "uv"] = kind
        self.commands: list[list[str]] = []
        self.would: list[tuple[str, str | None, str | None]] = [("alert-gateway-acme", None, "1.2")]
        self.brings: list[dict[str, Any]] = []
        self.fails = ""
        self.constraint = ""

    def installer(self) -> Installer:
        tool = ["python", "-m", "pip"] if self.kind == "pip" else ["uv", "pip"]
        return Installer(python="python", run=self, version=self.version, find=lambda: (self.kind, tool))

    def version(self, name: str) -> str | None:
        return (
            gateway.__version__
            if name == "alert-gateway"
            else next((was for one, was, _ in self.would if one == name), None)
        )

    def __call__(self, command: Sequence[str]) -> Done:
        self.commands.append(list(command))
        if "--constraint" in command:
            self.constraint = Path(command[command.index("--constraint") + 1]).read_text()
        if "gateway" in command:
            return Done(0, json.dumps(self.brings), "")
        if self.fails:
            return Done(1, "", self.fails)
        if "--report" in command:
            items = [{"metadata": {"name": name, "version": new}} for name, _, new in self.would if new]
            Path(command[command.index("--report") + 1]).write_text(json.dumps({"install": items}))
        lines = [f" - {name}=={was}" for name, was, _ in self.would if was]
        lines += [f" + {name}{' @ ' if '://' in new else '=='}{new}" for name, _, new in self.would if new]
        return Done(0, "", "\n".join(lines))

    @property
    def changing(self) -> list[list[str]]:
        """What was told that changes something."""
        return [one for one in self.commands if "--dry-run" not in one and "gateway" not in one]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTool:
    fake = FakeTool()
    monkeypatch.setattr("gateway.cli.plugins_install.installer", fake.installer)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return fake


def read(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


# what may be asked for


@pytest.mark.parametrize(
    "text",
    [
        "alert-gateway-acme",
        "Alert_Gateway.acme==1.2",
        "a>=1,<2",
        "a~=1.0",
        "a[extra]>=1",
        "a; python_version < '3.13'",
        "a==1.*",
    ],
)
def test_a_name_with_versions_is_a_requirement(text: str) -> None:
    assert check_requirement(text, allow_url=False) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--index-url=https://evil.example", "is no requirement"),
        ("-e.", "is no requirement"),
        ("", "is no requirement"),
        ("a --index-url x", "is no requirement"),
        ("a\n--pre", "is no requirement"),
        ("a b", "is no requirement"),
        ("./missing.whl", "no such file"),
        ("https://a.example/x.whl", "--allow-url"),
        ("a @ https://a.example/x.whl", "--allow-url"),
        ("git+https://a.example/x", "--allow-url"),
        ("alert-gateway", "the gateway itself"),
        ("Alert_Gateway[testing]>=0.1", "the gateway itself"),
    ],
)
def test_what_is_no_requirement_is_refused(text: str, words: str) -> None:
    with pytest.raises(GatewayError, match=words):
        check_requirement(text, allow_url=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://a.example/x.whl", "unencrypted"),
        ("a @ git+http://a.example/x", "unencrypted"),
        ("https://user:hunter2@a.example/x.whl", "carries a password"),
        ("a @ https://hunter2@a.example/x.whl", "carries a password"),
    ],
)
def test_some_urls_are_refused_even_with_leave(text: str, words: str) -> None:
    with pytest.raises(PluginError, match=words) as caught:
        check_requirement(text, allow_url=True)
    assert "hunter2" not in str(caught.value)


def test_with_leave_a_url_is_a_requirement() -> None:
    for text in ("https://a.example/x-1.whl", "a @ https://a.example/x.whl", "git+ssh://git@a.example/x"):
        assert check_requirement(text, allow_url=True) == text


def test_a_file_of_requirements_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    file = tmp_path / "r.txt"
    file.write_text(f"# remark\n\na==1 \\\n  --hash=sha256:{'0' * 64}\nb>=1 # why\n-e {tmp_path / 'pkg'} # x\n")
    assert check_file(file, allow_url=False) == file
    file.write_text("a\n--index-url https://evil.example\n")
    with pytest.raises(PluginError, match=r"r\.txt:2: "):
        check_file(file, allow_url=False)
    with pytest.raises(PluginError, match="cannot be read"):
        check_file(tmp_path / "none.txt", allow_url=False)


def test_only_a_package_can_be_linked(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="GATEWAY_PLUGINS_DIR"):
        check_editable(tmp_path)


def test_names_are_compared_in_one_form() -> None:
    assert name_of("Alert_Gateway..Acme>=1") == normal("alert-gateway-acme")
    assert name_of("./a.whl") is None


# what pip and uv are told


@pytest.mark.parametrize("kind", ["pip", "uv"])
def test_it_says_what_will_change_and_changes_nothing(kind: Literal["pip", "uv"]) -> None:
    fake = FakeTool(kind)
    fake.would = [("alert-gateway-acme", "1.1", "1.2"), ("zoolib", None, "3")]
    plan = fake.installer().plan(
        Wanted(requirements=("alert-gateway-acme",), upgrade=True, no_index=True, find_links=("w",))
    )
    assert plan == [Change("alert-gateway-acme", "1.1", "1.2"), Change("zoolib", None, "3")]
    (command,) = fake.commands
    assert "--dry-run" in command
    assert command[-2:] == ["--", "alert-gateway-acme"], "nothing behind it can be an option"
    assert fake.constraint == f"alert-gateway=={gateway.__version__}\n", "the gateway itself stays as it is"
    assert {"--no-index", "--find-links"} <= set(command)
    assert ("--upgrade" in command) == (kind == "pip")
    assert ("--upgrade-package" in command) == (kind == "uv")
    assert ("--python" in command) == (kind == "uv")


UV_SAID = {
    "new": (" + alert-gateway-acme @ file:///w/acme.whl", (None, "file:///w/acme.whl")),
    "in the place of another": (
        " - alert-gateway-acme==1.1 (from file:///w/acme.whl)\n + alert-gateway-acme @ git+https://a.example/acme@0a1b",
        ("1.1", "git+https://a.example/acme@0a1b"),
    ),
    "anew": (" ~ alert-gateway-acme==1.1 (from file:///w/acme.whl)", ("1.1", "1.1")),
}


@pytest.mark.parametrize(("said", "versions"), UV_SAID.values(), ids=UV_SAID)
def test_what_uv_installs_from_a_place_is_a_change(said: str, versions: tuple[str | None, str]) -> None:
    text = f"Resolved 1 package in 1ms\nWould download 1 package\nWould install 1 package\n{said}\n"
    uv = Installer(python="python", run=lambda _: Done(0, "", text), find=lambda: ("uv", ["uv", "pip"]))
    (change,) = uv.plan(Wanted(requirements=("/w/acme.whl",)))
    assert change == Change("alert-gateway-acme", *versions)


def test_a_list_of_uv_that_cannot_be_read_is_named() -> None:
    def said(text: str) -> Installer:
        return Installer(run=lambda _: Done(0, "", text), find=lambda: ("uv", ["uv", "pip"]))

    assert said("Checked 1 package in 1ms\nWould make no changes\n").plan(Wanted(requirements=("a",))) == []
    with pytest.raises(PluginError, match=r"uv pip gave no list of what it would do.*Would install 1 package"):
        said("Would install 1 package\n in another form: a\n").plan(Wanted(requirements=("a",)))


def test_what_the_tool_says_against_it_is_the_error() -> None:
    fake = FakeTool()
    fake.fails = "WARNING: old\nERROR: No matching distribution found for alert-gateway-acme\n"
    with pytest.raises(PluginError, match="ended with code 1: ERROR: No matching distribution") as caught:
        fake.installer().plan(Wanted(requirements=("alert-gateway-acme",)))
    assert "WARNING" not in str(caught.value)


def test_an_old_pip_without_a_report_is_named() -> None:
    silent = Installer(run=lambda _: Done(0, "", ""), find=lambda: ("pip", ["pip"]))
    with pytest.raises(PluginError, match=r"22\.2"):
        silent.plan(Wanted(requirements=("a",)))


def test_a_tool_that_cannot_be_run_is_named() -> None:
    def run(_: Sequence[str]) -> Done:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(PluginError, match="pip: cannot be run"):
        Installer(run=run, find=lambda: ("pip", ["pip"])).uninstall(["a"])


def test_pip_is_used_then_uv_and_neither_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"pip", "uv"}
    monkeypatch.setattr("gateway.installing.importlib.util.find_spec", lambda name: name if name in have else None)
    assert find_tool("py") == ("pip", ["py", "-m", "pip"])
    have.remove("pip")
    assert find_tool("py") == ("uv", ["py", "-m", "uv", "pip"])
    have.remove("uv")
    assert find_tool("py", which=lambda _: "/bin/uv") == ("uv", ["/bin/uv", "pip"])
    with pytest.raises(PluginError, match="ensurepip"):
        find_tool("py", which=lambda _: None)


# the commands


def test_install_shows_installs_and_writes_down(
    tool: FakeTool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tool.brings = [
        {"name": "acme", "distribution": "alert-gateway-acme", "templates": ["acme"], "hooks": [], "error": None},
    ]
    assert main(["plugins", "install", "alert-gateway-acme"]) == 0
    said = capsys.readouterr().out
    assert "alert-gateway-acme  -    1.2" in said
    assert "acme: template acme" in said
    assert len(tool.changing) == 1
    assert recorded(tmp_path / "data") == {"alert-gateway-acme": "alert-gateway-acme==1.2"}


def test_a_dry_run_changes_nothing(tool: FakeTool, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shape = read(capsys, "plugins", "install", "alert-gateway-acme", "--dry-run")
    assert shape == {
        "done": False,
        "changes": [{"name": "alert-gateway-acme", "before": None, "after": "1.2"}],
        "plugins": [],
    }
    assert tool.changing == []
    assert not (tmp_path / "data").exists()


def test_a_no_on_the_terminal_changes_nothing(
    tool: FakeTool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import io

    terminal = io.StringIO("n\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["plugins", "install", "alert-gateway-acme"]) == 0
    assert "nothing was changed" in capsys.readouterr().err
    assert tool.changing == []


def test_what_brings_no_plugin_is_noted(tool: FakeTool, capsys: pytest.CaptureFixture[str]) -> None:
    tool.would = [("acme", None, "1")]
    assert main(["plugins", "install", "acme"]) == 0
    said = capsys.readouterr().err
    assert "acme is not called alert-gateway-…" in said
    assert "acme brings no plugin" in said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["install"], 2),
        (["install", "--", "--index-url=x"], 1),
        (["install", "a", "--index-url=-x"], 1),
        (["install", "a", "--find-links=--pre"], 1),
        (["install", "https://a.example/x.whl"], 1),
        (["install", "-e", "."], 1),
        (["upgrade"], 2),
        (["upgrade", "a", "--all"], 2),
        (["upgrade", "alert-gateway-nope"], 1),
        (["uninstall"], 2),
        (["uninstall", "apsw"], 1),
        (["uninstall", "alert-gateway"], 1),
    ],
)
def test_what_is_refused_runs_nothing(tool: FakeTool, arguments: list[str], code: int) -> None:
    assert main(["plugins", *arguments]) == code
    assert tool.commands == []


def test_the_index_and_the_files_are_passed_on(tool: FakeTool, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("alert-gateway-acme==1.2\n")
    assert main(["plugins", "install", "-r", "r.txt", "--index-url", "https://index.example/simple"]) == 0
    (command,) = tool.changing
    assert command[command.index("--index-url") + 1] == "https://index.example/simple"
    assert command[command.index("--requirement") + 1] == str(tmp_path / "r.txt")
    assert recorded(tmp_path / "data") == {"alert-gateway-acme": "alert-gateway-acme==1.2"}


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The distribution alert-gateway-acme, installed on a path of its own."""
    site = tmp_path / "site"
    info = site / "alert_gateway_acme-1.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: alert-gateway-acme\nVersion: 1.1\nSummary: Reads Acme\n"
    )
    (info / "entry_points.txt").write_text("[gateway.plugins]\nacme = alert_gateway_acme:plugin\n")
    package = site / "alert_gateway_acme"
    package.mkdir()
    (package / "__init__.py").write_text("from gateway import TemplateFolder\nplugin = TemplateFolder(__file__)\n")
    (package / "template.toml").write_text(
        'api = 1\nname = "Acme"\n[fields]\nsource_id = "{id}"\n[open]\nis_one_of = ["down"]\n'
    )
    lines = [*(f"alert_gateway_acme/{path.name},," for path in package.iterdir()), "../bin/acme,,"]
    lines += [f"{info.name}/{name},," for name in ("METADATA", "entry_points.txt", "RECORD", "INSTALLER")]
    (info / "RECORD").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(site))
    return package


def test_upgrade_asks_for_what_is_installed(
    tool: FakeTool, acme: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tool.would = [("alert-gateway-acme", "1.1", "1.2")]
    shape = read(capsys, "plugins", "upgrade", "acme")
    assert shape["changes"] == [{"name": "alert-gateway-acme", "before": "1.1", "after": "1.2"}]
    assert "--upgrade" in tool.changing[0]
    assert recorded(tmp_path / "data") == {"alert-gateway-acme": "alert-gateway-acme==1.2"}
    assert read(capsys, "plugins", "upgrade", "--all", "--dry-run")["changes"]


def test_uninstall_takes_it_out_of_the_record(
    tool: FakeTool, acme: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record(tmp_path / "data", {"alert-gateway-acme": "alert-gateway-acme==1.1", "other": "other==2"})
    shape = read(capsys, "plugins", "uninstall", "acme")
    assert shape["changes"] == [{"name": "alert-gateway-acme", "before": "1.1", "after": None}]
    assert tool.changing[0][-1] == "alert-gateway-acme"
    assert "--yes" in tool.changing[0]
    assert recorded(tmp_path / "data") == {"other": "other==2"}


def test_uninstall_names_the_integrations_that_use_it(
    tool: FakeTool, acme: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["integrations", "add", "acme", "--name", "Our acme"]) == 0
    assert main(["plugins", "uninstall", "acme", "--dry-run"]) == 0
    assert "in use by Our acme: their messages are kept" in capsys.readouterr().err


# what is written down


def test_the_record_is_a_file_of_requirements(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nname = "Alert_Gateway_Zoo"\n')
    wheel = tmp_path / "alert_gateway_web-2-py3-none-any.whl"
    wheel.write_bytes(b"")
    (tmp_path / "r.txt").write_text(f"Three>=1 --hash=sha256:{'0' * 64}\n-e {package} # x\n")
    wanted = Wanted(
        requirements=(
            "one",
            str(wheel),
            "two @ https://a.example/two.whl",
            "https://a.example/four-1.0-py3-none-any.whl",
        ),
        editable=(package,),
        files=(tmp_path / "r.txt",),
    )
    lines = lines_of(wanted, {"one": "1.5", "three": "3.1"})
    assert lines == {
        "one": "one==1.5",
        "alert-gateway-web": f"alert-gateway-web @ {wheel.as_uri()}",
        "two": "two @ https://a.example/two.whl",
        "four": "four @ https://a.example/four-1.0-py3-none-any.whl",
        "alert-gateway-zoo": f"-e {package}",
        "three": "three==3.1",
    }
    record(tmp_path / "data", dict(lines))
    assert recorded(tmp_path / "data") == lines
    check_file(tmp_path / "data" / "plugins.txt", allow_url=True)
    record(tmp_path / "data", {"one": None, "Alert.Gateway.Zoo": None})
    assert recorded(tmp_path / "data").keys() == lines.keys() - {"one", "alert-gateway-zoo"}


@pytest.mark.parametrize("text", ["[[[", "disabled = 5", "disabled = [1]", "\xff"])
def test_switches_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "plugins.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match=r"plugins\.toml"):
        disabled(tmp_path)


def test_a_switch_is_switched_once(tmp_path: Path) -> None:
    assert switch(tmp_path, "Alert_Gateway_Acme", on=False)
    assert not switch(tmp_path, "alert-gateway-acme", on=False)
    assert disabled(tmp_path) == {"alert-gateway-acme"}
    assert switch(tmp_path, "alert.gateway.acme", on=True)
    assert disabled(tmp_path) == frozenset()


# hashes and pins


def test_the_hash_is_that_of_the_files(acme: Path) -> None:
    distribution = importlib.metadata.distribution("alert-gateway-acme")
    first = of_distribution(distribution)
    (acme.parent / "alert_gateway_acme-1.1.dist-info" / "INSTALLER").write_text("uv")
    (acme / "__pycache__").mkdir()
    (acme / "__pycache__" / "x.pyc").write_bytes(b"")
    assert of_distribution(distribution) == first, "who installed it, and what Python made, changes nothing"
    (acme / "stray.py").write_text("")
    second = of_distribution(distribution)
    assert second != first, "a file that the distribution does not list counts"
    (acme / "template.toml").write_text("api = 2\n")
    assert of_distribution(distribution) not in (first, second)


def test_a_listed_file_that_is_gone_cannot_be_hashed(acme: Path) -> None:
    (acme / "template.toml").unlink()
    with pytest.raises(PluginError, match="cannot be read"):
        of_distribution(importlib.metadata.distribution("alert-gateway-acme"))


def test_a_path_has_a_hash(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    first = of_path(tmp_path / "a")
    assert first == of_path(tmp_path / "a")
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "y")
    assert of_path(tmp_path / "a") != first
    assert of_path(tmp_path / "a" / "y").startswith("sha256:")


def test_the_allow_list_may_pin() -> None:
    assert allowed(" A_b , c@sha256:FF ,") == {"a-b": None, "c": "sha256:ff"}


@pytest.mark.parametrize(
    ("pin", "words"),
    [("sha256:" + "0" * 64, "its files have the hash sha256:"), ("sha1:abc", "is no pin"), ("", "is no pin")],
)
def test_another_hash_is_not_loaded(acme: Path, pin: str, words: str, tmp_path: Path) -> None:
    plugins = load_plugins(Settings(data=tmp_path, load_plugins=f"alert-gateway-acme@{pin}"), code=True)
    assert "acme" not in plugins.cards
    (info,) = [info for info in plugins.infos if info.name == "acme"]
    assert words in (info.error or "")


def test_the_line_that_info_prints_is_the_line_that_loads_it(
    acme: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    shape = read(capsys, "plugins", "info", "acme")
    assert shape["summary"] == "Reads Acme"
    assert shape["enabled"] is True
    assert "acme" in load_plugins(Settings(data=tmp_path, load_plugins=shape["allow"])).cards
    (acme / "template.py").write_text("read = print\n")
    assert "acme" not in load_plugins(Settings(data=tmp_path, load_plugins=shape["allow"])).cards


def test_a_disabled_distribution_is_not_loaded_though_it_is_allowed(acme: Path, tmp_path: Path) -> None:
    switch(tmp_path, "alert-gateway-acme", on=False)
    assert "is disabled" in (Permits(Settings(data=tmp_path)).refusal("Alert_Gateway_Acme", None) or "")
    assert "acme" not in load_plugins(Settings(data=tmp_path, load_plugins="alert-gateway-acme")).cards


@pytest.mark.parametrize(
    ("listed", "off", "level", "words"),
    [
        ("", False, "note", "left out: alert-gateway-acme"),
        ("alert-gateway-acme", True, "note", "left out: alert-gateway-acme"),
        ("alert-gateway-acme", False, "ok", "2 plugins, none broken"),
        ("Alert_Gateway_Acm", False, "problem", "no such plugin is installed; did you mean alert-gateway-acme?"),
        ("alert-gateway-acme@sha256:00", False, "problem", "is no pin"),
    ],
)
def test_doctor_minds_what_is_not_meant(
    listed: str, off: bool, level: str, words: str, acme: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GATEWAY_LOAD_PLUGINS", listed)
    monkeypatch.setenv("GATEWAY_PORT", "0")
    if off:
        switch(tmp_path / "data", "alert-gateway-acme", on=False)
        (tmp_path / "data").chmod(0o700)
    findings = [one for one in read(capsys, "doctor", code=1 if level == "problem" else 0) if one["check"] == "plugins"]
    assert [one["level"] for one in findings if words in one["found"]] == [level]
    assert [one["level"] for one in findings].count("problem") == (level == "problem")


# once, for real


def test_a_wheel_is_installed_and_removed_for_real(tmp_path: Path) -> None:
    """A scaffold's wheel, built here, into an environment of its own, with no network; with pip, and removed with uv."""
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GATEWAY_DATA": str(tmp_path / "data")}

    def run(*command: str | Path, code: int = 0) -> Any:
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if "--json" in command else done

    (tmp_path / "down.json").write_text('{"id": "INC-1", "status": "down"}')
    (tmp_path / "up.json").write_text('{"id": "INC-1", "status": "up"}')
    uv = [sys.executable, "-m", "uv"]
    run(sys.executable, "-m", "gateway", "plugins", "new", "acme", "--from-sample", "down.json", "up.json")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheels")]
    subprocess.run(build, cwd=tmp_path / "alert-gateway-acme", check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheels").iterdir()
    assert "alert_gateway_acme/samples/problem_firing.expected.json" in zipfile.ZipFile(wheel).namelist()

    run(*uv, "venv", "--offline", "--python", sys.executable, tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "gateway.pth").write_text("\n".join(paths) + "\n")
    plugins: list[str | Path] = [python, "-m", "gateway", "plugins"]

    flags = ["--no-index", "--find-links", str(tmp_path / "wheels"), "--json"]
    shape = run(*plugins, "install", "alert-gateway-acme", *flags)
    assert shape["changes"] == [{"name": "alert-gateway-acme", "before": None, "after": "0.1.0"}]
    (listed,) = shape["plugins"]
    assert (listed["templates"], listed["error"]) == (["acme"], None)
    assert run(*plugins, "info", "acme", "--json")["recorded"] == "alert-gateway-acme==0.1.0"
    assert run(*plugins, "install", "alert-gateway-acme", *flags)["changes"] == [], "it is there already"

    def run_here(command: Sequence[str]) -> Done:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        return Done(done.returncode, done.stdout, done.stderr)

    by_uv = Installer(python=str(python), run=run_here, find=lambda: ("uv", [*uv, "pip"]))
    by_uv.uninstall(["alert-gateway-acme"])
    names = [one["name"] for one in run(*plugins, "list", "--json")]
    assert "acme" not in names


BACKEND = """
import shutil
def build_wheel(folder, *_):
    return shutil.copy({wheel!r}, folder).rpartition("/")[2]
build_editable = build_wheel
"""


@pytest.mark.parametrize("form", ["wheel", "name and URL", "folder", "link"])
def test_uv_installs_from_a_place_for_real(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a network: a package is built by a backend of its own, which hands out a wheel that is there."""
    environment = Environment(tmp_path / "env")
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    with (site / "of-the-tests.pth").open("a") as file:
        file.write(f"\n{ROOT}\n")
    toml = 'api = 1\nname = "{}"\n[fields]\nsource_id = "{{id}}"\n'

    def wheel(name: str) -> Path:
        files = {"alert_gateway_acme/__init__.py": "", "alert_gateway_acme/template.toml": toml.replace("{}", name)}
        return wheel_of(tmp_path / "wheels", "alert-gateway-acme", {"acme": "alert_gateway_acme"}, files)

    project = tmp_path / "alert-gateway-acme"
    project.mkdir()
    (project / "backend.py").write_text(BACKEND.format(wheel=str(wheel("First"))))
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "alert-gateway-acme"\nversion = "2.1"\n'
    )

    def run(command: Sequence[str]) -> Done:
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        return Done(done.returncode, done.stdout, done.stderr)

    def version(name: str) -> str | None:
        return next((one.version for one in importlib.metadata.distributions(name=name, path=[str(site)])), None)

    uv = [sys.executable, "-m", "uv", "pip"]
    by_uv = Installer(python=str(environment.python), run=run, version=version, find=lambda: ("uv", uv))
    monkeypatch.setattr("gateway.cli.plugins_install.installer", lambda: by_uv)
    monkeypatch.setenv("GATEWAY_DATA", str(tmp_path / "data"))
    place = wheel("First")
    arguments = {
        "wheel": [str(place)],
        "name and URL": [f"alert-gateway-acme @ {place.as_uri()}"],
        "folder": [str(project)],
        "link": ["-e", str(project)],
    }[form]
    names = []
    for name, before in (("First", None), ("Second", "2.1")):
        wheel(name)
        (project / "pyproject.toml").touch()
        shape = read(capsys, "plugins", "install", *arguments)
        assert shape["changes"] == [{"name": "alert-gateway-acme", "before": before, "after": "2.1"}]
        (listed,) = shape["plugins"]
        assert (listed["templates"], listed["error"]) == (["acme"], None)
        names.append((site / "alert_gateway_acme" / "template.toml").read_text())
    assert names == [toml.replace("{}", name) for name in ("First", "Second")]
    assert list(recorded(tmp_path / "data")) == ["alert-gateway-acme"]
