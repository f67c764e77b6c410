"""An endpoint's URL, which is known once: when its token is made."""

from __future__ import annotations

from collections.abc import Callable

from gateway.cli.reading import Bench
from gateway.cli.samples import Sample, curl
from gateway.cli.session import Session
from gateway.cli.shapes import Shape
from gateway.errors import GatewayError
from gateway.integrations import Made
from gateway.models import Integration


def made_shape(session: Session, made: Made, policy_name: str | None) -> Shape:
    """An integration whose URL is known for this once."""
    integration, url = made.integration, made.url(session.base_url)
    try:
        folder = session.plugins.template(integration.template)
        file = folder.merged(integration.settings)
        opens = _opens(session, integration)
        command_line = curl(folder, file, url, opens=opens, with_secret=made.endpoint.secret is not None)
    except GatewayError as error:  # the URL is shown all the same: there is no other time
        command_line = f"# nothing can be tried: {error}"
    return {
        "id": integration.id,
        "name": integration.name,
        "template": integration.template,
        "endpoint_url": url,
        "enabled": integration.enabled,
        "policy": policy_name,
        "verified": made.endpoint.secret is not None,
        "curl": command_line,
    }


def _opens(session: Session, integration: Integration) -> Callable[[Sample], bool]:
    """Whether a sample opens an alert: with settings of its own, an integration may read another thing than its template."""
    if not integration.settings:
        return lambda _: True
    bench = Bench(session.plugins_with_code, session.settings, integration.settings)

    def opens(sample: Sample) -> bool:
        tried = bench.request(integration.template, sample.body, sample.headers, sample.query)
        return any(one.action == "open" and one.dropped_by is None and one.error is None for one in tried.readings)

    return opens


def url_lines(shape: Shape) -> list[str]:
    """The same for people."""
    return [
        "",
        "Its URL, shown this once (only a hash of the token is kept):",
        f"  {shape['endpoint_url']}",
        "",
        "Try it:",
        f"  {shape['curl']}",
    ]
