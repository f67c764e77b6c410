"""A template's samples, posted to a real gateway: each becomes there what it becomes here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.body import parse_headers
from gateway.handshakes import VISIT_HEADER
from gateway.models import EventRecord
from gateway.template import TemplateFolder
from gateway.testing.reading import read_or_none
from gateway.testing.running import RunningGateway, running, until
from gateway.testing.samples import read_sample

ACCEPTED = 200


@contextlib.contextmanager
def gateway_with(templates: Sequence[TemplateFolder], place: Path) -> Iterator[RunningGateway]:
    """A gateway that has these templates, each under a slug of its own, whatever else is installed."""
    plugins = place / "plugins"
    plugins.mkdir()
    for template in templates:
        (plugins / slug_of(template)).symlink_to(template.path.resolve())
    # Samples name URLs to visit, and these are the vendor's.
    with running(place / "data", plugins_dir=str(plugins), fetch_deadline="0") as gateway:
        yield gateway


def slug_of(template: TemplateFolder) -> str:
    """The slug under which a template is tried."""
    return f"tried-{template.slug}"


def unlike(gateway: RunningGateway, template: TemplateFolder) -> Iterator[str]:
    """Samples that the gateway does not take, or of which it does something else than is read here."""
    url = gateway.add(slug_of(template), slug_of(template)).url(gateway.url)
    posted: dict[int, tuple[str, list[str]]] = {}
    for path in template.samples():
        readings = read_or_none(template, path)
        if readings is None:
            continue
        sample = read_sample(path)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in parse_headers(sample.headers)}
        if VISIT_HEADER in headers:  # as the gateway keeps it, which nobody can send
            continue
        status, answer = gateway.post(url, sample.body, headers, sample.query.decode("latin-1"))
        if status != ACCEPTED:
            yield f"{path.name}: the gateway answers {status} {answer}"
        elif isinstance(answer, dict) and "message_id" in answer:  # else it is a handshake, which is not stored
            # Of several samples with one delivery id the first is kept.
            posted.setdefault(int(answer["message_id"]), (path.name, [reading.action for reading in readings]))
    until(gateway.settled, gateway)
    records = gateway.ask(lambda state, _: state.events(sorted(posted)))
    for message_id, (name, actions) in posted.items():
        mine = [record for record in records if record.message_id == message_id]
        if [record.action for record in mine] != actions or any(record.outcome == "failed" for record in mine):
            yield f"{name}: here its events {_listed(actions)}, there {'; '.join(map(_said, mine)) or 'nothing comes of it'}"


def _listed(actions: Sequence[str]) -> str:
    return ", ".join(actions)


def _said(record: EventRecord) -> str:
    return f"{record.action}: {record.outcome}" + (f" ({record.reason})" if record.reason else "")
