"""What a client has switched on by ENABLE (RFC 5161): some of it changes how octets are read and written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Their names as they are told, by their names in upper case.
KNOWN: Final = {
    "CONDSTORE": "CONDSTORE",
    "IMAP4REV2": "IMAP4rev2",
    "QRESYNC": "QRESYNC",
    "UTF8=ACCEPT": "UTF8=ACCEPT",
}


class Enabled:
    """Of one session; it only grows, until the login ends."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def add(self, names: Iterable[str]) -> list[str]:
        """Switch on those that are known; returns what is on now and wasn't before."""
        found = [KNOWN[name] for name in dict.fromkeys(names) if name in KNOWN and KNOWN[name] not in self._names]
        self._names.update(found)
        return found

    def clear(self) -> None:
        """Nothing is on any more (RFC 8437 §4.1)."""
        self._names.clear()

    @property
    def rev2(self) -> bool:
        """RFC 9051 Appendix E counts."""
        return "IMAP4rev2" in self._names

    @property
    def condstore(self) -> bool:
        """FETCH responses that nobody asked for carry uids and modseqs (RFC 7162 §3.2.4); QRESYNC implies it."""
        return "CONDSTORE" in self._names or "QRESYNC" in self._names

    @property
    def qresync(self) -> bool:
        """VANISHED instead of EXPUNGE (RFC 7162 §3.2.10)."""
        return "QRESYNC" in self._names

    @property
    def utf8(self) -> bool:
        """Mailbox names are UTF-8 in both directions (RFC 9051 §5.1, RFC 6855 §3)."""
        return "IMAP4rev2" in self._names or "UTF8=ACCEPT" in self._names
