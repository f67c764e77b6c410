"""The kinds of things that a command line holds: spans of time, ids, and the two options that every command takes."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cli.session import Session
from gateway.clock import span


class Span(click.ParamType[float]):
    """A span of time, `90s`, `1h`, `7d`, as seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        milliseconds = span(value)
        if milliseconds is None:
            self.fail(f"{value!r} is not a span of time; write 90s, 15m, 1h or 7d", param, ctx)
        return milliseconds / 1000


class Number(click.ParamType[int]):
    """The id of an alert or a message: a whole number from 1."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if not re.fullmatch(r"[1-9][0-9]{0,17}", str(value)):
            self.fail(f"{value!r} is not an id; ids are whole numbers from 1", param, ctx)
        return int(value)


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the examples as they are, unwrapped."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--data` and `--json`, and the session that they make as its first argument."""

    @click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="The data folder; GATEWAY_DATA or ./gateway-data where it is not given.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
    @functools.wraps(function)
    def wrapper(*, data: Path | None, as_json: bool, **arguments: Any) -> Any:
        return function(Session(data, as_json=as_json), **arguments)

    return wrapper


def limited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a list that grows with every message its `--limit`."""
    return _limit(50)(function)


def limited_late(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a list that people make, and want to see whole, its `--limit`."""
    return _limit(1000)(function)


def _limit(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    kind = click.IntRange(1, 100_000)
    return click.option("--limit", type=kind, default=default, show_default=True, metavar="N", help="How many at most.")
