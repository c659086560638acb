"""ENVELOPE, rendered as it goes on the wire (RFC 9051 §7.5.2), and the date in it (RFC 5322 §3.3)."""

from __future__ import annotations

from email.utils import mktime_tz, parsedate_tz
from typing import Final

from mail_proto.message.address_list import ListedAddress
from mail_proto.message.render import NIL, nstring, rendered_addresses

NO_ENVELOPE: Final = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
ADDRESS_FIELDS: Final = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
_MAX_DATE_OCTETS: Final = 200
# Years 1 to 9999, what dates of Python and Postgres can hold.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799

Listed = dict[bytes, list[ListedAddress]]


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


def render_envelope(values: dict[bytes, bytes], listed: Listed) -> bytes:
    """ENVELOPE from unfolded values by lower-case field name, and the addresses in those of ADDRESS_FIELDS.

    Encoded words stay as they are.
    """
    sender = _addresses(listed, b"from")
    # RFC 9051 §7.5.2: absent or empty Sender and Reply-To are those of From.
    own_sender, reply_to = _addresses(listed, b"sender"), _addresses(listed, b"reply-to")
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(values.get(b"date")),
        nstring(values.get(b"subject")),
        sender,
        sender if own_sender == NIL else own_sender,
        sender if reply_to == NIL else reply_to,
        _addresses(listed, b"to"),
        _addresses(listed, b"cc"),
        _addresses(listed, b"bcc"),
        nstring(values.get(b"in-reply-to")),
        nstring(values.get(b"message-id")),
    )


def _addresses(listed: Listed, name: bytes) -> bytes:
    found = listed.get(name)
    return rendered_addresses(found) if found else NIL
