"""Bad days: what is away is said to be away, nothing acknowledged is lost, and everything goes on by itself."""

from __future__ import annotations

import imaplib
import smtplib
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver, open_pop3, retrieve, send_octets
from mail_testkit.running import RunningPostroom, run_postroom

Connect = Callable[[User], IMAPClient]
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


def try_to_deliver(postroom: RunningPostroom, user: User) -> int:
    """The code of the first reply that isn't 2xx or 3xx, or 250 when all went well."""
    with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        client.ehlo()
        for command in ("MAIL FROM:<a@elsewhere.test>", f"RCPT TO:<{user.address}>", "DATA"):
            code = client.docmd(command)[0]
            if code >= 400:
                return code
        client.send(MESSAGE + b".\r\n")
        return client.getreply()[0]


@pytest.mark.parametrize("away", ["store-api", "postgres"])
def test_without_the_store_or_its_database(
    postroom: RunningPostroom, user: User, rest: Rest, imap: Connect, away: str
) -> None:
    deliver(postroom, user, MESSAGE)
    client = imap(user)
    client.select_folder("INBOX")
    with postroom.stopped(away):
        assert try_to_deliver(postroom, user) == 451
        with pytest.raises(IMAPClientError, match="UNAVAILABLE"):
            client.create_folder("Somewhere")  # what is known of the selected mailbox is answered from memory
        client.noop()
    postroom.wait_ready("store-api")
    deliver(postroom, user, MESSAGE)
    assert client.folder_status("INBOX", ["MESSAGES"]) == {b"MESSAGES": 2}
    assert len(rest.messages(user)) == 2


def test_without_nats_mail_is_accepted_and_read(
    postroom: RunningPostroom, user: User, rest: Rest, imap: Connect
) -> None:
    client = imap(user)
    client.select_folder("INBOX")
    with postroom.stopped("nats"):
        deliver(postroom, user, MESSAGE)
        client.noop()
        assert client.search("ALL") == [1]
        submit(postroom, user, "somebody@d-nats.invalid")
        client.idle()
    # Back again: the waiting message is tried (and bounces), and push works.
    assert (2, b"EXISTS") in client.idle_check(timeout=TIMEOUT_S)
    client.idle_done()
    assert "Undelivered" in rest.messages(user)[-1]["subject"]


def submit(postroom: RunningPostroom, user: User, recipient: str) -> None:
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        assert send_octets(client, user.address, [recipient], MESSAGE)[0] == 250


def test_a_store_that_is_killed_loses_nothing_it_acknowledged(
    postroom: RunningPostroom, user: User, rest: Rest
) -> None:
    """Mail pours in while the store is killed three times: what got 250 is there once, what didn't is at most there."""
    accepted: list[str] = []
    sent: list[str] = []
    done = threading.Event()

    def pour(sender: int) -> None:
        number = 0
        while not done.is_set():
            subject = f"m{sender}-{number}"
            number += 1
            sent.append(subject)
            with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
                client.ehlo()
                commands = ("MAIL FROM:<a@elsewhere.test>", f"RCPT TO:<{user.address}>", "DATA")
                if any(client.docmd(command)[0] >= 400 for command in commands):
                    continue
                client.send(f"Subject: {subject}\r\n\r\nbody\r\n.\r\n".encode())
                if client.getreply()[0] == 250:
                    accepted.append(subject)

    threads = [threading.Thread(target=pour, args=(sender,)) for sender in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = len(accepted)
            while len(accepted) < before + 20:
                done.wait(0.05)
            postroom.kill("store-api")
            postroom.wait_ready("store-api")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    stored = [message["subject"] for message in rest.messages(user)]
    assert set(accepted) <= set(stored), "lost"
    assert len(stored) == len(set(stored)), "stored twice"
    assert set(stored) <= set(sent)


MARKED = 5


def mark(postroom: RunningPostroom, user: User, keyword: str, known: dict[tuple[str, int], bool], end: Event) -> None:
    """Set and remove a keyword of each message by turns; `known` is what was acknowledged last."""
    with imaplib.IMAP4(HOST, postroom.ports["imap"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        client.select("INBOX")
        for turn in count():
            for number in range(1, MARKED + 1):
                if end.is_set():
                    return
                known.pop((keyword, number), None)  # until it is answered it may be one or the other
                sign = "-" if turn % 2 else "+"
                if client.store(str(number), f"{sign}FLAGS.SILENT", keyword)[0] == "OK":
                    known[keyword, number] = sign == "+"


def test_flags_that_were_acknowledged_outlive_a_store_that_is_killed(postroom: RunningPostroom, rest: Rest) -> None:
    """Of sessions of several accounts, and of the same one: their changes are made together."""
    users = [rest.make_user() for _ in range(3)]
    for user in users:
        for _ in range(MARKED):
            deliver(postroom, user, MESSAGE)
    known: dict[User, dict[tuple[str, int], bool]] = {user: {} for user in users}
    for _ in range(3):
        end = Event()
        threads = [
            Thread(target=mark, args=(postroom, user, keyword, known[user], end))
            for user in users
            for keyword in ("one", "two")
        ]
        for thread in threads:
            thread.start()
        while any(len(marks) < MARKED for marks in known.values()):
            assert all(thread.is_alive() for thread in threads)
            end.wait(0.05)
        end.set()
        postroom.kill("store-api")
        for thread in threads:
            thread.join()
        postroom.wait_ready("store-api")
        for user, marks in known.items():
            kept = {message["uid"]: message["flags"] for message in rest.messages(user)}
            for (keyword, number), is_set in marks.items():
                assert (keyword in kept[number]) == is_set, "lost"
            marks.clear()


def test_frontends_that_are_killed_come_back(postroom: RunningPostroom, user: User) -> None:
    deliver(postroom, user, MESSAGE)
    for name in ("smtp-in", "imap", "pop3", "smtp-out"):
        postroom.kill(name)
    for name in ("smtp-in", "imap", "pop3", "smtp-out"):
        postroom.wait_ready(name)
    deliver(postroom, user, MESSAGE)
    client = open_pop3(postroom, user)
    assert client.stat()[0] == 2
    client.quit()


@pytest.mark.parametrize("s3", ["", "1"])
def test_the_next_start_finds_all_mail(open_directory: Path, s3: str) -> None:
    with run_postroom(open_directory / "data", S3=s3) as first:
        user = Rest(first).make_user()
        deliver(first, user, MESSAGE, b"Subject: large\r\n\r\n" + b"x" * 998 + b"\r\n")
    with run_postroom(open_directory / "data", S3=s3) as second:
        client = open_pop3(second, user)
        assert retrieve(client, 1).endswith(MESSAGE)
        assert client.stat()[0] == 2
        client.quit()
