"""Messages written: from texts and attachments to octets that any server and reader takes (RFC 5322, RFC 2046).

    mixed ─┬─ alternative ─┬─ text/plain
           │               └─ related ─┬─ text/html
           │                           └─ images by Content-ID
           └─ attachments

Levels with one part are left out. Every line has 998 octets at most and ends with CRLF.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from itertools import chain
from mmap import mmap
from typing import Final

from mail_proto.message.header_text import MAX_LINE, HeaderFault, check, field, mailboxes, parameter, unstructured

Mailbox = tuple[str, str]

# Fields that a sender may add as they are; they hold text.
TEXT_FIELDS: Final = frozenset(
    {"auto-submitted", "comments", "feedback-id", "importance", "keywords", "organization", "precedence", "priority",
     "sensitivity", "thread-index", "thread-topic"}
)  # fmt: skip
# Fields with a syntax of their own, ASCII only.
FORMAL_FIELDS: Final = frozenset(
    {"list-archive", "list-help", "list-id", "list-owner", "list-post", "list-subscribe", "list-unsubscribe",
     "list-unsubscribe-post"}
)  # fmt: skip

# RFC 5322 §2.1.1, without the line end.
MAX_LINE_OCTETS: Final = 998
# Of a Base64 body: lines of 57 octets.
_PIECE_OCTETS: Final = 57 * 16_384
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_OWN_FIELD: Final = re.compile(r"[Xx]-[A-Za-z0-9-]{1,60}")
_MEDIA_TYPE: Final = re.compile(
    r"(?!multipart/)[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,80}", re.IGNORECASE | re.ASCII
)
_CONTENT_ID: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}")
_ASCII: Final = bytes(range(128))
_BARE_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_LONG_LINE: Final = re.compile(rb"[^\n]{%d}" % (MAX_LINE_OCTETS + 2))
_MESSAGE_ID: Final = re.compile(r"[!-;=?-~]{1,900}")


@dataclass(frozen=True, slots=True)
class Attachment:
    """`content_id` makes it an image of the HTML, which names it `cid:…`; without, it is to be saved."""

    name: str
    media_type: str
    octets: bytes
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be written. Addresses must be valid (`mail_proto.addresses`); ids are without brackets.

    `token` is random and new for each letter: boundaries are made of it.
    """

    sender: Mailbox
    date: datetime
    message_id: str
    token: str
    to: Sequence[Mailbox] = ()
    cc: Sequence[Mailbox] = ()
    reply_to: Sequence[Mailbox] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: Sequence[Attachment] = ()
    in_reply_to: str | None = None
    references: Sequence[str] = ()
    fields: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class _Entity:
    """Content fields and a body in pieces, which ends with CRLF or is empty.

    Pieces are made as they are taken, once: attachments are large.
    """

    fields: bytes
    body: Iterable[bytes]


def compose(letter: Letter) -> Iterator[bytes]:
    """The message in pieces, to be joined or written. Raises HeaderFault: a value can't stand in a header, or a field
    isn't allowed.
    """
    entity = _content(letter)
    return chain([_header(letter), b"MIME-Version: 1.0\r\n", entity.fields, b"\r\n"], entity.body)


def bcc_field(listed: Sequence[Mailbox]) -> bytes:
    """The field that only the sender's own copy has (RFC 5322 §3.6.3)."""
    return _addresses("Bcc", listed)


def _header(letter: Letter) -> bytes:
    parts = [
        field("Date", [format_datetime(letter.date)]),
        _addresses("From", [letter.sender]),
        _addresses("Reply-To", letter.reply_to),
        _addresses("To", letter.to),
        _addresses("Cc", letter.cc),
        field("Subject", unstructured(check(letter.subject, "the subject"))) if letter.subject else b"",
        _ids("Message-ID", [letter.message_id]),
        _ids("In-Reply-To", [letter.in_reply_to] if letter.in_reply_to else []),
        _ids("References", letter.references),
    ]
    return b"".join(parts) + b"".join(_added(name, value) for name, value in letter.fields)


def _addresses(name: str, listed: Sequence[Mailbox]) -> bytes:
    for display, address in listed:
        check(display, "a name")
        check(address, "an address")
    return field(name, mailboxes(listed)) if listed else b""


def _ids(name: str, ids: Sequence[str]) -> bytes:
    for identifier in ids:
        if not _MESSAGE_ID.fullmatch(identifier):
            raise HeaderFault(f"{name} has what is no message id")
    return field(name, [f"<{identifier}>" for identifier in ids]) if ids else b""


def _added(name: str, value: str) -> bytes:
    check(value, f"the field {name[:40]!r}")
    lower = name.lower()
    if lower in FORMAL_FIELDS:
        if not value.isascii():
            raise HeaderFault(f"{name} is ASCII only")
        return field(name, value.split(" "))
    if lower in TEXT_FIELDS or _OWN_FIELD.fullmatch(name):
        return field(name, unstructured(value))
    raise HeaderFault(f"the field {name[:40]!r} can't be set")


