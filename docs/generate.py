"""Write the pages that follow from the code: `python docs/generate.py`. A test holds that they are current."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from gateway import config

HERE = Path(__file__).parent


def settings_page() -> str:
    """docs/settings.md, from the fields of Settings and the docstring under each."""
    (struct,) = (
        node
        for node in ast.parse(inspect.getsource(config)).body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    defaults = config.Settings()
    lines = [
        "# Settings",
        "",
        "In the environment of `alert-gateway serve`, or as its flags: `GATEWAY_MAX_BODY` is `--max-body`. With `_FILE` at the",
        "end of a name the value is read from that file, for secrets. A name that is not here is an error, so that a misspelt",
        "one is noticed. Sizes are bytes, times seconds.",
        "",
        "| Setting | Default | What it is |",
        "| --- | --- | --- |",
    ]
    for field, text in zip(struct.body[1:], struct.body[2:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            name = field.target.id
            default = getattr(defaults, name)
            words = " ".join(str(ast.literal_eval(text.value)).split()).replace("|", "\\|")
            shown = "" if default in (None, "") else f"`{str(default).lower() if isinstance(default, bool) else default}`"
            lines.append(f"| `GATEWAY_{name.upper()}` | {shown} | {words} |")
    return "\n".join(lines) + "\n"


PAGES = {"settings.md": settings_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
