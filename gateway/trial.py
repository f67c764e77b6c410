"""
Whether the template.py of others can be imported: tried in a process like the one that reads messages.

A gallery is read without importing code, so that it costs nothing; whoever asks what is broken, or adds an integration, has
it tried. What goes wrong here would go wrong with each message.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gateway.config import Settings, load
from gateway.errors import TemplateError
from gateway.lane import reader_environ
from gateway.loader import builtin_dir
from gateway.plugins import Plugins
from gateway.reader import confine, die_with_parent
from gateway.template import TemplateFolder

_START_DEADLINE = 30.0


def try_code(plugins: Plugins, settings: Settings, slugs: Iterable[str] | None = None) -> Plugins:
    """
    The same plugins; a template whose code cannot be imported is now a broken one.

    `slugs` are those to try, None for all.
    """
    wanted = list(plugins.cards) if slugs is None else [slug for slug in slugs if slug in plugins.cards]
    for slug, error in code_errors([plugins.cards[slug].folder for slug in wanted], settings).items():
        plugins.reject(slug, error)
    return plugins


def code_errors(folders: Iterable[TemplateFolder], settings: Settings) -> dict[str, str]:
    """
    What is wrong with the code of each that cannot be imported, by slug; built-in ones are not tried.

    An import may take `read_deadline` seconds, since the first message waits for it.
    """
    others = [one for one in folders if one.has_code and not one.path.is_relative_to(builtin_dir())]
    return {folder.slug: error for folder, error in _errors(others, settings.read_deadline)}


def _errors(folders: Sequence[TemplateFolder], deadline: float) -> Iterator[tuple[TemplateFolder, str]]:
    """One process imports them in turn; after one that is broken, the next process goes on."""
    rest = list(folders)
    while rest:
        with _process(rest) as descriptor:
            if not _line(descriptor, _START_DEADLINE):
                yield from (
                    (one, f"{one.path / 'template.py'}: the process to import it in did not start") for one in rest
                )
                return
            line: bytes | None = b"\n"
            while rest and line == b"\n":
                folder, line = rest.pop(0), _line(descriptor, deadline)
                if line != b"\n":
                    yield folder, _error(folder, line, deadline)


def _error(folder: TemplateFolder, line: bytes | None, deadline: float) -> str:
    where = folder.path / "template.py"
    if line is None:
        return f"{where}: importing it took over {deadline:g} s, as long as a message may take (GATEWAY_READ_DEADLINE)"
    return line.decode("utf-8", "replace").strip() or f"{where}: importing it ended the process"


@contextlib.contextmanager
def _process(folders: Sequence[TemplateFolder]) -> Iterator[int]:
    """The process, as what it answers: an empty line at first and for each that is good, an error and its end for another."""
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.trial", str(os.getpid())],
        env=reader_environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,  # what a template starts ends with it
    ) as process:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(json.dumps([[str(one.path), one.slug] for one in folders]).encode())
            yield process.stdout.fileno()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _line(descriptor: int, seconds: float) -> bytes | None:
    """The next line, empty at the end; None where it does not come in time."""
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], seconds)[0]:
            return None
        byte = os.read(descriptor, 1)
        if not byte:
            return b""
        line += byte
    return line


def main(parent: int) -> None:
    """Import the templates that the standard input names, `[[path, slug], …]`, up to the first that is broken."""
    die_with_parent(parent)
    confine(load())
    folders = [TemplateFolder(Path(path), slug) for path, slug in json.load(sys.stdin)]
    answers, own = os.dup(1), os.getpid()
    os.dup2(2, 1)  # what a template prints is no answer
    os.write(answers, b"\n")
    for folder in folders:
        said = _said(folder)
        if os.getpid() != own:
            os._exit(0)  # a child that a template forked comes back here too
        os.write(answers, " ".join(said.split()).encode("utf-8", "replace") + b"\n")
        if said:
            return


def _said(folder: TemplateFolder) -> str:
    try:
        folder.load_read()
    except MemoryError:
        where = folder.path / "template.py"
        return f"{where}: importing it took more memory than a template may have (GATEWAY_READ_MEMORY)"
    except TemplateError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(int(sys.argv[1]))
