"""Write the pages that follow from the code: `python docs/generate.py`. A test holds that they are current."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import textwrap
import typing
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

import gateway
import gateway.testing
from gateway import config, hookspecs, rulebook, tidying, tiers
from gateway.advanced import Advanced, Delay, Flapping, Grouping, MessageTexts, OverrideRule, RecipientRule
from gateway.cli.templates import in_words
from gateway.configuration import GroupTable, IntegrationTable, PolicyTable, StepTable, UserTable, WindowTable
from gateway.handshakes import Handshake
from gateway.hours import Hours
from gateway.loader import builtin_dir
from gateway.metrics import GatewayMetrics, IngestCounts
from gateway.models import Event, Ignored
from gateway.rules import Condition, Filters, IgnoreRule, SeverityRules
from gateway.store.base import Counts
from gateway.template import SETTINGS_KEYS, SUPPORTED_API, FieldTexts, Request, TemplateFile, TemplateFolder
from gateway.testing.conformance import LAWS, TemplateConformance
from gateway.testing.samples import Sample, read_sample
from gateway.tiers import evidence_of, tier_of
from gateway.verify import Verification

HERE = Path(__file__).parent
LEFT_OUT = {
    "Freshping": "no page of the vendor says what its webhook sends, or by which placeholders a body of one's own is written",
    "vmalert": "it needs none: it sends to an Alertmanager, whose webhook is read",
}
MADE = "<!-- Made by docs/generate.py from the code: change it there. -->"


def settings_page() -> str:
    """docs/settings.md, from the fields of Settings and the docstring under each."""
    said = docstrings(config.Settings)
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
    for field in msgspec.structs.fields(config.Settings):
        default = getattr(defaults, field.name)
        shown = "" if default in (None, "") else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        lines.append(f"| `GATEWAY_{field.name.upper()}` | {shown} | {cell(said[field.name])} |")
    return "\n".join(lines) + "\n"


def contract_page() -> str:
    """docs/contract.md, from the Structs that template.toml is read into, and what template.py is given."""
    parts = [
        MADE,
        "# The contract of a template",
        f"""
        A template is a folder that says how one vendor's webhook is read. This page is the reference: every key there is.
        [The tutorial](tutorial.md) makes a template step by step; [one voice](template-style.md) says what to put into a field.

        | In the folder | What it is |
        | --- | --- |
        | `template.toml` | what is read, and what the vendor's words mean, as data |
        | `template.py` | `read(request)`, only where a table does not suffice |
        | `README.md` | the vendor's own steps, numbered; `{{endpoint_url}}` stands for the integration's URL |
        | `samples/X_firing.json` | a payload; `.http` where headers or query matter, `.xml`, `.txt` and `.form` too |
        | `samples/X_firing.expected.json` | the events that are expected of it |
        | `samples/provenance.toml` | where each sample comes from, `documented`, `captured` or `adapted`; `url` and `date` |

        The metadata is read without importing code. A key that is not on this page is an error, with the nearest one that is.
        This gateway reads {versions()}.
        """,
        "## template.toml",
        keys(TemplateFile),
        f"""
        An integration may set these for itself, over its template: {", ".join(f"`{key}`" for key in SETTINGS_KEYS)}.
        `fields` and `severity` are merged key by key, the others replaced as a whole.
        """,
        "## [fields]",
        """
        Each is a text with holes, [the mapping language](mapping.md). A field that finds nothing is absent, and the alert
        keeps what it knew.
        """,
        keys(FieldTexts),
        limits(),
        "## [open], [close], [update]",
        f"{inspect.cleandoc(Condition.__doc__ or '')} [Rules](rules.md) shows each.",
        keys(Condition),
        "## [[ignore]]",
        f"{inspect.cleandoc(IgnoreRule.__doc__ or '')} It has the keys of a condition, and:",
        keys(IgnoreRule, without=Condition),
        "## [severity]",
        inspect.cleandoc(SeverityRules.__doc__ or ""),
        keys(SeverityRules),
        "## [filters]",
        inspect.cleandoc(Filters.__doc__ or ""),
        keys(Filters),
        "## [verification]",
        f"{inspect.cleandoc(Verification.__doc__ or '')} [Verification](verification.md) shows vendors.",
        keys(Verification),
        "## [handshake]",
        inspect.cleandoc(Handshake.__doc__ or ""),
        keys(Handshake),
        "## template.py",
        """
        One function, `read(request)`, that gives `Event` or `Ignored`, as a list or a generator. It imports `gateway`,
        msgspec and the standard library, keeps nothing between two messages, and asks neither the clock nor the network.
        Declare what is read as a msgspec Struct; what does not fit is then named with its path.

        ```toml title="template.toml"
        api = 1
        name = "Acme"

        [open]
        is_one_of = ["down"]

        [close]
        is_one_of = ["up"]
        ```

        ```python title="template.py"
        from collections.abc import Iterator

        import msgspec
        from gateway import Event, Ignored, Request


        class Check(msgspec.Struct):
            id: int | str
            state: str
            title: str = ""
            drill: bool = False


        class Body(msgspec.Struct):
            checks: list[Check]


        def read(request: Request) -> Iterator[Event | Ignored]:
            for check in request.decode(Body).checks:
                if check.drill:
                    yield Ignored("a drill")
                else:
                    yield Event(source_id=str(check.id), source_status=check.state, subject=check.title)
        ```

        ```json title="message"
        {"checks": [{"id": 7, "state": "down", "title": "Site is down"}, {"id": 8, "state": "down", "drill": true}]}
        ```

        ```json title="events"
        [
          {"action": "open", "source": "Acme", "source_id": "7", "subject": "Site is down"},
          {"action": "ignore", "reason": "a drill"}
        ]
        ```

        A message that does not fit is kept, can be replayed, and opens an alert that says what is wrong with it:

        ```json title="message"
        {"checks": [{"id": "7"}]}
        ```

        ```text title="unreadable"
        Object missing required field `state` - at `$.checks[0]`
        ```
        """,
        "### Request",
        inspect.cleandoc(Request.__doc__ or ""),
        f"""
        - `request.{signature(Request.decode)}`: {sentence(Request.decode)}
        - `request.scope`: {sentence(Request.scope)}
        """,
        "### Event",
        inspect.cleandoc(Event.__doc__ or ""),
        keys(Event),
        "### Ignored",
        inspect.cleandoc(Ignored.__doc__ or ""),
        keys(Ignored),
    ]
    return page(parts)


def templates_page() -> str:
    """docs/templates.md, from the built-in template folders."""
    folders = built_in()
    parts = [
        MADE,
        "# Templates",
        f"""
        {len(folders)} templates are built in. What opens, closes and ranks an alert is data, and an integration can say
        otherwise for itself. `alert-gateway templates show SLUG` shows a template's fields too, and `--readme` its setup steps.
        """,
        table(
            ("Vendor", "Slug", "Tier", "Samples", "Channel", "Sender"),
            [
                (
                    f"[{folder.file.name}](#{anchor(folder.file.name)})",
                    f"`{folder.slug}`",
                    tier_of(folder),
                    ", ".join(f"{count} {kind}" for kind, count in evidence_of(folder).items()),
                    folder.file.channel,
                    sender(folder.file),
                )
                for folder in folders
            ],
        ),
    ]
    for folder in folders:
        parts += one_template(folder)
    parts += ["## Left out", "Vendors that are asked for, and why there is no template yet."]
    parts.append(table(("Vendor", "Why"), LEFT_OUT.items()))
    return page(parts)


def subjects_page() -> str:
    """docs/subjects.md, from what is expected of the samples of the built-in templates."""
    parts = [
        MADE,
        "# Subjects",
        """
        What the person who is woken reads, for every sample of every built-in template: the alert's subject and its source
        name. [One voice](template-style.md) says how they are made. A subject that a recovery or an update leaves out stays as
        it was. All fit into a text message; none needs a `short_text` of its own.
        """,
    ]
    for folder in built_in():
        rows = [row for path in folder.samples() for row in sample_rows(read_sample(path))]
        parts += [f"## {folder.file.name}", table(("Sample", "Then", "Subject", "Source name"), rows)]
    return page(parts)


def sample_rows(sample: Sample) -> list[tuple[str, ...]]:
    """What is expected of a sample: a row for each event."""
    rows: list[tuple[str, ...]] = []
    for event in sample.expected():
        action, subject = event["action"], event.get("subject")
        if action == "ignore":
            rows.append((f"`{sample.case}`", code_in(f"ignored: {event['reason']}"), "", ""))
            continue
        if action == "open" and subject is None:  # what the pipeline then writes
            subject = f"{event.get('source_name') or event['source']}: {event['source_id']}"
        then = f"opens, {event['severity']}" if action == "open" else f"{action}s"
        read = code_in(subject) if subject else "*as it was*"
        rows.append((f"`{sample.case}`", then, read, code_in(event.get("source_name") or "")))
    return rows


def built_in() -> list[TemplateFolder]:
    """The built-in templates, by the vendor's name."""
    folders = [TemplateFolder(path.parent) for path in builtin_dir().glob("*/template.toml")]
    return sorted(folders, key=lambda folder: folder.file.name.lower())


