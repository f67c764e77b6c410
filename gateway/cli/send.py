"""`alert-gateway send`."""

from __future__ import annotations

import click

from gateway.cli.output import block, cell
from gateway.cli.root import FAILED, OK
from gateway.cli.samples import Sample, load_sample, sample_names
from gateway.cli.session import Session
from gateway.cli.words import Command, shared
from gateway.errors import DeliveryError, GatewayError

_NOT_OURS = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding", "user-agent"})
_GOOD = range(200, 300)


@click.command(
    cls=Command,
    examples=[
        "alert-gateway send datadog --list",
        "alert-gateway send custom --to http://127.0.0.1:8080/POSTAlert/ag_…/Custom",
        "alert-gateway send datadog triggered_resolved --to URL -H 'X-Alert-Token: secret'",
    ],
)
@click.argument("template")
@click.argument("sample", required=False)
@click.option("--to", "url", metavar="URL", help="The endpoint to post it to.")
@click.option("--list", "only_list", is_flag=True, help="Name the samples, and send nothing.")
@click.option(
    "-H",
    "--header",
    "headers",
    metavar="'NAME: VALUE'",
    multiple=True,
    help="A header more, or in place of the sample's; again for more.",
)
@shared
def command(
    session: Session, template: str, sample: str | None, url: str | None, only_list: bool, headers: tuple[str, ...]
) -> int:
    """
    Post a SAMPLE of a TEMPLATE to an endpoint, headers and query included.

    Without SAMPLE it is the first one that opens an alert. It goes wherever you send it: this machine and private networks
    are not refused here.
    """
    folder = session.plugins.template(template)
    if only_list:
        shapes = [{"template": folder.slug, "sample": name} for name in sample_names(folder)]
        session.out.rows(shapes, ("template", "sample"), empty=f"the template {folder.slug} has no samples")
        return OK
    if url is None:
        msg = "--to URL is missing: the endpoint to post it to (or --list, to see what there is)"
        raise click.UsageError(msg, click.get_current_context())
    chosen = load_sample(folder, sample)
    own = [split_header(header) for header in headers]
    status, answer = session.run(_post(chosen, url, own))
    good = status in _GOOD
    session.out.one(
        {"template": folder.slug, "sample": chosen.name, "status": status, "answer": answer},
        [f"{folder.slug}/{chosen.name}: {status}", block(answer)],
    )
    if not good:
        session.out.note(f"note: the endpoint did not take it: it answered {status}")
    return OK if good else FAILED


def split_header(text: str) -> tuple[str, str]:
    """Name and value of `Name: value`; raises a usage error where it is none."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not name.strip().isascii() or any(char in text for char in "\r\n\0"):
        msg = f"-H {cell(text)!r} is not 'Name: value'"
        raise click.UsageError(msg, click.get_current_context())
    return name.strip(), value.strip()


async def _post(sample: Sample, url: str, own: list[tuple[str, str]]) -> tuple[int, str]:
    from gateway.http import Client

    headers = {name.lower(): value for name, value in [*sample.headers, *own] if name.lower() not in _NOT_OURS}
    if sample.query:
        url += ("&" if "?" in url else "?") + sample.query
    client = Client(allow_private=True)
    try:
        answer = await client.post(url, content=sample.body, headers=headers)
    except DeliveryError as error:
        raise GatewayError(str(error)) from None
    finally:
        await client.close()
    return answer.status, answer.body.decode("utf-8", "replace").strip()
