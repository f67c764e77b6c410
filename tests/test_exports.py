"""The public API is exact: what stands here, no more and no less. Changing it is a decision, and a line in CHANGELOG.md."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import gateway

PUBLIC = [
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

HEAVY = "apsw asyncio click cryptography httpx2 jinja2 orjson prometheus_client rich starlette uvicorn uvloop"


def test_the_public_names() -> None:
    assert sorted(gateway.__all__) == sorted(PUBLIC), (
        "adjust PUBLIC in tests/test_exports.py, and say so in CHANGELOG.md"
    )
    assert gateway.__all__ == sorted(gateway.__all__), "keep `__all__` sorted, so that it can be read"


def test_nothing_else_looks_public() -> None:
    others = {
        name
        for name, value in vars(gateway).items()
        if not name.startswith("_") and not isinstance(value, ModuleType) and name not in gateway.__all__
    } - {"annotations", "TYPE_CHECKING"}
    assert not others, f"these look public and are not in `__all__`: {sorted(others)}"


@pytest.mark.parametrize("name", PUBLIC)
def test_it_is_there_and_is_described(name: str) -> None:
    value = getattr(gateway, name)
    if isinstance(value, type):
        assert value.__doc__, f"gateway.{name} has no docstring"


def test_importing_it_is_light() -> None:
    """A template author's tests and each reader process import it; neither needs a server or a database."""
    program = f"import sys, gateway; print(*sorted(set({HEAVY!r}.split()) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not loaded, f"`import gateway` also imports {', '.join(loaded)}: import those where they are used"
