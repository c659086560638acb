"""What commands ask of the store: each call takes more than all else that they do."""

from __future__ import annotations

import imaplib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom


def test_calls_of_an_own_mailbox(postroom: RunningPostroom, calls: list[str], replica: Replica) -> None:
    user = Rest(postroom).make_user()
    with imaplib.IMAP4(HOST, replica()["imap"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)

        def made_by(command: Callable[..., object], *arguments: str | bytes | None) -> list[str]:
            calls.clear()
            command(*arguments)
            return calls[:]

        assert made_by(client.select, "INBOX") == ["mailboxes", "columns"]
        assert made_by(client.search, None, "UNSEEN") == []
        assert made_by(client.append, "INBOX", None, None, b"Subject: x\r\n\r\nbody\r\n") == ["messages", "columns"]
        assert made_by(client.store, "1", "+FLAGS", "\\Deleted") == ["flags"]
        assert made_by(client.expunge) == ["expunge"]
        assert made_by(client.search, None, "TEXT", "none") == ["search"]


def test_changes_of_flags_at_the_same_time_go_together(
    postroom: RunningPostroom, calls: list[str], replica: Replica
) -> None:
    """Of two sessions of each of three accounts; each is told what it has done, and both what the other has."""
    users = [Rest(postroom).make_user() for _ in range(3)]
    for user in users:
        deliver(postroom, user, b"Subject: x\r\n\r\nbody\r\n")
    port = replica()["imap"]
    with ExitStack() as stack, ThreadPoolExecutor(2 * len(users)) as pool:

        def opened(user: User) -> imaplib.IMAP4:
            client = stack.enter_context(imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S))
            client.login(user.address, user.password)
            client.select("INBOX")
            return client

        clients = [(opened(user), keyword) for user in users for keyword in ("one", "two")]

        def store(client: imaplib.IMAP4, sign: str, keyword: str) -> None:
            status, [told, *_] = client.store("1", f"{sign}FLAGS", keyword)
            assert status == "OK"
            assert isinstance(told, bytes)
            assert (keyword in told.decode()) == (sign == "+")

        deadline = time.monotonic() + TIMEOUT_S
        while "flag-sets" not in calls:
            assert time.monotonic() < deadline
            for sign in "-+":
                list(pool.map(lambda each, sign=sign: store(each[0], sign, each[1]), clients))
        for client, _ in clients:
            assert client.search(None, "KEYWORD one KEYWORD two")[1] == [b"1"]
    for user in users:
        assert {"one", "two"} <= set(Rest(postroom).messages(user)[0]["flags"])
