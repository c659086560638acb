"""MTA-STS records and policies (RFC 8461; the examples of its appendix A)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.mta_sts import MAX_AGE_LIMIT_S, Policy, PolicyFault, parse_policy, record_id

EXAMPLE = (
    b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n"
    b"mx: backupmx.example.com\r\nmax_age: 604800\r\n"
)


def test_the_rfc_s_example() -> None:
    assert record_id(["v=STSv1; id=20160831085700Z;"]) == "20160831085700Z"
    assert parse_policy(EXAMPLE) == Policy(
        "enforce", 604800, ("mail.example.com", "*.example.net", "backupmx.example.com")
    )


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["v=STSv1;"],
        ["v=STSv2; id=1;"],
        ["id=1; v=STSv1;"],
        ["v=STSv1; id=1;", "v=STSv1; id=2;"],
        ["v=STSv1; id=with-dash;"],
        ["v=STSv1; id=" + "1" * 33],
    ],
)
def test_no_record(texts: list[str]) -> None:
    assert record_id(texts) is None


def test_other_texts_and_fields_dont_matter() -> None:
    assert record_id(["v=spf1 -all", "v=STSv1;x=y; id=a1"]) == "a1"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"mode: enforce\nmx: a\nmax_age: 1",
        b"version: STSv1\nmode: maybe\nmx: a\nmax_age: 1",
        b"version: STSv1\nmode: enforce\nmx: a",
        b"version: STSv1\nmode: enforce\nmx: a\nmax_age: -1",
        b"version: STSv1\nmode: enforce\nmax_age: 1",
        b"version: STSv1\nmode: enforce\nmax_age: 1\n" + b"mx: a\n" * 101,
        b"<html>\nversion: STSv1\nmode: enforce\nmx: a\nmax_age: 1",
    ],
)
def test_no_policy(text: bytes) -> None:
    with pytest.raises(PolicyFault):
        parse_policy(text)


def test_bounds_and_repetitions() -> None:
    policy = parse_policy(b"version: STSv1\nmode: none\nmode: enforce\nmax_age: 9999999999\nnew: x\n")
    assert policy == Policy("none", MAX_AGE_LIMIT_S, ())


def test_which_hosts() -> None:
    policy = Policy("enforce", 1, ("mail.example.com", "*.example.net"))
    assert policy.allows("MAIL.example.com.")
    assert policy.allows("a.example.net")
    for host in ("a.b.example.net", "example.net", "xmail.example.com", "example.com", "a.example.net.evil.test"):
        assert not policy.allows(host)


@given(st.binary(max_size=200))
def test_any_octets_are_a_policy_or_a_fault(octets: bytes) -> None:
    with contextlib.suppress(PolicyFault):
        parse_policy(octets)
