"""A template.toml as it is proposed: what was found, each line with the reason, and what is to be found as a TODO."""

from __future__ import annotations

import json
from collections.abc import Iterator

from gateway.proposal import Guess, Proposal

_QUESTIONS = {
    "source_id": (
        (
            "the vendor's own id of the problem, or of the check where a problem has none, verbatim. The same in a problem "
            "and in its recovery. Never the title, never a text with the status or a count in it"
        ),
        '"{incident.id}"',
    ),
    "source_status": ("the vendor's own word for what is going on, untouched", '"{status}"'),
    "source_severity": ("the vendor's own severity, untouched; leave it out where there is none", '"{severity}"'),
    "subject": (
        (
            "what is wrong and where, in the vendor's words, without the status in front and without the vendor's name; the "
            "same for the problem and for its recovery where that can be had"
        ),
        '"{check.name} on {host}"',
    ),
    "description": ("what else helps: the value and the limit, the reason, the runbook's link", '"{message}"'),
    "source_url": (
        "the page a person wants to open: the problem, else the check. Never an API address, never one with a token",
        '"{url}"',
    ),
    "source_name": (
        (
            "which instance of the vendor's things it is: account, site, cluster, host. It must be the same when the problem "
            "fires and when it recovers; leave it out where the vendor has none"
        ),
        '"{account.name}"',
    ),
    "occurred_at": (
        "when it happened, by the vendor's clock; leave it out where it is the time of the first trigger in every message",
        '"{timestamp}"',
    ),
    "tags": ("the vendor's tags or labels; not what another field says already", '["{tags}"]'),
}
_RULES = {
    "open": 'every word for "there is a problem", warnings and "no data" included',
    "close": 'every word for "it is over"',
    "update": "news of an open problem that opens none: acknowledged, assigned, commented; leave it out where there are none",
}
_WIDTH = 112
_OPTIONAL = ("update",)


def template_toml(name: str, proposal: Proposal) -> str:
    """The whole file."""
    return (
        "\n".join(
            [*_head(name, proposal), *_each(proposal), *_fields(proposal), *_rules(proposal), *_tail(name, proposal)]
        )
        + "\n"
    )


def toml_text(text: str) -> str:
    """A text as TOML: in double quotes, or in single ones where that saves escapes."""
    if ('"' in text or "\\" in text) and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _head(name: str, proposal: Proposal) -> Iterator[str]:
    yield f"# How Alert Gateway reads webhooks of {' '.join(name.split())}."
    yield "# `alert-gateway plugins check` says what is still to do in it, `plugins preview` what a sample gives."
    yield "api = 1"
    yield f"name = {toml_text(name)}"
    yield 'channel = "API"'
    yield from _todo("the page where the vendor documents the webhook: an https address")
    yield 'docs_url = ""'
    yield from _todo("where the gallery shows it, such as observability, infrastructure, uptime, logs, security")
    yield "categories = []"
    yield f"accepts = [{', '.join(map(toml_text, proposal.accepts))}]"


def _each(proposal: Proposal) -> Iterator[str]:
    if proposal.each is not None:
        yield ""
        yield "# Every element of this list is an event of its own."
        yield f"each = {toml_text(proposal.each)}"


def _fields(proposal: Proposal) -> Iterator[str]:
    yield ""
    yield "# Texts with holes; a hole holds a path in the message (JMESPath). Left of the =: what it means here."
    yield "[fields]"
    for field, (question, example) in _QUESTIONS.items():
        guess = proposal.guess(field)
        if guess is None:
            yield from _todo(f"{field}: {question}")
            yield f"# {field} = {example}"
        else:
            yield from _wrapped(_because(guess))
            text = toml_text(guess.written)
            yield f"{field} = [{text}]" if field == "tags" else f"{field} = {text}"


def _because(guess: Guess) -> str:
    others = f" Or: {', '.join(guess.others)}." if guess.others else ""
    return f"A guess ({guess.confidence}): {guess.why}.{others}"


def _rules(proposal: Proposal) -> Iterator[str]:
    for action, question in _RULES.items():
        words = proposal.rules.get(action)
        yield ""
        if words:
            yield from _wrapped(f"Seen in the payloads. Its documentation may have more: {question}.")
            yield f"[{action}]"
            yield f"is_one_of = [{', '.join(map(toml_text, words))}]"
        elif action in _OPTIONAL:
            yield from _wrapped(f"[update] is for {question}.")
        else:
            yield from _todo(f"{question}, as source_status says it")
            yield f"# [{action}]"
            yield f"# is_one_of = [{toml_text('firing' if action == 'open' else 'resolved')}]"
    for word in proposal.rules.get("ignore", []):
        yield from (
            "",
            "[[ignore]]",
            'reason = "test message"',
            'field = "source_status"',
            f"is_one_of = [{toml_text(word)}]",
        )
    if proposal.unplaced:
        yield ""
        shown = ", ".join(map(toml_text, proposal.unplaced))
        yield from _todo(f"put these words of source_status, seen in the payloads, where they belong: {shown}")


def _tail(name: str, proposal: Proposal) -> Iterator[str]:
    yield ""
    has_scale = proposal.guess("source_severity") is not None
    yield from _wrapped(
        "The vendor's scale in the vendor's order. Top of the scale: critical; a scale of two is critical and warning, of "
        "three critical, error, warning. `default` is for what is in no list: warning where the vendor has a scale, error "
        "where it has none."
    )
    if has_scale:
        yield from _todo("see whether the words are all, and whether each stands where the vendor would have it")
    yield "[severity]"
    for severity in ("critical", "error", "warning", "info"):
        if words := proposal.severities.get(severity):
            yield f"{severity} = [{', '.join(map(toml_text, words))}]"
    yield f'default = "{"warning" if has_scale else "error"}"'
    yield ""
    yield from _todo(
        'how the vendor proves that it is the sender. Signed: kind = "hmac" and its header; a header of the user\'s own: as it '
        'stands here, with the reason under [exempt]; nothing at all: kind = "none" and the reason'
    )
    yield "# [verification]"
    yield '# kind = "token"'
    yield '# header = "X-Alert-Token"'
    yield "#"
    yield "# [exempt]"
    yield f'# sender_verified = "{" ".join(name.split())} signs nothing; …"'


def _todo(text: str) -> Iterator[str]:
    yield from _wrapped(f"TODO {text}.")


def _wrapped(text: str) -> Iterator[str]:
    import textwrap

    clean = "".join(char if char.isprintable() else " " for char in text)
    return iter(textwrap.wrap(clean, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False))
