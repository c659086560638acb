"""DMARC's policies and alignment, and the field that tells of results."""

from __future__ import annotations

import pytest
from authres import AuthenticationResultsHeader
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.authentication.arc import Arc
from mail_proto.authentication.content import Content
from mail_proto.authentication.dkim import Dkim
from mail_proto.authentication.dmarc import Dmarc, author_domain, evaluate
from mail_proto.authentication.inquiry import Answer, Question, concluded
from mail_proto.authentication.results import (
    Result,
    authserv_of,
    of_arc,
    of_dkim,
    of_dmarc,
    of_spf,
    render,
    without_results_of,
)
from mail_proto.authentication.spf import Spf

NO_SPF = Spf("none", "mailfrom", "elsewhere.test")
NOBODY = [Dkim("fail", "example.com")]


def organizational(domain: str) -> str:
    """As if every suffix had one label, and co.uk two."""
    labels = domain.split(".")
    return ".".join(labels[-3 if domain.endswith(".co.uk") else -2 :])


def judged(
    author: str,
    records: dict[str, str],
    spf: Spf = NO_SPF,
    dkim: list[Dkim] = NOBODY,
    chance: int = 0,
    *,
    failing: bool = False,
) -> Dmarc:
    content = Content(f"From: A <a@{author}>\r\n\r\n".encode())

    def answer(question: Question) -> Answer:
        return Answer((records[question.name],) if question.name in records else (), failing)

    return concluded(evaluate(content, spf, dkim, organizational, chance), answer)


REJECT = {"_dmarc.example.com": "v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example.com"}


def test_policies() -> None:
    assert (judged("example.com", REJECT).result, judged("example.com", REJECT).policy) == ("fail", "reject")
    assert judged("news.example.com", REJECT).policy == "quarantine"
    own = {**REJECT, "_dmarc.news.example.com": "v=DMARC1; p=none"}
    assert judged("news.example.com", own).policy == "none"
    assert judged("example.net", REJECT).result == "none"
    assert judged("a.b.co.uk", {"_dmarc.b.co.uk": "v=DMARC1; p=reject"}).policy == "reject"
    assert judged("example.com", REJECT, failing=True).result == "temperror"


def test_percentage() -> None:
    """RFC 7489 §6.6.4."""
    half = {"_dmarc.example.com": "v=DMARC1; p=reject; pct=50"}
    assert [judged("example.com", half, chance=chance).policy for chance in (0, 49, 50, 99)] == [
        "reject",
        "reject",
        "quarantine",
        "quarantine",
    ]
    none = {"_dmarc.example.com": "v=DMARC1; p=quarantine; pct=0"}
    assert judged("example.com", none).policy == "none"


@pytest.mark.parametrize(
    ("authenticated", "tags", "passes"),
    [
        ("example.com", "", True),
        ("mail.example.com", "", True),
        ("mail.example.com", "aspf=s; adkim=s;", False),
        ("example.com", "aspf=s; adkim=s;", True),
        ("example.net", "", False),
        ("notexample.com", "", False),
    ],
)
def test_alignment(authenticated: str, tags: str, passes: bool) -> None:
    """RFC 7489 §3.1."""
    records = {"_dmarc.example.com": f"v=DMARC1; p=reject; {tags}"}
    spf = judged("example.com", records, Spf("pass", "mailfrom", authenticated))
    dkim = judged("example.com", records, dkim=[*NOBODY, Dkim("pass", authenticated)])
    assert (spf.result == "pass", dkim.result == "pass") == (passes, passes)


def test_doubt_is_temporary() -> None:
    assert judged("example.com", REJECT, dkim=[Dkim("temperror", "example.com")]).result == "temperror"
    assert judged("example.com", REJECT, Spf("temperror", "mailfrom", "example.com")).result == "temperror"


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=DMARC1", "none"),
        ("v=DMARC1; p=maybe", "none"),
        ("v=DMARC1; p=maybe; rua=mailto:a@b.test", "fail"),
        ("v=DMARC2; p=reject", "none"),
        ("V=dmarc1; p=reject", "none"),
        ("v=DMARC1; p=reject; pct=many", "fail"),
    ],
)
def test_records(record: str, result: str) -> None:
    assert judged("example.com", {"_dmarc.example.com": record}).result == result


