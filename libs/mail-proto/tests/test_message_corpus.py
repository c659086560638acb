"""Real messages and our own: each is scanned, rendered and cut without loss, with CRLF and with bare LF."""

from __future__ import annotations

from pathlib import Path

import pytest

from mail_proto.message.sections import section
from mail_proto.message.structure import Part
from mail_proto.message.summary import summarize
from mail_proto.message.text import searchable
from mail_testkit import messages
from mail_testkit.imap_values import read_value

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
    envelope = read_value(summary.envelope)
    assert isinstance(envelope, list)
    assert len(envelope) == 10
    for rendered in (summary.body, summary.bodystructure):
        assert isinstance(read_value(rendered), list)
    searchable(octets, summary.root)


def nested(part: Part, limit: int) -> None:
    assert part.header_start <= part.body_start <= part.body_end <= limit
    position = part.body_start
    for child in part.children:
        assert position <= child.header_start
        nested(child, part.body_end)
        position = child.body_end
