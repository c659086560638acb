"""PROXY protocol: known headers, nearest misses, and that not one octet too many is asked for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.proxy_protocol import (
    MAX_V1_OCTETS,
    MAX_V2_OCTETS,
    SIGNATURE,
    Endpoint,
    Header,
    NotProxied,
    octets_needed,
    parse,
)


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


def read(stream: bytes) -> tuple[Header, bytes]:
    """As a server reads: by the amounts that are asked for. The header, and what it left unread."""
    header = b""
    while (needed := octets_needed(header)) > 0:
        piece = stream[len(header) : len(header) + needed]
        if not piece:
            raise EOFError
        header += piece
    return parse(header), stream[len(header) :]


IPV4 = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + (56324).to_bytes(2, "big") + (25).to_bytes(2, "big")
IPV6 = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + b"\xdc\x04\x03\xe1"

KNOWN = [
    # The examples of PROXY §2.1.
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Endpoint("255.255.255.255", 65535)),
    (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", Endpoint("192.168.0.1", 56324)),
    (b"PROXY TCP6 2001:db8:0::1 2001:db8::2 56324 993\r\n", Endpoint("2001:db8::1", 56324)),
    (b"PROXY UNKNOWN\r\n", None),
    (
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".replace(b"f...f", b"ffff:ffff:ffff:ffff:ffff"),
        None,
    ),
    # PROXY §2.2.
    (v2(0x21, 0x11, IPV4), Endpoint("192.0.2.1", 56324)),
    (v2(0x21, 0x11, IPV4 + b"\x04\x00\x01\x00"), Endpoint("192.0.2.1", 56324)),
    (v2(0x21, 0x21, IPV6), Endpoint("2001:db8::1", 56324)),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, IPV4), None),
    (v2(0x21, 0x00, b""), None),
    (v2(0x21, 0x31, bytes(216)), None),
    (v2(0x21, 0x12, IPV4), None),
]


@pytest.mark.parametrize(("octets", "client"), KNOWN)
def test_known_headers(octets: bytes, client: Endpoint | None) -> None:
    for rest in (b"", b"\x16\x03\x01\x02\x00", b"EHLO client\r\n", b"\r\n"):
        assert read(octets + rest) == (Header(client), rest)


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdef",
        b"PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4 192.0.2.\xff 192.0.2.2 1 2\r\n",
        b"PROXY UNKNOWN " + b"x" * MAX_V1_OCTETS + b"\r\n",
        v2(0x11, 0x11, IPV4),
        v2(0x22, 0x11, IPV4),
        v2(0x21, 0x11, IPV4[:-1]),
        v2(0x21, 0x21, IPV4),
        v2(0x21, 0x11, IPV4 + bytes(MAX_V2_OCTETS)),
        SIGNATURE[:-1] + b"X" + v2(0x21, 0x11, IPV4)[12:],
    ],
)
def test_what_is_no_header_is_refused(octets: bytes) -> None:
    with pytest.raises(NotProxied):
        read(octets)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_octets_are_a_header_or_refused(octets: bytes, start: bytes) -> None:
    try:
        read(start + octets)
    except (NotProxied, EOFError):
        return


@given(
    st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=40)
)
def test_both_versions_say_the_same(address: IPv4Address | IPv6Address, port: int, own: int, rest: bytes) -> None:
    family = 0x11 if address.version == 4 else 0x21
    ports = port.to_bytes(2, "big") + own.to_bytes(2, "big")
    line = f"PROXY TCP{address.version} {address} {address} {port} {own}\r\n".encode()
    expected = Header(Endpoint(str(address), port)), rest
    assert read(line + rest) == expected
    assert read(v2(0x21, family, address.packed * 2 + ports) + rest) == expected
