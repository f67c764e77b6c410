"""
Ways to reach people, one module each.

They come through the hook that third parties use, so a new one is a plugin and edits nothing here.
"""

from __future__ import annotations

from gateway.hookspecs import hookimpl
from gateway.notifiers.base import Notifier, Outbound


class BuiltInNotifiers:
    """The plugin that brings the gateway's own notifiers."""

    @hookimpl
    def register_notifiers(self, outbound: Outbound) -> list[Notifier]:
        """Webhook and email; raises SettingsError where GATEWAY_SMTP_URL cannot be read."""
        from gateway.notifiers.email import EmailNotifier
        from gateway.notifiers.webhook import WebhookNotifier

        own_url = outbound.settings.base_url
        return [
            WebhookNotifier(outbound.client, outbound.vault, clock=outbound.clock, own_url=own_url),
            EmailNotifier(outbound.settings),
        ]
