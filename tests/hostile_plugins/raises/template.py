"""Raises whatever `do` says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gateway import Event, Request, TemplateError, UnreadableError


class WithoutTextError(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise SystemExit(7)


class UnreadableWithoutTextError(UnreadableError):
    """The same, of a kind that the gateway knows."""

    def __str__(self) -> str:
        raise ValueError


def deeper(depth: int = 0) -> int:
    """Go on without end."""
    return deeper(depth + 1) + 1


ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("no"),
    "KeyError": lambda: KeyError("alerts"),
    "BaseException": lambda: BaseException("no"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "CancelledError": asyncio.CancelledError,
    "ExceptionGroup": lambda: ExceptionGroup("many", [ValueError("no")]),
    "WithoutTextError": WithoutTextError,
    "UnreadableWithoutTextError": UnreadableWithoutTextError,
    "UnreadableError": lambda: UnreadableError("no key 'alerts'"),
    "TemplateError": lambda: TemplateError("broken"),
    "surrogates": lambda: ValueError("\ud800\0"),
    "long": lambda: UnreadableError("x" * 50_000_000),
}


def read(request: Request) -> Iterable[Event]:
    """Raise it."""
    do = request.data["do"]
    if do == "RecursionError":
        deeper()
    if do == "late":
        return late()
    error = ERRORS[do]()
    raise error


def late() -> Iterable[Event]:
    """Raise when the first event is already out."""
    yield Event(source_id="x", source_status="down")
    msg = "late"
    raise ValueError(msg)