def one_template(folder: TemplateFolder) -> list[str]:
    """The part of docs/templates.md about one template."""
    file = folder.file
    rows = [(f"ignored: {rule.reason}", in_words(rule)) for rule in file.ignore]
    rows += [
        (verb, in_words(rule))
        for verb, rule in (
            ("opens", file.open),
            ("closes", file.close),
            ("updates", file.update),
            ("acknowledges", file.acknowledge),
        )
        if rule is not None
    ]
    for severity in ("critical", "error", "warning", "info"):
        rule: Any = getattr(file.severity, severity)
        if rule:
            condition = rule if isinstance(rule, Condition) else Condition(is_one_of=list(rule))
            rows.append((severity, in_words(condition, "source_severity")))
    rows.append((file.severity.default, "none of these"))
    facts = [f"{file.channel}", f"takes {' and '.join(file.accepts)}", f"the sender: {sender(file)}"]
    if file.handshakes:
        visits = any(handshake.visit is not None for handshake in file.handshakes)
        facts.append("visits the URL that the vendor wants confirmed" if visits else "answers the vendor's handshake")
    if file.delivery_id:
        facts.append(f"a delivery is recorded once, by `{file.delivery_id}`")
    return [
        f"## {file.name}",
        f"{'; '.join(facts)}. " + (f"[The vendor's page]({file.docs_url})." if file.docs_url else ""),
        table(("Then", "When"), [(f"**{then}**", code_in(when)) for then, when in rows]),
    ]


