"""Certificates that DNS vouches for: TLSA records against what a server presents (RFC 6698, RFC 7672)."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

# RFC 6698 §2.1: of the usages only these two are for SMTP (RFC 7672 §3.1.3).
TRUST_ANCHOR: Final = 2
END_ENTITY: Final = 3


@dataclass(frozen=True, slots=True)
class Tlsa:
    """One usable record. `selector`: 0 certificate, 1 its public key; `matching`: 0 itself, 1 SHA-256, 2 SHA-512."""

    usage: int
    selector: int
    matching: int
    content: bytes

    def matches(self, certificate: bytes) -> bool:
        """Whether the record is about this certificate (DER)."""
        selected = certificate if self.selector == 0 else _public_key(certificate)
        if self.matching == 1:
            selected = hashlib.sha256(selected).digest()
        elif self.matching == 2:
            selected = hashlib.sha512(selected).digest()
        return selected == self.content


def usable(records: Iterable[Any]) -> tuple[Tlsa, ...]:
    """Those of dnspython's records that SMTP knows how to use."""
    return tuple(
        Tlsa(record.usage, record.selector, record.mtype, record.cert)
        for record in records
        if record.usage in (TRUST_ANCHOR, END_ENTITY) and record.selector in (0, 1) and record.mtype in (0, 1, 2)
    )


def vouched(ssl_object: ssl.SSLObject, records: Sequence[Tlsa], names: Sequence[str]) -> bool:
    """Whether a record vouches for what the server of these names presented. Raises ValueError: it can't be read."""
    chain = _presented(ssl_object)
    # Of an end entity neither names nor dates matter: the record says it all (RFC 7672 §3.1.1).
    return bool(chain) and (
        any(record.usage == END_ENTITY and record.matches(chain[0]) for record in records)
        or _anchored(chain, [record for record in records if record.usage == TRUST_ANCHOR], names)
    )


def _anchored(chain: Sequence[bytes], records: Sequence[Tlsa], names: Sequence[str]) -> bool:
    """The chain leads to a certificate that a record names, or holds, and the leaf is for one of the names."""
    anchors = [found for found in chain[1:] if any(record.matches(found) for record in records)]
    anchors += [record.content for record in records if record.selector == 0 and record.matching == 0]
    leaf, *others = map(x509.load_der_x509_certificate, chain)
    for anchor in anchors:
        builder = PolicyBuilder().store(Store([x509.load_der_x509_certificate(anchor)]))
        for name in names:
            try:
                builder.build_server_verifier(x509.DNSName(name)).verify(leaf, others)
            except VerificationError:
                continue
            return True
    return False


def _public_key(certificate: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _presented(ssl_object: ssl.SSLObject) -> list[bytes]:
    """The server's certificates (DER), its own first. Before Python 3.13 the method has no public name."""
    inner: Any = ssl_object if hasattr(ssl_object, "get_unverified_chain") else getattr(ssl_object, "_sslobj", None)
    chain = inner.get_unverified_chain() or []
    return [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in chain]
