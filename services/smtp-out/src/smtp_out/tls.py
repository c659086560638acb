"""What is asked of TLS to a remote host, and what came of it (RFC 3207, RFC 7435)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from smtp_out.dane import Tlsa, vouched

# never: not even when offered. may: when offered, whatever the certificate. must: encrypted, whatever the
# certificate. verify: encrypted, with a certificate for the host's name from an authority that we trust.
TlsLevel = Literal["never", "may", "must", "verify"]


@dataclass(frozen=True, slots=True)
class TlsDemand:
    """What a connection has to fulfil, and who says so: `opportunistic`, `configured`, `mta-sts`, `dane`.

    With `tlsa` one of these records must vouch for the server, which has these `names`. `testing`: what isn't
    fulfilled is only counted; `excluded`: so is that the policy doesn't name the host at all (RFC 8461 §5).
    `required`: by the message (RFC 8689); the mail comes back otherwise.
    """

    level: TlsLevel = "may"
    source: str = "opportunistic"
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    testing: bool = False
    excluded: bool = False
    required: bool = False

    @property
    def authenticates(self) -> bool:
        """DNSSEC or MTA-STS vouches for the host's name, and its certificate is for it (RFC 8689 §2)."""
        by_name = self.level == "verify" and self.source in {"mta-sts", "requiretls"} and not self.testing
        return by_name or bool(self.tlsa)

    @property
    def optional(self) -> bool:
        """The mail goes without, if need be."""
        return self.testing or self.level in {"never", "may"}

    def fulfilled_by(self, other: TlsDemand) -> bool:
        """Whether a connection that fulfils `other` will do."""
        wanted = (self.level, self.source, self.tlsa, self.names, self.required)
        return self.optional or wanted == (other.level, other.source, other.tlsa, other.names, other.required)


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


def checked(ssl_object: ssl.SSLObject, demand: TlsDemand) -> TlsState:
    """Of a connection whose handshake is done. Raises TlsFailed: DANE demands another certificate."""
    if demand.tlsa:
        try:
            if not vouched(ssl_object, demand.tlsa, demand.names):
                raise TlsFailed("no TLSA record matches the server's certificate")
        except ValueError as error:
            raise TlsFailed(f"the server's certificate can't be read: {error}") from error
    cipher = ssl_object.cipher()
    trust = demand.source if demand.level == "verify" or demand.tlsa else "not verified"
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
