"""Real messages and our own: each is scanned, rendered and cut without loss, with CRLF and with bare LF."""

from __future__ import annotations

from pathlib import Path

import pytest

from mail_proto.message.sections import section
from mail_proto.message.structure import Part
from mail_proto.message.summary import summarize
from mail_proto.message.text import searchable
from mail_testkit import messages

MESSAGES = messages.paths()


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_a_real_message(path: Path, ending: bytes) -> None:
    octets = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", ending)
    summary = summarize(octets)
    header, text = (section(octets, summary.root, (), name) for name in ("HEADER", "TEXT"))
    assert header is not None
    assert text is not None
    assert header + text == octets
    nested(summary.root, len(octets))
    envelope = read(summary.envelope)
    assert isinstance(envelope, list)
    assert len(envelope) == 10
    for rendered in (summary.body, summary.bodystructure):
        assert isinstance(read(rendered), list)
    searchable(octets, summary.root)


def nested(part: Part, limit: int) -> None:
    assert part.header_start <= part.body_start <= part.body_end <= limit
    position = part.body_start
    for child in part.children:
        assert position <= child.header_start
        nested(child, part.body_end)
        position = child.body_end


def read(rendered: bytes) -> object:
    """A strict reader of one IMAP value: list, quoted, literal, number or NIL, and nothing behind it."""
    value, end = _value(rendered, 0)
    assert end == len(rendered)
    return value


def _value(octets: bytes, at: int) -> tuple[object, int]:
    first = octets[at : at + 1]
    if first == b"(":
        return _list(octets, at + 1)
    if first == b'"':
        return _quoted(octets, at + 1)
    if first == b"{":
        end = octets.index(b"}\r\n", at)
        start, length = end + 3, int(octets[at + 1 : end])
        assert b"\x00" not in octets[start : start + length]
        assert start + length <= len(octets)
        return octets[start : start + length], start + length
    end = at
    while octets[end : end + 1] not in (b" ", b")", b"(", b""):
        end += 1
    word = octets[at:end]
    assert word == b"NIL" or word.isdigit(), word
    return (None if word == b"NIL" else int(word)), end


def _list(octets: bytes, at: int) -> tuple[list[object], int]:
    values: list[object] = []
    while octets[at : at + 1] != b")":
        value, at = _value(octets, at)
        values.append(value)
        if octets[at : at + 1] == b" ":
            at += 1
            assert octets[at : at + 1] != b")"
        else:
            # Only lists may follow one another without a space (addresses, bodies).
            assert octets[at : at + 1] == b")" or (isinstance(value, list) and octets[at : at + 1] == b"(")
    assert values
    return values, at + 1


def _quoted(octets: bytes, at: int) -> tuple[bytes, int]:
    text = bytearray()
    while (octet := octets[at : at + 1]) != b'"':
        if octet == b"\\":
            at += 1
            octet = octets[at : at + 1]
            assert octet in (b'"', b"\\")
        assert octet not in (b"", b"\r", b"\n", b"\x00")
        assert octet < b"\x80"
        text += octet
        at += 1
    return bytes(text), at + 1
