"""Faults of a POP3 session; each knows the reply it must produce.

Response codes: RFC 2449 §8.1 (IN-USE, LOGIN-DELAY), RFC 3206 §4 (AUTH, SYS/TEMP, SYS/PERM), RFC 6856 §5 (UTF8).
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
    """The line passed the limit; all of it was thrown away."""


class Garbage(Pop3Fault):
    """What comes in is no POP3: close the connection."""


class NotNow(Pop3Fault):
    """The command isn't allowed in this state (RFC 1939 §3)."""


class NoSuchMessage(Pop3Fault):
    """The number is out of range, the message is marked as deleted, or another session removed it."""


class LoginRefused(Pop3Fault):
    """Wrong name or password (RFC 3206 §4)."""

    code = b"AUTH"


class InUse(Pop3Fault):
    """Another session holds the maildrop lock (RFC 2449 §8.1.2)."""

    code = b"IN-USE"


class LoginTooSoon(Pop3Fault):
    """The last login was less than the announced delay ago (RFC 2449 §8.1.1)."""

    code = b"LOGIN-DELAY"


class TemporaryFailure(Pop3Fault):
    """Something of ours doesn't work now (RFC 3206 §4)."""

    code = b"SYS/TEMP"


class PermanentFailure(Pop3Fault):
    """It won't work by trying again: somebody must change something (RFC 3206 §4)."""

    code = b"SYS/PERM"


class NeedsUtf8(Pop3Fault):
    """The message has octets outside ASCII in its header, and the client didn't say UTF8 (RFC 6856 §5)."""

    code = b"UTF8"
