"""DNS block lists (RFC 5782): is the client's address listed?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Final

from mail_proto.authentication.inquiry import Question
from smtp_in.checks.dns import Dns
from smtp_in.policy.limits import ip_of

# RFC 5782 §2.1: what is listed has an address here. Lists say in 127.255.255.0/24 that they don't answer us.
_LISTED: Final = ip_network("127.0.0.0/8")
_REFUSING: Final = ip_network("127.255.255.0/24")
PATIENCE_S: Final = 5.0


async def listed_in(dns: Dns, address: str, zones: Sequence[str]) -> str | None:
    """The first of the zones that lists it. One that doesn't answer in time lists nobody."""
    ip = ip_of(address)
    if ip is None or not zones:
        return None
    # The reverse name without its two last labels, in-addr.arpa or ip6.arpa (§2.1, §2.4).
    name = ip.reverse_pointer.rsplit(".", 2)[0]
    found = await asyncio.gather(*(_is_listed(dns, f"{name}.{zone}") for zone in zones))
    return next((zone for zone, is_listed in zip(zones, found, strict=True) if is_listed), None)


async def _is_listed(dns: Dns, name: str) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await dns.ask(Question(name, "A"))
    except TimeoutError:
        return False
    addresses = [ip_address(text) for text in answer.records]
    return any(address in _LISTED and address not in _REFUSING for address in addresses)
