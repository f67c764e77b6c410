"""A template as the laws see it: compiled once, and read without a failure that another law tells of."""

from __future__ import annotations

import functools
from pathlib import Path

from gateway.errors import TemplateError
from gateway.models import Reading
from gateway.rulebook import Rulebook, compile_rulebook
from gateway.template import TemplateFile, TemplateFolder
from gateway.testing.samples import Sample, read_sample

GENERIC = "generic"
"""The category of a template that is no vendor's: it has no vendor's page, and no vendor's steps."""


@functools.cache
def template_at(folder: Path) -> TemplateFolder:
    """The template of a folder, one for all tests."""
    return TemplateFolder(folder)


@functools.cache
def book_of(template: TemplateFolder) -> Rulebook:
    """Its rules without anybody's settings, compiled once."""
    return compile_rulebook(template, {})


def compiled(template: TemplateFolder) -> Rulebook:
    """The same without its code, of which nothing is imported."""
    return compile_rulebook(template, {}, read=lambda _: [])


def flaw_of(template: TemplateFolder) -> str | None:
    """Why nothing can be read with a template: its template.toml, its rules, or the import of its code."""
    try:
        book_of(template)
    except TemplateError as error:
        return str(error)
    return None


def file_of(template: TemplateFolder) -> TemplateFile | None:
    """template.toml; None where it cannot be read, of which a law of its own tells."""
    try:
        return template.file
    except TemplateError:
        return None


def is_generic(template: TemplateFolder) -> bool:
    """Whether it is no vendor's."""
    file = file_of(template)
    return file is not None and GENERIC in file.categories


def read(template: TemplateFolder, sample: Sample) -> list[Reading]:
    """What is read of a sample; raises whatever the template raises."""
    book = book_of(template)
    return book.readings(sample.request(book))


def read_or_none(template: TemplateFolder, path: Path) -> list[Reading] | None:
    """The same of a sample's file; None where it cannot be read, of which the law of its expected outcome tells."""
    try:
        return read(template, read_sample(path))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  # a template's code may raise anything
        return None
