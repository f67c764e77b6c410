"""What mkdocs does to every page beside its own: the same Markdown reads right here and in the repository."""

from __future__ import annotations

import re
from typing import Any

_CODE_IN_CELL = re.compile(r"<code>[^<]*\\\|[^<]*</code>")


def on_page_content(html: str, **_: Any) -> str:
    """A `|` in a table's code is written `\\|`, which Python-Markdown, unlike others, shows with its backslash."""
    return _CODE_IN_CELL.sub(lambda match: match.group().replace("\\|", "|"), html)