def sender(file: TemplateFile) -> str:
    """How senders are verified, in a few words."""
    return " or ".join(believed(spec) for spec in file.verifications)


def believed(verification: Verification) -> str:
    """One way to verify a sender."""
    where = f"`{verification.header or verification.value}`"
    match verification.kind:
        case "token":
            return f"token in {where}"
        case "hmac":
            return f"HMAC-{verification.algorithm.upper()} in {where}"
        case "standard_webhooks":
            return "Standard Webhooks"
        case "basic":
            return "basic authentication"
        case "bearer":
            return "bearer token"
        case "certificate":
            return f"a certificate for the signature in {where}"
    return "by the URL alone"


# parts of pages


def laws() -> str:
    """The laws of the suite, by the docstrings of its tests."""
    tests = [value for name, value in vars(TemplateConformance).items() if name.startswith("test_")]
    names = [
        test.__name__.removeprefix("test_").replace("_", " ").replace(" toml", ".toml").replace(" py ", ".py ")
        for test in tests
    ]
    return table(("Law", "What holds"), [(name, cell(sentence(test))) for name, test in zip(names, tests, strict=True)])


def waivers() -> str:
    """The laws that may be waived."""
    return table(("Under [exempt]", "The law"), [(f"`{name}`", cell(law)) for name, law in LAWS.items()])


def ladder() -> str:
    """The tiers, as the docstring of gateway.tiers has them."""
    block = inspect.cleandoc(tiers.__doc__ or "").split("\n\n")[1]
    rows = re.findall(r"^\s*(\w+)\s{2,}(.*?)(?=^\s*\w+\s{2,}|\Z)", textwrap.dedent(block), re.MULTILINE | re.DOTALL)
    return table(("Tier", "What it takes"), [(f"**{name}**", cell(text)) for name, text in rows])


def standing() -> str:
    """Which built-in template has which tier."""
    found: dict[str, list[str]] = {name: [] for name in reversed(typing.get_args(tiers.Tier))}
    for folder in built_in():
        found[tier_of(folder)].append(folder.file.name)
    rows = [(f"**{name}**", str(len(names)), ", ".join(names)) for name, names in found.items() if names]
    return table(("Tier", "Templates", "Which"), rows)


