"""BODY, BODYSTRUCTURE and ENVELOPE as they go on the wire: known answers (RFC 9051 §7.5.2)."""

from __future__ import annotations

import pytest

from mail_proto.message.summary import summarize

TEXT = b'"text" "plain" ("charset" "us-ascii") NIL NIL "7BIT"'
FROM = b'(("A" NIL "a" "x.test"))'


def octets(*lines: str) -> bytes:
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("message", "body", "bodystructure"),
    [
        (octets("Subject: x", "", "one", "two", ""), b"(" + TEXT + b" 10 2)", b"(" + TEXT + b" 10 2 NIL NIL NIL NIL)"),
        (b"", b"(" + TEXT + b" 0 0)", b"(" + TEXT + b" 0 0 NIL NIL NIL NIL)"),
        (
            octets(
                'CONTENT-TYPE: Text/Plain; CharSet="utf-8"; format=flowed', "Content-ID: <1@x>",
                "Content-Description: what\r\n it is", "Content-Transfer-Encoding: Quoted-Printable (yes)",
                "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==", 'Content-Disposition: Attachment; FileName="a \\"b\\".txt"',
                "Content-Language: de, en-GB", "Content-Location: http://x.test/a", "", "one",
            ),
            b'("text" "plain" ("CharSet" "utf-8" "format" "flowed") "<1@x>" "what it is" "QUOTED-PRINTABLE" 3 0)',
            b'("text" "plain" ("CharSet" "utf-8" "format" "flowed") "<1@x>" "what it is" "QUOTED-PRINTABLE" 3 0'
            b' "Q2hlY2sgSW50ZWdyaXR5IQ==" ("Attachment" ("FileName" "a \\"b\\".txt")) ("de" "en-GB")'
            b' "http://x.test/a")',
        ),
        (
            octets("Content-Type: image/png", "Content-Language: de", "Content-Disposition: inline", "", "xy"),
            b'("image" "png" NIL NIL NIL "7BIT" 2)',
            b'("image" "png" NIL NIL NIL "7BIT" 2 NIL ("inline" NIL) "de" NIL)',
        ),
        (
            octets(
                "Content-Type: multipart/mixed; boundary=b", "Content-Language: fr", "", "--b", "", "one", "", "--b",
                "Content-Type: application/x", "", "--b--",
            ),
            b"((" + TEXT + b' 5 1)("application" "x" NIL NIL NIL "7BIT" 0) "mixed")',
            b"((" + TEXT + b' 5 1 NIL NIL NIL NIL)("application" "x" NIL NIL NIL "7BIT" 0 NIL NIL NIL NIL) "mixed"'
            b' ("boundary" "b") NIL "fr" NIL)',
        ),
        (
            octets("Content-Type: multipart/mixed; boundary=b", "", "no parts"),
            b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 0 0) "mixed")',
            b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7BIT" 0 0) "mixed" ("boundary" "b") NIL NIL NIL)',
        ),
    ],
    ids=["plain", "empty", "all fields", "one language", "multipart", "no parts"],
)  # fmt: skip
def test_bodies(message: bytes, body: bytes, bodystructure: bytes) -> None:
    summary = summarize(message)
    assert (summary.body, summary.bodystructure) == (body, bodystructure)


@pytest.mark.parametrize("kind", ["rfc822", "global"])
def test_an_embedded_message(kind: str) -> None:
    summary = summarize(
        octets(f"Content-Type: message/{kind}", "", "From: A <a@x.test>", "Subject: in", "Content-Language: de", "",
               "one", "two", "")
    )  # fmt: skip
    envelope = b'(NIL "in" ' + b" ".join([FROM] * 3) + b" NIL NIL NIL NIL NIL)"
    size = summary.octets - summary.root.body_start
    start = b'("message" "%b" NIL NIL NIL "7BIT" %d ' % (kind.encode(), size) + envelope
    assert summary.body == start + b" (" + TEXT + b" 10 2) 6)"
    assert summary.bodystructure == start + b" (" + TEXT + b' 10 2 NIL NIL "de" NIL) 6 NIL NIL NIL NIL)'


def test_an_envelope_with_everything() -> None:
    """The example of RFC 9051 §7.5.2, and what it leaves out: groups, routes, 8-bit octets, long values."""
    summary = summarize(
        octets(
            "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)", "From: Terry Gray <gray@cac.washington.edu>",
            "Subject: IMAP4rev2 WG mtg summary and minutes", "To: imap@cac.washington.edu",
            "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>", "Reply-To: ",
            "Sender: team: <@a,@b:c@d>;, =?utf-8?q?=C3=A9?= <e@f>", 'Bcc: "q\\"s" <"l p"@d>',
            "Message-Id: <B27397-0100000@cac.washington.edu>", "In-Reply-To: \u00e9", "", "",
        )
    )  # fmt: skip
    gray = b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'
    assert summary.envelope == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" ' + gray
        + b' ((NIL NIL "team" NIL)(NIL "@a,@b" "c" "d")(NIL NIL NIL NIL)("=?utf-8?q?=C3=A9?=" NIL "e" "f")) ' + gray
        + b' ((NIL NIL "imap" "cac.washington.edu"))'
        b' ((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU"))'
        b' (("q\\"s" NIL "l p" "d")) {2}\r\n\xc3\xa9 "<B27397-0100000@cac.washington.edu>")'
    )  # fmt: skip
    long = summarize(b"Subject: " + b"x" * 1_001 + b"\r\n\r\n")
    assert b" {1001}\r\nxxx" in long.envelope
