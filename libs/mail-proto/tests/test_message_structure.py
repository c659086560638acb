"""The MIME scanner: offsets, sections, rendered lists; never an exception, never much time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail_proto.message import headers
from mail_proto.message.sections import section
from mail_proto.message.structure import Part, scan
from mail_proto.message.summary import summarize
from mail_proto.message.text import searchable

NESTED = (
    b"From: a <a@x.test>\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\npre\r\n--o\r\n\r\none\r\n"
    b"--o\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
    b"--i\r\nContent-Type: text/plain\r\n\r\ntwo\r\n--i\r\nContent-Type: text/html\r\n\r\n<b>three</b>\r\n--i--\r\n"
    b"--o--\r\npost\r\n"
)
FRAGMENTS = st.sampled_from(
    [b"--b", b"--b--", b"\r\n", b"\n", b"\r", b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: ",
     b":", b" ", b"Content-Type: message/rfc822", b"boundary=\"", b"\"", b"\x00", b"\xff", b"=?utf-8?q?x", b"From: (((",
     b"To: <a@b", b";", b"group:", b"Date: 1", b"\t", b"\\"]
)  # fmt: skip


def walk(part: Part) -> list[Part]:
    return [part, *(inner for child in part.children for inner in walk(child))]


def test_sections_of_a_nested_message() -> None:
    root = scan(NESTED)
    expected = {
        ((1,), None): b"one",
        ((2, 1), None): b"two",
        ((2, 2), None): b"<b>three</b>",
        ((2, 2), "MIME"): b"Content-Type: text/html\r\n\r\n",
        ((2,), "HEADER.FIELDS"): b"Subject: in\r\n\r\n",
        ((), "HEADER.FIELDS"): b"Subject: s\r\n\r\n",
        ((3,), None): None,
        ((1, 1), None): None,
        ((1,), "HEADER"): None,
    }
    for (path, text), octets in expected.items():
        assert section(NESTED, root, path, text, (b"subject",)) == octets, (path, text)
    assert section(NESTED, root, (), None) == NESTED


def test_rendered_lists() -> None:
    summary = summarize(NESTED)
    sender = b'(("a" NIL "a" "x.test"))'
    assert summary.envelope == b'(NIL "s" ' + b" ".join([sender] * 3) + b" NIL NIL NIL NIL NIL)"
    assert summary.bodystructure.endswith(b'"mixed" ("boundary" "o") NIL NIL NIL)')
    assert summary.body.count(b"(") < summary.bodystructure.count(b"(") + 1


@given(st.lists(st.one_of(FRAGMENTS, st.binary(max_size=8)), max_size=60).map(b"".join))
@settings(max_examples=300)
def test_any_octets_have_a_structure(octets: bytes) -> None:
    summary = summarize(octets)
    assert summary.octets == len(octets)
    for part in walk(summary.root):
        assert 0 <= part.header_start <= part.body_start <= part.body_end <= len(octets)
    header, text = (section(octets, summary.root, (), name) for name in ("HEADER", "TEXT"))
    assert header is not None
    assert text is not None
    assert header + text == octets
    balanced(summary.envelope)
    balanced(summary.bodystructure)
    balanced(summary.body)
    searchable(octets, summary.root)


def balanced(rendered: bytes) -> None:
    """A small reader of parenthesised lists: raises where a client would stumble."""
    at = depth = 0
    while at < len(rendered):
        octet = rendered[at : at + 1]
        if octet == b'"':
            at += 1
            while rendered[at : at + 1] != b'"':
                assert rendered[at : at + 1] not in (b"", b"\r", b"\n", b"\x00")
                at += 2 if rendered[at : at + 1] == b"\\" else 1
        elif octet == b"{":
            end = rendered.index(b"}\r\n", at)
            at = end + 2 + int(rendered[at + 1 : end])
        else:
            assert octet in b"()NIL 0123456789"
            depth += (octet == b"(") - (octet == b")")
            assert depth > 0 or at == len(rendered) - 1
        at += 1
    assert depth == 0


@pytest.mark.parametrize(
    "octets",
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 300_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(40_000)),
        b"X: y\r\n" * 500_000 + b"\r\n",
        b"Content-Type: message/rfc822\r\n\r\n" * 100_000,
        b"To: " + b"(" * 3_000_000,
        b"To: " + b"a <a@b>, " * 300_000,
        b"Subject: " + b"=?utf-8?q?x?= " * 200_000 + b"\r\n\r\n",
    ],
)
def test_bombs_are_read_in_linear_time(octets: bytes) -> None:
    """What is quadratic here would take hours, not the time-out of the test."""
    assert summarize(octets).octets == len(octets)


def test_texts_are_decoded() -> None:
    octets = (
        b"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"<style>x</style><p>Gr=FC=DFe &amp; mehr</p>\r\n"
    )
    assert searchable(octets, scan(octets)).split() == ["Grüße", "&", "mehr"]


def test_headers_are_decoded() -> None:
    assert headers.decode(b"=?utf-8?q?Gr=C3?= =?utf-8?q?=BC=C3=9Fe?= x") == "Grüße x"
    assert headers.decode("roh übertragen".encode()) == "roh übertragen"
    assert headers.field(b"A: 1\r\nSubject: a\r\n b\r\n\r\n", b"SUBJECT") == b"a b"
