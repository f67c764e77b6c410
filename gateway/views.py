"""The things the gateway speaks of, as the JSON that leaves it: notifications, the API and the CLI show the same."""

from __future__ import annotations

from typing import Any

from gateway.clock import iso
from gateway.models import Alert


def alert_view(alert: Alert, integration: str) -> dict[str, Any]:
    """An alert as a JSON object, with the name of its integration; ids are text, instants ISO 8601 in UTC, or null."""
    return {
        "id": str(alert.id),
        "status": alert.status,
        "source": alert.source,
        "source_name": alert.source_name,
        "source_id": alert.source_id,
        "source_url": alert.source_url,
        "source_status": alert.source_status,
        "severity": alert.severity,
        "subject": alert.subject,
        "description": alert.description,
        "tags": list(alert.tags),
        "opened_at": iso(alert.opened_at),
        "closed_at": iso(alert.closed_at),
        "integration": integration,
    }