def public(module: ModuleType) -> str:
    """The public names of a module, each with the first sentence of its docstring."""
    return table(("Name", "What it is"), [(f"`{name}`", about(getattr(module, name), name)) for name in module.__all__])


def about(value: Any, name: str) -> str:
    """The first sentence of a docstring; of what has none of its own, what it is."""
    if name == "__version__":
        return "the gateway's version"
    if typing.get_origin(value) is typing.Literal:
        return " ".join(f"`{word}`" for word in typing.get_args(value))
    if name == "hookimpl":
        return "marks a function as an implementation of a [hook](hooks.md)"
    return cell(sentence(value).split(". ")[0].removesuffix(".") + ".")


def hooks() -> str:
    """Every hook under its signature."""
    functions = [value for value in vars(hookspecs).values() if hasattr(value, "gateway_spec")]
    return "\n".join(f"- `{signature(function)}`" for function in functions)


def api() -> str:
    """Which versions of the contract are read."""
    return f"This gateway reads {versions()}."


def versions() -> str:
    """The versions of the contract that are read, in words."""
    oldest, newest = SUPPORTED_API[0], SUPPORTED_API[-1]
    return f"`api = {oldest}`" if oldest == newest else f"`api = {oldest}` to `api = {newest}`"


def figures() -> str:
    """What /metrics shows."""
    counts = Counts(
        alerts={"open": 1}, notifications={"dead": 1}, outcomes={"opened": 1}, deferred=0, cursor=0, oldest_due_at=0
    )
    ingest = IngestCounts()
    ingest.refuse(404)
    text = GatewayMetrics(ingest).text(counts, 0).decode()
    said = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    labels = dict(re.findall(r"^(\w+)\{(\w+)=", text, re.MULTILINE))
    rows = []
    for name, what in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE):
        if not name.endswith("_created"):
            rows.append((f"`{name}{{{labels[name]}}}`" if name in labels else f"`{name}`", what, said[name]))
    return table(("Metric", "Kind", "What it counts"), rows)


def configuration() -> str:
    """The tables of a configuration file."""
    kinds = {
        "[[user]]": UserTable,
        "[[group]]": GroupTable,
        "[[policy]]": PolicyTable,
        "Steps of a policy": StepTable,
        "[[integration]]": IntegrationTable,
        "[[integration.maintenance]]": WindowTable,
    }
    return "\n\n".join(f"## `{name}`\n\n{keys(kind)}" for name, kind in kinds.items()).replace(
        "## `Steps of a policy`", "## Steps of a policy"
    )


PARTS: dict[str, Callable[[], str]] = {
    "laws": laws,
    "waivers": waivers,
    "tiers": ladder,
    "standing": standing,
    "gateway": lambda: public(gateway),
    "gateway.testing": lambda: public(gateway.testing),
    "hooks": hooks,
    "api": api,
    "metrics": figures,
    "configuration": configuration,
    "advanced.delay": lambda: keys(Delay),
    "advanced.flapping": lambda: keys(Flapping),
    "advanced.group": lambda: keys(Grouping),
    "advanced.override": lambda: keys(OverrideRule),
    "advanced.hours": lambda: keys(Hours),
    "advanced.recipients": lambda: keys(RecipientRule),
    "advanced.texts": lambda: keys(MessageTexts),
    "advanced.rest": lambda: keys(Advanced, only=("close_after", "auto_acknowledge")),
}
_PART = re.compile(r"(<!-- made: (?P<name>[\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(path: Path) -> str:
    """A page that people write, with the parts in it that are made."""
    text = path.read_text(encoding="utf-8")
    return _PART.sub(lambda match: f"{match[1]}\n{PARTS[match['name']]()}\n\n{match[3]}", text)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "contract.md": contract_page,
    "templates.md": templates_page,
    "subjects.md": subjects_page,
    **{
        path.name: functools.partial(filled, path)
        for path in sorted(HERE.glob("*.md"))
        if _PART.search(path.read_text(encoding="utf-8"))
    },
}


# how it is written


