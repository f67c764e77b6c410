"""
Which endpoint a path means: tokens and names in memory, as new as the request that asks.

The table is read from the state whenever the configuration has changed since. Only paths that lead somewhere are
remembered, so that guessing fills nothing; a token that fails its checksum is not even hashed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.clock import Clock
from gateway.errors import GatewayError, SettingsError
from gateway.handshakes import Handshake
from gateway.models import Endpoint, Integration
from gateway.store.base import State
from gateway.vault import Vault, is_token
from gateway.verify import Verification

PREFIX = b"/POSTAlert/"
MAX_PATHS = 4096
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_log = logging.getLogger("gateway.endpoints")
_T = TypeVar("_T")


class Sender(Protocol):
    """What a template says about its sender."""

    @property
    def verification(self) -> Verification | Sequence[Verification] | None:
        """How requests are verified; None where the vendor has no way."""

    @property
    def handshakes(self) -> Sequence[Handshake]:
        """How the vendor asks whether the URL is ours."""

    @property
    def delivery_id(self) -> str | None:
        """Where the vendor's id of a delivery is: `header:Name` or JMESPath."""


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """
    What accepting needs to know of an endpoint.

    `secrets` are unsealed, the current one first; without any, senders are not verified. `until` is the instant at which
    the token that was used stops working. `problem` says why nothing can be accepted, for the log.
    """

    endpoint_id: str
    name: str
    verifications: tuple[Verification, ...] = ()
    secrets: tuple[str, ...] = ()
    handshakes: tuple[Handshake, ...] = ()
    delivery_id: str | None = None
    secret_headers: frozenset[bytes] = frozenset()
    until: int | None = None
    problem: str | None = None

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"<Admitted {self.endpoint_id} {self.name!r}>"


