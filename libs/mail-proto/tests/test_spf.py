"""SPF: examples of RFC 7208, its limits, and any octets."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.authentication.inquiry import Answer, Question, concluded
from mail_proto.authentication.spf import check
from mail_proto.authentication.spf_macros import MacroFault, Values, check_domain_spec, expand
from mail_proto.authentication.spf_record import RecordFault, parse_record

Zone = Mapping[tuple[str, str], list[str]]

# RFC 7208 appendix A.
EXAMPLE: Zone = {
    ("example.com", "MX"): ["mail-a.example.com", "mail-b.example.com"],
    ("example.com", "A"): ["192.0.2.10", "192.0.2.11"],
    ("amy.example.com", "A"): ["192.0.2.65"],
    ("bob.example.com", "A"): ["192.0.2.66"],
    ("mail-a.example.com", "A"): ["192.0.2.129"],
    ("mail-b.example.com", "A"): ["192.0.2.130"],
    ("example.org", "MX"): ["mail-c.example.org"],
    ("mail-c.example.org", "A"): ["192.0.2.140"],
    ("10.2.0.192.in-addr.arpa", "PTR"): ["example.com"],
    ("65.2.0.192.in-addr.arpa", "PTR"): ["amy.example.com"],
    ("140.2.0.192.in-addr.arpa", "PTR"): ["mail-c.example.org"],
    ("4.0.0.10.in-addr.arpa", "PTR"): ["bob.example.com"],
    ("mary.mobile-users._spf.example.com", "A"): ["127.0.0.2"],
    ("mobile-users._spf.example.com", "TXT"): ["v=spf1 exists:%{l1r+}.%{d}"],
}


def outcome(record: str, client: str, zone: Zone = EXAMPLE, *, failing: str = "", local: str = "strong-bad") -> str:
    known = {**zone, ("example.com", "TXT"): [*zone.get(("example.com", "TXT"), []), record]}

    def answer(question: Question) -> Answer:
        if question.name == failing:
            return Answer(failed=True)
        return Answer(tuple(known.get((question.name.lower(), question.kind), ())))

    return concluded(check(client, "mx.example.org", f"{local}@example.com"), answer).result


@pytest.mark.parametrize(
    ("record", "client", "result"),
    [
        # RFC 7208 appendix A.1
        ("v=spf1 +all", "192.0.2.1", "pass"),
        ("v=spf1 a -all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.12", "fail"),
        ("v=spf1 a:example.org -all", "192.0.2.10", "fail"),
        ("v=spf1 mx -all", "192.0.2.129", "pass"),
        ("v=spf1 mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx mx:example.org -all", "192.0.2.130", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", "pass"),
        ("v=spf1 mx/30 -all", "192.0.2.132", "fail"),
        ("v=spf1 ptr -all", "192.0.2.65", "pass"),
        ("v=spf1 ptr -all", "192.0.2.140", "fail"),
        ("v=spf1 ptr -all", "10.0.0.4", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
        # A.4: users by name
        ("v=spf1 mx include:mobile-users._spf.%{d} -all", "10.9.9.9", "fail"),
        # §5.2, §6.1
        ("v=spf1 include:nowhere.example.com -all", "192.0.2.1", "permerror"),
        ("v=spf1 redirect=nowhere.example.com", "192.0.2.1", "permerror"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "2001:db8::1", "pass"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "192.0.2.1", "softfail"),
        ("v=spf1 ip4:192.0.2.0/24", "::ffff:192.0.2.7", "pass"),
        ("v=spf1", "192.0.2.1", "neutral"),
        ("v=spf1 ?all", "192.0.2.1", "neutral"),
        ("v=spf10 +all", "192.0.2.1", "none"),
        # Syntax errors count wherever they stand (§4.6)
        ("v=spf1 +all bogus", "192.0.2.1", "permerror"),
        ("v=spf1 ip4:192.0.2.1/33 +all", "192.0.2.1", "permerror"),
        ("v=spf1 redirect=a.example.com redirect=b.example.com", "192.0.2.1", "permerror"),
        ("v=spf1 a:example.com:25 +all", "192.0.2.1", "permerror"),
        ("v=spf1 moo=x +all", "192.0.2.1", "pass"),
    ],
)
def test_results(record: str, client: str, result: str) -> None:
    assert outcome(record, client) == result


def test_users_by_name() -> None:
    record = "v=spf1 mx include:mobile-users._spf.%{d} -all"
    zone = {**EXAMPLE, ("mobile-users._spf.example.com", "TXT"): ["v=spf1 exists:%{l1r+}.%{d}"]}
    assert outcome(record, "10.9.9.9", zone, local="mary") == "pass"
    assert outcome(record, "10.9.9.9", zone, local="fred") == "fail"


def test_failing_dns_is_temporary() -> None:
    assert outcome("v=spf1 a -all", "192.0.2.10", failing="example.com") == "temperror"
    assert outcome("v=spf1 a:mail-a.example.com -all", "192.0.2.9", failing="mail-a.example.com") == "temperror"


def test_limits() -> None:
    """RFC 7208 §4.6.4."""
    ten = "v=spf1 " + "a:amy.example.com " * 10
    assert outcome(ten + "-all", "192.0.2.9") == "fail"
    assert outcome(ten + "mx -all", "192.0.2.9") == "permerror"
    assert outcome("v=spf1 a:x.example.com a:y.example.com -all", "192.0.2.9") == "fail"
    assert outcome("v=spf1 a:x.example.com a:y.example.com exists:z.example.com -all", "192.0.2.9") == "permerror"
    loop = {**EXAMPLE, ("loop.example.com", "TXT"): ["v=spf1 include:loop.example.com -all"]}
    assert outcome("v=spf1 include:loop.example.com", "192.0.2.9", loop) == "permerror"
    many = {**EXAMPLE, ("example.com", "MX"): [f"m{n}.example.com" for n in range(11)]}
    assert outcome("v=spf1 mx -all", "192.0.2.9", many) == "permerror"


def test_two_records_are_an_error() -> None:
    zone = {("example.com", "TXT"): ["v=spf1 -all", "something else"]}
    assert outcome("v=spf1 +all", "192.0.2.1", zone) == "permerror"


def test_a_client_without_address() -> None:
    found = concluded(check("unknown", "mx.example.org", "a@example.com"), lambda question: Answer())
    assert found.result == "none"


def test_null_reverse_path_asks_for_helo() -> None:
    found = concluded(
        check("192.0.2.1", "mx.example.org", ""),
        lambda question: Answer(("v=spf1 -all",)) if question.name == "mx.example.org" else Answer(),
    )
    assert (found.result, found.identity, found.domain) == ("fail", "helo", "mx.example.org")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        # RFC 7208 §7.4
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{S}", "strong-bad%40email.example.com"),
    ],
)
def test_macros(text: str, expanded: str) -> None:
    values = Values(ip_address("192.0.2.3"), "strong-bad@email.example.com", "mx", "email.example.com")
    check_domain_spec(text)
    assert expand(text, values) == expanded


def test_macros_of_ipv6() -> None:
    values = Values(ip_address("2001:db8::cb01"), "a@example.com", "mx", "example.com")
    assert expand("%{ir}.%{v}._spf.%{d2}", values) == (
        "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
    )


@pytest.mark.parametrize("text", ["", "com", "%{x}", "%{d", "%", "%{d0}.example.com", "a b.com", "example.123"])
def test_no_domain_spec(text: str) -> None:
    with pytest.raises(MacroFault):
        check_domain_spec(text)


@given(st.text(max_size=200), st.text(max_size=80), st.sampled_from(["192.0.2.1", "2001:db8::1"]))
def test_any_record_gives_a_result(rest: str, path: str, client: str) -> None:
    """Whatever is in the DNS: a result, within the limits."""
    asked: list[Question] = []

    def answer(question: Question) -> Answer:
        asked.append(question)
        return Answer(("v=spf1 " + rest,)) if question.kind == "TXT" else Answer()

    found = concluded(check(client, path, path), answer)
    assert found.result in {"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"}
    assert len(asked) <= 130


TERMS = ["a", "mx", "ptr", "-all", "a:%{d}", "include:%{o}", "exists:%{i}.%{p}.x.test", "redirect=%{d2}", "exp=%{d}"]


@given(st.lists(st.sampled_from([*TERMS, "mx/24//64", "ip4:192.0.2.0/24", "ip6:::/0", "~a:b.test/8"]), max_size=15))
def test_any_terms_stay_within_the_limits(terms: list[str]) -> None:
    asked: list[Question] = []

    def answer(question: Question) -> Answer:
        asked.append(question)
        match question.kind:
            case "TXT":
                return Answer(("v=spf1 " + " ".join(terms),))
            case "MX" | "PTR":
                return Answer(tuple(f"h{n}.test" for n in range(10)))
            case _:
                return Answer(("198.51.100.1" if question.kind == "A" else "2001:db8::2",))

    concluded(check("192.0.2.1", "h.test", "a@b.example.test"), answer)
    assert len(asked) <= 1 + 10 * 12


@given(st.text(max_size=100))
def test_any_text_is_a_record_or_a_fault(text: str) -> None:
    try:
        parse_record("v=spf1 " + text)
    except RecordFault:
        return
