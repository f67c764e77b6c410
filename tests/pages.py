"""
The pages of `docs/`, read as their readers do: what they show is run, and what they say of it is compared.

A fence's title says what it is, to the reader and to the test: `template.toml`, `message`, `events`. Tables whose head is
`Text | Finds`, `Tags | Finds` or `Message | Then | Why` are run row by row.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.body import decode_body, parse_headers, parse_query
from gateway.certificates import Keyring
from gateway.errors import TemplateError, UnreadableError
from gateway.handshakes import Handshake, Visit
from gateway.mapping import Text, Texts
from gateway.models import Reading
from gateway.rulebook import Rulebook
from gateway.signatures import verify_any
from gateway.template import convert, import_file, merge
from gateway.testing.samples import Sample, expected_of, read_sample
from gateway.verify import Verification, ways_of
from tests.page_day import Day

_FENCE = re.compile(
    r'^ *```(?P<language>\w*)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^ *```$', re.MULTILINE | re.DOTALL
)
_TABLE = re.compile(r"^\|.*\|\n\|[ :|-]+\|\n(?:\|.*\|\n?)*", re.MULTILINE)
_CELL = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"(`+)(.+?)\1")
_CAP = 4 << 20


class Block(msgspec.Struct, frozen=True):
    """A fenced block or a table, and the line it begins in."""

    line: int
    language: str
    title: str
    text: str
    rows: tuple[tuple[str, ...], ...] = ()


def blocks(page: str) -> list[Block]:
    """Fenced blocks and tables of a page, in order. A table has its head as title: `Text | Finds`."""
    found = [
        Block(_line(page, match.start()), match["language"], match["title"] or "", match["text"].removesuffix("\n"))
        for match in _FENCE.finditer(page)
    ]
    without = _FENCE.sub(lambda match: "\n" * match.group().count("\n"), page)
    for match in _TABLE.finditer(without):
        head, _, *rows = (_cells(line) for line in match.group().splitlines())
        title = " | ".join(filter(None, head))
        found.append(Block(_line(without, match.start()), "table", title, "", tuple(map(tuple, rows))))
    return sorted(found, key=lambda block: block.line)


def _line(page: str, at: int) -> int:
    return page.count("\n", 0, at) + 1


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip()[1:-1])]


def code(cell: str) -> str:
    """What stands between backticks in a cell."""
    found = _CODE.search(cell)
    assert found is not None, f"{cell!r} has no code"
    return found[2]


class Run:
    """A page, run from top to bottom; each block sees what those above it set."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._base: dict[str, Any] = {}
        self._template: dict[str, Any] = {}
        self._settings: dict[str, Any] = {}
        self._there = ""
        self._code: str | None = None
        self._message: Path | None = None
        self._certificates: dict[str, bytes] = {}
        self._count = 0
        self.ran = 0
        self._steps: Mapping[str, Callable[[Block], None]] = {
            "in all of them": self._set_base,
            "template.toml": self._set_template,
            "template.py": self._set_code,
            "settings": self._set_settings,
            "message": self._set_message,
            "events": self._events,
            "unreadable": self._unreadable,
            "error": self._error,
            "why": self._why,
            "Text | Finds": self._texts,
            "Tags | Finds": self._tags,
            "Message | Then | Why": self._messages,
            "there are": self._set_there,
            "At | Message | Then | Told | Why": self._day,
            "asked": self._set_message,
            "answered": self._answered,
            "visited": self._visited,
            "not visited": self._not_visited,
        }

    def take(self, block: Block) -> bool:
        """Run a block; whether it was one of those that are run."""
        longer = {"believed": self._believed, "certificate": self._set_certificate}
        step = longer.get(block.title.partition(" ")[0].rstrip(","), self._steps.get(block.title))
        if step is None:
            return False
        step(block)
        self.ran += 1
        return True

    # what is set

    def _set_base(self, block: Block) -> None:
        self._base, self._template = tomllib.loads(block.text), {}

    def _set_template(self, block: Block) -> None:
        self._template, self._code, self._settings = tomllib.loads(block.text), None, {}

    def _set_code(self, block: Block) -> None:
        self._code = block.text

    def _set_settings(self, block: Block) -> None:
        self._settings = tomllib.loads(block.text)

    def _set_there(self, block: Block) -> None:
        self._there = block.text

    def _set_message(self, block: Block) -> None:
        self._count += 1
        self._message = self._folder / f"message{self._count}.{'http' if block.language == 'http' else 'json'}"
        self._message.write_text(block.text + "\n", encoding="utf-8")

    def _set_certificate(self, block: Block) -> None:
        """`certificate at https://…`; it is there for what stands below it."""
        self._certificates[block.title.removeprefix("certificate at ")] = block.text.encode()

    # what is compared

    def _events(self, block: Block) -> None:
        found = expected_of(self._readings())
        expected = json.loads(block.text)
        assert [_as_shown(one, shown) for one, shown in zip(found, expected, strict=True)] == expected

    def _why(self, block: Block) -> None:
        assert [line for reading in self._readings() for line in reading.trace] == block.text.splitlines()

    def _unreadable(self, block: Block) -> None:
        with pytest.raises(UnreadableError) as caught:
            self._readings()
        assert str(caught.value) == block.text

    def _error(self, block: Block) -> None:
        with pytest.raises(TemplateError) as caught:
            self._book()
        assert str(caught.value).removeprefix("template.toml: ") == block.text

    def _texts(self, block: Block) -> None:
        scope = json.loads(self._sample().body)
        for row in block.rows:
            _compare(row, lambda source: Text(source).find(scope), code(row[0]))

    def _tags(self, block: Block) -> None:
        scope = json.loads(self._sample().body)
        for row in block.rows:
            _compare(row, lambda sources: list(Texts(sources).find(scope)), json.loads(code(row[0])))

    def _messages(self, block: Block) -> None:
        for message, then, why in block.rows:
            self._set_message(Block(block.line, "json", "message", code(message)))
            (reading,) = self._readings()
            assert _then(reading) == then, message
            assert code(why) in reading.trace, f"{message}: {reading.trace}"

    def _day(self, block: Block) -> None:
        day = Day(self._there, self._settings)
        for at, message, then, told, why in block.rows:
            day.row(at, "-" if message == "-" else code(message), then, told, "-" if why == "-" else code(why))

    def _believed(self, block: Block) -> None:
        """`believed, secret: s3cret`, and where time matters `, clock: 1700000000`."""
        match = re.fullmatch(r"believed, secret: (.+?)(?:, clock: (\d+))?", block.title)
        assert match is not None, f"{block.title!r} is not `believed, secret: …`"
        self._set_message(block)
        sample = self._sample()
        tables = self._raw()["verification"]
        specs = [msgspec.convert(one, Verification) for one in (tables if isinstance(tables, list) else [tables])]
        for spec in specs:
            spec.check()
        for spec in ways_of(specs, match[1]):
            spec.check_secret(match[1])
        now = int(match[2] or 0) * 1000
        keyring = Keyring()
        for url, pem in self._certificates.items():
            assert keyring.add(url, pem, now) is None or any(spec.kind != "certificate" for spec in specs)

        def ask(secret: str, body: bytes) -> object:
            one = msgspec.structs.replace(sample, body=body)
            headers = parse_headers(sample.headers)
            return verify_any(specs, [secret], headers, body, now, view=lambda: _view(one), keyring=keyring)

        assert ask(match[1], sample.body) is None
        assert ask(_other(match[1]), sample.body) is not None, "with any other secret too"
        if all(spec.kind in ("hmac", "standard_webhooks") and "{body}" in spec.signed for spec in specs):
            assert ask(match[1], sample.body + b" ") is not None, "with any other body too"
        for spec in specs:
            for key in spec.signed_keys:
                changed = sample.body.replace(b'"%b": "' % key.encode(), b'"%b": "x' % key.encode())
                assert changed == sample.body or ask(match[1], changed) is not None, "with any other text too"

    def _answered(self, block: Block) -> None:
        sample = self._sample()
        method = sample.path.read_text().split(" ", 1)[0]
        replies = [handshake.reply(method, lambda: _view(sample)) for handshake in self._handshakes()]
        reply = next(filter(None, replies), None)
        assert reply is not None, "no handshake applies"
        assert reply[1].decode() == block.text
        assert reply[0].startswith(b"application/json" if block.language == "json" else b"text/plain")

    def _visited(self, block: Block) -> None:
        assert self._wanted() == Visit(block.text, None)

    def _not_visited(self, block: Block) -> None:
        assert self._wanted().flaw == block.text

    def _wanted(self) -> Visit:
        sample = self._sample()
        visit = next(filter(None, (handshake.wanted(lambda: _view(sample)) for handshake in self._handshakes())), None)
        assert visit is not None, "no handshake applies"
        return visit

    def _handshakes(self) -> list[Handshake]:
        tables = self._raw()["handshake"]
        handshakes = [msgspec.convert(one, Handshake) for one in (tables if isinstance(tables, list) else [tables])]
        for handshake in handshakes:
            handshake.check()
        return handshakes

    # what it rests on

    def _raw(self) -> dict[str, Any]:
        return merge(self._base, self._template)

    def _book(self) -> Rulebook:
        raw = merge(self._raw(), self._settings)
        read = None
        if self._code is not None:
            path = self._folder / "template.py"
            path.write_text(self._code, encoding="utf-8")
            read = import_file(path, "page_template").read
        file = convert(raw, "template.toml")
        own = self._settings.get("fields")
        return Rulebook(file, read=read, has_code=self._code is not None, own_fields=own)

    def _sample(self) -> Sample:
        assert self._message is not None, "there is no message above this"
        return read_sample(self._message)

    def _readings(self) -> list[Reading]:
        book = self._book()
        return book.readings(self._sample().request(book))


