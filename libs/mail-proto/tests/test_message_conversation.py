"""Base subjects and message ids: what makes messages one conversation (RFC 5256 §2.1, §3)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.message.message_ids import MAX_REFERENCES, message_id, message_ids, references
from mail_proto.message.subjects import base_subject


@pytest.mark.parametrize(
    ("subject", "base", "is_reply"),
    [
        ("hello", "hello", False),
        ("Re: hello", "hello", True),
        ("RE : FW:fwd: hello", "hello", True),
        ("Fw[5]: hello", "hello", True),
        ("re [list] : hello", "hello", True),
        ("[list] Re: [list] hello", "hello", True),
        ("[list] hello", "hello", False),
        ("[one] [two]  hello", "hello", False),
        ("[list]", "[list]", False),
        ("Re: [one] [two]", "[two]", True),
        ("hello (fwd) (FWD) ", "hello", True),
        ("[Fwd: hello]", "hello", True),
        ("[fwd: Re: [fwd: [x] hello (fwd)]]", "hello", True),
        ("[fwd: hello] there", "there", False),  # a blob, no forward
        ("\t a \t  b \r\n c", "a b c", False),
        ("re:", "", True),
        ("  ", "", False),
        ("(fwd)", "", True),
        ("[fwd:]", "", True),
        ("Reply: hello", "Reply: hello", False),
        ("[a[b] hello", "[a[b] hello", False),
        ("aw: hello", "aw: hello", False),  # only what the RFC names
        ("ſe: re: x", "ſe: re: x", False),  # a long s is no s
    ],
)
def test_base_subject(subject: str, base: str, is_reply: bool) -> None:
    assert base_subject(subject) == (base, is_reply)


PIECES = st.sampled_from(["re", "fw", "fwd", ":", "[", "]", "[fwd:", "(fwd)", " ", "\t", "a", "[x]", "é"])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_the_base_of_a_base_subject_is_itself(subject: str) -> None:
    base = base_subject(subject).text
    assert base_subject(base).text == base
    assert base_subject(f"Re: [list] {base} (fwd)").text in (base, base or "[list]")


@given(st.lists(PIECES, max_size=30).map("".join))
def test_base_subject_follows_the_steps_of_the_rfc(subject: str) -> None:
    assert base_subject(subject).text == step_by_step(subject)


def step_by_step(subject: str) -> str:
    """RFC 5256 §2.1 as it is written, copying the text at each step."""
    blob = r"\[[^\[\]]*\][ \t]*"
    leader = re.compile(rf"(?:{blob})*(?:re|fwd?)[ \t]*(?:{blob})?:|[ \t]", re.IGNORECASE)
    trailer = re.compile(r"(?:\(fwd\)|[ \t])\Z", re.IGNORECASE)
    text = re.sub(" +", " ", subject.replace("\t", " "))
    while True:
        while found := trailer.search(text):
            text = text[: found.start()]
        while True:
            found = leader.match(text)
            if found is None and (prefix := re.match(blob, text)) and text[prefix.end() :].strip(" \t"):
                found = prefix
            if found is None:
                break
            text = text[found.end() :]
        if text[:5].lower() != "[fwd:" or len(text) < 6 or text[-1] != "]":
            return text
        text = text[5:-1]


@pytest.mark.parametrize("prefix", ["re: ", "[a] ", "[", "[fwd:", "re[", "re [a", " "])
def test_a_subject_of_prefixes_is_read_once(prefix: str) -> None:
    """What is quadratic here takes minutes, not the time-out of the test."""
    base_subject(prefix * 500_000 + "x" + "]" * 500_000 + "(fwd)" * 100_000)


def test_message_ids() -> None:
    assert message_ids(b'<a@x> (of <b@x>) <a@x>\t<"c d"@y><no-at>') == ["a@x", "b@x", "cd@y", "no-at"]
    assert message_ids(b'<"01KF8JCEOCBS0045PS"@xxx.yyy.com>') == message_ids(b"<01KF8JCEOCBS0045PS@xxx.yyy.com>")
    assert message_ids(b"<bro ken@x>") == ["broken@x"]  # folded in the middle
    assert message_ids(b"< > nothing") == []
    assert message_id(b" <a@x> <b@x>") == "a@x"
    assert message_id(b"a@x") == "a@x"
    assert message_id(b"<" + b"a" * 999 + b">") == ""
    assert message_id(None) == ""


def test_references() -> None:
    assert references({b"references": b"<a@x> <b@x>", b"in-reply-to": b"<c@x>"}) == ["a@x", "b@x"]
    assert references({b"references": b"nothing", b"in-reply-to": b"<c@x> <d@x>"}) == ["c@x"]
    assert references({}) == []
    many = references({b"references": b" ".join(b"<%d@x>" % n for n in range(1_000))})
    assert len(many) == MAX_REFERENCES
    assert (many[0], many[1], many[-1]) == ("0@x", "901@x", "999@x")
