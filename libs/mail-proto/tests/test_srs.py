"""The Sender Rewriting Scheme: bounces find their way back, and nobody else gets anywhere."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.srs import MAX_AGE_DAYS, Srs, SrsFault, is_srs

OURS, THEIRS = Srs(b"our secret"), Srs(b"another secret")
TODAY = date(2026, 3, 14)

LOCALS = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}", fullmatch=True).filter(lambda text: not is_srs(text))
DOMAINS = st.from_regex(r"[a-z0-9]{1,10}(\.[a-z0-9]{1,10}){1,2}", fullmatch=True)
DATES = st.dates(date(2020, 1, 1), date(2060, 1, 1))


def local(address: str) -> str:
    return address.rpartition("@")[0]


@given(LOCALS, DOMAINS, DATES, st.integers(0, MAX_AGE_DAYS))
def test_what_was_rewritten_leads_back(name: str, domain: str, day: date, age: int) -> None:
    rewritten = OURS.forward(f"{name}@{domain}", "forwarder.test", day)
    assert rewritten.startswith("SRS0=")
    assert rewritten.endswith("@forwarder.test")
    assert is_srs(local(rewritten))
    assert OURS.reverse(local(rewritten), day + timedelta(days=age)) == f"{name}@{domain}"


@given(LOCALS, DOMAINS)
def test_folding_the_case_of_an_address_keeps_it_valid(name: str, domain: str) -> None:
    rewritten = local(OURS.forward(f"{name}@{domain}", "forwarder.test", TODAY))
    for folded in (rewritten.lower(), rewritten.upper()):
        assert OURS.reverse(folded, TODAY).lower() == f"{name}@{domain}".lower()


def test_a_chain_of_forwarders_is_one_hop_long() -> None:
    first = OURS.forward("a=b@origin.test", "one.test", TODAY)
    second = THEIRS.forward(first, "two.test", TODAY)
    third = OURS.forward(second, "three.test", TODAY)
    assert second.startswith("SRS1=")
    assert third.startswith("SRS1=")
    assert len(third) == len(second) + len("three") - len("two")
    # A bounce goes straight to the first forwarder, who knows the sender.
    assert OURS.reverse(local(third), TODAY) == first
    assert THEIRS.reverse(local(second), TODAY) == first
    assert OURS.reverse(local(first), TODAY) == "a=b@origin.test"


def test_the_null_reverse_path_stays_null() -> None:
    assert OURS.forward("", "forwarder.test", TODAY) == ""


def test_an_old_address_is_refused() -> None:
    rewritten = local(OURS.forward("a@b.test", "forwarder.test", TODAY))
    with pytest.raises(SrsFault, match="expired"):
        OURS.reverse(rewritten, TODAY + timedelta(days=MAX_AGE_DAYS + 1))
    with pytest.raises(SrsFault, match="expired"):
        OURS.reverse(rewritten, TODAY - timedelta(days=1))


@pytest.mark.parametrize(
    "change", [("b.test", "c.test"), ("=a", "=x"), ("SRS0=", "SRS0=A"), ("SRS0", "SRS9"), ("=b.test=", "=")]
)
def test_a_changed_address_is_refused(change: tuple[str, str]) -> None:
    rewritten = local(OURS.forward("a@b.test", "forwarder.test", TODAY))
    with pytest.raises(SrsFault):
        OURS.reverse(rewritten.replace(*change), TODAY)


def test_anothers_address_is_refused() -> None:
    first = THEIRS.forward("a@b.test", "one.test", TODAY)
    second = THEIRS.forward(first, "two.test", TODAY)
    for address in (first, second):
        with pytest.raises(SrsFault, match="forged"):
            OURS.reverse(local(address), TODAY)


@given(st.text(max_size=80))
def test_any_text_is_reversed_or_refused(text: str) -> None:
    for prefix in ("", "SRS0=", "SRS1=", "SRS0=ABCDEF=AB="):
        # 30 bits of HMAC are in the way of anything else.
        with pytest.raises(SrsFault):
            OURS.reverse(prefix + text, TODAY)


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(OURS)
