"""What an IMAP server says that it can (RFC 3501 §6.1.1): only what is true now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Of every state. Each is listed with its document in docs/specifications.md.
ALWAYS: Final = (
    "IMAP4rev1",
    "IMAP4rev2",
    "LITERAL+",
    "SASL-IR",
    "ID",
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "UIDPLUS",
    "MOVE",
    "UNSELECT",
    "CHILDREN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "STATUS=SIZE",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "MULTIAPPEND",
    "BINARY",
    "CONDSTORE",
    "QRESYNC",
    "OBJECTID",
    "PREVIEW",
    "SAVEDATE",
    "UTF8=ACCEPT",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What this server offers to every client.

    `mechanisms`: those of SASL as the connection is now; TLS may bring more. `append_limit`: octets (RFC 7889).
    """

    hostname: str
    tls: bool
    mechanisms: tuple[str, ...]
    append_limit: int


def capabilities(offer: Offer, *, is_secure: bool, login_allowed: bool, is_logged_in: bool, is_compressed: bool) -> str:
    """The words, separated by spaces."""
    words = [*ALWAYS, f"APPENDLIMIT={offer.append_limit}"]
    if not is_compressed:
        words.append("COMPRESS=DEFLATE")
    if not is_logged_in:
        if offer.tls and not is_secure:
            words.append("STARTTLS")
        names = offer.mechanisms if login_allowed else ()
        words += [f"AUTH={name}" for name in names] or ["LOGINDISABLED"]
    return " ".join(words)
