"""
Alert Gateway: webhooks in, alerts opened and closed, the right people told.

What stands here is the whole public API: for templates, for plugins, and for the types that hooks are given.
"""

from gateway.errors import GatewayError, TemplateError, UnreadableError
from gateway.hookspecs import hookimpl
from gateway.models import Alert, Change, Contact, Event, Ignored, Integration, Notification, Severity
from gateway.template import Request, TemplateFolder

__version__ = "0.1.0"

__all__ = [
    "Alert",
    "Change",
    "Contact",
    "Event",
    "GatewayError",
    "Ignored",
    "Integration",
    "Notification",
    "Request",
    "Severity",
    "TemplateError",
    "TemplateFolder",
    "UnreadableError",
    "__version__",
    "hookimpl",
]
