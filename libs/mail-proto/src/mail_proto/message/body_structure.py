"""BODY and BODYSTRUCTURE, rendered as they go on the wire (RFC 9051 §7.5.2, body in §9).

Parts are rendered from the last to the first, so that those inside of a part are ready when it is its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mail_proto.message.address_list import parse_list
from mail_proto.message.envelope import ADDRESS_FIELDS, NO_ENVELOPE, Listed, render_envelope
from mail_proto.message.headers import first_values
from mail_proto.message.parameters import MediaType, Parameters, disposition, media_type
from mail_proto.message.render import NIL, nstring, pairs, string
from mail_proto.message.structure import Octets, Part, walk

# Ours. What stands later in a header is in the message, not in its summary.
MAX_HEADER_OCTETS: Final = 262_144
# Ours: headers of all parts together that are read for the rendered lists; parts behind that look bare.
MAX_ALL_HEADERS_OCTETS: Final = 1_048_576

# A multipart must have a body in it (RFC 9051 §9 body-type-mpart): this stands for none, as Dovecot does it.
_NO_BODY: Final = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 0 0)'
_NO_EXTENSION: Final = b" NIL NIL NIL"
_US_ASCII: Final = (b"charset", b"us-ascii")

Rendered = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class DescribedPart:
    """A part with the fields of its header, unfolded, by lower-case name, and the values of two that have structure."""

    part: Part
    values: dict[bytes, bytes]
    media_type: MediaType
    disposition: tuple[bytes, Parameters] | None


def describe(octets: Octets, root: Part) -> list[DescribedPart]:
    """All parts in the order of the message, with what their headers say."""
    unread = MAX_ALL_HEADERS_OCTETS
    described = []
    for part in walk(root):
        length = min(part.body_start - part.header_start, MAX_HEADER_OCTETS, unread)
        unread -= length
        described.append(describe_part(part, octets[part.header_start : part.header_start + length]))
    return described


def describe_part(part: Part, header: bytes) -> DescribedPart:
    """A part with what its header says."""
    values = first_values(header)
    shown = values.get(b"content-disposition")
    return DescribedPart(
        part, values, media_type(values.get(b"content-type")), None if shown is None else disposition(shown)
    )


def listed_addresses(values: dict[bytes, bytes]) -> Listed:
    """The address lists among the values of a header."""
    return {name: parse_list(values[name]) for name in ADDRESS_FIELDS if name in values}


def render_body(described: Sequence[DescribedPart]) -> Rendered:
    """(BODY, BODYSTRUCTURE) of the message whose parts these are."""
    ready: list[tuple[DescribedPart, Rendered]] = []  # the last is the one that comes first in the message
    for one in reversed(described):
        children = [ready.pop() for _ in one.part.children]
        if one.part.is_multipart:
            ready.append((one, _multipart(one, [rendered for _, rendered in children])))
        else:
            ready.append((one, _single(one, children[0] if children else None)))
    return ready[0][1]


def _multipart(one: DescribedPart, children: list[Rendered]) -> Rendered:
    children = children or [(_NO_BODY, _NO_BODY)]
    subtype = string(one.part.media_type.partition("/")[2].encode("ascii"))
    parameters = pairs(one.media_type.parameters)
    return (
        b"(%b %b)" % (b"".join([body for body, _ in children]), subtype),
        b"(%b %b %b%b)" % (b"".join([full for _, full in children]), subtype, parameters, _extension(one)),
    )


def _single(one: DescribedPart, embedded: tuple[DescribedPart, Rendered] | None) -> Rendered:
    part, values = one.part, one.values
    encoding = values.get(b"content-transfer-encoding")
    basic = extended = b"%b %b %b %b %d" % (
        _media(one),
        nstring(values.get(b"content-id")),
        nstring(values.get(b"content-description")),
        b'"7BIT"' if encoding is None else string(encoding.partition(b"(")[0].strip().upper() or b"7BIT"),
        part.body_end - part.body_start,
    )
    if part.is_message:
        # One object for both would share nothing: the embedded body has its own extension data.
        envelope, (body, bodystructure) = NO_ENVELOPE, (_NO_BODY, _NO_BODY)
        if embedded is not None:
            values_inside = embedded[0].values
            envelope = render_envelope(values_inside, listed_addresses(values_inside))
            body, bodystructure = embedded[1]
        basic, extended = b"%b %b %b" % (basic, envelope, body), b"%b %b %b" % (extended, envelope, bodystructure)
    if part.is_message or part.media_type.startswith("text/"):
        basic, extended = b"%b %d" % (basic, part.lines or 0), b"%b %d" % (extended, part.lines or 0)
    return b"(%b)" % basic, b"(%b %b%b)" % (extended, nstring(values.get(b"content-md5")), _extension(one))


def _media(one: DescribedPart) -> bytes:
    main, _, sub = one.part.media_type.encode("ascii").partition(b"/")
    parameters = one.media_type.parameters
    if main == b"text" and all(name.lower() not in (b"charset", b"charset*") for name, _ in parameters):
        parameters = (*parameters, _US_ASCII)  # RFC 2045 §5.2
    return b"%b %b %b" % (string(main), string(sub), pairs(parameters))


def _extension(one: DescribedPart) -> bytes:
    """Disposition, language, location: the end of body-ext-1part and body-ext-mpart, with a space before each."""
    values, shown = one.values, one.disposition
    language, location = values.get(b"content-language"), values.get(b"content-location")
    if shown is None and language is None and location is None:
        return _NO_EXTENSION
    tags = [string(tag.strip()) for tag in (language or b"").split(b",") if tag.strip()]
    return b" %b %b %b" % (
        b"(%b %b)" % (string(shown[0]), pairs(shown[1])) if shown else NIL,
        NIL if not tags else tags[0] if len(tags) == 1 else b"(" + b" ".join(tags) + b")",
        nstring(location),
    )
