"""SMTP replies: code, enhanced status code and text, rendered in one place.

Sources: RFC 5321 §4.2 (form of replies), RFC 2034 §4 and RFC 3463 (enhanced status codes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# RFC 5321 §4.5.3.1.5: a reply line is at most 512 octets, including code and CRLF.
MAX_REPLY_LINE_OCTETS: Final = 512


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply. `status` is empty where RFC 2034 §4 wants none: greeting, HELO/EHLO/LHLO, 3xx."""

    code: int
    status: str
    text: str

    @property
    def is_error(self) -> bool:
        return self.code >= 400

    def render(self) -> bytes:
        """Octets with CRLF. Each line of `text` becomes a line of the reply (RFC 5321 §4.2.1).

        Whatever could break the framing or isn't ASCII is shown as `?`.
        """
        prefix = f"{self.status} " if self.status else ""
        lines = self.text.split("\n")
        return b"".join(
            _line(self.code, "-" if number < len(lines) else " ", prefix + line) for number, line in enumerate(lines, 1)
        )


def _line(code: int, separator: str, text: str) -> bytes:
    if not (text.isascii() and text.isprintable()):
        text = "".join(char if " " <= char <= "~" else "?" for char in text)
    return f"{code}{separator}{text}".encode("ascii")[: MAX_REPLY_LINE_OCTETS - 2] + b"\r\n"
