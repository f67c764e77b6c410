"""
The files of a new template, as a package that can be published or as a plain folder for `plugins_dir`.

They start red: what the conformance suite says of them is what is to be written next. What was proposed from captured
payloads stands in template.toml with its reason, and the payloads are its first samples.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import msgspec

import gateway
from gateway.errors import ConflictError, GatewayError
from gateway.proposal import Proposal
from gateway.scaffold.cases import Capture, Case, cases_of
from gateway.scaffold.toml import template_toml, toml_text
from gateway.template import SLUG

__all__ = ["Capture", "Case", "Scaffold", "check_name", "check_slug", "scaffold_of", "write_files"]

PREFIX = "alert-gateway-"
_PACKAGE = {
    "pyproject.toml.txt": "pyproject.toml",
    "project.md.txt": "README.md",
    "license.txt": "LICENSE",
    "gitignore.txt": ".gitignore",
    "workflow.yml.txt": ".github/workflows/test.yml",
    "test_template.py.txt": "tests/test_template.py",
    "init.py.txt": "src/@module@/__init__.py",
}
_LONGEST_SLUG = 50


class Scaffold(msgspec.Struct, kw_only=True):
    """What will be written: files by their path in the `folder`, and where in it the template is."""

    folder: str
    template: str
    files: dict[str, bytes]
    cases: list[Case]


def check_slug(vendor: str, taken: Sequence[str]) -> str:
    """The vendor's slug; raises GatewayError that says what a good one is, ConflictError where it is taken."""
    if vendor.startswith(PREFIX):
        msg = f"{vendor!r}: the package will be called that; give the vendor alone, {vendor.removeprefix(PREFIX)!r}"
        raise GatewayError(msg)
    if not SLUG.fullmatch(vendor) or len(vendor) > _LONGEST_SLUG:
        better = "-".join(
            "".join(char if char.isascii() and char.isalnum() else " " for char in vendor.lower()).split()
        )
        hint = f"; write {better!r}, and --name {vendor!r} for how it is shown" if SLUG.fullmatch(better) else ""
        msg = (
            f"{vendor!r} is no vendor's slug: lower-case letters, digits and single hyphens, a letter first, at most "
            f"{_LONGEST_SLUG} characters{hint}"
        )
        raise GatewayError(msg)
    if vendor in taken:
        msg = (
            f"the slug {vendor!r} is taken: `alert-gateway templates show {vendor}` shows by whom; call yours otherwise"
        )
        raise ConflictError(msg)
    return vendor


def check_name(name: str) -> str:
    """How the vendor writes itself, fit for TOML, Python and Markdown alike; raises GatewayError where it is not."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 100 or not name.isprintable() or set(name) & set('"\\<>`@'):  # noqa: PLR2004
        msg = f"--name {name!r}: 1 to 100 characters, and none of them a quotation mark, backslash, <, >, ` or @"
        raise GatewayError(msg)
    return name


def scaffold_of(
    slug: str,
    name: str,
    *,
    package: bool,
    proposal: Proposal | None = None,
    captures: Sequence[Capture] = (),
    today: date,
) -> Scaffold:
    """All files of a new template."""
    module = PREFIX.replace("-", "_") + slug.replace("-", "_")
    marks = {
        "@slug@": slug,
        "@name@": name,
        "@module@": module,
        "@distribution@": PREFIX + slug,
        "@class@": "".join(part.capitalize() for part in slug.split("-")),
        "@version@": gateway.__version__,
    }
    inside = f"src/{module}/" if package else ""
    toml = template_toml(name, proposal or Proposal())
    files = {inside + "template.toml": toml.encode(), inside + "README.md": _text("steps.md.txt", marks)}
    cases = cases_of(toml, proposal, captures) if captures else []
    for case in cases:
        files[f"{inside}samples/{case.file}"] = case.content
        if case.expected is not None:
            files[f"{inside}samples/{case.name}.expected.json"] = case.expected
    if not cases:
        for one in ("firing", "resolved"):
            files[f"{inside}samples/problem_{one}.json"] = _text(f"{one}.json", marks)
    sources = {case.file: case.source for case in cases} or {"problem_firing.json": "", "problem_resolved.json": ""}
    files[inside + "samples/provenance.toml"] = _provenance(sources, today).encode()
    if package:
        files |= {_filled(path, marks): _text(source, marks) for source, path in _PACKAGE.items()}
    return Scaffold(
        folder=PREFIX + slug if package else slug, template=inside.rstrip("/") or ".", files=files, cases=cases
    )


def write_files(target: Path, files: Mapping[str, bytes]) -> None:
    """Write them into a folder that is not there yet; raises ConflictError where it is, GatewayError where it cannot be."""
    try:
        target.mkdir(parents=True)
        for path, content in files.items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except FileExistsError:
        msg = f"{target} is there already; move it away, or choose another place with --into"
        raise ConflictError(msg) from None
    except OSError as error:
        msg = f"{error.filename or target}: cannot be written: {error.strerror}"
        raise GatewayError(msg) from None


def _text(name: str, marks: Mapping[str, str]) -> bytes:
    text = (importlib.resources.files("gateway.scaffold") / "texts" / name).read_text(encoding="utf-8")
    return _filled(text, marks).encode()


def _filled(text: str, marks: Mapping[str, str]) -> str:
    for mark, value in marks.items():
        text = text.replace(mark, value)
    return text


def _provenance(sources: Mapping[str, str], today: date) -> str:
    lines = [
        "# Where each sample comes from. documented: from the vendor's own pages; captured: seen on the wire; adapted: put",
        "# together from parts of either. `url` is the page that speaks of it, `date` when it was read or captured.",
    ]
    for file, source in sorted(sources.items()):
        note = f"captured as {source}" if source else ""
        lines += [
            "",
            f"[{toml_text(file)}]",
            f'kind = "{"captured" if source else "documented"}"',
            'url = ""  # TODO the page where the vendor documents this payload, https://…',
            f"date = {today.isoformat()}",
        ]
        if source:
            lines.append(f"note = {toml_text(note)}  # TODO from which version of the vendor's product")
    return "\n".join(lines) + "\n"
