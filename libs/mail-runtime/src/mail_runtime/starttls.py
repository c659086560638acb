"""From plaintext to TLS on an open connection, as a server (RFC 3207, RFC 2595)."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

TLS_HANDSHAKE_TIMEOUT_S: Final = 30.0


async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    """Do the handshake; call it after the reply that invites to it was written.

    What the client sent in clear behind its command is thrown away (RFC 3207 §4.2), so that nothing
    injected before the handshake is taken for protected afterwards.

    Raises OSError, ssl.SSLError, TimeoutError: the handshake failed; close the connection.
    """
    await writer.drain()
    # No await between here and the change of protocol inside start_tls: nothing can slip in.
    reader._buffer.clear()  # type: ignore[attr-defined]
    await writer.start_tls(context, ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT_S)
    # CPython 3.11 leaves the reader with the plaintext transport, and pauses the wrong one.
    reader._transport = writer.transport  # type: ignore[attr-defined]
