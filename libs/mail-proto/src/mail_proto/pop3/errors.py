"""Faults of a POP3 session; each knows the reply it must produce.

Response codes: RFC 2449 §8.1 (IN-USE, LOGIN-DELAY), RFC 3206 (AUTH, SYS/TEMP, SYS/PERM).
"""

from __future__ import annotations

from typing import ClassVar


class Pop3Fault(Exception):
    """A peer's mistake, or what it must be told. `str(fault)` is safe to send to that peer."""

    code: ClassVar[bytes] = b""

    def reply(self) -> bytes:
        """The complete `-ERR` line (RFC 1939 §3), with CRLF."""
        code = b"[" + self.code + b"] " if self.code else b""
        text = "".join(char if " " <= char <= "~" else "?" for char in str(self))
        # RFC 2449 §4: a response line is at most 512 octets.
        return b"-ERR " + code + text.encode("ascii")[:400] + b"\r\n"


class SyntaxFault(Pop3Fault):
    """The line does not fit the grammar."""


class LineTooLong(SyntaxFault):
    """No line end within the limit: framing is lost, the connection must be closed."""


class NotNow(Pop3Fault):
    """The command isn't allowed in this state (RFC 1939 §3)."""


class NoSuchMessage(Pop3Fault):
    """The number is out of range, or the message is marked as deleted."""


class LoginRefused(Pop3Fault):
    """Wrong name or password (RFC 3206 §4)."""

    code = b"AUTH"


class InUse(Pop3Fault):
    """Another session holds the maildrop lock (RFC 2449 §8.1.2)."""

    code = b"IN-USE"


class TemporaryFailure(Pop3Fault):
    """Something of ours doesn't work now (RFC 3206 §4)."""

    code = b"SYS/TEMP"
