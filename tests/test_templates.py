"""Every built-in template keeps the laws; `gateway.testing` has them, and third parties run the same."""

from __future__ import annotations

from pathlib import Path

from gateway.testing import TemplateConformance

PLUGINS = Path(__file__).parent.parent / "plugins"


class TestBuiltIn(TemplateConformance):
    folders = sorted(path.parent for path in PLUGINS.glob("*/template.toml"))
