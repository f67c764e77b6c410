"""
How a vendor makes sure that a URL is ours, as data: it wants a text of its own back, or a URL of its own visited.

A template says it in `template.toml` (`[handshake]`, one table or a list of which the first that applies holds). Nothing
here does I/O or knows a vendor.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.errors import TemplateError
from gateway.expressions import View, expression_flaw, search
from gateway.hosts import pattern_flaw, url_flaw

MAX_ECHO = 1024
VISIT_HEADER = "alert-gateway-visit"
"""The header under which the journal keeps how a visit went. Whatever senders write there is blotted out."""
VISITED = "visited"
"""What stands there after a visit that went well."""
IN_VAIN = "in vain: "
"""How it begins after one that did not; the reason follows."""
REFUSED = "refused: "
"""How it begins where the URL is none that may be visited; the reason follows."""


class Visit(msgspec.Struct, frozen=True):
    """What a message wants visited; where there is a `flaw`, it is not."""

    url: str
    flaw: str | None


class Handshake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How a vendor makes sure that a URL is ours.

    With `echo` it wants a text of its own back; such a request is answered, not stored. With `visit` it wants a URL of its
    own fetched. That is done once the sender is verified, and the message is stored; its header `alert-gateway-visit` says
    `visited`, or `in vain: …`, or `refused: …` where the URL is elsewhere.

    Slack: `echo = "body.challenge"`, `when = "body.type == 'url_verification'"`. Microsoft Graph:
    `echo = "query.validationToken"`.
    """

    echo: str | None = None
    """What goes back: JMESPath over `body`, `query` and `headers` (names in lower case) that gives text, at most 1 KiB."""
    answer: Literal["plain", "json"] = "plain"
    """As plain text, or as JSON `{key: text}`."""
    when: str | None = None
    """The condition, JMESPath; where there is none, whether `echo` or `visit` gives text."""
    method: Literal["POST", "GET", "any"] = "POST"
    """The method of the request."""
    key: str | None = None
    """The key of the JSON answer."""
    visit: str | None = None
    """Where the URL is that is to be visited: JMESPath like `echo`."""
    host: str | None = None
    """Which host that URL must have: an RE2 pattern for the whole of it, and of its port where it has one. Only https."""

    def check(self) -> None:
        """Raise TemplateError where the keys do not fit together; the message names the key and what to do."""
        for key, expression in (("echo", self.echo), ("visit", self.visit), ("when", self.when)):
            problem = expression_flaw(key, expression)
            if problem:
                raise TemplateError(problem)
        problem = None
        if (self.echo is None) == (self.visit is None):
            problem = (
                "a handshake needs either `echo`, what goes back, or `visit`, where the URL is that is to be visited"
            )
        elif (self.answer == "json") != (self.key is not None):
            problem = '`key` goes with answer = "json": name the key of the JSON answer, or leave out both'
        elif (self.visit is None) != (self.host is None):
            problem = "`host` goes with `visit`: a pattern for the hosts that may be visited"
        elif self.visit is not None and (self.method != "POST" or self.answer != "plain"):
            problem = "`method` and `answer` mean nothing with `visit`: leave them out"
        elif self.host is not None:
            problem = pattern_flaw("host", self.host)
        if problem:
            raise TemplateError(problem)

    def reply(self, method: str, view: View) -> tuple[bytes, bytes] | None:
        """Content type and body of the answer to a request; None where it is no handshake that is answered."""
        if self.echo is None or self.method not in (method, "any"):
            return None
        given = view()
        echo = search(self.echo, given)
        if not isinstance(echo, str) or not echo or len(echo.encode("utf-8", "replace")) > MAX_ECHO:
            return None
        if self.when is not None and search(self.when, given) is not True:
            return None
        if self.answer == "json":
            return b"application/json", msgspec.json.encode({self.key: echo})
        return b"text/plain; charset=utf-8", echo.encode("utf-8", "replace")

    def wanted(self, view: View) -> Visit | None:
        """What a message wants visited; None where it wants nothing."""
        if self.visit is None or self.host is None:
            return None
        given = view()
        if self.when is not None and search(self.when, given) is not True:
            return None
        url = search(self.visit, given)
        if self.when is None and not isinstance(url, str):
            return None
        return Visit(url if isinstance(url, str) else "", url_flaw(url, self.host))
