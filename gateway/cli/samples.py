"""A template's sample payloads, as requests; and the `curl` that tries an endpoint with one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.config import nearest
from gateway.errors import NotFoundError, TemplateError
from gateway.template import TemplateFile, TemplateFolder

_TYPES = {
    ".json": "application/json",
    ".xml": "application/xml",
    ".txt": "text/plain; charset=utf-8",
    ".form": "application/x-www-form-urlencoded",
}
_INLINE = 700


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a vendor sends it."""

    name: str
    headers: tuple[tuple[str, str], ...]
    query: str
    body: bytes


_QUICK = Sample(
    name="quick",
    headers=(("content-type", _TYPES[".form"]),),  # as curl says of what it is given with -d
    query="",
    body=b'{"source_id":"demo-1","status":"open","subject":"Disk of db-7 is nearly full"}',
)


def sample_names(folder: TemplateFolder) -> list[str]:
    """The names of a template's samples, those that open an alert first."""
    names = [path.stem for path in folder.samples()]
    return sorted(names, key=lambda name: (not name.endswith("_firing"), name))


def load_sample(folder: TemplateFolder, name: str | None) -> Sample:
    """One sample by its name, the first that opens an alert without one; raises NotFoundError with the nearest name."""
    paths = {path.stem: path for path in folder.samples()}
    if not paths:
        msg = f"the template {folder.slug} has no samples"
        raise NotFoundError(msg)
    wanted = Path(name).stem if name else sample_names(folder)[0]
    if wanted not in paths:
        msg = (
            f"the template {folder.slug} has no sample {wanted!r}{nearest(wanted, list(paths))}; "
            f"`alert-gateway send {folder.slug} --list` names them"
        )
        raise NotFoundError(msg)
    return read_sample(paths[wanted])


def read_sample(path: Path) -> Sample:
    """A sample from its file: a body alone, or a whole request in a `.http`; raises TemplateError where that is none."""
    content = path.read_bytes()
    if path.suffix != ".http":
        return Sample(name=path.stem, headers=(("content-type", _TYPES[path.suffix]),), query="", body=content)
    head, gap, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    if b"\r\n\r\n" in content:  # the body's own line breaks stay as they are
        body = content.partition(b"\r\n\r\n")[2]
    first, *lines = head.decode("latin-1").split("\n")
    parts = first.split(" ")
    if not gap or len(parts) != 3:  # noqa: PLR2004 - method, target, version
        msg = f"{path}: not a request; it begins with `POST /?query HTTP/1.1`, headers, an empty line"
        raise TemplateError(msg)
    headers = tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines if line))
    return Sample(name=path.stem, headers=headers, query=parts[1].partition("?")[2], body=body)


def curl(
    folder: TemplateFolder, file: TemplateFile, url: str, *, opens: Callable[[Sample], bool], with_secret: bool = False
) -> str:
    """
    A command that posts something of this template's to an endpoint, ready to paste; a remark where nothing would do.

    `opens` says whether a sample opens an alert there.
    """
    proof = _proof(file) if with_secret else ""
    if proof is None:
        return f"# what is sent here must be signed ({file.verifications[0].kind}); {folder.slug} itself has to send it"
    kind = "" if folder.slug == "custom" else "-H 'content-type: application/json' "
    for sample in [_QUICK] if folder.slug == "custom" else _compact(folder):
        if opens(sample):
            return f"curl {proof}{kind}-d {shlex.quote(sample.body.decode())} {shlex.quote(url)}"
    for name in [] if folder.slug == "custom" else sample_names(folder):
        if opens(load_sample(folder, name)):
            return f"alert-gateway send {folder.slug} {name} --to {shlex.quote(url)}"
    return (
        f"# with these settings no sample opens an alert: post a payload of your own; `alert-gateway try {folder.slug} FILE "
        "--settings FILE` says first what is read in it"
    )


def _compact(folder: TemplateFolder) -> list[Sample]:
    """The JSON samples that open an alert, each in one line, the shortest first; without those that are too long to paste."""
    paths = [path for path in folder.samples() if path.suffix == ".json" and path.stem.endswith("_firing")]
    found = []
    for path in paths:
        text = json.dumps(json.loads(path.read_bytes()), ensure_ascii=False, separators=(",", ":"))
        found.append(msgspec.structs.replace(read_sample(path), body=text.encode()))
    return sorted((one for one in found if len(one.body.decode()) <= _INLINE), key=lambda one: len(one.body.decode()))


def _proof(file: TemplateFile) -> str | None:
    """What proves the sender on curl's command line; None where that takes more than curl."""
    verification = file.verifications[0]
    if verification.kind == "token" and verification.header:
        return f'-H "{verification.header}: {verification.prefix}$SECRET" '
    return {"bearer": '-H "Authorization: Bearer $SECRET" ', "basic": '-u "$SECRET" ', "none": ""}.get(
        verification.kind
    )
