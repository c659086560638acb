"""The four doors of smtp-in and what each allows."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    """One port. `tls` is None where TLS isn't offered; with `implicit_tls` it comes before the greeting.

    `submission`: who comes in must log in first, may relay, and writes as itself (RFC 6409).
    `lmtp`: one reply per recipient after the data (RFC 2033).
    """

    name: str
    port: int
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    submission: bool = False
    lmtp: bool = False
