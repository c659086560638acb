"""SMTP from outside and from clients: what is refused, and that nothing refused is stored."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Iterator

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, send_octets
from mail_testkit.running import RunningPostroom

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


@pytest.fixture
def mx(postroom: RunningPostroom) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        client.ehlo()
        yield client


def test_unknown_recipients_and_relaying_are_refused(mx: smtplib.SMTP, user: User) -> None:
    mx.docmd("MAIL FROM:<a@elsewhere.test>")
    assert mx.docmd("RCPT TO:<nobody@example.test>") == (550, b"5.1.1 no such user here")
    code, text = mx.docmd("RCPT TO:<a@third.test>")
    assert (code, text[:5]) == (550, b"5.7.1")
    assert mx.docmd(f"RCPT TO:<{user.address}>")[0] == 250, "the session goes on"


def test_an_unparsable_command_leaves_the_session_usable(mx: smtplib.SMTP, user: User) -> None:
    assert mx.docmd("FROBNICATE")[0] == 500
    assert mx.docmd("MAIL TO:<x>")[0] == 501
    assert mx.docmd("DATA")[0] == 503
    assert send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250


def test_an_oversized_message_is_refused_early(mx: smtplib.SMTP, user: User) -> None:
    size = int(mx.esmtp_features["size"])
    assert mx.docmd(f"MAIL FROM:<a@elsewhere.test> SIZE={size + 1}")[0] == 552
    assert mx.docmd(f"MAIL FROM:<a@elsewhere.test> SIZE={size}")[0] == 250


def test_an_oversized_message_that_did_not_say_so(mx: smtplib.SMTP, user: User, rest: Rest) -> None:
    too_large = b"x" * 998 + b"\r\n"
    message = b"Subject: big\r\n\r\n" + too_large * (int(mx.esmtp_features["size"]) // 1000 + 1)
    assert send_octets(mx, "a@elsewhere.test", [user.address], message)[0] == 552
    assert send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250
    assert len(rest.messages(user)) == 1


def test_a_client_that_leaves_within_data_stores_nothing(postroom: RunningPostroom, user: User, rest: Rest) -> None:
    with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        client.ehlo()
        client.docmd("MAIL FROM:<a@elsewhere.test>")
        client.docmd(f"RCPT TO:<{user.address}>")
        client.docmd("DATA")
        client.send(b"Subject: half\r\n\r\nthe rest never com")
        client.close()
    with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        assert send_octets(client, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250
    assert [message["subject"] for message in rest.messages(user)] == ["x"]


@pytest.mark.parametrize("end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r"])
def test_nothing_is_smuggled(mx: smtplib.SMTP, user: User, rest: Rest, end: bytes) -> None:
    """What other servers take for the end of data is none: one message is refused, and what follows is no command."""
    smuggled = (
        b"MAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<" + user.address.encode() + b">\r\nDATA\r\nSubject: evil\r\n"
    )
    mx.docmd("MAIL FROM:<a@elsewhere.test>")
    mx.docmd(f"RCPT TO:<{user.address}>")
    mx.docmd("DATA")
    mx.send(b"Subject: good\r\n\r\nbody" + end + smuggled + b"\r\n.\r\n")
    assert mx.getreply() == (550, b"5.6.0 CR or LF alone: lines end with CRLF")
    assert send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250
    assert [message["subject"] for message in rest.messages(user)] == ["x"]


def test_submission_wants_a_login(postroom: RunningPostroom, user: User) -> None:
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.ehlo()
        assert client.docmd(f"MAIL FROM:<{user.address}>")[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login(user.address, "wrong password")
        assert refused.value.smtp_code == 535
        client.login(user.address, user.password)
        assert client.docmd("MAIL FROM:<somebody.else@example.test>")[0] == 553


def test_submission_over_both_kinds_of_tls(postroom: RunningPostroom, user: User, rest: Rest) -> None:
    context = ssl.create_default_context(cafile=str(postroom.certificate))
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.starttls(context=context)
        client.login(user.address, user.password)
        assert send_octets(client, user.address, [user.address], MESSAGE)[0] == 250
    with smtplib.SMTP_SSL(HOST, postroom.ports["submissions"], timeout=TIMEOUT_S, context=context) as client:
        client.login(user.address, user.password)
        assert send_octets(client, user.address, [user.address], MESSAGE)[0] == 250
    assert len(rest.messages(user)) == 2


def test_lmtp_answers_for_each_recipient(postroom: RunningPostroom, rest: Rest) -> None:
    users = [rest.make_user(), rest.make_user()]
    with smtplib.LMTP(HOST, postroom.ports["lmtp"], timeout=TIMEOUT_S) as client:
        assert send_octets(client, "a@elsewhere.test", [user.address for user in users], MESSAGE)[0] == 250
        assert client.getreply()[0] == 250, "RFC 2033 §4.2: one reply for each"
    assert [len(rest.messages(user)) for user in users] == [1, 1]


def test_what_comes_before_the_handshake_is_forgotten(postroom: RunningPostroom) -> None:
    """Commands injected behind STARTTLS must not be taken for protected ones."""
    with socket.create_connection((HOST, postroom.ports["submission"]), timeout=TIMEOUT_S) as plain:
        plain.recv(1000)
        plain.sendall(b"EHLO a\r\n")
        plain.recv(1000)
        plain.sendall(b"STARTTLS\r\nNOOP\r\n")
        assert plain.recv(1000).startswith(b"220")
        context = ssl.create_default_context(cafile=str(postroom.certificate))
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(b"EHLO b\r\n")
            assert secure.recv(1000).startswith(b"250-"), "the answer to EHLO, not to NOOP"
