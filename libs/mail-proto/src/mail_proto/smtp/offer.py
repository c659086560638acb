"""What a listener offers, and the lines that say so in the answer to EHLO or LHLO (RFC 5321 §4.1.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mail_proto.smtp.commands import XCLIENT_ATTRIBUTES

# RFC 5321 §4.5.3.1.8 wants 100 at least.
MAX_RECIPIENTS: Final = 1000
# Long sessions keep a client at one replica of many.
MAX_TRANSACTIONS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Offer:
    """Of one connection. `extensions`: which of DSN and BINARYMIME hold on the whole way from here.

    `may_log_in_clear`: development, on loopback. `is_proxied`: the client may say for whom it speaks (XCLIENT).
    """

    hostname: str
    max_message_octets: int
    lmtp: bool = False
    submission: bool = False
    tls: bool = False
    mechanisms: tuple[str, ...] = ()
    extensions: frozenset[str] = frozenset()
    may_log_in_clear: bool = False
    is_proxied: bool = False
    max_recipients: int = MAX_RECIPIENTS
    max_transactions: int = MAX_TRANSACTIONS

    def may_log_in(self, *, is_secure: bool) -> bool:
        """May a password cross the connection now?"""
        return is_secure or self.may_log_in_clear

    def offered(self, *, is_secure: bool) -> frozenset[str]:
        """Extensions whose parameters MAIL and RCPT may have now; REQUIRETLS under TLS only (RFC 8689 §2)."""
        return self.extensions | {"REQUIRETLS"} if is_secure else self.extensions

    def knows(self, verb: str) -> bool:
        """Is there such a command at this door? Of those that there are at all."""
        match verb:
            case "LHLO":
                return self.lmtp
            case "EHLO" | "HELO":
                return not self.lmtp  # RFC 2033 §4.1
            case "AUTH":
                return self.submission
            case "STARTTLS":
                return self.tls
        return True

    def lines(self, *, is_secure: bool) -> list[str]:
        """Keywords with their parameters."""
        lines = ["PIPELINING", f"SIZE {self.max_message_octets}", "8BITMIME", "SMTPUTF8", "CHUNKING"]
        lines += [name for name in ("BINARYMIME", "DSN") if name in self.extensions]
        if self.tls and not is_secure:
            lines.append("STARTTLS")
        if is_secure:
            lines.append("REQUIRETLS")
        if self.submission and self.may_log_in(is_secure=is_secure):
            lines.append("AUTH " + " ".join(self.mechanisms))
        if self.is_proxied:
            lines.append("XCLIENT " + " ".join(XCLIENT_ATTRIBUTES))
        limits = f"LIMITS MAILMAX={self.max_transactions} RCPTMAX={self.max_recipients}"
        return [*lines, limits, "ENHANCEDSTATUSCODES", "HELP"]
