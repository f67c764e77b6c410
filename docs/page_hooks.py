"""What mkdocs does to every page beside its own: the same Markdown reads right here and in the repository."""

from __future__ import annotations

import re
from typing import Any

_CODE_IN_CELL = re.compile(r"<code>[^<]*\\\|[^<]*</code>")


def on_page_content(html: str, **_: Any) -> str:
    """Take the backslash from a `|` in a table's code: it must be there in the source, and Python-Markdown shows it."""
    return _CODE_IN_CELL.sub(lambda match: match.group().replace("\\|", "|"), html)
