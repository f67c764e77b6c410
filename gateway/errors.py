"""
Everything the gateway raises.

    GatewayError
    ├── SettingsError            a setting is wrong: what, where, what to do
    ├── TemplateError            a template folder is wrong: file, key, fix
    │   └── SlugTakenError       two packages bring the same template
    ├── PluginError              a plugin could not be loaded
    ├── UnreadableError          a message could not be read by its template
    │   └── ReaderKilledError    reading it took too long, too much memory, or killed the process
    ├── NotFoundError            no such integration, alert, message, user, policy, template
    ├── ConflictError            the name is taken, or the thing is in use
    ├── StoreError               the store did not do what was asked
    │   ├── StoreBusyError       full, locked or overloaded: try again
    │   └── StoreUnusableError   wrong version, wrong file, in use by another gateway: do not try again
    └── DeliveryError            one attempt to notify failed
        ├── TemporaryDeliveryError    try again, perhaps not before `retry_after` seconds
        └── PermanentDeliveryError    give up: no retry can help
            └── BlockedTargetError    notifications must not go to this address

The message of each error says what is wrong, where, and what to do. None carries a token, a key or a password.
"""

from __future__ import annotations


class GatewayError(Exception):
    """The gateway could not do what was asked."""


class SettingsError(GatewayError):
    """A setting is wrong."""


class TemplateError(GatewayError):
    """A template folder is wrong."""


class SlugTakenError(TemplateError):
    """Two packages bring a template of the same slug."""


class PluginError(GatewayError):
    """A plugin could not be loaded."""


class UnreadableError(GatewayError):
    """A message could not be read by its template."""


class ReaderKilledError(UnreadableError):
    """A template was stopped while it read a message."""


class NotFoundError(GatewayError):
    """There is nothing of that name."""


class ConflictError(GatewayError):
    """The name is taken, or the thing is in use."""


class StoreError(GatewayError):
    """The store did not do what was asked."""


class StoreBusyError(StoreError):
    """The store is full, locked or overloaded; the same call may succeed later."""


class StoreUnusableError(StoreError):
    """The store cannot be used as it is; trying again does not help."""


class DeliveryError(GatewayError):
    """One attempt to notify failed."""

    def __init__(self, message: str, *, status: int | None = None, response: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.response = response


class TemporaryDeliveryError(DeliveryError):
    """The attempt failed in a way that another may mend; `retry_after` is in seconds, from the target."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        response: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, response=response)
        self.retry_after = retry_after


class PermanentDeliveryError(DeliveryError):
    """The attempt failed in a way that no other can mend."""


class BlockedTargetError(PermanentDeliveryError):
    """Notifications must not go to this address or port."""
