"""What SMTP says of recipients and senders, as the directory has them and as it changes."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, send_octets
from mail_testkit.running import RunningPostroom

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
def mx(postroom: RunningPostroom) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        client.ehlo()
        yield client


@pytest.fixture
def submission(postroom: RunningPostroom, user: User) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        yield client


def change(rest: Rest, user: User, **values: Any) -> None:
    status, body = rest.call("PATCH", f"/v1/accounts/{user.address}", values)
    assert status == 200, body


def make_alias(rest: Rest, *members: str, **values: Any) -> str:
    address = f"a{uuid4().hex[:10]}@example.test"
    status, body = rest.call("POST", "/v1/aliases", {"address": address, "members": list(members), **values})
    assert status == 201, body
    return address


def told(mx: smtplib.SMTP, recipient: str, sender: str = "a@elsewhere.test") -> tuple[int, str]:
    mx.docmd("RSET")
    mx.docmd(f"MAIL FROM:<{sender}>")
    code, text = mx.docmd(f"RCPT TO:<{recipient}>")
    return code, text.decode().partition(" ")[0]


def test_each_reason_has_its_code(mx: smtplib.SMTP, rest: Rest) -> None:
    disabled, full = rest.make_user(), rest.make_user()
    member = rest.make_user()
    change(rest, disabled, state="disabled")
    change(rest, full, quota_messages=0)
    members_only = make_alias(rest, member.address, kind="list", who_may_post="members")
    assert told(mx, disabled.address) == (550, "5.2.1")
    assert told(mx, full.address) == (452, "4.2.2")
    assert told(mx, members_only) == (550, "5.7.1")
    assert told(mx, members_only, sender=member.address) == (250, "2.1.5")
    assert told(mx, make_alias(rest, disabled.address)) == (550, "5.2.1")
    assert told(mx, make_alias(rest, disabled.address, member.address)) == (250, "2.1.5")


def test_a_message_that_does_not_fit_is_refused_for_now(mx: smtplib.SMTP, rest: Rest) -> None:
    user = rest.make_user()
    change(rest, user, quota_octets=2000)
    code, text = send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE + b"x" * 3000 + b"\r\n")
    assert (code, text[:5]) == (452, b"4.2.2")
    assert send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250
    assert len(rest.messages(user)) == 1


def test_lmtp_says_who_is_full(postroom: RunningPostroom, rest: Rest) -> None:
    empty, full = rest.make_user(), rest.make_user()
    change(rest, full, quota_octets=100)
    with smtplib.LMTP(HOST, postroom.ports["lmtp"], timeout=TIMEOUT_S) as client:
        client.ehlo()  # says LHLO
        client.docmd("MAIL FROM:<a@elsewhere.test>")
        for user in (empty, full):
            assert client.docmd(f"RCPT TO:<{user.address}>")[0] == 250
        client.docmd("DATA")
        client.send(MESSAGE + b"x" * 200 + b"\r\n.\r\n")
        replies = [client.getreply() for _ in (empty, full)]
    assert [(code, text[:5]) for code, text in replies] == [(250, b"2.0.0"), (452, b"4.2.2")]
    assert (len(rest.messages(empty)), len(rest.messages(full))) == (1, 0)


def test_one_may_write_as_an_alias_of_oneself(submission: smtplib.SMTP, user: User, rest: Rest) -> None:
    other = rest.make_user()
    domain = f"{uuid4().hex[:10]}.test"
    status, body = rest.call("POST", "/v1/domains", {"name": domain, "alias_of": "example.test"})
    assert status == 201, body
    name = user.address.partition("@")[0]
    senders = [make_alias(rest, user.address, other.address), f"{name}+shop@example.test", f"{name}@{domain}"]
    for sender in senders:
        assert send_octets(submission, sender, [other.address], MESSAGE)[0] == 250, sender
    for sender in (other.address, make_alias(rest, other.address), f"nobody@{domain}", "a@elsewhere.test"):
        submission.docmd("RSET")
        code, text = submission.docmd(f"MAIL FROM:<{sender}>")
        assert (code, text[:5]) == (553, b"5.7.1"), sender
    assert len(rest.messages(other)) == 3
