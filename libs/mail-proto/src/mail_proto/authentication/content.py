"""A message as signatures see it: header fields and body in canonical form (RFC 6376 §3.4)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from mail_proto.message.headers import lines

# White space that isn't one SP already: most of a text need not be touched.
_WSP: Final = re.compile(rb" [ \t]+|\t[ \t]*")


@dataclass(frozen=True, slots=True)
class Field:
    """One header field: `name` in lower case, `raw` as it came with its last CRLF."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> str:
        """What stands behind the colon, as it came; octets as Latin-1."""
        return self.raw.partition(b":")[2].decode("latin-1")


def simple_field(raw: bytes) -> bytes:
    """§3.4.1: unchanged."""
    return raw


def relaxed_field(raw: bytes) -> bytes:
    """§3.4.2: name in lower case, unfolded, white space runs as one SP, none at the end and around the colon."""
    name, _, value = raw.partition(b":")
    value = _WSP.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + b":" + value + b"\r\n"


def simple_body(body: bytes) -> bytes:
    """§3.4.3: exactly one CRLF at the end; an empty body is a CRLF."""
    return _without_empty_lines(body) + b"\r\n"


def relaxed_body(body: bytes) -> bytes:
    """§3.4.4: white space runs as one SP, none at the ends of lines, no empty lines at the end."""
    body = _without_empty_lines(relaxed_lines(body).removesuffix(b" "))
    return body + b"\r\n" if body else b""


def relaxed_lines(whole: bytes) -> bytes:
    """§3.4.4 without its last step: white space runs as one SP, none before CRLF. `whole` are whole lines."""
    return _WSP.sub(b" ", whole).replace(b" \r\n", b"\r\n")


def _without_empty_lines(body: bytes) -> bytes:
    """Without the CRLFs at the end."""
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    return body[:end]


class Content:
    """One message; what is computed of it is remembered. Not for several threads at a time."""

    def __init__(self, octets: bytes) -> None:
        """`octets`: the message with CRLF line ends."""
        self.fields: list[Field] = []
        self.header_end = 0
        for line in lines(octets):
            self.header_end = line.end
            if line.name:
                self.fields.append(Field(line.name.lower(), octets[line.start : line.end]))
        start = self.header_end
        for empty in (b"\r\n", b"\n"):
            if octets.startswith(empty, start):
                start += len(empty)
                break
        self._octets, self._body_start = octets, start
        self._bodies: dict[bool, bytes] = {}
        self._hashes: dict[tuple[bool, int | None], bytes] = {}

    def named(self, name: bytes) -> list[Field]:
        """The fields of that name (lower case), from the top."""
        return [field for field in self.fields if field.name == name]

    def body_octets(self, *, relaxed: bool) -> int:
        """Length of the canonical body."""
        return len(self._canonical(relaxed))

    def body_hash(self, *, relaxed: bool, length: int | None) -> bytes:
        """SHA-256 of the canonical body, or of its first `length` octets (§3.7)."""
        known = self._hashes.get((relaxed, length))
        if known is None:
            known = hashlib.sha256(memoryview(self._canonical(relaxed))[:length]).digest()
            self._hashes[relaxed, length] = known
        return known

    def _canonical(self, relaxed: bool) -> bytes:
        if relaxed not in self._bodies:
            body = self._octets[self._body_start :]
            self._bodies[relaxed] = relaxed_body(body) if relaxed else simple_body(body)
        return self._bodies[relaxed]
