"""TLS of servers: certificate and key from PEM files, read anew when they change."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from prometheus_client import Gauge

from mail_runtime.channel_binding import server_end_point

log = structlog.get_logger()

# Certificates are renewed weeks before they expire; this is how long a renewed one waits to be used.
CHECK_S: Final = 10.0

EXPIRES: Final = Gauge(
    "postroom_certificate_expires_seconds",
    "When the certificate in use expires, in seconds since 1970",
    multiprocess_mode="livemin",
)

_Stamp = tuple[tuple[int, int, int], ...]


class ServerContext(ssl.SSLContext):
    """A context that knows where it was loaded from. `end_point`: for channel binding (RFC 5929 §4)."""

    certificate: str
    key: str
    end_point: bytes

    def load(self) -> None:
        """Use what is in the files now, for handshakes from now on. Raises OSError, ValueError (ssl.SSLError)."""
        # A pair that doesn't belong together must not take the place of one that does.
        _fresh().load_cert_chain(self.certificate, self.key or None)
        end_point = server_end_point(self.certificate)
        self.load_cert_chain(self.certificate, self.key or None)
        self.end_point = end_point
        leaf = x509.load_pem_x509_certificate(Path(self.certificate).read_bytes())
        EXPIRES.set(leaf.not_valid_after_utc.timestamp())


def server_context(certificate: str, key: str) -> ServerContext | None:
    """Context for STARTTLS and implicit TLS, or None when no certificate is configured.

    TLS 1.2 is the least (RFC 8997). Raises OSError, ValueError, ssl.SSLError: the files can't be used.
    """
    if not certificate:
        return None
    context = _fresh()
    context.certificate, context.key = certificate, key
    context.load()
    return context


def _fresh() -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@asynccontextmanager
async def reloading(context: ServerContext | None, check_s: float = CHECK_S) -> AsyncIterator[None]:
    """While the block runs, load the files again when they have changed; connections that are open go on.

    What can't be used is logged once, and what was loaded before stays in use.
    """
    if context is None:
        yield
        return
    watching = asyncio.create_task(_watch(context, check_s), name="certificate")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(context: ServerContext, check_s: float) -> None:
    seen = _stamp(context)
    while True:
        await asyncio.sleep(check_s)
        stamp = _stamp(context)
        if stamp == seen:
            continue
        seen = stamp
        try:
            context.load()
        except (OSError, ValueError) as error:
            log.error("certificate_unusable", path=context.certificate, error=str(error))
        else:
            log.info("certificate_loaded", path=context.certificate)


def _stamp(context: ServerContext) -> _Stamp:
    """Differs when a file was written, replaced, or another one was put behind the link."""
    stamps = []
    for path in (context.certificate, context.key):
        try:
            found = os.stat(path)
            stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
        except OSError:
            stamps.append((0, 0, 0))
    return tuple(stamps)
