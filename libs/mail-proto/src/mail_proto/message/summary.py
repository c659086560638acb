"""What IMAP clients list of a message, rendered once at ingest (RFC 9051 §7.5.2, RFC 3501 §7.4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Final

from mail_proto.message.headers import disposition, first_values, lines, media_type
from mail_proto.message.render import NIL, addresses, nstring, pairs, string
from mail_proto.message.structure import Part, scan

# Ours. What stands later in a header is in the message, not in its summary.
MAX_HEADER_OCTETS: Final = 262_144
# Ours: headers of all parts together that are read for the rendered lists; parts behind that look bare.
MAX_ALL_HEADERS_OCTETS: Final = 1_048_576
_MAX_DATE_OCTETS: Final = 200
# Years 1 to 9999, what dates of Python and Postgres can hold.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799

_NO_ENVELOPE: Final = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
# A multipart must have a body in it (RFC 9051 §9 body-type-mpart): this stands for none, as Dovecot does it.
_NO_BODY: Final = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 0 0)'
_NO_EXTENSION: Final = b" NIL NIL NIL NIL"


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """Parsed once at ingest.

    `envelope`, `body`, `bodystructure`: the parenthesised lists as they go on the wire. `header`: the octets of the
    header with its empty line; if it is larger than MAX_HEADER_OCTETS, cut behind the last whole field below that, so
    that it is shorter than `root.body_start`. `sent_date`: the Date field in seconds since the epoch, UTC.
    """

    octets: int
    envelope: bytes
    body: bytes
    bodystructure: bytes
    header: bytes
    root: Part
    sent_date: int | None


def summarize(octets: bytes) -> MessageSummary:
    """Scan and render a message. Never raises, whatever the octets; time is linear in their number."""
    root = scan(octets)
    header = _capped(octets[: root.body_start])
    values = first_values(header)
    body, bodystructure = _Renderer(octets, root).run()
    return MessageSummary(
        octets=len(octets),
        envelope=render_envelope(values),
        body=body,
        bodystructure=bodystructure,
        header=header,
        root=root,
        sent_date=sent_date(values.get(b"date")),
    )


def _capped(header: bytes) -> bytes:
    if len(header) <= MAX_HEADER_OCTETS:
        return header
    kept = max((line.end for line in lines(header[:MAX_HEADER_OCTETS]) if line.end < MAX_HEADER_OCTETS), default=0)
    return header[:kept] + b"\r\n"


def sent_date(value: bytes | None) -> int | None:
    """Seconds since the epoch of a Date value (RFC 5322 §3.3), None where it can't be read."""
    if not value or len(value) > _MAX_DATE_OCTETS:
        return None
    try:
        parsed = parsedate_tz(value.decode("latin-1"))
        seconds = mktime_tz(parsed) if parsed else None
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None  # parsedate_tz fails in all of these ways on real mail
    return seconds if seconds is not None and _FIRST_SECOND <= seconds <= _LAST_SECOND else None


def render_envelope(values: dict[bytes, bytes]) -> bytes:
    """ENVELOPE from unfolded values by lower-case field name. Encoded words stay as they are."""
    sender = addresses(values.get(b"from"))
    # RFC 9051 §7.5.2: absent or empty Sender and Reply-To are those of From.
    items = [
        nstring(values.get(b"date")),
        nstring(values.get(b"subject")),
        sender,
        _or(addresses(values.get(b"sender")), sender),
        _or(addresses(values.get(b"reply-to")), sender),
        addresses(values.get(b"to")),
        addresses(values.get(b"cc")),
        addresses(values.get(b"bcc")),
        nstring(values.get(b"in-reply-to")),
        nstring(values.get(b"message-id")),
    ]
    return b"(" + b" ".join(items) + b")"


def _or(rendered: bytes, other: bytes) -> bytes:
    return other if rendered == NIL else rendered


def _walk(root: Part) -> Iterator[Part]:
    pending = [root]
    while pending:
        part = pending.pop()
        yield part
        pending.extend(reversed(part.children))


