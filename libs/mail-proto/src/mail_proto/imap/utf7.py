"""Modified UTF-7: mailbox names on the wire of IMAP4rev1 (RFC 3501 §5.1.3)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

_DIRECT: Final = re.compile(r"[ -%'-~]+|&|[^ -~]+")
_SHIFTED: Final = re.compile(rb"&([A-Za-z0-9+,]*)-")


def encode(name: str) -> bytes:
    """A name as it goes on the wire. Names hold no lone surrogates."""
    return b"".join(_encode_run(run) for run in _DIRECT.findall(name))


def _encode_run(run: str) -> bytes:
    if run == "&":
        return b"&-"
    if run.isascii() and run.isprintable():
        return run.encode("ascii")
    shifted = base64.b64encode(run.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
    return b"&" + shifted + b"-"


def decode(octets: bytes) -> str:
    """The name of what a client sent. Octets above ASCII are read as UTF-8: several clients send that.

    Raises ValueError: neither of both.
    """
    if not octets.isascii():
        return octets.decode("utf-8")
    pieces: list[str] = []
    at = 0
    while (shift := octets.find(b"&", at)) >= 0:
        pieces.append(octets[at:shift].decode("ascii"))
        found = _SHIFTED.match(octets, shift)
        if found is None:
            raise ValueError("an unfinished shift in modified UTF-7")
        pieces.append(_decode_run(found[1]))
        at = found.end()
    pieces.append(octets[at:].decode("ascii"))
    return "".join(pieces)


def _decode_run(shifted: bytes) -> str:
    if not shifted:
        return "&"
    padded = shifted.replace(b",", b"/") + b"=" * (-len(shifted) % 4)
    try:
        return base64.b64decode(padded, validate=True).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("not modified UTF-7") from error
