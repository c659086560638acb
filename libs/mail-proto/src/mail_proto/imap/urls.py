"""URLs of messages and their parts, as CATENATE has them (RFC 4469 §3, RFC 5092 §5): relative to the session.

imessagepart-rel = ["/" enc-mailbox [";UIDVALIDITY=" nz-number] "/"] ";UID=" nz-number ["/;SECTION=" enc-section]
                   ["/;PARTIAL=" number ["." nz-number]]

Without a mailbox the selected one is meant. With a scheme, a server or an authorization (`;URLAUTH=`) it is no URL of
a message of this session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from mail_proto.imap.errors import SyntaxFault
from mail_proto.imap.fetch_items import Section, parse_section

_URL: Final = re.compile(
    r"(?:/(?P<mailbox>[^/;]*)(?:;UIDVALIDITY=(?P<validity>[1-9][0-9]{0,9}))?/|/)?"
    r";UID=(?P<uid>[1-9][0-9]{0,9})"
    r"(?:/;SECTION=(?P<section>[^/;]+))?"
    r"(?:/;PARTIAL=(?P<first>[0-9]{1,10})(?:\.(?P<count>[1-9][0-9]{0,9}))?)?",
    re.IGNORECASE,
)
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """`mailbox` None: the selected one. `section` None: all of the message. `first`, `count`: only these octets of it;
    `count` None: all from `first` on.
    """

    mailbox: str | None
    uid_validity: int | None
    uid: int
    section: Section | None = None
    first: int = 0
    count: int | None = None


def parse_url(text: str) -> MessageUrl:
    """Raises ValueError: not the URL of a message or a part of one in this session."""
    found = _URL.fullmatch(text)
    if found is None or _STRAY_PERCENT.search(text) or not text.isascii():
        raise ValueError("not the URL of a message")
    try:
        section = None if found["section"] is None else parse_section(unquote_to_bytes(found["section"]))
    except SyntaxFault as fault:
        raise ValueError(str(fault)) from fault
    mailbox = unquote_to_bytes(found["mailbox"] or "").decode("utf-8") or None
    if mailbox is not None:
        head, separator, rest = mailbox.partition("/")
        mailbox = "INBOX" + separator + rest if head.upper() == "INBOX" else mailbox
    return MessageUrl(
        mailbox,
        int(found["validity"]) if found["validity"] else None,
        int(found["uid"]),
        section,
        int(found["first"] or 0),
        int(found["count"]) if found["count"] else None,
    )


def shown(text: str) -> str:
    """As it may stand in a response code: url-resp-text (RFC 4469 §5)."""
    return "".join(char if "!" <= char <= "~" and char != "]" else f"%{ord(char) & 255:02X}" for char in text[:300])
