"""Channel bindings of a server's TLS connection (RFC 5929), for SCRAM-SHA-256-PLUS.

Python's ssl gives tls-unique, which TLS 1.3 doesn't have, and not the key export that tls-exporter (RFC 9266) needs.
tls-server-end-point would do for TLS 1.3, but clients that see -PLUS there take tls-exporter, the default, and fail:
so -PLUS is offered with TLS 1.2 only (docs/divergences.md).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Protocol, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes


def server_end_point(certificate: str) -> bytes:
    """tls-server-end-point of the certificate in this PEM file; its first one is the server's (RFC 5929 §4.1).

    Its hash is that of the certificate's signature; SHA-256 in place of MD5 and SHA-1, and where the signature has
    none of its own. Empty without certificate. Raises OSError, ValueError: the file can't be used.
    """
    if not certificate:
        return b""
    found = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    algorithm = found.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, hashes.MD5 | hashes.SHA1):
        algorithm = hashes.SHA256()
    return found.fingerprint(algorithm)


class HasEndPoint(Protocol):
    """The context of a server (`mail_runtime.tls.ServerContext`)."""

    end_point: bytes


def channel_bindings(tls: ssl.SSLObject | None) -> dict[str, bytes]:
    """Name → data of what this server's connection has; empty without TLS, and with TLS 1.3.

    A client that opens its connection before the certificate changes, and logs in after that, is told that the binding
    is wrong, and connects again.
    """
    if tls is None or tls.version() != "TLSv1.2":
        return {}
    context = cast(HasEndPoint, tls.context)
    bindings = {"tls-server-end-point": context.end_point}
    unique = tls.get_channel_binding("tls-unique")
    if unique:
        bindings["tls-unique"] = unique
    return bindings