class _Renderer:
    """BODY and BODYSTRUCTURE of one message. Recursion is as deep as the tree: structure.MAX_DEPTH."""

    def __init__(self, octets: bytes, root: Part) -> None:
        self._octets, self._root = octets, root
        self._unread = MAX_ALL_HEADERS_OCTETS
        self._newlines = _newlines_before(octets, root)

    def run(self) -> tuple[bytes, bytes]:
        return self._part(self._root, self._values(self._root))

    def _values(self, part: Part) -> dict[bytes, bytes]:
        length = min(part.body_start - part.header_start, MAX_HEADER_OCTETS, self._unread)
        self._unread -= length
        return first_values(self._octets[part.header_start : part.header_start + length])

    def _part(self, part: Part, values: dict[bytes, bytes]) -> tuple[bytes, bytes]:
        if part.is_multipart:
            return self._multipart(part, values)
        basic = [self._media(part, values), *self._fields(part, values)]
        extended = basic
        if part.is_message:
            # One object for both would share nothing: the embedded body has its own extension data.
            envelope, body, bodystructure = self._embedded(part)
            basic = [*basic, envelope, body]
            extended = [*extended, envelope, bodystructure]
        if part.is_message or part.media_type.startswith("text/"):
            count = b"%d" % (self._newlines[part.body_end] - self._newlines[part.body_start])
            basic, extended = [*basic, count], [*extended, count]
        md5 = nstring(values.get(b"content-md5"))
        return (
            b"(" + b" ".join(basic) + b")",
            b"(" + b" ".join(extended) + b" " + md5 + _extension(values) + b")",
        )

    def _multipart(self, part: Part, values: dict[bytes, bytes]) -> tuple[bytes, bytes]:
        rendered = [self._part(child, self._values(child)) for child in part.children] or [(_NO_BODY, _NO_BODY)]
        subtype = string(part.media_type.partition("/")[2].encode("ascii"))
        parameters = pairs(media_type(values.get(b"content-type")).parameters)
        return (
            b"(" + b"".join(body for body, _ in rendered) + b" " + subtype + b")",
            b"(%b %b %b%b)" % (b"".join(full for _, full in rendered), subtype, parameters, _extension(values)),
        )

    def _embedded(self, part: Part) -> tuple[bytes, bytes, bytes]:
        if not part.children:
            return _NO_ENVELOPE, _NO_BODY, _NO_BODY
        values = self._values(part.children[0])
        return render_envelope(values), *self._part(part.children[0], values)

    def _media(self, part: Part, values: dict[bytes, bytes]) -> bytes:
        main, _, sub = part.media_type.encode("ascii").partition(b"/")
        parameters = media_type(values.get(b"content-type")).parameters
        if main == b"text" and all(name.lower() != b"charset" for name, _ in parameters):
            parameters = (*parameters, (b"charset", b"us-ascii"))  # RFC 2045 §5.2
        return b"%b %b %b" % (string(main), string(sub), pairs(parameters))

    def _fields(self, part: Part, values: dict[bytes, bytes]) -> Iterator[bytes]:
        yield nstring(values.get(b"content-id"))
        yield nstring(values.get(b"content-description"))
        yield string(values.get(b"content-transfer-encoding", b"").partition(b"(")[0].strip().upper() or b"7BIT")
        yield b"%d" % (part.body_end - part.body_start)


def _extension(values: dict[bytes, bytes]) -> bytes:
    """Disposition, language, location: the end of body-ext-1part and body-ext-mpart, with a space before each."""
    parsed = disposition(values.get(b"content-disposition", b""))
    shown = b"(%b %b)" % (string(parsed[0]), pairs(parsed[1])) if parsed else NIL
    tags = [string(tag.strip()) for tag in values.get(b"content-language", b"").split(b",") if tag.strip()]
    language = NIL if not tags else tags[0] if len(tags) == 1 else b"(" + b" ".join(tags) + b")"
    return b" %b %b %b" % (shown, language, nstring(values.get(b"content-location")))


def _newlines_before(octets: bytes, root: Part) -> dict[int, int]:
    """How many line ends stand before each offset where a body begins or ends: one pass, however deep the nesting."""
    offsets = sorted({offset for part in _walk(root) for offset in (part.body_start, part.body_end)})
    counts, count, position = {}, 0, 0
    for offset in offsets:
        count += octets.count(b"\n", position, offset)
        counts[offset], position = count, offset
    return counts
