"""
What authors of templates and plugins test with.

    from gateway.testing import TemplateConformance

    class TestAcme(TemplateConformance):
        folder = "src/alert_gateway_acme"

`TemplateConformance` has the laws that every template keeps. The pytest plugin, there once the gateway is installed, adds
`--update-expected` and the fixture `gateway`, a real one on a store of its own; `gateway.testing.strategies` makes hostile
payloads with Hypothesis.

Names are imported when they are asked for: the pytest plugin lies in this package, and is loaded by every pytest of an
environment, also where nobody tests a template.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.testing.conformance import TemplateConformance
    from gateway.testing.running import RunningGateway
    from gateway.testing.samples import Provenance, Sample, expected_of, read_provenance, read_sample, written
    from gateway.testing.sink import Arrival, Sink

__all__ = [
    "Arrival",
    "Provenance",
    "RunningGateway",
    "Sample",
    "Sink",
    "TemplateConformance",
    "expected_of",
    "read_provenance",
    "read_sample",
    "written",
]

_HOMES = {
    "Arrival": "sink",
    "Provenance": "samples",
    "RunningGateway": "running",
    "Sample": "samples",
    "Sink": "sink",
    "TemplateConformance": "conformance",
    "expected_of": "samples",
    "read_provenance": "samples",
    "read_sample": "samples",
    "written": "samples",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"gateway.testing.{_HOMES[name]}"), name)
    msg = f"module 'gateway.testing' has no attribute {name!r}"
    raise AttributeError(msg)
