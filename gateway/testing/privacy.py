"""
Is anything private in a sample? Heuristics: better one waiver with a reason than one customer's data in public.

What may stand in a sample: names under example.com, .org, .net, `.example`, `.invalid`, `.test`; addresses of the
documentation's own networks (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32); the vendor's own hosts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import unquote_plus

_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})")
_HOST = re.compile(r"(?:https?|wss?|ftp|ssh)://(?:[^\s/@\"'<>]*@)?([A-Za-z0-9.-]+\.[A-Za-z]{2,})")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}(?![\w:.])", re.IGNORECASE)
_ACCOUNT = re.compile(r"arn:aws[\w-]*:[\w-]*:[\w-]*:(\d{12}):")
_HOME = re.compile(r"(?<![\w./#?-])(?:/home/|/Users/|C:\\Users\\)([A-Za-z][\w.-]*)")
_SECRETS = (
    (
        "a bearer token",
        re.compile(r"\b(?:bearer|basic)\s+(?!example)(?=[\w.~+/=-]*\d)[\w.~+/-]{16,}", re.IGNORECASE),
    ),
    ("a JSON web token", re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("an AWS key", re.compile(r"\b(?:AKIA|ASIA)(?![0-9A-Z]*EXAMPLE)[0-9A-Z]{16}\b")),
    ("a Slack token", re.compile(r"\bxox[abeprs]-[\w-]{10,}|hooks\.slack\.com/services/T")),
    ("a GitHub token", re.compile(r"\bgh[opsu]_\w{30,}|\bgithub_pat_\w{30,}")),
    ("a New Relic key", re.compile(r"\bNR(?:AK|II|JS)-[\w-]{16,}")),
    ("a Stripe key", re.compile(r"\b[rs]k_live_\w{10,}")),
    ("a token of an endpoint", re.compile(r"\bag_[\w-]{49}")),
    (
        "a key or password",
        re.compile(
            r"[\"']?(?:api|app|application|access|secret|private|integration|license)_?-?"
            r"(?:key|token|secret)[\"']?\s*[:=]\s*[\"']?(?!example)(?=[\w-]*\d)[\w-]{20,}",
            re.IGNORECASE,
        ),
    ),
)
_DOCUMENTED_NETWORKS = tuple(
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
_EXAMPLE_ACCOUNTS = frozenset({"123456789012", "111122223333", "444455556666", "000000000000", "111111111111"})
_EXAMPLE_DOMAINS = ("example.com", "example.org", "example.net")
_EXAMPLE_ENDINGS = ("example", "invalid", "test", "localhost")
_EXAMPLE_USERS = frozenset({"example", "user", "runner", "ubuntu", "app"})


def private_in(text: str, domains: frozenset[str] = frozenset()) -> Iterator[str]:
    """What looks private in this text, each with what to write instead; `domains` are the vendor's own."""
    text = unquote_plus(text) if "%" in text else text
    yield from _names_in(text, domains)
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            if _is_private_address(match[0]):
                yield f"the address {match[0]}: write one of 192.0.2.0/24 or 2001:db8::/32"
    for match in _ACCOUNT.finditer(text):
        if match[1] not in _EXAMPLE_ACCOUNTS:
            yield f"the AWS account {match[1]}: write 123456789012"
    for name, secret in _SECRETS:
        if secret.search(text):
            yield f"{name}: write example"


def _names_in(text: str, domains: frozenset[str]) -> Iterator[str]:
    for match in _EMAIL.finditer(text):
        if not is_example(match[1]):
            yield f"the e-mail address {match[0]}: write somebody@example.com"
    for match in _HOST.finditer(text):
        if not is_example(match[1]) and domain_of(match[1]) not in domains:
            yield f"the host {match[1]}: write host.example.com, or name it in docs_url, README.md or provenance.toml"
    for match in _HOME.finditer(text):
        if match[1].lower() not in _EXAMPLE_USERS:
            yield f"the home folder {match[0]}: write /home/example"


def hosts_in(text: str) -> frozenset[str]:
    """The domains of all URLs in a text."""
    return frozenset(domain_of(match[1]) for match in _HOST.finditer(text))


def domain_of(host: str) -> str:
    """The last two labels of a host: near enough to who owns it."""
    return ".".join(host.lower().rstrip(".").split(".")[-2:])


def is_example(host: str) -> bool:
    """Whether a host is one of those that are kept for examples."""
    return domain_of(host) in _EXAMPLE_DOMAINS or host.lower().rpartition(".")[2] in _EXAMPLE_ENDINGS


def _is_private_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return False
    return not any(address in network for network in _DOCUMENTED_NETWORKS)
