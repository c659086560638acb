"""How much one client address may do at this process: connections at a time, messages per minute."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from typing import Final

# What a subscriber usually has (RFC 6177): one attacker doesn't get a fresh count with each address.
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 64
# Addresses that are counted; beyond, the ones that were counted first are forgotten.
MAX_COUNTED: Final = 50_000
MINUTE_S: Final = 60.0


def ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The client's address, IPv4-mapped ones as IPv4; None: nobody can say."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def counted_as(address: str) -> str:
    """An IPv4 address by itself, an IPv6 address by its /64."""
    ip = ip_of(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, IPV6_PREFIX), strict=False))
    return str(ip) if ip is not None else "unknown"


def network_of(address: str) -> str:
    """The network by which greylisting knows a client: large senders retry from a neighbour (RFC 6647 §2.2)."""
    ip = ip_of(address)
    if ip is None:
        return "unknown"
    return str(ipaddress.ip_network((ip, IPV4_PREFIX if ip.version == 4 else IPV6_PREFIX), strict=False))


class ClientLimits:
    """Counts of one process; 0 means any number."""

    def __init__(self, connections: int, messages_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_connections, self._max_messages, self._clock = connections, messages_per_minute, clock
        self._connections: dict[str, int] = {}
        self._messages: dict[str, tuple[float, float]] = {}

    def connect(self, address: str) -> bool:
        """Count a connection; False: there are too many, nothing was counted."""
        key = counted_as(address)
        open_now = self._connections.get(key, 0)
        if self._max_connections and open_now >= self._max_connections:
            return False
        self._connections[key] = open_now + 1
        return True

    def disconnect(self, address: str) -> None:
        """One that was counted has ended."""
        key = counted_as(address)
        left = self._connections.get(key, 0) - 1
        if left > 0:
            self._connections[key] = left
        else:
            self._connections.pop(key, None)

    def message(self, address: str) -> bool:
        """Count a message; False: too many lately, nothing was counted."""
        if not self._max_messages:
            return True
        key, now = counted_as(address), self._clock()
        used, at = self._messages.pop(key, (0.0, now))
        used = max(0.0, used - (now - at) * self._max_messages / MINUTE_S)
        fits = used + 1 <= self._max_messages
        if len(self._messages) >= MAX_COUNTED:
            del self._messages[next(iter(self._messages))]
        self._messages[key] = (used + 1 if fits else used, now)
        return fits