def _compare(row: Sequence[str], find: Callable[[Any], object], source: Any) -> None:
    if row[1].startswith("error: "):
        with pytest.raises(TemplateError, match=re.escape(code(row[1]))):
            find(source)
        return
    found = find(source)
    expected = None if row[1] == "nothing" else json.loads(code(row[1]))
    assert found == expected, row[0]
    assert type(found) is type(expected), row[0]


def _then(reading: Reading) -> str:
    if reading.dropped_by is not None:
        return "not taken"
    if reading.action == "ignore":
        return f"ignore: {reading.reason}"
    if reading.action == "open":
        return f"open, {reading.severity or reading.default_severity}"
    return reading.action


def _as_shown(found: Mapping[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """Of an event what the page shows of it."""
    return {key: found.get(key, "(there is no such key)") for key in shown}


def _view(sample: Sample) -> dict[str, Any]:
    headers = parse_headers(sample.headers)
    named = {name.decode(): value.decode() for name, value in headers}
    body = decode_body(headers, sample.body, _CAP, payload_field="payload")
    return {"body": body, "query": parse_query(sample.query), "headers": named}


def _other(secret: str) -> str:
    return secret[:-2] + ("xy" if not secret.endswith("xy") else "yx")


def titles(page: str) -> Iterator[str]:
    """The headings of a page, without their marks."""
    without = _FENCE.sub("", page)
    yield from re.findall(r"^#+ (.+)$", without, re.MULTILINE)


# a page that is followed word for word


class Walk:
    """A tutorial, followed in a folder: files are written, commands run in one shell's surroundings, output compared."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._state = folder, folder.parent / f"{folder.name}.state"
        self._environ = dict(environ)
        self._printed = ""
        self._again: Block | None = None
        self._started: list[subprocess.Popen[str]] = []
        self.commands = 0

    def take(self, block: Block) -> None:
        """Do what a block says; a title that is none of these is the name of a file."""
        match block.title:
            case "run" | "run, and it fails":
                self._run(block)
            case "run, with a network":
                self.commands += _commands(block)
            case "run, in a second terminal":
                self._start(block)
            case "it prints":
                self._compare(block)
            case "":
                message = "a block without a title: is it run, printed, or a file?"
                raise AssertionError(message)
            case _:
                path = self._folder / block.title
                assert path.parent.is_dir(), f"{path.parent} is not there"
                path.write_text(block.text + "\n", encoding="utf-8")

    def close(self) -> None:
        """Stop what was started."""
        for process in self._started:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)

    def _run(self, block: Block) -> None:
        self._printed = self._shell(block.text, fails=block.title.endswith("fails"))
        self.commands += _commands(block)
        self._again = block

    def _shell(self, text: str, *, fails: bool = False) -> str:
        """A block in a shell that knows the variables of those before it."""
        script = f'set -a; [ -f "$STATE" ] && . "$STATE"; set -e\n{text}\nexport -p > "$STATE"\n'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environ | {"STATE": str(self._state)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{text}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _start(self, block: Block) -> None:
        self.commands += _commands(block)
        log = self._folder.parent / f"{self._folder.name}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"set -e\n{block.text}"],
                cwd=self._folder,
                env=self._environ,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._started.append(process)
        _wait_for(lambda: (self._folder / "gateway-data" / "running.json").exists() or process.poll() is not None)
        assert process.poll() is None, log.read_text()

    def _compare(self, block: Block) -> None:
        """Lines in their order; `…` stands for anything. What only looks is looked at again until it is so."""
        wanted = [line for line in block.text.splitlines() if line.strip() != "…"]
        patterns = [".*?".join(map(re.escape, re.split(r"\s*…\s*", line))) for line in wanted if line.strip()]

        def is_there() -> bool:
            lines = iter(self._printed.splitlines())
            return all(any(re.fullmatch(rf"\s*{pattern.strip()}\s*", line) for line in lines) for pattern in patterns)

        last = (self._again.text.splitlines() if self._again else [""])[-1]
        if re.search(r" (?:list|show)\b", last):
            _wait_for(lambda: is_there() or self._look(last))
        assert is_there(), f"it prints:\n{self._printed}\nand the page says:\n{block.text}"

    def _look(self, command: str) -> bool:
        self._printed = self._shell(command)
        return False


def _commands(block: Block) -> int:
    return len([line for line in block.text.splitlines() if line.strip()])


def _wait_for(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.1)
