"""What is decoded at ingest: addresses, previews, attachments, parameters, charsets."""

from __future__ import annotations

import mmap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail_proto.message.address_list import ListedAddress, _Parser, displayed, parse_list
from mail_proto.message.body_structure import describe
from mail_proto.message.charsets import decode_octets
from mail_proto.message.headers import decode
from mail_proto.message.leaves import leaves
from mail_proto.message.parameters import media_type, parameters, text_of
from mail_proto.message.preview import _BLANKS, _RULES, MAX_PREVIEW_LENGTH, _cut
from mail_proto.message.render import nstring, rendered_addresses
from mail_proto.message.structure import scan, walk
from mail_proto.message.summary import summarize
from mail_testkit import messages

MIXED = (
    b'From: =?utf-8?q?Zo=C3=AB?= <zoe@x.test>\r\nTo: "a, b" <a@x.test>, c@x.test, team: d@x.test;\r\n'
    b"Subject: Re: [list] plan\r\nMessage-ID: <1@x.test>\r\nReferences: <0@x.test>\r\n"
    b"Content-Type: multipart/mixed; boundary=m\r\n\r\n"
    b"--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n"
    b"--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
    b"--a\r\n\r\n> quoted\r\nThe \xe2\x82\xac text\r\n--a\r\nContent-Type: text/html\r\n\r\n<p>The html\r\n--a--\r\n"
    b"--r\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\n\r\npng\r\n--r--\r\n"
    b"--m\r\nContent-Type: application/pdf; name*0*=utf-8'en'%e2%82%ac; name*1=\"%-rates.pdf\"\r\n\r\npdf\r\n"
    b"--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n"
    b'--m\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename="../../etc/p"\r\n\r\nx\r\n--m--\r\n'
)


def test_what_lists_show() -> None:
    summary = summarize(MIXED)
    assert summary.senders == [("Zoë", "zoe@x.test")]
    assert summary.to == [("a, b", "a@x.test"), ("", "c@x.test"), ("", "d@x.test")]
    assert (summary.subject, summary.base_subject, summary.is_reply) == ("Re: [list] plan", "plan", True)
    assert (summary.message_id, summary.references) == ("1@x.test", ["0@x.test"])
    assert summary.preview == "The € text"
    assert summary.attachments == 3


def test_leaves() -> None:
    found = leaves(describe(MIXED, scan(MIXED)))
    assert [(leaf.path, leaf.part.media_type, leaf.role, leaf.name, leaf.content_id) for leaf in found] == [
        ("1.1.1", "text/plain", "text", "", ""),
        ("1.1.2", "text/html", "html", "", ""),
        ("1.2", "image/png", "inline", "", "logo@x"),
        ("2", "application/pdf", "attachment", "€%-rates.pdf", ""),
        ("3", "message/rfc822", "attachment", "", ""),
        ("4", "text/plain", "attachment", "p", ""),
    ]


def test_an_mmap_is_read_as_octets_are() -> None:
    for octets in (MIXED, b"\r\nno header", b"no end of the header: 1"):
        with mmap.mmap(-1, len(octets)) as mapped:
            mapped.write(octets)
            assert summarize(mapped) == summarize(octets)


@pytest.mark.parametrize("path", messages.paths(), ids=lambda path: path.stem)
def test_lines_are_counted_while_scanning(path: messages.Path) -> None:
    octets = path.read_bytes()
    for part in walk(scan(octets)):
        assert part.lines == octets.count(b"\n", part.body_start, part.body_end)


ADDRESSES = st.lists(
    st.sampled_from(
        [b"a@b", b"<", b">", b",", b" ", b'"', b"(c)", b"Joe", b"J. R.", b"@", b":", b";", b"\\", b"[1.2.3.4]", b"\t",
         b"=?utf-8?q?a,b?=", b"<a@b>", b'"q, r"', b"\x00", b"\xff", b"x@y z@w"]
    ),
    max_size=14,
)  # fmt: skip


@given(ADDRESSES.map(b"".join))
def test_usual_addresses_are_read_as_unusual_ones(value: bytes) -> None:
    """The short way for what nearly all lists are made of gives what the long way gives."""
    addresses: list[ListedAddress] = []
    _Parser(addresses).read(value, 0)
    assert parse_list(value) == addresses
    displayed(addresses)


@given(ADDRESSES.map(b"".join))
def test_usual_addresses_are_rendered_as_unusual_ones(value: bytes) -> None:
    listed = parse_list(value)
    long_way = [b"(%b %b %b %b)" % tuple(nstring(item) for item in address) for address in listed]
    assert rendered_addresses(listed) == (b"(%b)" % b"".join(long_way) if listed else b"NIL")


