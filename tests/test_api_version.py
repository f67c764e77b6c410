"""Which templates this gateway reads, by the `api` that they were written for; and what is said of the others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import template as contract
from gateway.config import Settings
from gateway.errors import TemplateError
from gateway.loader import load_plugins
from gateway.template import SUPPORTED_API, TemplateFolder

ROOT = Path(__file__).parent.parent
BODY = '\nname = "Acme"\n[fields]\nsource_id = "{id}"\n[open]\nis_one_of = ["firing"]\n'


def template(folder: Path, api: str, more: str = BODY) -> TemplateFolder:
    """A template folder whose template.toml begins with this line."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "template.toml").write_text(api + more)
    return TemplateFolder(folder, "acme")


@pytest.mark.parametrize("api", SUPPORTED_API)
def test_every_supported_version_is_read(tmp_path: Path, api: int) -> None:
    assert template(tmp_path, f"api = {api}").file.api == api


@pytest.mark.parametrize(
    "api, words",
    [
        ("", "`api` is missing; write `api = 1`"),
        ('api = "1"', "`api` is no whole number; write `api = 1`"),
        ("api = 1.0", "`api` is no whole number"),
        ("api = true", "`api` is no whole number"),
        (
            "api = 2",
            (
                "it was written for api = 2, and this gateway reads templates of api = 1: "
                "upgrade the gateway, or install an older version of the template"
            ),
        ),
        ("api = 0", "it was written for api = 0, and this gateway reads templates of api = 1: upgrade the template"),
    ],
)
def test_any_other_version_says_what_to_do(tmp_path: Path, api: str, words: str) -> None:
    with pytest.raises(TemplateError) as caught:
        _ = template(tmp_path, api).file
    assert str(caught.value).startswith(f"{tmp_path / 'template.toml'}: ")
    assert words in str(caught.value)


def test_a_range_is_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "SUPPORTED_API", range(2, 5))
    with pytest.raises(TemplateError, match=re.escape("api = 2 to 4: upgrade the template")):
        _ = template(tmp_path / "old", "api = 1").file
    with pytest.raises(TemplateError, match=re.escape("api = 2 to 4: upgrade the gateway")):
        _ = template(tmp_path / "new", "api = 5").file
    assert template(tmp_path / "middle", "api = 3").file.api == 3


def test_the_version_is_looked_at_before_keys_that_only_a_later_one_knows(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="upgrade the gateway"):
        _ = template(tmp_path, "api = 2", '\nname = "Acme"\nunheard_of = 1\n').file


def test_a_template_of_another_version_is_listed_and_the_others_serve(tmp_path: Path) -> None:
    template(tmp_path / "later", "api = 9")
    template(tmp_path / "today", "api = 1")
    plugins = load_plugins(Settings(plugins_dir=tmp_path))
    cards = {card.slug: card for card in plugins.gallery()}
    assert "upgrade the gateway" in (cards["later"].error or "")
    assert cards["today"].error is None
    assert plugins.template("today").file.name == "Acme"


def test_the_pages_say_which_versions_are_read() -> None:
    page = (ROOT / "docs" / "public-api.md").read_text(encoding="utf-8")
    oldest, newest = SUPPORTED_API[0], SUPPORTED_API[-1]
    spoken = f"`api = {oldest}`" if oldest == newest else f"`api = {oldest}` to `api = {newest}`"
    assert f"This gateway reads {spoken}." in page
