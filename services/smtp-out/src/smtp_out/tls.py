"""What is asked of TLS to a remote host, and what came of it (RFC 3207, RFC 7435)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

# never: not even when offered. may: when offered, whatever the certificate. must: encrypted, whatever the
# certificate. verify: encrypted, with a certificate for the host's name from an authority that we trust.
TlsLevel = Literal["never", "may", "must", "verify"]


@dataclass(frozen=True, slots=True)
class TlsDemand:
    """What a connection has to fulfil, and who says so: `opportunistic`, `configured`, `mta-sts`, `dane`."""

    level: TlsLevel = "may"
    source: str = "opportunistic"

    @property
    def optional(self) -> bool:
        return self.level in {"never", "may"}


OPPORTUNISTIC: Final = TlsDemand()


@dataclass(frozen=True, slots=True)
class TlsState:
    """How a connection is protected."""

    version: str
    cipher: str
    trust: str

    def __str__(self) -> str:
        return f"{self.version} {self.cipher} ({self.trust})"


class TlsFailed(Exception):
    """The server offered TLS that doesn't work or isn't what was demanded. `kind`: result-type of RFC 8460 §4.3."""

    def __init__(self, text: str, kind: str = "validation-failure") -> None:
        super().__init__(text)
        self.kind = kind


@cache
def context_for(level: TlsLevel, authorities: str) -> ssl.SSLContext:
    """`authorities`: a file of certificates trusted beside the system's, or empty."""
    if level == "verify":
        context = ssl.create_default_context()
        if authorities:
            context.load_verify_locations(authorities)
        return context
    # Encryption without authentication: what MX hosts present can't be checked.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def state_of(ssl_object: ssl.SSLObject, demand: TlsDemand) -> TlsState:
    """Of a connection whose handshake is done."""
    cipher = ssl_object.cipher()
    trust = demand.source if demand.level == "verify" else "not verified"
    return TlsState(ssl_object.version() or "TLS", cipher[0] if cipher else "", trust)


def failed(error: Exception) -> TlsFailed:
    """A handshake's error in the words of RFC 8460 §4.3."""
    if isinstance(error, ssl.SSLCertVerificationError):
        kinds = {10: "certificate-expired", 62: "certificate-host-mismatch", 64: "certificate-host-mismatch"}
        return TlsFailed(
            f"the certificate isn't valid: {error.verify_message}",
            kinds.get(error.verify_code, "certificate-not-trusted"),
        )
    return TlsFailed(f"TLS failed: {error or type(error).__name__}")