@pytest.mark.parametrize(
    ("header", "domain"),
    [
        (b"From: a@Example.COM", "example.com"),
        (b"From: a@x.test, b@x.test", "x.test"),
        (b"From: a@x.test, b@y.test", None),
        (b"From: a@x.test\r\nFrom: a@y.test", None),
        (b"From: nobody", None),
        (b"To: a@x.test", None),
        ("From: a@bücher.test".encode(), "xn--bcher-kva.test"),
        (b'From: "a@y.test" <a@x.test>', "x.test"),
    ],
)
def test_authors(header: bytes, domain: str | None) -> None:
    assert author_domain(Content(header + b"\r\n\r\n")) == domain


def test_field() -> None:
    text = render(
        "mx.test",
        [
            of_spf(Spf("pass", "mailfrom", "example.com")),
            *of_dkim([Dkim("pass", "example.com", "s", "rsa-sha256", b"123456789")]),
            of_dmarc(Dmarc("fail", "example.com", "reject")),
            of_arc(Arc("none")),
        ],
    )
    assert text == (
        b"Authentication-Results: mx.test;\r\n"
        b"\tspf=pass smtp.mailfrom=example.com;\r\n"
        b'\tdkim=pass header.d=example.com header.s=s header.a=rsa-sha256 header.b="MTIzNDU2";\r\n'
        b"\tdmarc=fail header.from=example.com policy.dmarc=reject;\r\n"
        b"\tarc=none\r\n"
    ).replace(b'"', b"")
    read = AuthenticationResultsHeader.parse(text.decode().strip())
    assert [(one.method, one.result) for one in read.results] == [
        ("spf", "pass"),
        ("dkim", "pass"),
        ("dmarc", "fail"),
        ("arc", "none"),
    ]
    assert render("mx.test", []) == b"Authentication-Results: mx.test;\r\n\tnone\r\n"


@given(st.text(max_size=50), st.text(max_size=50))
def test_values_cannot_break_out(value: str, reason: str) -> None:
    text = render("mx.test", [Result("spf", "none", [("smtp.mailfrom", value)], reason)])
    first, second, rest = text.split(b"\r\n")
    assert (first, rest) == (b"Authentication-Results: mx.test;", b"")
    assert second.startswith(b"\tspf=none")
    assert b"\r" not in second
    assert b"\n" not in second


@pytest.mark.parametrize(
    ("value", "author"),
    [
        (" mx.test; none", "mx.test"),
        ("\r\n\tmx.test 1; none", "mx.test"),
        (" (a (nested) comment) mx.test; none", "mx.test"),
        ('"mx.test"; none', "mx.test"),
        ('"mx\\.test"; none', "mx.test"),
        (" mx.test/x; none", "mx.test"),
        ("(endless", None),
        (" ;", None),
        ("", None),
    ],
)
def test_authors_of_fields(value: str, author: str | None) -> None:
    assert authserv_of(value) == author


def test_forged_fields_are_removed() -> None:
    message = (
        b"Received: x\r\nAUTHENTICATION-results: (c) MX.test;\r\n\tdmarc=pass\r\n"
        b"Authentication-Results: other; none\r\n"
        b"authentication-results : mx.test; spf=pass\r\nSubject: s\r\n\r\nAuthentication-Results: mx.test; in body\r\n"
    )
    assert without_results_of(message, "mx.test") == (
        b"Received: x\r\nAuthentication-Results: other; none\r\nSubject: s\r\n\r\n"
        b"Authentication-Results: mx.test; in body\r\n"
    )
    assert without_results_of(b"Subject: s\r\n\r\n", "mx.test") == b"Subject: s\r\n\r\n"


@given(st.binary(max_size=300))
def test_any_octets_keep_their_body(octets: bytes) -> None:
    body = b"\r\n\r\nbody\r\n"
    assert without_results_of(octets + body, "mx.test").endswith(b"body\r\n")
