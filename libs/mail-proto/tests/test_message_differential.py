"""The scanner beside Python's `email`, on real messages and where that one is right."""

from __future__ import annotations

import email
import email.utils
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path

import pytest

from mail_proto.message.address_list import displayed, parse_list
from mail_proto.message.body_structure import describe
from mail_proto.message.headers import decode, field
from mail_proto.message.leaves import file_name
from mail_proto.message.structure import scan
from mail_proto.message.summary import summarize
from mail_proto.message.text import transfer_encoding
from mail_proto.message.transfer import decoded
from mail_testkit import messages

PATHS = pytest.mark.parametrize("path", messages.paths(), ids=lambda path: path.stem)


def parts_of(message: Message) -> list[Message]:
    """Without what `email` makes of delivery reports: it takes their fields for messages (RFC 3464 §2.1)."""
    found = []
    pending = [message]
    while pending:
        part = pending.pop()
        found.append(part)
        if part.is_multipart() and part.get_content_type() not in (
            "message/delivery-status", "message/disposition-notification"
        ):  # fmt: skip
            pending += reversed(part.get_payload())  # type: ignore[arg-type]
    return found


def has_defects(message: Message) -> bool:
    """`email` itself says that it may have read this wrong."""
    return any(part.defects for part in message.walk())


@PATHS
def test_parts_and_their_octets(path: Path) -> None:
    octets = path.read_bytes()
    message = email.message_from_bytes(octets)
    if has_defects(message):
        pytest.skip("email is not sure of it")
    theirs, ours = parts_of(message), describe(octets, scan(octets))
    assert [part.get_content_type() for part in theirs] == [one.part.media_type for one in ours]
    for part, one in zip(theirs, ours, strict=True):
        if part.is_multipart() or one.part.children:
            continue
        body = decoded(octets[one.part.body_start : one.part.body_end], transfer_encoding(one.values))
        # Where the end boundary is missing, `email` drops the last line end of the message.
        assert body.rstrip(b"\r\n") == part.get_payload(decode=True).rstrip(b"\r\n")  # type: ignore[union-attr]
        name = part.get_filename()
        if name and "/" not in name and name.isprintable() and "=?" not in name:
            assert file_name(one) == name.strip(" .")


@PATHS
def test_subject_and_date(path: Path) -> None:
    octets = path.read_bytes()
    message = email.message_from_bytes(octets)
    subject, date = message["Subject"], message["Date"]
    if isinstance(subject, str):  # raw 8-bit octets make it a Header, which can't be read
        shown = str(make_header(decode_header(subject))).replace("\r", "").replace("\n", "")
        assert decode(field(octets, b"subject") or b"").split() == shown.split()
    if date is not None:
        parsed = email.utils.parsedate_tz(str(date))
        assert summarize(octets).sent_date == (email.utils.mktime_tz(parsed) if parsed else None)


@PATHS
@pytest.mark.parametrize("name", ["from", "to", "cc"])
def test_addresses(path: Path, name: str) -> None:
    octets = path.read_bytes()
    message = email.message_from_bytes(octets)
    value = message[name] or ""
    if (
        message.defects or not isinstance(value, str) or len(value) > 20_000
    ):  # it needs a level of recursion for each address of a group
        pytest.skip("email can't read it")
    theirs = [address for _, address in email.utils.getaddresses([value]) if "@" in address]
    ours = [address for _, address in displayed(parse_list(field(octets, name.encode()) or b""))]
    # A source route (RFC 5322 §4.4), and an address that stands for a name, are addresses of their own for `email`.
    expected = [one for one in theirs if not one.startswith("@") and f"{one} <" not in value]
    assert [address for address in ours if "@" in address] == expected
