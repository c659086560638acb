"""The client's own name: does its address lead to a name that leads back to it (RFC 8601 §3, `iprev`)?"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Final, Literal

from mail_proto.authentication.inquiry import Inquiry, Question

# RFC 8601 §3 wants a limit of look-ups; so many names of one address are tried.
MAX_NAMES: Final = 10


@dataclass(frozen=True, slots=True)
class ReverseName:
    """`name` is one that was confirmed."""

    result: Literal["pass", "fail", "temperror", "permerror"]
    address: str
    name: str = ""


def reverse_name(client: str) -> Inquiry[ReverseName]:
    """permerror: the address has no name at all."""
    ip = ip_address(client)
    answer = yield Question(ip.reverse_pointer, "PTR")
    if answer.failed:
        return ReverseName("temperror", client)
    if not answer.records:
        return ReverseName("permerror", client)
    failed = False
    for name in answer.records[:MAX_NAMES]:
        forward = yield Question(name, "A" if isinstance(ip, IPv4Address) else "AAAA")
        failed = failed or forward.failed
        if any(ip_address(address) == ip for address in forward.records):
            return ReverseName("pass", client, name)
    return ReverseName("temperror" if failed else "fail", client)