class Endpoints:
    """
    The table of endpoints.

    `direct` says that the store answers without suspending (SQLite): then a request looks whether the configuration
    changed, at most every `max_age` seconds, and before it is told that there is no such endpoint. Of other stores the
    table is renewed by `keep_fresh`, and a change takes effect within `max_age`.
    """

    def __init__(
        self,
        state: State,
        vault: Vault,
        template_of: Callable[[str], Sender | None],
        clock: Clock,
        *,
        direct: bool = True,
        max_age: float = 0.02,
    ) -> None:
        self._state, self._vault, self._template_of, self._clock = state, vault, template_of, clock
        self._direct, self._max_age = direct, max_age
        self._by_hash: dict[bytes, tuple[bytes, Admitted]] = {}
        self._by_path: dict[bytes, Admitted] = {}
        self._unsealed: dict[bytes, str] = {}
        self._version: int | None = None
        self._checked = float("-inf")

    def find(self, path: bytes) -> Admitted | None:
        """The endpoint that a raw path (no query) leads to; None where there is none, or it is disabled."""
        asked = self._clock.monotonic()
        stale = asked - self._checked > self._max_age
        if stale and self._direct:
            self._renew(asked)
        found = self._by_path.get(path)
        if found is None:
            found = self._look_up(path, asked, renew=self._direct and not stale)
        if found is not None and found.until is not None and self._clock.now() >= found.until:
            self._by_path.pop(path, None)
            return None
        return found

    async def refresh(self) -> None:
        """Read the configuration if it has changed; raises StoreError where the store cannot be read."""
        version = await self._state.config_version()
        if version == self._version:
            return
        endpoints, integrations = await self._state.endpoints(), await self._state.integrations()
        self._by_hash = self._table(endpoints, integrations)
        self._by_path = {}
        # Read before the rows: a change in between is then seen by the next look, never missed.
        self._version = version

    async def keep_fresh(self) -> None:
        """Refresh for ever; for stores that are not direct."""
        while True:
            with contextlib.suppress(GatewayError):
                await self.refresh()
            await asyncio.sleep(self._max_age)

    def _renew(self, asked: float) -> None:
        self._checked = asked
        try:
            _at_once(self.refresh())
        except GatewayError:  # what is known keeps working while the store does not
            _log.exception("the configuration could not be read; the last known one stays in use")

    def _look_up(self, path: bytes, asked: float, *, renew: bool) -> Admitted | None:
        parts = _split(path)
        if parts is None:
            return None
        token, name = parts
        digest = self._vault.token_hash(token)
        if renew and digest not in self._by_hash:
            self._renew(asked)
        known = self._by_hash.get(digest)
        if known is None or known[0] != name:
            return None
        if len(self._by_path) >= MAX_PATHS:
            self._by_path.pop(next(iter(self._by_path)))
        self._by_path[path] = known[1]
        return known[1]

    def _table(
        self, endpoints: Sequence[Endpoint], integrations: Sequence[Integration]
    ) -> dict[bytes, tuple[bytes, Admitted]]:
        first: dict[str, Integration] = {}
        for integration in sorted(integrations, key=lambda item: (item.sequence, item.name), reverse=True):
            if integration.enabled:
                first[integration.endpoint_id] = integration
        table: dict[bytes, tuple[bytes, Admitted]] = {}
        unsealed: dict[bytes, str] = {}
        for endpoint in endpoints:
            if endpoint.id not in first:
                continue
            admitted = self._admitted(endpoint, first[endpoint.id], unsealed)
            name = endpoint.name.encode()
            if endpoint.previous_token_hash is not None and endpoint.previous_until is not None:
                previous = msgspec.structs.replace(admitted, until=endpoint.previous_until)
                table.setdefault(endpoint.previous_token_hash, (name, previous))
            table[endpoint.token_hash] = (name, admitted)
        self._unsealed = unsealed
        return table

    def _admitted(self, endpoint: Endpoint, integration: Integration, unsealed: dict[bytes, str]) -> Admitted:
        template = self._template_of(integration.template)
        try:
            sealed = [secret for secret in (endpoint.secret, endpoint.previous_secret) if secret is not None]
            for secret in sealed:
                unsealed[secret] = self._unsealed.get(secret) or self._vault.unseal(secret)
            specs, handshakes, delivery_id = _sender(template, integration.settings)
        except (SettingsError, msgspec.ValidationError) as error:
            _log.error("integration %s accepts nothing: %s", integration.name, error)
            return Admitted(endpoint_id=endpoint.id, name=endpoint.name, problem=str(error))
        if template is None and sealed and not specs:
            problem = f"template {integration.template!r} is not installed, so its senders cannot be verified"
            return Admitted(endpoint_id=endpoint.id, name=endpoint.name, problem=problem)
        return Admitted(
            endpoint_id=endpoint.id,
            name=endpoint.name,
            verifications=specs,
            secrets=tuple(unsealed[secret] for secret in sealed),
            handshakes=handshakes,
            delivery_id=delivery_id,
            secret_headers=frozenset(filter(None, (spec.secret_header for spec in specs))),
        )


def _sender(
    template: Sender | None, settings: Mapping[str, Any]
) -> tuple[tuple[Verification, ...], tuple[Handshake, ...], str | None]:
    """What the template says, as far as the integration does not say otherwise."""
    specs: Any = template.verification if template else None
    if "verification" in settings:
        specs = msgspec.convert(settings["verification"], Verification | list[Verification] | None)
    handshakes: Any = template.handshakes if template else ()
    if "handshake" in settings:
        handshakes = msgspec.convert(settings["handshake"], Handshake | list[Handshake] | None)
    where = settings.get("delivery_id", template.delivery_id if template else None)
    return (
        (specs,) if isinstance(specs, Verification) else tuple(specs or ()),
        (handshakes,) if isinstance(handshakes, Handshake) else tuple(handshakes or ()),
        where,
    )


def _split(path: bytes) -> tuple[bytes, bytes] | None:
    """Token and name of a path, decoded once; None where it is not of our form."""
    if not path.startswith(PREFIX) or _BAD_ESCAPE.search(path):
        return None
    parts = [unquote_to_bytes(part) for part in path[len(PREFIX) :].removesuffix(b"/").split(b"/")]
    if len(parts) != 2 or not is_token(parts[0]):  # noqa: PLR2004 - token and name
        return None
    # A name that holds these was never made here; refusing it keeps every proxy's idea of the path the same as ours.
    if parts[1] in (b"", b".", b"..") or any(byte in parts[1] for byte in b"\0/\\\r\n"):
        return None
    return parts[0], parts[1]


def _at_once(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that does not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    coroutine.close()
    msg = "the store suspended; it is not `direct`"
    raise RuntimeError(msg)
