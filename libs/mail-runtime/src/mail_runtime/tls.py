"""TLS contexts of servers: certificate and key from PEM files."""

from __future__ import annotations

import ssl


def server_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """Context for STARTTLS and implicit TLS, or None when no certificate is configured.

    TLS 1.2 is the least (RFC 8997). Raises OSError, ssl.SSLError: the files can't be used.
    """
    if not certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key or None)
    return context
