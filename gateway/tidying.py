"""What was read of a message, fit to be stored: texts trimmed and cut, times made sense of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.errors import UnreadableError
from gateway.models import Event
from gateway.rules import EVENT_FIELDS

MAX_TAGS = 100
MAX_CUSTOM = 50
LIMITS = {
    "source": 200,
    "source_name": 1000,
    "source_url": 4000,
    "source_status": 500,
    "source_severity": 500,
    "subject": 1000,
    "description": 32_000,
    "short_text": 500,
    "assignee": 500,
    "topic": 500,
}
"""How many characters of a field are kept; the message itself is kept whole."""
MAX_ID = 64_000
TEXT_FIELDS = tuple(name for name in EVENT_FIELDS if name != "tags")
_EARLIEST_YEAR = 1971  # 0001-01-01 and 1970-01-01 are how vendors say "none"
_MILLISECONDS_FROM = 100_000_000_000


def tidy(event: Event, source: str) -> Event:
    """
    The event, fit to be stored: texts trimmed and cut, NUL and lone surrogates replaced, times without sense left out.

    Raises UnreadableError where a field has the wrong type, or the id is empty or over 64,000 characters.
    """
    values: dict[str, Any] = {}
    for name in TEXT_FIELDS:
        value = getattr(event, name)
        if value is None:
            continue
        if not isinstance(value, str):
            msg = f"{name} is a {type(value).__name__}, not text"
            raise UnreadableError(msg)
        value = clean(value)
        if name in LIMITS and len(value) > LIMITS[name]:
            value = f"{value[: LIMITS[name]]}… ({len(value) - LIMITS[name]} more characters)"
        if value:
            values[name] = value
    identity = values.get("source_id", "")
    if not identity or len(identity) > MAX_ID:
        msg = f"source_id has {len(identity)} characters; 1 to {MAX_ID} are allowed"
        raise UnreadableError(msg)
    values.setdefault("source", source)
    values["tags"] = _tags(event.tags)
    if event.custom:
        values["custom"] = _custom(event.custom)
    when = event.occurred_at
    if when is not None:
        if not isinstance(when, datetime):
            msg = f"occurred_at is a {type(when).__name__}, not a datetime"
            raise UnreadableError(msg)
        values["occurred_at"] = _sensible(when)
    return Event(**values)


def _tags(tags: object) -> tuple[str, ...]:
    if not isinstance(tags, tuple | list) or not all(isinstance(tag, str) for tag in tags):
        msg = "tags is not a list of texts"
        raise UnreadableError(msg)
    return tuple(dict.fromkeys(filter(None, (clean(tag)[:500] for tag in tags[:MAX_TAGS]))))


def _custom(custom: object) -> dict[str, str]:
    if not isinstance(custom, dict) or not all(isinstance(text, str) for pair in custom.items() for text in pair):
        msg = "custom is not a table of texts"
        raise UnreadableError(msg)
    pairs = ((clean(name)[:100], clean(text)[:4000]) for name, text in list(custom.items())[:MAX_CUSTOM])
    return {name: text for name, text in pairs if name and text}


def clean(text: str) -> str:
    """Trimmed; NUL shown as ␀ and lone surrogates replaced, which no database and no JSON reader takes."""
    text = text.strip()
    if "\0" in text:
        text = text.replace("\0", "\N{SYMBOL FOR NULL}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def moment(value: Any) -> datetime | None:
    """ISO 8601 text, or seconds or milliseconds since 1970 as number or text; None for anything else. Without zone: UTC."""
    if isinstance(value, str):
        value = value.strip()
        try:
            value = float(value)
        except ValueError:
            try:
                return _in_utc(datetime.fromisoformat(value))
            except (ValueError, OverflowError):
                return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _sensible(when: datetime) -> datetime | None:
    try:
        when = _in_utc(when)
    except (ValueError, OverflowError):
        return None
    return when if when.year >= _EARLIEST_YEAR else None


def _in_utc(when: datetime) -> datetime:
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
