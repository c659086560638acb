"""POP3: the lock, what removes and what doesn't."""

from __future__ import annotations

import contextlib
import poplib
import ssl

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver, open_pop3, retrieve
from mail_testkit.running import RunningPostroom

MESSAGE = b"Subject: x\r\n\r\n.one\r\ntwo\r\nthree\r\n"


def test_a_session(postroom: RunningPostroom, user: User, rest: Rest) -> None:
    deliver(postroom, user, MESSAGE, MESSAGE, MESSAGE)
    client = open_pop3(postroom, user)
    ids = [line.split()[1] for line in client.uidl()[1]]
    assert len(set(ids)) == 3
    octets = retrieve(client, 2)
    assert octets.endswith(MESSAGE)
    assert client.stat() == (3, 3 * len(octets))
    assert client.top(2, 1)[1][-2:] == [b"", b".one"]
    client.dele(2)
    with pytest.raises(poplib.error_proto, match="deleted"):
        client.retr(2)
    with pytest.raises(poplib.error_proto):
        client.retr(9)
    client.rset()
    client.dele(1)
    client.quit()
    again = open_pop3(postroom, user)
    assert [line.split()[1] for line in again.uidl()[1]] == ids[1:], "unique ids stay"
    again.quit()
    assert len(rest.messages(user)) == 2


def test_one_session_at_a_time(postroom: RunningPostroom, user: User) -> None:
    first = open_pop3(postroom, user)
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        open_pop3(postroom, user)
    first.quit()
    open_pop3(postroom, user).quit()


def test_a_connection_that_breaks_removes_nothing(postroom: RunningPostroom, user: User, rest: Rest) -> None:
    deliver(postroom, user, MESSAGE)
    client = open_pop3(postroom, user)
    client.dele(1)
    client.close()
    while True:  # the lock is given back as soon as the service notices
        with contextlib.suppress(poplib.error_proto):
            open_pop3(postroom, user).quit()
            break
    assert len(rest.messages(user)) == 1


def test_a_refused_login_and_bad_commands(postroom: RunningPostroom, user: User) -> None:
    client = poplib.POP3(HOST, postroom.ports["pop3"], timeout=TIMEOUT_S)
    with pytest.raises(poplib.error_proto):
        client.stat()
    client.user(user.address)
    with pytest.raises(poplib.error_proto, match="AUTH"):
        client.pass_("wrong password")
    client.user(user.address)
    client.pass_(user.password)
    with pytest.raises(poplib.error_proto):
        client._shortcmd("FROB")  # type: ignore[attr-defined]
    assert client.stat() == (0, 0)
    client.quit()


def test_both_kinds_of_tls(postroom: RunningPostroom, user: User) -> None:
    context = ssl.create_default_context(cafile=str(postroom.certificate))
    client = poplib.POP3(HOST, postroom.ports["pop3"], timeout=TIMEOUT_S)
    assert "STLS" in client.capa()
    client.stls(context)
    assert "STLS" not in client.capa()
    client.user(user.address)
    client.pass_(user.password)
    client.quit()
    secure = poplib.POP3_SSL(HOST, postroom.ports["pop3s"], context=context, timeout=TIMEOUT_S)
    secure.user(user.address)
    secure.pass_(user.password)
    secure.quit()
