"""Messages as JSON: the values of lists, and of one message that is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from mail_proto.message.address_list import displayed, parse_list
from mail_proto.message.body_structure import describe
from mail_proto.message.headers import decode, fields, first_values
from mail_proto.message.html_text import html_text
from mail_proto.message.leaves import Leaf, leaves
from mail_proto.message.structure import Part
from mail_proto.message.text import MAX_TEXT_OCTETS, decoded_text, transfer_encoding
from mail_proto.message.transfer import decoded_length
from store_api.messages.listing import read_listed
from store_api.messages.sanitising import sanitise

# Ours: fields shown of one header, and addresses of one field.
MAX_FIELDS: Final = 1_000
MAX_ADDRESSES: Final = 1_000

_FIRST_SECOND: Final = int(datetime.min.replace(tzinfo=UTC).timestamp())
_LAST_SECOND: Final = int(datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp())

Json = dict[str, Any]


def list_item(row: Any) -> Json:
    """A row of `listing.COLUMNS` as it is listed."""
    listed = read_listed(row.summary)
    return {
        "id": row.email_id,
        "mailbox_id": row.mailbox_id,
        "thread_id": row.thread_id,
        "uid": row.uid,
        "modseq": row.modseq,
        "octets": row.octets,
        "flags": row.flags,
        "received_at": _time(row.internal_date),
        "sent_at": _time(listed.sent_date),
        "subject": listed.subject,
        "from": _addresses(listed.senders),
        "to": _addresses(listed.to),
        "cc": _addresses(listed.cc),
        "message_id": listed.message_id,
        "references": listed.references,
        "preview": listed.preview or "",
        "attachments": listed.attachments,
    }


def read_item(row: Any, octets: bytes, root: Part, parts_path: str, *, remote_images: bool) -> Json:
    """The same with the contents: all header fields, text, safe HTML, attachments. Takes CPU time: use a thread.

    `parts_path`: where the parts of this message are, with a `/` at its end.
    """
    header = octets[: root.body_start]
    values = first_values(header)
    found = leaves(describe(octets, root))
    shown = {
        name: _addresses(displayed(parse_list(values.get(key, b""))[:MAX_ADDRESSES]))
        for name, key in (("from", b"from"), ("to", b"to"), ("cc", b"cc"), ("bcc", b"bcc"), ("reply_to", b"reply-to"))
    }
    html, blocked = _html(octets, found, parts_path, remote_images)
    return (
        list_item(row)
        | shown
        | {
            "headers": [
                {"name": name.decode("latin-1"), "value": decode(value)} for name, value in fields(header)[:MAX_FIELDS]
            ],
            "text": _text(octets, found),
            "html": html,
            "remote_images_blocked": blocked,
            "parts": [_part(octets, leaf, parts_path) for leaf in found if leaf.role in ("attachment", "inline")],
        }
    )


def _time(seconds: int | None) -> datetime | None:
    """In years 1 to 9999: an INTERNALDATE with an offset can lie a day outside of what a datetime holds."""
    return None if seconds is None else datetime.fromtimestamp(min(max(seconds, _FIRST_SECOND), _LAST_SECOND), UTC)


def _addresses(listed: Sequence[tuple[str, str]]) -> list[Json]:
    return [{"name": name, "address": address} for name, address in listed]


def _sources(octets: bytes, found: Sequence[Leaf], role: str) -> str:
    """The texts of that role, a line end between two, MAX_TEXT_OCTETS at most."""
    texts: list[str] = []
    left = MAX_TEXT_OCTETS
    for leaf in found:
        if leaf.role == role and left > 0:
            texts.append(decoded_text(octets, leaf.part, leaf.described.values, left))
            left -= leaf.part.body_end - leaf.part.body_start
    return "\n".join(texts)


def _text(octets: bytes, found: Sequence[Leaf]) -> str:
    if any(leaf.role == "text" for leaf in found):
        return _sources(octets, found, "text").replace("\r\n", "\n")
    return html_text(_sources(octets, found, "html"))


def _html(octets: bytes, found: Sequence[Leaf], parts_path: str, remote_images: bool) -> tuple[str | None, bool]:
    source = _sources(octets, found, "html")
    if not source:
        return None, False
    images = {leaf.content_id: parts_path + leaf.path for leaf in found if leaf.content_id}
    safe = sanitise(source, images, remote_images=remote_images)
    return (None, False) if safe is None else (safe.html, safe.blocked)


def _part(octets: bytes, leaf: Leaf, parts_path: str) -> Json:
    part, encoding = leaf.part, transfer_encoding(leaf.described.values)
    return {
        "part": leaf.path,
        "disposition": leaf.role,
        "name": leaf.name,
        "media_type": part.media_type,
        "octets": decoded_length(octets, part.body_start, part.body_end, encoding),
        "content_id": leaf.content_id,
        "url": parts_path + leaf.path,
    }


def parts_path(address: str, message_id: UUID) -> str:
    """Where the parts of a message are."""
    return f"/v1/accounts/{quote(address, safe='@')}/messages/{message_id}/parts/"
