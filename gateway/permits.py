"""
Which plugins may be loaded.

Those that the allow-list GATEWAY_LOAD_PLUGINS names, with the files that it pins, less what the operator disabled.
"""

from __future__ import annotations

import importlib.metadata
import re

from gateway.config import Settings
from gateway.errors import GatewayError, SettingsError
from gateway.fingerprint import of_distribution
from gateway.roster import disabled, normal

_PIN = re.compile(r"sha256:[0-9a-f]{64}")


class Permits:
    """The operator's word on each plugin, looked up once."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = None if settings.load_plugins is None else allowed(settings.load_plugins)
        self._refusals: dict[str, str | None] = {}
        self.broken: str | None = None
        """Why nothing may be loaded; None where that is not so."""
        self._disabled: frozenset[str] = frozenset()
        try:
            self._disabled = disabled(settings.data)
        except SettingsError as error:  # what was disabled is not known, so nothing is loaded
            self.broken = f"not loaded: {error}"

    def refusal(self, name: str, distribution: importlib.metadata.Distribution | None) -> str | None:
        """Why an installed distribution is not loaded; None where it may be."""
        key = normal(name)
        if key not in self._refusals:
            self._refusals[key] = self.switched_off(key) or self._pinned(key, distribution)
        return self._refusals[key]

    def switched_off(self, name: str) -> str | None:
        """Why what has this name is not loaded, where it was disabled; the allow-list does not speak of folders."""
        if self.broken is None and normal(name) in self._disabled:
            return f"not loaded: it is disabled; `alert-gateway plugins enable {name}` loads it again"
        return self.broken

    def left_out(self, name: str, *, is_package: bool) -> bool:
        """Whether the operator wants it so: what has this name is disabled, or a package that is not on the allow-list."""
        if self.broken is not None:
            return False
        unlisted = is_package and self._allowed is not None and normal(name) not in self._allowed
        return unlisted or normal(name) in self._disabled

    def _pinned(self, key: str, distribution: importlib.metadata.Distribution | None) -> str | None:
        if self._allowed is None:
            return None
        if key not in self._allowed:
            return "not loaded: GATEWAY_LOAD_PLUGINS does not name its distribution"
        pin = self._allowed[key]
        if pin is None:
            return None
        if not _PIN.fullmatch(pin):
            return f"not loaded: GATEWAY_LOAD_PLUGINS: {key}@{pin[:80]} is no pin; write {key}@sha256:… with 64 digits"
        try:
            found = None if distribution is None else of_distribution(distribution)
        except (GatewayError, ImportError, ValueError) as error:
            return f"not loaded: GATEWAY_LOAD_PLUGINS pins it, and it cannot be hashed: {error}"
        if found == pin:
            return None
        return (
            f"not loaded: its files have the hash {found}, and GATEWAY_LOAD_PLUGINS allows {pin}; where the change is meant, "
            f"set {key}@{found}"
        )


def allowed(text: str) -> dict[str, str | None]:
    """The allow-list: distributions, each with the hash that its files must have, None for any."""
    found: dict[str, str | None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, at, pin = item.partition("@")
        found[normal(name.strip())] = pin.strip().lower() if at else None
    return found
