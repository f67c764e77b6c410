"""Settings: a wrong one is named with what it takes; flags win over the environment."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.config import Settings, load, nearest
from gateway.errors import SettingsError


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("PROT", "1", "GATEWAY_PROT: there is no such setting; did you mean GATEWAY_PORT?"),
        ("ZZZZ", "1", "GATEWAY_ZZZZ: there is no such setting"),
        ("ZZZZ_FILE", "1", "GATEWAY_ZZZZ_FILE: there is no such setting"),
        ("PORT", "", "GATEWAY_PORT: '' is not a number"),
        ("PORT", "80a", "GATEWAY_PORT: '80a' is not a number"),
        ("PORT", "8080.5", "is not a number"),
        ("PORT", "-1", "GATEWAY_PORT: -1 is not between 0 and 65535"),
        ("PORT", "65536", "is not between"),
        ("READ_DEADLINE", "nan", "GATEWAY_READ_DEADLINE: nan is not between"),
        ("READ_DEADLINE", "inf", "is not between"),
        ("READ_DEADLINE", "0", "is not between 0.05 and 60"),
        ("READ_MEMORY", "1", "is not between"),
        ("MAX_BODY", "99999999999", "is not between"),
        ("TRACE_PLUGINS", "maybe", "GATEWAY_TRACE_PLUGINS: 'maybe' is not true or false"),
        ("LOG_LEVEL", "loud", "GATEWAY_LOG_LEVEL: 'loud' is not debug, info, warning or error"),
        ("DATA", "", "GATEWAY_DATA: it is empty"),
    ],
)
def test_a_setting_that_is_wrong_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({f"GATEWAY_{name}": value})
    assert words in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"GATEWAY_SMTP_URL_FILE: cannot read .*none: No such file"):
        load({"GATEWAY_SMTP_URL_FILE": str(tmp_path / "none")})


def test_a_secret_in_a_setting_is_not_repeated(tmp_path: Path) -> None:
    """A value that is wrong may be a password in the wrong place; names are enough where it could be one."""
    with pytest.raises(SettingsError) as caught:
        load({"GATEWAY_SMTP_PASSWORD": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_nothing_set_gives_the_defaults() -> None:
    assert load({}) == Settings()
    assert load({"PATH": "/bin", "gateway_port": "1"}) == Settings()


def test_every_kind_of_setting(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("smtp://u:p@host:587\n")
    settings = load(
        {
            "GATEWAY_DATA": "/data",
            "GATEWAY_PORT": " 9000 ",
            "GATEWAY_READ_DEADLINE": "0.5",
            "GATEWAY_ALLOW_PRIVATE_TARGETS": "Yes",
            "GATEWAY_TRACE_PLUGINS": "",
            "GATEWAY_PLUGINS_DIR": "",
            "GATEWAY_LOAD_PLUGINS": "",
            "GATEWAY_SMTP_URL_FILE": str(tmp_path / "url"),
        }
    )
    assert settings.data == Path("/data")
    assert (settings.port, settings.read_deadline) == (9000, 0.5)
    assert (settings.allow_private_targets, settings.trace_plugins) == (True, False)
    assert (settings.plugins_dir, settings.load_plugins) == (
        None,
        "",
    )  # nothing is loaded, which is not the same as all
    assert settings.smtp_url == "smtp://u:p@host:587"


def test_flags_win_where_they_are_given() -> None:
    settings = load({"GATEWAY_PORT": "1", "GATEWAY_HOST": "h"}, port=2, host=None, data=Path("d"), trace_plugins=True)
    assert (settings.port, settings.host, settings.data, settings.trace_plugins) == (2, "h", Path("d"), True)
    with pytest.raises(SettingsError, match="GATEWAY_PORT"):
        load({}, port=-1)


@pytest.mark.parametrize("kind", ["max_body", "max_decoded", "attempts", "retry_base", "retry_cap", "attempt_deadline"])
def test_the_defaults_are_within_their_bounds(kind: str) -> None:
    default = getattr(Settings(), kind)
    assert getattr(load({f"GATEWAY_{kind.upper()}": str(default)}), kind) == default
    with pytest.raises(SettingsError):
        load({f"GATEWAY_{kind.upper()}": "0"})


def test_the_public_url() -> None:
    assert Settings().base_url == "http://127.0.0.1:8080"
    assert Settings(public_url="https://a.example/").base_url == "https://a.example"


@pytest.mark.parametrize(
    "host, said",
    [
        ("10.1.2.3", "10.1.2.3"),
        ("gateway.example", "gateway.example"),
        ("::1", "[::1]"),
        ("2001:db8::7", "[2001:db8::7]"),
        ("fe80::1%eth0", "[fe80::1%eth0]"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_the_url_of_an_address_to_listen_on(host: str, said: str) -> None:
    assert Settings(host=host, port=9000).base_url == f"http://{said}:9000"


def test_hints() -> None:
    assert nearest("subjet", ["subject", "source"]) == "; did you mean subject?"
    assert nearest("zzz", ["subject"]) == ""
    assert nearest("prot", {"port": 1}, "GATEWAY_") == "; did you mean GATEWAY_PORT?"


def test_every_setting_is_described() -> None:
    source = Path(__import__("gateway.config").config.__file__).read_text()
    for field in msgspec.structs.fields(Settings):
        line = source.index(f"\n    {field.name}: ")
        following = source[line + 1 :].splitlines()[1]
        assert following.startswith('    """'), f"{field.name} has no docstring"
