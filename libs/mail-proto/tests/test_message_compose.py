"""Messages written: nothing given can break out of its place, and everything comes back as it was."""

from __future__ import annotations

import email
import re
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.message.address_list import displayed, parse_list
from mail_proto.message.body_structure import describe
from mail_proto.message.compose import Attachment, Letter, bcc_field, compose, has_long_line, with_crlf
from mail_proto.message.header_text import HeaderFault
from mail_proto.message.headers import decode, field, first_values
from mail_proto.message.leaves import leaves
from mail_proto.message.structure import scan
from mail_proto.message.text import decoded_text

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=200)
ANY_TEXT = st.text(max_size=60)


def letter(**values: object) -> Letter:
    known: dict[str, object] = {"sender": ("", "a@x.test"), "date": NOW, "message_id": "1@x.test", "token": "t"}
    return Letter(**(known | values))  # type: ignore[arg-type]


def written(one: Letter) -> bytes:
    return b"".join(compose(one))


def standard(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=policy.default)  # type: ignore[return-value]


def well_formed(octets: bytes) -> None:
    assert not has_long_line(octets)
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", octets)
    assert b"\0" not in octets
    header = octets.partition(b"\r\n\r\n")[0]
    assert header.isascii()
    assert all(len(line) <= 998 and line.strip() for line in header.split(b"\r\n"))


@given(TEXT, st.lists(TEXT, max_size=3), TEXT)
def test_header_text_comes_back(subject: str, names: list[str], name: str) -> None:
    to = [(each, f"u{n}@x.test") for n, each in enumerate(names)]
    octets = written(letter(subject=subject, to=to, sender=(name, "a@x.test"), fields=[("X-Own", subject)]))
    well_formed(octets)
    values = first_values(octets.partition(b"\r\n\r\n")[0])
    assert decode(values.get(b"subject", b"")).strip() == subject.strip()
    assert decode(field(octets, b"x-own") or b"").strip() == subject.strip()
    shown = displayed(parse_list(values.get(b"to", b"")))
    assert [address for _, address in shown] == [address for _, address in to]
    assert [shown_name.strip() for shown_name, _ in shown] == [each.strip() for each in names]
    assert displayed(parse_list(values[b"from"]))[0][1] == "a@x.test"


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_nothing_breaks_out_of_its_field(subject: str, name: str, file_name: str, value: str) -> None:
    attachment = Attachment(file_name, "a/b", b"x")
    try:
        octets = written(
            letter(subject=subject, to=[(name, "b@x.test")], attachments=[attachment], fields=[("X-Own", value)])
        )
    except HeaderFault:
        return
    well_formed(octets)
    known = {"date", "from", "to", "subject", "message-id", "x-own", "mime-version", "content-type"}
    assert {name.lower() for name in standard(octets).keys()} <= known  # noqa: SIM118


@given(st.text(max_size=300), st.one_of(st.none(), st.text(max_size=300)))
def test_texts_come_back(text: str, html: str | None) -> None:
    octets = written(letter(text=text, html=html))
    well_formed(octets)
    found = leaves(describe(octets, scan(octets)))
    expected = [text] if html is None else [text, html]
    assert [leaf.role for leaf in found] == ["text", "html"][: len(expected)]
    for leaf, source in zip(found, expected, strict=True):
        shown = decoded_text(octets, leaf.part, leaf.described.values, 10_000)
        clean = re.sub(r"\r\n|\r|\n", "\r\n", source).replace("\0", "").encode("utf-8", "replace").decode()
        assert shown == clean


@pytest.mark.parametrize("text", ["x" * 5_000, "é" * 5_000, "日本語\n" * 400, "From me\n.\n..\n", "a\0b", "=_t", ""])
def test_hard_texts(text: str) -> None:
    octets = written(letter(text=text, attachments=[Attachment("", "a/b", b"")]))
    well_formed(octets)
    part = next(part for part in standard(octets).walk() if part.get_content_type() == "text/plain")
    assert part.get_content().rstrip("\r\n").replace("\r\n", "\n") == text.rstrip("\n")


def test_structure_and_attachments() -> None:
    inner = b"Subject: in\n\nb\xc3\xa9\n"
    octets = written(
        letter(
            text="t", html="<img src=cid:logo@x>", in_reply_to="0@x", references=["r@x", "0@x"],
            attachments=[
                Attachment("é\"; x=\\.pdf", "application/pdf", bytes(range(256)) * 20),
                Attachment("logo.png", "image/png", b"png", "logo@x"),
                Attachment("n" * 200 + ".txt", "text/plain", b"saved"),
                Attachment("in.eml", "message/rfc822", inner),
                Attachment("bad.eml", "message/rfc822", b"x" * 2_000),
            ],
        )
    )  # fmt: skip
    assert not has_long_line(octets)
    message = standard(octets)
    types = [part.get_content_type() for part in message.walk()]
    assert types == [
        "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
        "application/pdf", "text/plain", "message/rfc822", "text/plain", "application/octet-stream",
    ]  # fmt: skip
    found = [leaf for leaf in leaves(describe(octets, scan(octets))) if leaf.role in ("attachment", "inline")]
    assert [(leaf.path, leaf.role) for leaf in found] == [
        ("1.2.2", "inline"), ("2", "attachment"), ("3", "attachment"), ("4", "attachment"), ("5", "attachment")
    ]  # fmt: skip
    assert found[0].name == "logo.png"
    files = list(message.iter_attachments())
    assert files[0].get_filename() == 'é"; x=\\.pdf'
    assert files[0].get_content() == bytes(range(256)) * 20
    assert files[1].get_filename() == "n" * 200 + ".txt"
    assert (message["In-Reply-To"], message["References"]) == ("<0@x>", "<r@x> <0@x>")
    assert with_crlf(inner) in octets


@pytest.mark.parametrize(
    "values",
    [
        {"subject": "a\r\nBcc: b@x.test"},
        {"subject": "a\u2028b"},
        {"subject": "a\ud800"},
        {"to": [("a\nb", "b@x.test")]},
        {"fields": [("From", "b@x.test")]},
        {"fields": [("Bcc", "b@x.test")]},
        {"fields": [("X-A: b\r\nBcc", "x")]},
        {"fields": [("X-A", "x\r\n\r\nbody")]},
        {"fields": [("List-Unsubscribe", "<https://é>")]},
        {"fields": [("List-Unsubscribe", "<https://" + "a" * 1_000 + ">")]},
        {"fields": [("Content-Type", "text/html")]},
        {"in_reply_to": "a> <b"},
        {"references": ["a b"]},
        {"message_id": ""},
        {"attachments": [Attachment("a\r\nb", "a/b", b"")]},
        {"attachments": [Attachment("a", "multipart/mixed", b"")]},
        {"attachments": [Attachment("a", "a/b; x=y", b"")]},
        {"attachments": [Attachment("a", "a/b", b"", "x>\r\n")]},
    ],
)
def test_what_can_not_stand_in_a_header_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(HeaderFault):
        written(letter(**values))


def test_bcc_is_a_field_of_its_own() -> None:
    assert bcc_field([]) == b""
    assert bcc_field([("Zoë", "z@x.test")]) == b"Bcc: =?utf-8?B?Wm/Dqw==?= <z@x.test>\r\n"
