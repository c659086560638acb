"""What a sender wants of TLS on the way: REQUIRETLS of MAIL, else the header field TLS-Required (RFC 8689 §4.1).

requiretls-field = "TLS-Required:" [FWS] "No" CRLF
"""

from __future__ import annotations

from typing import Final

from mail_proto.message.headers import field
from mail_runtime.contracts.store import TlsWish
from store_api.blobs import Octets

# What is looked at of a header.
_MAX_HEADER_OCTETS: Final = 262_144


def tls_wish(said: TlsWish, octets: Octets) -> TlsWish:
    """`said`: by MAIL, which counts more than the header."""
    if said:
        return said
    value = field(bytes(octets[:_MAX_HEADER_OCTETS]), b"tls-required")
    return "optional" if value is not None and value.strip().lower() == b"no" else ""
