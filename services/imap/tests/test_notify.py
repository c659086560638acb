"""NOTIFY of more mailboxes than a session may watch."""

from __future__ import annotations

import imaplib

from mail_testkit.clients import HOST, TIMEOUT_S, Rest
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom


def test_too_many_mailboxes(postroom: RunningPostroom, replica: Replica) -> None:
    """RFC 5465 §5.8: refused at once, or later, as after NOTIFY NONE."""
    user = Rest(postroom).make_user()
    port = replica(notify_max_mailboxes=1)["imap"]
    with imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S) as client, imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S) as other:
        client.login(user.address, user.password)
        other.login(user.address, user.password)
        other.create("x")
        client.send(b"a NOTIFY SET (personal (MailboxName))\r\n")
        assert client.readline().startswith(b"a NO [NOTIFICATIONOVERFLOW] ")
        client.send(b"b NOTIFY SET (subtree x (MailboxName))\r\n")
        assert client.readline().startswith(b"b OK ")
        other.create("x/y")
        assert client.readline().startswith(b"* OK [NOTIFICATIONOVERFLOW] ")
        other.delete("x/y")
        client.send(b"c NOOP\r\n")
        assert client.readline().startswith(b"c OK ")
