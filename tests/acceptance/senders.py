"""
What the acceptance tests share: the set-up steps of a template's README, and a sender's own program.

A sender runs as whoever runs the tests, in a temporary folder and on the loopback: nothing in `/etc` is read or written.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from gateway.store.base import Journal, State
from tests.running import ROOT, RunningGateway, until

SECRET = "a-secret-of-the-trial"
"""Every sender is verified as its README says, so the tests show that it can be."""
_FENCE = re.compile(r"^(?P<indent> *)```[^`\n]*\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"


class Setup(msgspec.Struct, frozen=True):
    """An integration, and what its template's README tells its user to write into files, in order."""

    url: str
    steps: Sequence[str]

    def step(self, word: str, *, instead: dict[str, str] | None = None) -> str:
        """
        The one step that has this word in it.

        `instead` are the places where the user, too, writes what is his own; each must be there.
        """
        (found,) = [text for text in self.steps if word in text]
        for text, own in (instead or {}).items():
            assert text in found, f"the README no longer says {text!r} in:\n{found}"
            found = found.replace(text, own)
        return found


def set_up(gateway: RunningGateway, template: str, settings: Path | None = None) -> Setup:
    """Add an integration with a secret, and read the README as it is shown to whoever adds one."""
    file = gateway.data.parent / "secret"
    file.write_text(SECRET)
    more = [] if settings is None else ["--settings", str(settings)]
    made = gateway.cli(
        "integrations", "add", template, "--name", f"Trial of {template}", "--secret-file", str(file), *more
    )
    url = gateway.at(made["endpoint_url"])
    readme = (ROOT / "plugins" / template / "README.md").read_text().replace("{endpoint_url}", url)
    return Setup(url, code_of(readme.replace("<the secret>", SECRET)))


def code_of(readme: str) -> list[str]:
    """The fenced blocks of a page, without the indentation of the list that they stand in."""
    return [re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE) for match in _FENCE.finditer(readme)]


def outcomes(gateway: RunningGateway) -> list[str]:
    """What became of every event so far, oldest first."""

    async def question(state: State, journal: Journal) -> list[str]:
        messages = await journal.newest(1000)
        return [event.outcome for event in await state.events([message.id for message in messages])]

    return gateway.ask(question)


def program(name: str, package: str) -> str:
    """Where a program is; the test is skipped where it is not."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}")
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install --no-install-recommends {package}")
    return found


def free_port() -> int:
    """A port of the loopback that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file as its user would; some programs refuse one that others can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def says(file: Path, code: int, text: str) -> Path:
    """Let a check that runs this file have this result; the file is replaced whole, since it may be run at any moment."""
    new = write(file.with_suffix(".new"), f'echo "{text}"\nexit {code}\n')
    return new.rename(file)


def run(command: Sequence[str | Path], **environ: str) -> None:
    """Run a program to its end, which must be a good one."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env=_environ(environ), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}{done.stderr}"


def _environ(own: dict[str, str]) -> dict[str, str]:
    return {"PATH": _SYSTEM, "LANG": "C.UTF-8", **own}


class Sender:
    """A sender's program while it runs."""

    def __init__(self, process: subprocess.Popen[bytes], gateway: RunningGateway) -> None:
        self._process = process
        self._gateway = gateway

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; fails at once where the program has ended."""
        until(lambda: self._lives() and condition(), self._gateway)

    def _lives(self) -> bool:
        code = self._process.poll()
        assert code is None, f"the sender ended with {code}"
        return True

    def until_outcomes(self, *expected: str) -> None:
        """Wait until so many events came, and compare what became of them."""
        self.until(lambda: len(outcomes(self._gateway)) >= len(expected))
        found = outcomes(self._gateway)
        assert found == list(expected), f"what became of the messages: {found}"


@contextlib.contextmanager
def sender(gateway: RunningGateway, folder: Path, command: Sequence[str | Path], **environ: str) -> Iterator[Sender]:
    """Run a program in the foreground for the length of a block; what it printed is told where the block fails."""
    log = folder / "printed.log"
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=_environ({"HOME": str(folder), **environ}),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # what it starts ends with it
        )
    try:
        yield Sender(process, gateway)
    except BaseException as error:
        error.add_note(f"{command[0]} printed:\n{log.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
