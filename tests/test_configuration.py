"""The configuration as tables and as the text of a file: round trips, and errors that name the table and what to do."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration import (
    KEPT,
    KINDS,
    Configuration,
    GroupTable,
    IntegrationTable,
    PolicyTable,
    StepTable,
    UserTable,
    WindowTable,
    said_span,
    tidied,
)
from gateway.configuration_file import parse, to_toml
from gateway.errors import GatewayError
from gateway.references import References
from gateway.vault import new_token

CANARY = "canary-4711"
USER = '[[user]]\nname = "Ada"\n'
DOORS = '[[integration]]\nname = "Doors"\ntemplate = "custom"\n'
CLONE = '[[integration]]\nname = "Clone"\ntemplate = "custom"\nclone_of = "Doors"\nsequence = 1\n'
WINDOW = (
    '[[integration.maintenance]]\nname = "Move"\nfrom = "2026-12-01T22:00"\nto = "2026-12-01T23:00"\nzone = "UTC"\n'
)


# what is no configuration


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "not TOML"),
        ("[[users]]\n", 'unknown key "users" at the top level; did you mean user?'),
        ("[user]\nname = 'Ada'\n", "write [[user]], in two brackets each"),
        ("user = ['Ada']\n", "write [[user]], in two brackets each"),
        ("[[user]]\n", '[[user]] number 1: the key "name" is missing'),
        (f"{USER}mail = 1\n", "[[user]] 'Ada': unknown key \"mail\""),
        (f"{DOORS}polcy = 'x'\n", "[[integration]] 'Doors': unknown key \"polcy\"; did you mean policy?"),
        (f"{DOORS}sequence = 'x'\n", "[[integration]] 'Doors': sequence is a text; write a whole number"),
        (f"{DOORS}{WINDOW}reopn = true\n", "[[integration]] 'Doors': unknown key \"reopn\""),
        (USER + USER, "two tables [[user]] of the name 'Ada'; give one another name"),
        (USER + USER.replace("Ada", "ADA"), "[[user]] 'ADA': there is a user of the name 'ADA' already (as 'Ada'"),
        (USER.replace("Ada", " Ada"), "[[user]] ' Ada': the name would be stored as 'Ada'; write it so"),
        (USER.replace("Ada", ""), "[[user]] number 1: the name of a user is empty"),
        (DOORS.replace("Doors", "a/b"), "[[integration]] number 1: the name of an integration holds a slash"),
        ('[[group]]\nname = "G"\nusers = []\n', "[[group]] 'G': without users it would tell nobody; name at least one"),
        ('[[policy]]\nname = "P"\nsteps = []\n', "[[policy]] 'P': it would tell nobody; write [[policy.steps]]"),
        ('[[policy]]\nname = "P"\nsteps = [{users = []}]\n', "[[policy]] 'P': it would tell nobody"),
        ('[[policy]]\nname = "P"\nsteps = [{after = "soon", users = ["A"]}]\n', "`after` is 'soon'; write a span"),
        (DOORS + f'token = "{CANARY}"\n', "[[integration]] 'Doors': `token` is to say where it is to be had from"),
        (DOORS + f'secret = "{CANARY}"\n', "[[integration]] 'Doors': `secret` is to say where it is to be had from"),
        (DOORS + CLONE + 'token = "env:T"\n', "[[integration]] 'Clone': fan_out, token and secret are those of"),
        (DOORS + CLONE + "fan_out = true\n", "set them for 'Doors'"),
        (
            DOORS + CLONE + CLONE.replace("Clone", "Third").replace('of = "Doors"', 'of = "Clone"'),
            "[[integration]] 'Third': 'Clone' is a clone itself; write clone_of = 'Doors'",
        ),
        (
            DOORS + CLONE.replace("= 1", "= 0"),
            "[[integration]] 'Clone': its `sequence` is 0; it comes after 'Doors', so",
        ),
        (DOORS + CLONE + CLONE.replace("Clone", "Third"), "[[integration]] 'Third': its `sequence` is 1, as that of"),
        (DOORS + WINDOW + WINDOW, "[[integration]] 'Doors': there are two tables [[maintenance]] of the name 'Move'"),
        (DOORS + WINDOW.replace("UTC", "Mars"), "[[integration]] 'Doors': maintenance 'Move': there is no time zone"),
        (DOORS + WINDOW.replace("23:00", "21:00"), "maintenance 'Move': the window ends at"),
    ],
)
def test_what_does_not_fit_is_said_with_its_table(text: str, said: str) -> None:
    with pytest.raises(GatewayError) as error:
        parse(text, "gateway.toml")
    assert str(error.value).startswith("gateway.toml: ")
    assert said in str(error.value)
    assert CANARY not in str(error.value)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("env:NONE", "no such variable in the environment"),
        ("env:EMPTY", "is empty"),
        ("env:BROKEN", "not UTF-8"),
        ("file:none.txt", "No such file"),
        ("file:.", "Is a directory"),
        ("file:empty.txt", "is empty"),
        ("file:binary.txt", "not UTF-8"),
        ("file:a\0b", "not UTF-8"),
    ],
)
def test_a_reference_that_leads_nowhere(
    reference: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n")
    Path("binary.txt").write_bytes(b"\xff\xfe" + CANARY.encode())
    references = References({"EMPTY": "", "BROKEN": "\udcff" + CANARY})
    for fetch in (references.token, references.secret):
        with pytest.raises(GatewayError, match=said) as error:
            fetch(reference)
        assert reference in str(error.value)
        assert CANARY not in str(error.value)


def test_a_token_by_reference_is_one(tmp_path: Path) -> None:
    token = new_token()
    (tmp_path / "token").write_text(token + "\n")
    references = References({"T": CANARY, "GOOD": token})
    with pytest.raises(GatewayError, match="env:T is no token") as error:
        references.token("env:T")
    assert CANARY not in str(error.value)
    assert references.token("env:GOOD") == references.token(f"file:{tmp_path}/token") == token
    assert references.token(KEPT) is references.secret(KEPT) is references.secret(None) is None


# round trips

_NAMES = (
    st.text(string.ascii_letters + "äé門 -_.'\"#&", min_size=1, max_size=8)
    .map(str.strip)
    .filter(lambda name: name not in ("", ".", "..") and "  " not in name)
)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_VALUES = st.recursive(
    _TEXTS | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_SPANS = st.sampled_from(["0", "5m", "300s", "1.5h", "90s", "2d"])
_REFERENCES = st.sampled_from([KEPT, "env:NAME", "file:/run/secrets/a b"])
_LISTS = st.lists(_NAMES, max_size=3)


@st.composite
def windows(draw: st.DrawFn) -> list[WindowTable]:
    names = draw(st.lists(_NAMES, max_size=3, unique_by=str.casefold))
    return [
        WindowTable(
            name=name,
            from_="2026-12-01T22:00",
            to="2026-12-02T02:30",
            zone=draw(st.sampled_from(["UTC", "Europe/Berlin"])),
            repeat=draw(st.sampled_from(["once", "daily", "monthly"])),
            reopen=draw(st.booleans()),
        )
        for name in names
    ]


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    names = st.lists(_NAMES, max_size=3, unique_by=str.casefold)
    some = st.lists(_NAMES, min_size=1, max_size=3)
    integrations = [
        IntegrationTable(
            name=name,
            template=draw(_TEXTS),
            enabled=draw(st.booleans()),
            sequence=draw(st.integers(0, 9)),
            policy=draw(st.none() | _NAMES),
            groups=draw(_LISTS),
            users=draw(_LISTS),
            fan_out=draw(st.booleans()),
            token=draw(_REFERENCES),
            secret=draw(st.none() | _REFERENCES),
            settings=draw(st.dictionaries(_TEXTS, _VALUES, max_size=3)),
            maintenance=draw(windows()),
        )
        for name in draw(names)
    ]
    if integrations:
        first = integrations[0]
        taken = {table.name.casefold() for table in integrations}
        clones = [name for name in draw(names) if name.casefold() not in taken]
        integrations += [
            IntegrationTable(name=name, template="x", clone_of=first.name, sequence=first.sequence + at)
            for at, name in enumerate(clones, 1)
        ]
    return Configuration(
        user=[UserTable(name=name, contacts=draw(st.lists(_TEXTS, max_size=3))) for name in draw(names)],
        group=[GroupTable(name=name, users=draw(some)) for name in draw(names)],
        policy=[
            PolicyTable(
                name=name,
                steps=[StepTable(after=draw(_SPANS), users=draw(some)) for _ in range(draw(st.integers(1, 3)))],
            )
            for name in draw(names)
        ],
        integration=integrations,
    )


@given(configurations())
def test_any_configuration_survives_its_file(configuration: Configuration) -> None:
    text = to_toml(configuration)
    again = parse(text, "x")
    assert again == configuration
    assert to_toml(again) == text


@given(configurations())
def test_every_table_of_a_file_has_a_header_of_its_own(configuration: Configuration) -> None:
    """So that another one can be written below it, however short the file is."""
    text = to_toml(configuration)
    for kind in KINDS:
        assert text.count(f"[[{kind}]]\n") == len(getattr(configuration, kind))
    more = DOORS.replace("Doors", "One more") + WINDOW
    assert parse(text + "\n" + more, "x").integration[-1].name == "One more"


def test_a_table_that_is_added_to_a_list_in_one_line_is_named() -> None:
    with pytest.raises(GatewayError) as error:
        parse("integration = [{ name = 'LB', template = 'custom' }]\n" + DOORS, "x")
    assert str(error.value) == (
        "x: line 2: [[integration]] cannot be added to what `integration = …` wrote in one line, which ends there; "
        "write [[integration]] for each of them"
    )


@given(configurations())
def test_tidied_once_is_tidied(configuration: Configuration) -> None:
    tidy = tidied(configuration)
    assert tidied(tidy) == tidy
    assert parse(to_toml(tidy), "x") == tidy


def test_tidied_is_as_it_is_stored() -> None:
    steps = [StepTable(after="300s", users=["Bo", "Bo"]), StepTable(after="0.5s", users=["Ada"])]
    (policy,) = tidied(Configuration(policy=[PolicyTable(name="P", steps=steps)])).policy
    assert policy.steps == [StepTable(users=["Ada"]), StepTable(after="5m", users=["Bo"])]
    assert [said_span(length) for length in (0, 1, 60, 90, 3600, 86_400)] == ["0", "1s", "1m", "90s", "1h", "1d"]


def test_what_is_as_it_would_be_anyway_is_not_written() -> None:
    (window,) = parse(DOORS + WINDOW + 'repeat = "once"\n', "x").integration[0].maintenance
    doors = IntegrationTable(name="Doors", template="custom", token="kept", maintenance=[window])
    text = to_toml(Configuration(integration=[doors])).partition("\n\n")[2]
    assert all(key not in text for key in ("repeat", "token", "sequence", "settings")), text
    assert parse(text, "x").integration == [doors]
