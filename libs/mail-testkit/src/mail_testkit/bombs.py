"""Messages made to cost as much as possible; each takes its size in octets, and must be read in time linear in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


def _fill(piece: bytes, size: int, head: bytes = b"", tail: bytes = b"") -> bytes:
    return head + piece * (max(size - len(head) - len(tail), 0) // len(piece)) + tail


def _nested_multiparts(size: int) -> bytes:
    """A new boundary on each level."""
    one = b"Content-Type: multipart/mixed; boundary=b%07d\r\n\r\n--b%07d\r\n"
    return b"".join(one % (n, n) for n in range(size // len(one % (0, 0))))


def _many_boundaries_open(size: int) -> bytes:
    """As many boundaries as can be open, then lines that look like delimiters."""
    return _fill(b"--b00000x\r\n", size, _nested_multiparts(6_000))


def _many_fields(size: int) -> bytes:
    return b"".join(b"X-%07d: y\r\n" % n for n in range(size // 14)) + b"\r\n"


_MULTIPART: Final = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
_HTML: Final = b"Content-Type: text/html\r\n\r\n"

BOMBS: Final[dict[str, Callable[[int], bytes]]] = {
    "nested multiparts": _nested_multiparts,
    "nested multiparts, one boundary": lambda size: _fill(_MULTIPART + b"--b\r\n", size),
    "open boundaries, near misses": _many_boundaries_open,
    "nested messages": lambda size: _fill(b"Content-Type: message/rfc822\r\n\r\n", size),
    "parts": lambda size: _fill(b"--b\r\n\r\nx\r\n", size, _MULTIPART),
    "empty parts": lambda size: _fill(b"--b\n", size, _MULTIPART),
    "near misses of a delimiter": lambda size: _fill(b"--a\n", size, _MULTIPART),
    "delimiter without an end": lambda size: _fill(b"\n--b ", size, _MULTIPART),
    "header fields": _many_fields,
    "one field many times": lambda size: _fill(b"Subject: y\r\n", size, tail=b"\r\n"),
    "one header line": lambda size: _fill(b"x", size, b"Subject: ", b"\r\n\r\n"),
    "one folded header line": lambda size: _fill(b"\r\n x", size, b"Subject:", b"\r\n\r\n"),
    "header of colons": lambda size: _fill(b":", size),
    "header of line ends and spaces": lambda size: _fill(b"\r\n \t", size, b"From:"),
    "parameters": lambda size: _fill(b"; a=b", size, b"Content-Type: text/plain", b"\r\n\r\n"),
    "parameters in pieces": lambda size: _fill(b"; a*1*=b", size, b"Content-Type: text/plain; a*0=", b"\r\n\r\n"),
    "quotes in parameters": lambda size: _fill(b';a="', size, b"Content-Type: text/plain", b"\r\n\r\n"),
    "semicolons and spaces": lambda size: _fill(b"; ", size, b"Content-Type: text/plain", b"\r\n\r\n"),
    "encoded words": lambda size: _fill(b"=?utf-8?q?x?= ", size, b"Subject: ", b"\r\n\r\n"),
    "encoded words without an end": lambda size: _fill(b"=?u?q?", size, b"Subject: ", b"\r\n\r\n"),
    "encoded words of charsets": lambda size: _fill(b"=?utf-7?b?+/v8-?= =?hz?q?~{?=", size, b"Subject: ", b"\r\n\r\n"),
    "addresses": lambda size: _fill(b"a <a@b>, ", size, b"To: ", b"\r\n\r\n"),
    "address in comments": lambda size: _fill(b"(", size, b"To: ", b"\r\n\r\n"),
    "address in quotes": lambda size: _fill(b'"\\', size, b"To: ", b"\r\n\r\n"),
    "address of words": lambda size: _fill(b"a ", size, b"To: ", b"\r\n\r\n"),
    "address of ats": lambda size: _fill(b"@", size, b"From: ", b"\r\n\r\n"),
    "message ids": lambda size: _fill(b"<a@b>", size, b"References: ", b"\r\n\r\n"),
    "brackets": lambda size: _fill(b"<", size, b"References: ", b"\r\n\r\n"),
    "replies": lambda size: _fill(b"re: [x] ", size, b"Subject: ", b"\r\n\r\n"),
    "languages": lambda size: _fill(b",a", size, b"Content-Language: a", b"\r\n\r\n"),
    "tags": lambda size: _fill(b"<b>", size, _HTML),
    "open tags": lambda size: _fill(b"<a b='", size, _HTML),
    "open comments": lambda size: _fill(b"<!--", size, _HTML),
    "open scripts": lambda size: _fill(b"<script>", size, _HTML),
    "references to characters": lambda size: _fill(b"&#9;&amp", size, _HTML),
    "one long reference": lambda size: _fill(b"9", size, _HTML + b"&#"),
    "base64 of nothing": lambda size: _fill(b"=", size, b"Content-Transfer-Encoding: base64\r\n\r\n"),
    "quoted-printable of nothing": lambda size: _fill(
        b"=", size, b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ),
    "uuencode of nothing": lambda size: _fill(b"\n", size, b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a"),
    "NUL": lambda size: bytes(size),
}