def _content(letter: Letter) -> _Entity:
    images = [one for one in letter.attachments if one.content_id is not None]
    texts = [] if letter.text is None else [_text("plain", letter.text)]
    if letter.html is not None:
        related = [_text("html", letter.html), *map(_attachment, images)]
        texts.append(_multipart("related", related, letter.token + "r"))
        images = []
    body = _multipart("alternative", texts or [_text("plain", "")], letter.token + "a")
    saved = [*images, *(one for one in letter.attachments if one.content_id is None)]
    return _multipart("mixed", [body, *map(_attachment, saved)], letter.token + "m")


def _multipart(subtype: str, entities: Sequence[_Entity], token: str) -> _Entity:
    if len(entities) == 1:
        return entities[0]
    boundary = f"=_{token}"  # neither Base64 nor quoted-printable has "=_", and nobody could know the token
    delimiter = f"--{boundary}\r\n".encode()
    parts = (chain([delimiter, entity.fields, b"\r\n"], entity.body, [b"\r\n"]) for entity in entities)
    fields = field("Content-Type", [f"multipart/{subtype};", f'boundary="{boundary}"'])
    return _Entity(fields, chain(chain.from_iterable(parts), [f"--{boundary}--\r\n".encode()]))


def _text(subtype: str, text: str) -> _Entity:
    """In the plainest encoding that its lines allow."""
    octets = _LINE_END.sub("\n", text).encode("utf-8", "replace")
    kind = field("Content-Type", [f"text/{subtype};", "charset=utf-8"])
    longest = max(map(len, octets.split(b"\n")), default=0)
    if octets.isascii() and longest <= MAX_LINE and b"\0" not in octets:
        return _Entity(kind + b"Content-Transfer-Encoding: 7bit\r\n", [octets.replace(b"\n", b"\r\n")])
    if len(octets.translate(None, _ASCII)) * 3 <= len(octets):
        encoded = binascii.b2a_qp(octets, istext=True).replace(b"\n", b"\r\n")
        return _Entity(kind + b"Content-Transfer-Encoding: quoted-printable\r\n", [encoded])
    return _Entity(kind + b"Content-Transfer-Encoding: base64\r\n", _base64(octets.replace(b"\n", b"\r\n")))


def _attachment(one: Attachment) -> _Entity:
    check(one.name, "the name of an attachment")
    if not _MEDIA_TYPE.fullmatch(one.media_type):
        raise HeaderFault(f"{one.media_type[:80]!r} is no media type of an attachment")
    name = parameter("name", one.name) if one.name and one.name.isascii() else []
    file_name = parameter("filename", one.name) if one.name else []
    shown = "attachment" if one.content_id is None else "inline"
    fields = field("Content-Disposition", _with_semicolons([shown, *file_name]))
    if one.content_id is not None:
        if not _CONTENT_ID.fullmatch(one.content_id):
            raise HeaderFault("a content_id has letters, digits, dots and the like, and no brackets")
        fields += field("Content-ID", [f"<{one.content_id}>"])
    if one.media_type.lower().startswith("message/"):
        return _embedded(one, fields)
    kind = field("Content-Type", _with_semicolons([one.media_type, *name]))
    return _Entity(kind + b"Content-Transfer-Encoding: base64\r\n" + fields, _base64(one.octets))


def _embedded(one: Attachment, fields: bytes) -> _Entity:
    """A message in a message may not be encoded (RFC 2046 §5.2.1); one that would have to be is a file."""
    octets = with_crlf(one.octets)
    if b"\0" in octets or has_long_line(octets):
        kind = field("Content-Type", ["application/octet-stream"])
        return _Entity(kind + b"Content-Transfer-Encoding: base64\r\n" + fields, _base64(one.octets))
    encoding = b"7bit" if octets.isascii() else b"8bit"
    kind = field("Content-Type", [one.media_type])
    return _Entity(kind + b"Content-Transfer-Encoding: " + encoding + b"\r\n" + fields, [octets])


def _with_semicolons(words: Sequence[str]) -> list[str]:
    return [f"{word};" for word in words[:-1]] + [words[-1]]


def _base64(octets: bytes) -> Iterator[bytes]:
    """In pieces of whole lines: all lines as objects would take several times the memory."""
    view = memoryview(octets)
    for at in range(0, len(octets), _PIECE_OCTETS):
        yield base64.encodebytes(view[at : at + _PIECE_OCTETS]).replace(b"\n", b"\r\n")


def with_crlf(octets: bytes) -> bytes:
    """Each line ended by CRLF, whatever ended it before (RFC 5321 §2.3.8); no octet else is changed."""
    return _BARE_LINE_END.sub(b"\r\n", octets)


def has_bare_line_end(octets: bytes | mmap) -> bool:
    """Whether a line ends otherwise than by CRLF."""
    return _BARE_LINE_END.search(octets) is not None


def has_long_line(octets: bytes | mmap) -> bool:
    """Whether a line has more than MAX_LINE_OCTETS, without its CRLF."""
    return _LONG_LINE.search(octets) is not None
