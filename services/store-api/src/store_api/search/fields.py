"""What SORT and THREAD compare (RFC 5256, RFC 5957), and the fields that are searched most: read from a header."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from email.utils import parsedate
from itertools import islice
from typing import Final

from mail_proto.fold import fold
from mail_proto.message.address_list import ListedAddress, parse_list
from mail_proto.message.charsets import decode_octets
from mail_proto.message.envelope import sent_date
from mail_proto.message.headers import decode, first_values
from mail_proto.message.message_ids import message_id, references
from mail_proto.message.search_text import MAX_HEADER_OCTETS, SearchText
from mail_proto.message.subjects import base_subject

# What clients search most: these have columns of their own.
NAMED: Final = ("subject", "from", "to", "cc", "bcc")
_MAX_DATE_OCTETS: Final = 200
# Ours: of what is sorted by.
_MAX_KEY: Final = 1_000
# Ours: addresses of one field that are looked for in it.
_MAX_BROKEN: Final = 100


@dataclass(frozen=True, slots=True)
class Fields:
    """A row of `message_field` without its key and pairs; texts but `message_id` and `refs` are folded."""

    subject: str | None
    from_: str | None
    to: str | None
    cc: str | None
    bcc: str | None
    base_subject: str
    is_reply: bool
    from_mailbox: str
    to_mailbox: str
    cc_mailbox: str
    from_display: str
    to_display: str
    sent_date: int | None
    sent_day: date | None
    message_id: str
    refs: list[str]


def read_fields(header: bytes, text: SearchText) -> Fields:
    """From the octets of a header, and the same decoded. Never raises."""
    values = first_values(header[:MAX_HEADER_OCTETS])
    base = base_subject(decode(values.get(b"subject", b"")))
    first = {name: _first(values.get(name)) for name in (b"from", b"to", b"cc")}
    return Fields(
        subject=_joined(text.values("subject")),
        from_=_addresses(text.values("from"), values.get(b"from")),
        to=_addresses(text.values("to"), values.get(b"to")),
        cc=_addresses(text.values("cc"), values.get(b"cc")),
        bcc=_addresses(text.values("bcc"), values.get(b"bcc")),
        base_subject=fold(base.text)[:_MAX_KEY],
        is_reply=base.is_reply,
        from_mailbox=_mailbox(first[b"from"]),
        to_mailbox=_mailbox(first[b"to"]),
        cc_mailbox=_mailbox(first[b"cc"]),
        from_display=_display(first[b"from"]),
        to_display=_display(first[b"to"]),
        sent_date=sent_date(values.get(b"date")),
        sent_day=_day(values.get(b"date")),
        message_id=message_id(values.get(b"message-id")),
        refs=references(values),
    )


def _joined(values: list[str]) -> str | None:
    return "\n".join(values) if values else None


def _addresses(texts: list[str], value: bytes | None) -> str | None:
    """What FROM, TO, CC and BCC look at: the field, and addresses as ENVELOPE has them (RFC 9051 §6.4.4) where comments
    break them up in it.
    """
    if not texts or value is None or b"(" not in value:
        return _joined(texts)
    found = "\n".join(texts)
    listed = (decode_octets(a.mailbox + b"@" + a.host) for a in parse_list(value) if a.mailbox and a.host)
    folded = map(fold, islice(listed, _MAX_BROKEN))
    return "\n".join([found, *(address for address in folded if address not in found)])


def _first(value: bytes | None) -> ListedAddress | None:
    """The first address as ENVELOPE lists it, which may be the name of a group."""
    return next(iter(parse_list(value)), None) if value else None


def _mailbox(address: ListedAddress | None) -> str:
    """RFC 5256 §3: addr-mailbox."""
    return fold(decode_octets(address.mailbox or b""))[:_MAX_KEY] if address else ""


def _display(address: ListedAddress | None) -> str:
    """RFC 5957 §3: the name, else mailbox@host, else the mailbox."""
    if address is None:
        return ""
    if address.name and (name := decode(address.name)):
        return fold(name)[:_MAX_KEY]
    octets = address.mailbox or b""
    return fold(decode_octets(octets + b"@" + address.host if octets and address.host else octets))[:_MAX_KEY]


def _day(value: bytes | None) -> date | None:
    """RFC 9051 §6.4.4: the day that is written there, disregarding time and time zone."""
    if not value or len(value) > _MAX_DATE_OCTETS:
        return None
    try:
        parsed = parsedate(value.decode("latin-1"))
        return None if parsed is None else date(*parsed[:3])
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None  # parsedate fails in all of these ways on real mail
