from __future__ import annotations

import pytest

from gateway.errors import ConflictError, GatewayError
from gateway.names import check_free, checked_name, url_name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a/b",
        "a\\b",
        "..",
        ".",
        "a\nb",
        "a\0",
        "zero\u200bwidth",
        "\u202eturned",
        "x" * 101,
        "int_abcdefghij23",
        "\ud800",
    ],
)
def test_a_name_that_would_mislead_is_refused(name: str) -> None:
    with pytest.raises(GatewayError, match="the name of an integration"):
        checked_name("an integration", name)


def test_a_name_is_kept_in_one_form() -> None:
    assert checked_name("a user", " Zoe\u0301 ") == "Zoé"


@pytest.mark.parametrize(("name", "other"), [("Ada", "ADA"), ("Ada", "Ａｄａ"), ("Straße", "STRASSE"), ("Ada", "Ada")])
def test_what_looks_the_same_is_taken(name: str, other: str) -> None:
    with pytest.raises(ConflictError, match="choose another"):
        check_free("a user", other, [name])


def test_blanks_are_hyphens_in_a_url() -> None:
    assert url_name("Back  ups of\tdb") == "Back-ups-of-db"
