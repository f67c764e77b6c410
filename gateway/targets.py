"""
Which addresses, ports and URLs notifications may go to.

Whoever may write a webhook's URL could point it at the gateway's own network. What is here decides by tables, without
looking a name up; `dialing` asks it again about each address that a name stands for.
"""

from __future__ import annotations

import functools
import ipaddress
import re

import httpx2
import msgspec

from gateway.errors import BlockedTargetError, PermanentDeliveryError

URL_LIMIT = 2048
"""How long a URL may be."""

_WEB_PORTS = (80, 443)
_FREE_PORTS = 1024
_LAST_PORT = 65535
_PRIVATE = (
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a carrier-grade NAT address"),
    ("127.0.0.0/8", "this machine"),
    ("172.16.0.0/12", "a private address"),
    ("192.168.0.0/16", "a private address"),
    ("::1/128", "this machine"),
    ("fc00::/7", "a private address"),
)
_NEVER = (
    ("0.0.0.0/8", "no address of a host"),
    ("100.100.100.200/32", "a cloud's metadata service"),
    ("168.63.129.16/32", "a cloud's metadata service"),
    ("169.254.0.0/16", "link-local, where clouds keep credentials"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "reserved for documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("198.18.0.0/15", "reserved for benchmarks"),
    ("198.51.100.0/24", "reserved for documentation"),
    ("203.0.113.0/24", "reserved for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved or broadcast"),
    ("2001::/23", "a tunnel or reserved for protocols"),
    ("2001:db8::/32", "reserved for documentation"),
    ("2002::/16", "a 6to4 tunnel"),
    ("3fff::/20", "reserved for documentation"),
    ("fd00:ec2::/32", "a cloud's metadata service"),
    ("fd20:ce::254/128", "a cloud's metadata service"),
)
_GLOBAL_V6 = "2000::/3"
_NAT64 = "64:ff9b::/96"
_HINT = "GATEWAY_ALLOW_PRIVATE_TARGETS=true lets notifications go there"


class _Table(msgspec.Struct, frozen=True):
    private: tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str], ...]
    never: tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str], ...]
    global_v6: ipaddress.IPv6Network
    nat64: ipaddress.IPv6Network


@functools.cache
def _table() -> _Table:
    return _Table(
        private=tuple((ipaddress.ip_network(network), what) for network, what in _PRIVATE),
        never=tuple((ipaddress.ip_network(network), what) for network, what in _NEVER),
        global_v6=ipaddress.IPv6Network(_GLOBAL_V6),
        nat64=ipaddress.IPv6Network(_NAT64),
    )


def refusal(address: str, *, allow_private: bool = False) -> str | None:
    """
    Why notifications must not go to an IP address, or None where they may.

    An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as what it is. Of the other IPv6 addresses only the
    global ones pass, so that what is not in the table is refused rather than missed.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return f"{address!r} is not an IP address"
    table = _table()
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return f"{address} is link-local: notifications never go there"
        ip = _embedded(ip) or ip
    what = next((what for network, what in table.never if ip in network), None)
    if what is not None:
        return f"{address} is {what}: notifications never go there"
    what = next((what for network, what in table.private if ip in network), None)
    if what is not None:
        return None if allow_private else f"{address} is {what}; {_HINT}"
    if isinstance(ip, ipaddress.IPv6Address) and ip not in table.global_v6:
        return f"{address} is not a public address: notifications never go there"
    return None


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    return ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _table().nat64 else None)


def port_refusal(port: int, *, allow_private: bool = False) -> str | None:
    """
    Why notifications must not go to a port, or None where they may.

    80, 443 and all from 1024 on; any where private targets are allowed, for what answers there is the operator's own.
    """
    if not 0 < port <= _LAST_PORT:
        return f"{port} is no port"
    if allow_private or port in _WEB_PORTS or port >= _FREE_PORTS:
        return None
    return f"port {port} is neither 80, 443 nor above 1023; {_HINT}"


class Target(msgspec.Struct, frozen=True):
    """A URL that was read: what is dialled, and what is asked for there."""

    scheme: str
    host: str
    port: int
    path: bytes

    @property
    def origin(self) -> str:
        """The part of the URL that is no secret; the path and the query of a webhook often are."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


_BAD_CHARACTERS = re.compile(r"[\x00-\x20\x7f-\x9f\\\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_HOST = re.compile(r"[a-z0-9_.-]{1,253}|[0-9a-f:.]{2,45}")


def read_url(url: str) -> Target:
    """Read an http or https URL; raises PermanentDeliveryError that says what is wrong, without the path."""
    if len(url) > URL_LIMIT:
        return _bad_url(f"it is longer than {URL_LIMIT} characters")
    if _BAD_CHARACTERS.search(url):
        return _bad_url("it holds a space, a control character or a backslash")
    try:
        read = httpx2.URL(url)
        host = read.raw_host.decode("ascii")
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        return _bad_url("it cannot be read")
    if read.scheme not in ("http", "https"):
        return _bad_url("it does not begin with https:// or http://")
    if read.userinfo or "@" in url.partition("://")[2].split("/", 1)[0]:
        return _bad_url("it holds a user or a password; put a token into its path instead")
    if "%" in host and ":" in host:
        msg = "the URL names a network interface: notifications never go to link-local addresses"
        raise BlockedTargetError(msg)
    if not _HOST.fullmatch(host):
        return _bad_url("it has no usable host name")
    port = read.port
    if port is None:
        port = 443 if read.scheme == "https" else 80
    elif not 0 < port <= _LAST_PORT:
        return _bad_url(f"{port} is no port")
    return Target(scheme=read.scheme, host=host, port=port, path=read.raw_path)


def _bad_url(reason: str) -> Target:
    msg = f"the URL cannot be used: {reason}"
    raise PermanentDeliveryError(msg)


def checked_target(url: str, *, allow_private: bool = False) -> Target:
    """
    Read a URL and refuse what can be refused without looking its name up.

    Raises PermanentDeliveryError, BlockedTargetError among them.
    """
    target = read_url(url)
    reason = port_refusal(target.port, allow_private=allow_private)
    if reason is None and is_literal(target.host):
        reason = refusal(target.host, allow_private=allow_private)
    if reason is None and not allow_private and re.fullmatch(r"(.*\.)?localhost\.?", target.host):
        reason = f"{target.host} is this machine; {_HINT}"
    if reason is not None:
        raise BlockedTargetError(reason)
    return target


def is_literal(host: str) -> bool:
    """Whether a host is an address already, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