def test_displayed_addresses() -> None:
    value = b'=?iso-8859-1?q?M=FCller,_Hans?= <h@x>, "a b"@x, undisclosed:;, (Comment) c@x, Joe <no-host>'
    assert displayed(parse_list(value)) == [
        ("Müller, Hans", "h@x"), ("", '"a b"@x'), ("Comment", "c@x"), ("Joe", "no-host")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (b"; name=plain", b"name", "plain"),
        (b'; NAME="a \\"b\\" c" (comment)', b"name", 'a "b" c'),
        (b"; name*=iso-8859-1'de'%fcber; name=uber", b"name", "über"),
        (b"; name*0=one; name*1=two; name*3=lost", b"name", "onetwo"),
        (b"; name*1=two; name*0=one", b"name", "onetwo"),
        (b"; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20;"
         b' title*2="isn\'t it!"', b"title", "This is even more ***fun*** isn't it!"),  # RFC 2231 §4.1
        (b"; name==?utf-8?b?4oKs?=", b"name", "€"),
        (b"; name*=%e2%82%ac", b"name", "€"),
        (b"; name*=unknown''%e2%82%ac", b"name", "€"),
        (b"; name*0*=utf-8''%e2%82; name*1*=%ac", b"name", "€"),
        (b'; name="\xe2\x82\xac"', b"name", "€"),
        (b"; other=1", b"name", None),
    ],
)  # fmt: skip
def test_parameters(value: bytes, name: bytes, text: str | None) -> None:
    assert text_of(parameters(value), name) == text


def test_continuations_are_joined_in_bodystructure() -> None:
    """RFC 2231 §6: servers SHOULD decode continuations; charset and percent-encoding stay."""
    octets = b"Content-Type: a/b; x*0=one; x*1=\"two\"; y*0*=utf-8''%41; y*1=b; boundary*0=c; boundary*1=d\r\n\r\n"
    assert b'("x" "onetwo" "y*" "utf-8\'\'%41b" "boundary" "cd")' in summarize(octets).bodystructure
    assert media_type(b"multipart/mixed; boundary*0=c; boundary*1=d").parameter(b"boundary") == b"cd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),  # RFC 2047 §8
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a_b?=", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        (b"=?utf-8?b?4oI=?= =?utf-8?b?rA==?=", "€"),  # cut inside a character
        (b"=?utf-8?q?=E2=82?=\r\n =?utf-8?q?=AC?=", "€"),
        (b"=?utf-8*en?q?x?=", "x"),  # RFC 2231 §5
        (b"=?utf-8?q?what?_and spaces?=", "what? and spaces"),
        (b"=?utf-8?b?4oKs", "=?utf-8?b?4oKs"),
        (b"=?utf-8?x?a?=", "=?utf-8?x?a?="),
        (b"=?utf-8?b?4oKs?=tail", "€tail"),
        (b"=?gb2312?b?xOO6ww==?=", "你好"),
        (b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?koi8-r?q?=F0=D2=C9?=", "При"),
        (b"=?no-such?q?=E2=82=AC?=", "€"),
        ("roh übertragen".encode(), "roh übertragen"),
        (b"caf\xe9", "café"),
    ],
)
def test_encoded_words(value: bytes, text: str) -> None:
    assert decode(value) == text


@given(st.binary(max_size=60), st.sampled_from(["utf-7", "utf-16", "hz", "iso-2022-kr", "big5", "x-sjis", "\x00", "é"]))
def test_any_octets_in_any_charset_are_text(octets: bytes, charset: str) -> None:
    decode_octets(octets, charset).encode("utf-8")


def test_charsets_that_are_none_are_not_looked_up() -> None:
    for name in ("punycode", "base64", "rot13", "no-such-charset", "unicode_escape"):
        assert decode_octets("é\\u0041".encode(), name) == "é\\u0041"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"Content-Type: text/plain\n\nhello   there\n\n\nagain", "hello there again"),
        (b"Content-Type: text/html\n\n<title>t</title><style>x</style><body>say <b>bo</b>ld<br>yes", "say bold yes"),
        (b"Content-Type: text/plain\n\n> only quoted", "> only quoted"),
        (b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64\n\n4vs=", "âû"),
        (b"Content-Type: image/png\n\nxxxx", ""),
        (b"Content-Type: text/plain\n\n" + b"word " * 100, None),
        (b"Content-Type: text/html\n\n<body>" + b"<table style='color:#123456'>" * 300 + b"late", "late"),
        (b"Content-Type: text/plain\n\n================\n", ""),
    ],
)  # fmt: skip
def test_previews(body: bytes, text: str | None) -> None:
    preview = summarize(body).preview
    assert len(preview) <= MAX_PREVIEW_LENGTH
    assert preview.endswith("word…") if text is None else preview == text


TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["word", "-", "=====", " ", "\n\t", "\x1c", "é", "\u200c", "\u200b", "x" * 60]),
        st.integers(1, 150),
    ),
    max_size=8,
)


@given(TEXTS)
@example([("é", 138), ("\u200c", 260), ("=====", 40)])
def test_a_preview_of_the_beginning_is_that_of_the_whole(pieces: list[tuple[str, int]]) -> None:
    text = "".join(piece * times for piece, times in pieces)
    shown = _BLANKS.sub(" ", _RULES.sub(" ", text)).strip()
    cut = shown if len(shown) <= MAX_PREVIEW_LENGTH else shown[: MAX_PREVIEW_LENGTH - 1].rstrip() + "…"
    assert _cut(text) == cut
