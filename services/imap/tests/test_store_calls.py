"""What commands ask of the store: each call takes more than all else that they do."""

from __future__ import annotations

import imaplib
from collections.abc import Callable

from mail_testkit.clients import HOST, TIMEOUT_S, Rest
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom


def test_calls_of_an_own_mailbox(postroom: RunningPostroom, calls: list[str], replica: Replica) -> None:
    user = Rest(postroom).make_user()
    with imaplib.IMAP4(HOST, replica()["imap"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)

        def made_by(command: Callable[..., object], *arguments: str | None) -> list[str]:
            calls.clear()
            command(*arguments)
            return calls[:]

        assert made_by(client.select, "INBOX") == ["mailboxes", "columns"]
        assert made_by(client.search, None, "UNSEEN") == []
        assert made_by(client.search, None, "TEXT", "none") == ["search"]
