"""Tokens and secrets by reference, `env:NAME` or `file:PATH`: what a configuration file holds in place of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gateway.configuration import KEPT
from gateway.errors import GatewayError
from gateway.vault import is_token


class References:
    """What references lead to, in this environment."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def token(self, reference: str) -> str | None:
        """The token; None where the gateway's own is kept. Raises GatewayError where there is none, or it is no token."""
        token = self._value("token", reference)
        if token is not None and not is_token(token.encode()):
            msg = f"what is in {reference} is no token of an Alert Gateway (ag_…); leave `token` out, and one is made"
            raise GatewayError(msg)
        return token

    def secret(self, reference: str | None) -> str | None:
        """The secret; None where the gateway's own is kept, or nobody is verified. Raises GatewayError where there is none."""
        return self._value("secret", reference)

    def _value(self, key: str, reference: str | None) -> str | None:
        if reference is None or reference == KEPT:
            return None
        kind, _, place = reference.partition(":")
        try:
            value = self._environ[place] if kind == "env" else Path(place).read_text(encoding="utf-8").strip("\r\n")
            value.encode()
        except KeyError:
            msg = f"the {key} is to be had from {reference}, and there is no such variable in the environment; set it"
            raise GatewayError(msg) from None
        except OSError as error:
            msg = f"the {key} is to be had from {reference}, which cannot be read: {error.strerror}"
            raise GatewayError(msg) from None
        except ValueError:
            msg = f"the {key} in {reference} is not UTF-8 text"
            raise GatewayError(msg) from None
        if not value:
            msg = f"the {key} in {reference} is empty; put it there"
            raise GatewayError(msg)
        return value
