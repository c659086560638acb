"""Headers of the PROXY protocol, versions 1 and 2: what a TCP balancer says of the client whose connection it hands on.

Source: "The PROXY protocol", haproxy.org, revision 2020/03/05; its sections are cited as PROXY §n. The header comes
before anything else on the connection, before TLS too. It is read by exact amounts, so that not one octet of what
follows is taken: `octets_needed` says how many are certainly still missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
# PROXY §2.1: with CRLF; the longest one is `PROXY UNKNOWN` with two IPv6 addresses.
MAX_V1_OCTETS: Final = 107
# PROXY §2.2: 16 octets, then as many as they say: addresses and TLVs. Balancers send some hundred at most (the name
# of a TLS client among them); the field allows 65,535.
V2_FIXED_OCTETS: Final = 16
MAX_V2_OCTETS: Final = 4096
_SHORTEST: Final = len(b"PROXY UNKNOWN\r\n")


class NotProxied(Exception):
    """The connection doesn't begin with a PROXY header that makes sense: close it (PROXY §2.1, §2.2)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address in its canonical text, and port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the balancer said. `client` is None for its own connections (LOCAL) and where it can't tell (UNKNOWN)."""

    client: Endpoint | None


def octets_needed(octets: bytes) -> int:
    """How many more octets belong to the header for certain; 0 when it is whole. Raises NotProxied."""
    if len(octets) < _SHORTEST:
        if not (SIGNATURE.startswith(octets[: len(SIGNATURE)]) or b"PROXY ".startswith(octets[:6])):
            raise NotProxied("the connection begins with something else")
        return _SHORTEST - len(octets)
    if octets.startswith(SIGNATURE):
        if len(octets) < V2_FIXED_OCTETS:
            return V2_FIXED_OCTETS - len(octets)
        length = V2_FIXED_OCTETS + int.from_bytes(octets[14:16], "big")
        if length > MAX_V2_OCTETS:
            raise NotProxied(f"a header of {length} octets")
        return max(0, length - len(octets))
    if not octets.startswith(b"PROXY "):
        raise NotProxied("the connection begins with something else")
    if octets.endswith(b"\r\n"):
        return 0
    if len(octets) >= MAX_V1_OCTETS or b"\n" in octets:
        raise NotProxied("a line that doesn't end with CRLF in time")
    return 1 if octets.endswith(b"\r") else 2 if len(octets) < MAX_V1_OCTETS - 1 else 1


def parse(octets: bytes) -> Header:
    """A whole header, as `octets_needed` found it. Raises NotProxied."""
    return _parse_v2(octets) if octets.startswith(SIGNATURE) else _parse_v1(octets)


def _parse_v1(octets: bytes) -> Header:
    """PROXY §2.1: `PROXY TCP4|TCP6`, both addresses, both ports; or `PROXY UNKNOWN` and anything."""
    try:
        words = octets.removesuffix(b"\r\n").decode("ascii").split(" ")
    except UnicodeDecodeError as error:
        raise NotProxied("a line that isn't ASCII") from error
    if words[1] == "UNKNOWN":
        return Header(None)
    kinds: dict[str, type[IPv4Address | IPv6Address]] = {"TCP4": IPv4Address, "TCP6": IPv6Address}
    if len(words) != 6 or words[1] not in kinds:
        raise NotProxied("a line that isn't built as it should be")
    try:
        source, _ = (str(kinds[words[1]](address)) for address in words[2:4])
    except AddressValueError as error:
        raise NotProxied(f"a wrong address: {error}") from error
    ports = [int(word) for word in words[4:] if word.isdecimal() and (word == "0" or not word.startswith("0"))]
    if len(ports) != 2 or max(ports) > 65_535:
        raise NotProxied("a wrong port")
    return Header(Endpoint(source, ports[0]))


def _parse_v2(octets: bytes) -> Header:
    """PROXY §2.2: version and command, family and transport, length, addresses; TLVs are of no use here."""
    version, command = octets[12] >> 4, octets[12] & 0x0F
    if version != 2 or command > 1:
        raise NotProxied(f"version {version}, command {command}")
    if command == 0:
        return Header(None)
    body = octets[V2_FIXED_OCTETS:]
    match octets[13]:
        case 0x11 if len(body) >= 12:
            return Header(Endpoint(str(IPv4Address(body[:4])), int.from_bytes(body[8:10], "big")))
        case 0x21 if len(body) >= 36:
            return Header(Endpoint(str(IPv6Address(body[:16])), int.from_bytes(body[32:34], "big")))
        case 0x11 | 0x21:
            raise NotProxied("an address block that is too short")
        case _:
            # Unspecified, UDP, Unix sockets: the receiver uses the real endpoints.
            return Header(None)
