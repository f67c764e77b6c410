"""Figures, what they are held to, and the tables they are printed in."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


class NotMeasuredError(Exception):
    """Something could not be measured: the message says why."""


@dataclass(kw_only=True)
class Figure:
    """One measured number and its target: at least `least`, or at most `most`; neither where it is only told."""

    name: str
    unit: str
    least: float | None = None
    most: float | None = None
    value: float | None = None
    note: str = ""
    reason: str = "its section did not get as far as this"

    @property
    def target(self) -> str:
        """What it is held to, in words."""
        if self.least is not None:
            return f"≥ {number(self.least)} {self.unit}"
        return f"≤ {number(self.most)} {self.unit}" if self.most is not None else ""

    @property
    def verdict(self) -> str:
        """Whether it is met, or by how much it is missed."""
        if self.value is None:
            return "not measured"
        bound = self.least if self.least is not None else self.most
        if bound is None:
            return ""
        if (self.value >= bound) if self.least is not None else (self.value <= bound):
            return "met"
        return f"missed by {abs(self.value - bound) / bound:.0%}"


@dataclass(kw_only=True)
class Server:
    """One line of the table of servers: a list has one number per round."""

    name: str
    rates: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    lost: str = ""
    reason: str = ""

    @property
    def rate(self) -> float | None:
        """The median of the rounds, in requests a second."""
        return statistics.median(self.rates) if self.rates else None

    @property
    def p99(self) -> float | None:
        """The median of the rounds, in milliseconds."""
        return statistics.median(self.p99s) if self.p99s else None


def number(value: float | None) -> str:
    """A number with the digits that mean something."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def ratio(one: float | None, other: float | None) -> float | None:
    """One by the other; None where one was not measured."""
    return one / other if one is not None and other else None


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of the values does not exceed."""
    if not values:
        msg = "there is nothing to take a percentile of"
        raise NotMeasuredError(msg)
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that also reads well as text."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [head, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def servers_table(servers: Sequence[Server]) -> str:
    """The servers side by side; the second and third are what the first is compared with."""
    by_name = {server.name: server for server in servers}
    peer, bare = by_name.get("Alertmanager"), by_name.get("bare uvicorn")
    rows = [
        [
            server.name,
            number(server.rate),
            number(ratio(server.rate, peer.rate if peer else None)),
            number(ratio(server.rate, bare.rate if bare else None)),
            number(server.p99),
            "not measured" if server.reason else server.lost,
        ]
        for server in servers
    ]
    return table(
        ["Server", "req/s", "× Alertmanager", "× bare uvicorn", "p99 ms", "accepted, then lost by kill -9"], rows
    )


def figures_table(figures: Sequence[Figure]) -> str:
    """Each figure with its target and whether it is met."""
    rows = [
        [
            figure.name,
            f"{number(figure.value)} {figure.unit}" if figure.value is not None else "–",
            figure.target,
            figure.verdict,
            figure.note,
        ]
        for figure in figures
    ]
    return table(["Work", "Measured", "Target", "", "How"], rows)


def what_is_missing(figures: Sequence[Figure]) -> str:
    """Why some figures were not measured, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for figure in figures:
        if figure.value is None:
            reasons.setdefault(figure.reason, []).append(figure.name)
    return "\n".join(f"not measured: {reason} ({'; '.join(dict.fromkeys(names))})" for reason, names in reasons.items())