def page(parts: Iterable[str]) -> str:
    """Parts with an empty line between them; each may be indented as a whole."""
    return "\n\n".join(textwrap.dedent(part).strip() for part in parts if part.strip()) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def keys(
    struct: type[msgspec.Struct], without: type[msgspec.Struct] | None = None, only: Collection[str] | None = None
) -> str:
    """The fields of a Struct, or some of them, the docstring under each."""
    said = docstrings(struct)
    known = {field.name for field in msgspec.structs.fields(without)} if without else set()
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = []
    for field in msgspec.structs.fields(struct):
        if field.name in known or (only is not None and field.name not in only):
            continue
        needed = field.required
        default = "needed" if needed else shown(field.default, field.default_factory)
        rows.append((f"`{field.encode_name}`", kind(field.type), default, cell(said.get(field.name, "see above"))))
    head = ("Key", "Kind", "Default", "What it is")
    if not any(row[2] for row in rows):
        head, rows = ("Key", "Kind", "What it is"), [(row[0], row[1], row[3]) for row in rows]
    return table(head, rows)


def shown(default: Any, factory: Any) -> str:
    """A default, in words of TOML; nothing where there is none."""
    value = factory() if factory is not msgspec.NODEFAULT and callable(factory) else default
    if value in (None, "", (), [], {}) or value is False or isinstance(value, msgspec.Struct):
        return "false" if value is False else ""
    return f"`{msgspec.json.encode(value).decode()}`"


def kind(hint: Any) -> str:
    """A type, as people say it."""
    plain: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    plain |= {Condition: "condition", IgnoreRule: "condition with a reason", Verification: "table", Handshake: "table"}
    plain |= dict.fromkeys((FieldTexts, SeverityRules, Filters, Flapping, Hours, StepTable, WindowTable), "table")
    if hint in plain:
        return plain[hint]
    origin, inner = typing.get_origin(hint), [part for part in typing.get_args(hint) if part is not type(None)]
    if origin is typing.Literal:
        return " ".join(f"`{word}`" for word in inner)
    if origin in (list, tuple):
        inner = [part for part in inner if part is not Ellipsis]
        return f"list of {plural(kind(inner[0]))}"
    if origin is dict:
        return "table of texts" if inner[-1] is str else "table"
    if inner:
        words = sorted((kind(part) for part in inner), key=len)
        return words[0] if len(words) == 1 else " or ".join(dict.fromkeys(words))
    return getattr(hint, "__name__", str(hint))


def plural(words: str) -> str:
    """Several of a kind."""
    if words.startswith("condition with"):
        return words.replace("condition", "conditions", 1)
    if words.startswith("text or"):
        return "texts or numbers"
    return words if words.startswith("`") else f"{words}s"


def limits() -> str:
    """How much of a field is kept."""
    sizes = ", ".join(f"`{name}` {size:,}" for name, size in tidying.LIMITS.items())
    return (
        f"Of long texts the beginning is kept, in characters: {sizes}. "
        f"`source_id` may have {tidying.MAX_ID:,} and is never cut. "
        f"A message holds at most {rulebook.MAX_EVENTS:,} events, an event {tidying.MAX_TAGS} tags."
    )


def docstrings(struct: type) -> dict[str, str]:
    """What stands under each field of a class, those of its bases too."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if base.__module__.split(".")[0] != "gateway":
            continue
        (body,) = (
            node.body
            for node in ast.parse(textwrap.dedent(inspect.getsource(base))).body
            if isinstance(node, ast.ClassDef)
        )
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                found[field.target.id] = str(ast.literal_eval(text.value))
    return found


def signature(function: Any) -> str:
    """A method's name and arguments, as they are written."""
    given = inspect.signature(function)
    parameters = [parameter for parameter in given.parameters.values() if parameter.name != "self"]
    return f"{function.__name__}{given.replace(parameters=parameters)}".replace("'", "")


def sentence(function: Any) -> str:
    """A docstring on one line."""
    return " ".join(inspect.cleandoc(function.__doc__ or "").split())


def cell(text: str) -> str:
    """Text that fits into a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def anchor(title: str) -> str:
    """What a heading is linked by."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()))


def code_in(text: str) -> str:
    """A rule's words, with what Markdown would take for its own made harmless."""
    return (
        cell(text).replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_").replace("[", "\\[").replace("`", "\\`")
    )


if __name__ == "__main__":
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")
