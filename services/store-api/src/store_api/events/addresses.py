"""Which addresses webhooks may be sent to: public ones, so that nobody makes us call our own network.

Names are resolved by us and the addresses that were checked are those that are connected to: a name that changes its
mind between the check and the call (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from mail_runtime.contracts.errors import Refused

MAX_URL_LENGTH: Final = 2000
# Addresses that carry an IPv4 address: RFC 6052 §2.1 (NAT64), RFC 8215.
_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


def is_public(address: str) -> bool:
    """Whether an IP address is anybody's on the internet (RFC 6890), and not a way to one that isn't."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in network for network in _NAT64):
            return False
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip.teredo is not None or (inner is not None and not is_public(str(inner))):
            return False
        if ip.ipv4_mapped is not None:
            return True
    return ip.is_global and not ip.is_multicast


def checked_url(text: str, *, private: bool) -> URL:
    """The URL of a webhook. `private`: addresses of our own network, and plain HTTP, are allowed. Raises Refused."""
    try:
        url = URL(text)
        host = url.host or ""
        port = url.port
    except ValueError as error:
        raise Refused(f"this is no URL: {error}") from error
    if url.scheme not in ({"https", "http"} if private else {"https"}) or not host or port is None:
        raise Refused("a webhook has a URL that begins with https://")
    if url.user is not None or url.password is not None or url.fragment:
        raise Refused("a webhook's URL has no user, password or fragment")
    if not private and (_is_address(host) and not is_public(host)):
        raise Refused("a webhook's URL leads to a public address")
    return url


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class PublicResolver(AbstractResolver):
    """Resolves names to their public addresses only. Raises OSError: it has none."""

    def __init__(self, *, private: bool) -> None:
        self._inner = ThreadedResolver()
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [result for result in found if self._private or is_public(result["host"])]
        if not allowed:
            raise OSError(f"{host} has no public address")
        return allowed

    async def close(self) -> None:
        await self._inner.close()
