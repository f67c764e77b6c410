"""
The installation's key, and what is made with it: hashes of tokens, sealed secrets, signing keys.

The key lies in the data folder (`secret.key`, readable by its owner alone) and is made there on first use. Whoever has it
and the state has everything; keep it with the backup, or apart from it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import SettingsError, StoreUnusableError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

TOKEN_PREFIX = "ag_"
TOKEN_LENGTH = len(TOKEN_PREFIX) + 43 + 6
_KEY_BYTES = 32


class Vault:
    """What the installation's key is for."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            msg = f"the installation's key has {len(key)} bytes, not {_KEY_BYTES}; restore secret.key from a backup"
            raise SettingsError(msg)
        self._key = key
        self._token_key = self._derive(b"token")
        self._seal_key: Fernet | None = None

    @classmethod
    def open(cls, data: Path) -> Vault:
        """
        The vault of a data folder; its key is made where there is none yet.

        Raises StoreUnusableError where it cannot be read, SettingsError where it is none.
        """
        path = data / "secret.key"
        try:
            return cls(cls._key_at(path))
        except OSError as error:
            msg = f"{path}: it cannot be made or read ({error.strerror}); give the user of the gateway the folder and its files"
            raise StoreUnusableError(msg) from error

    @classmethod
    def of_store(cls, data: Path) -> Vault:
        """As `open`, but where there is a store, a key that is missing was lost: raises StoreUnusableError then, too."""
        path = data / "secret.key"
        if (data / "state.db").exists() and not path.exists():
            msg = (
                f"{path} is missing, and there is a store: with another key no URL works and no secret can be opened; "
                "restore it from the backup (or, to begin anew, take another data folder)"
            )
            raise StoreUnusableError(msg)
        return cls.open(data)

    @staticmethod
    def _key_at(path: Path) -> bytes:
        data = path.parent
        if not path.exists():
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = data / f".secret.key.{os.getpid()}.{secrets.token_hex(4)}"
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(fresh, path)  # unlike a rename, this never replaces a key that another process has just made
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return path.read_bytes()

    def _derive(self, purpose: bytes) -> bytes:
        return hmac.digest(self._key, b"alert-gateway:" + purpose, "sha256")

    def token_hash(self, token: bytes) -> bytes:
        """What is stored of a token."""
        return hmac.digest(self._token_key, token, "sha256")

    def signing_secret(self, contact_id: str) -> str:
        """The secret that webhook notifications to a contact are signed with, in Standard Webhooks' form `whsec_…`."""
        return "whsec_" + base64.b64encode(self._derive(b"contact:" + contact_id.encode())).decode()

    def seal(self, secret: str) -> bytes:
        """Encrypt a secret for the store."""
        return self._fernet().encrypt(secret.encode())

    def unseal(self, sealed: bytes) -> str:
        """Decrypt a secret from the store; raises SettingsError where another key sealed it."""
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet().decrypt(sealed).decode()
        except InvalidToken:
            msg = "a stored secret was sealed with another key; restore secret.key from the backup of this store"
            raise SettingsError(msg) from None

    def _fernet(self) -> Fernet:
        if self._seal_key is None:
            from cryptography.fernet import Fernet

            self._seal_key = Fernet(base64.urlsafe_b64encode(self._derive(b"seal")))
        return self._seal_key


def new_token() -> str:
    """A token of 256 random bits: a prefix that scanners can find, and a checksum that spares look-ups of noise."""
    body = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return TOKEN_PREFIX + body + _checksum(body)


def is_token(token: bytes) -> bool:
    """Whether the checksum holds: a text that was once a token, of this or another installation."""
    if len(token) != TOKEN_LENGTH or not token.startswith(TOKEN_PREFIX.encode()):
        return False
    text = token.decode("ascii", "replace")
    return _checksum(text[len(TOKEN_PREFIX) : -6]) == text[-6:]


def hint(token: str) -> str:
    """What may be shown of a token."""
    return token[: len(TOKEN_PREFIX) + 4] + "…"


def new_id(prefix: str) -> str:
    """A short random id, `int_4x7kq2m9wd3a`."""
    return _id(prefix, secrets.token_bytes(32))


def id_of(prefix: str, *words: str) -> str:
    """The id that always follows from these words."""
    return _id(prefix, "\0".join(words).encode())


def _id(prefix: str, seed: bytes) -> str:
    return prefix + "_" + base64.b32encode(hashlib.sha256(seed).digest()).decode().lower()[:12]


def _checksum(body: str) -> str:
    return base64.urlsafe_b64encode(zlib.crc32(body.encode()).to_bytes(4, "big")).decode().rstrip("=")
