"""The installation's key: made once, kept to its owner, and what is made with it."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.errors import SettingsError, StoreUnusableError
from gateway.vault import TOKEN_LENGTH, Vault, hint, is_token, new_id, new_token

KEY = bytes(range(32))


@pytest.mark.parametrize("key", [b"", b"short", KEY + b"x"])
def test_a_key_of_the_wrong_length_is_refused_and_not_repeated(key: bytes) -> None:
    with pytest.raises(SettingsError, match=f"has {len(key)} bytes, not 32; restore secret.key") as caught:
        Vault(key)
    assert "short" not in str(caught.value)


def test_a_damaged_key_file_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"damaged")
    with pytest.raises(SettingsError):
        Vault.open(tmp_path)
    assert (tmp_path / "secret.key").read_bytes() == b"damaged"


def test_a_key_that_was_lost_is_not_made_anew_beside_a_store(tmp_path: Path) -> None:
    first = Vault.of_store(tmp_path)
    (tmp_path / "state.db").write_bytes(b"")
    assert Vault.of_store(tmp_path).token_hash(b"x") == first.token_hash(b"x")
    (tmp_path / "secret.key").unlink()
    with pytest.raises(StoreUnusableError, match=r"secret\.key is missing, and there is a store: .* restore it"):
        Vault.of_store(tmp_path)
    assert not (tmp_path / "secret.key").exists()


def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret.key").mkdir()
    with pytest.raises(StoreUnusableError, match=r"secret\.key: it cannot be made or read \(Is a directory\)"):
        Vault.open(tmp_path)


def test_what_another_key_sealed_is_refused() -> None:
    sealed = Vault(KEY).seal("hunter2")
    for vault, text in ((Vault(KEY[::-1]), sealed), (Vault(KEY), sealed[:-1]), (Vault(KEY), b"")):
        with pytest.raises(SettingsError, match="sealed with another key") as caught:
            vault.unseal(text)
        assert "hunter2" not in str(caught.value)


def test_the_key_is_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    first = Vault.open(data)
    path = data / "secret.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700
    assert len(path.read_bytes()) == 32
    assert Vault.open(data).token_hash(b"x") == first.token_hash(b"x")
    assert [entry.name for entry in data.iterdir()] == ["secret.key"]


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        hashes = list(pool.map(lambda _: Vault.open(tmp_path).token_hash(b"x"), range(32)))
    assert len(set(hashes)) == 1
    assert os.listdir(tmp_path) == ["secret.key"]  # noqa: PTH208  # names are what is looked at


@pytest.mark.parametrize("secret", ["", "s3cret", "ü" * 1000, "a\0b\n"])
def test_a_sealed_secret_comes_back(secret: str) -> None:
    vault = Vault(KEY)
    sealed = vault.seal(secret)
    assert vault.unseal(sealed) == secret
    assert not secret or secret.encode() not in sealed
    assert vault.seal(secret) != sealed


def test_what_is_derived_depends_on_key_and_purpose() -> None:
    vault, other = Vault(KEY), Vault(KEY[::-1])
    assert vault.token_hash(b"a") == Vault(KEY).token_hash(b"a")
    assert len({vault.token_hash(b"a"), vault.token_hash(b"b"), other.token_hash(b"a")}) == 3
    assert len({vault.signing_secret("c1"), vault.signing_secret("c2"), other.signing_secret("c1")}) == 3
    secret = vault.signing_secret("c1")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32


def test_a_token_carries_a_checksum() -> None:
    token = new_token()
    assert len(token) == TOKEN_LENGTH
    assert is_token(token.encode())
    assert token != new_token()
    for at in (3, 20, 45, len(token) - 1):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert not is_token(changed.encode())


@pytest.mark.parametrize(
    "token", [b"", b"ag_", b"\xff" * TOKEN_LENGTH, b"ag_" + b"\xff" * 49, b"x" * TOKEN_LENGTH, b"ag_" + b"A" * 10_000]
)
def test_noise_is_no_token(token: bytes) -> None:
    assert not is_token(token)


def test_what_is_shown_of_a_token_is_not_enough() -> None:
    token = new_token()
    assert token.startswith(hint(token)[:-1])
    assert len(hint(token)) == 8


def test_ids_are_short_and_differ() -> None:
    ids = {new_id("int") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(one.startswith("int_") and len(one) == 16 and one[4:].isalnum() for one in ids)
