"""SEARCH answered out of the view, or of header fields that are known, finds what the store finds."""

from __future__ import annotations

import imaplib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.header import Header
from typing import Any
from uuid import UUID, uuid4

import pytest

from imap import header_fields
from mail_proto.imap.mailbox_columns import MailboxColumns, Rows
from mail_proto.imap.view import View
from mail_runtime.contracts.errors import NotFound
from mail_runtime.contracts.store import Mailbox
from mail_runtime.contracts.store.search import HeaderFields
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom

PROGRAMS = 60
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "$Work", "$WORK")
DAYS = ("31-Dec-1969", "1-Feb-1994", "2-Feb-1994")
# True of every message, and known to the store alone.
OF_THE_STORE = "SAVEDSINCE 1-Jan-1990"
LEAVES = (
    *("ALL", "NEW", "OLD", "UNSEEN", "SEEN", "FLAGGED", "UNDELETED", "ANSWERED", "DRAFT"),
    *("KEYWORD $work", "UNKEYWORD $Work", "KEYWORD none", "LARGER 30", "SMALLER 30", "LARGER 0"),
    *("1:3", "*", "2,5:*", "UID 3:6", "UID 1,9:*", "UID 100"),
    *(f"{word} {day}" for word in ("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE") for day in DAYS),
    *("SUBJECT r", "SUBJECT COLN", 'SUBJECT "k o"', 'SUBJECT ""', "SUBJECT 3", "FROM ada", "FROM @example.test"),
    *("TO bob TO carol", 'CC ""', 'BCC ""', "HEADER subject koln", 'HEADER Cc "<carol@"', "HEADER To carol"),
)
WANTED = b"Subject: wanted\r\n\r\n"
SUBJECTS = ("", "Re: Köln", "k o", "COLN", "3", "Straße")
PEOPLE = ("", "Ada <ada@example.test>", "bob@example.test, Carol <carol@elsewhere.test>", "Bob")
COUNTERS: dict[str, Any] = {"messages": 1, "unseen": 1, "octets": 1, "subscribed": True}
SENT = ("", "Tue, 1 Feb 1994 23:59:00 -0800", "Mon, 31 Jan 1994 12:00:00 +0000", "some day")


def program(choice: random.Random, depth: int = 0) -> str:
    kind = choice.randrange(8 if depth < 3 else 5)
    if kind < 5:
        return choice.choice(LEAVES)
    if kind == 5:
        return f"NOT {program(choice, depth + 1)}"
    first, second = program(choice, depth + 1), program(choice, depth + 1)
    return f"OR {first} {second}" if kind == 6 else f"({first} {second})"


def letter(choice: random.Random, octets: int) -> bytes:
    fields = [("Subject", Header(choice.choice(SUBJECTS), "utf-8").encode()), ("Date", choice.choice(SENT))]
    fields += [(name, choice.choice(PEOPLE)) for name in ("From", "To", "To", "Cc", "Bcc")]
    header = "".join(f"{name}: {value}\r\n" for name, value in fields if value or choice.randrange(4) == 0)
    return f"{header}\r\n{'x' * octets}".encode()


@contextmanager
def opened(port: int, user: User) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        client.select("INBOX")
        yield client


def wanted(client: imaplib.IMAP4, calls: list[str]) -> bytes:
    """What is found by its subject."""
    calls.clear()
    found: bytes = client.search(None, "SUBJECT", "wanted")[1][0]
    return found


def until_known(client: imaplib.IMAP4, calls: list[str]) -> bytes:
    """What is found as soon as the store isn't asked: header fields are indexed, and known."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        client.noop()
        found = wanted(client, calls)
        if not calls:
            return found
    raise AssertionError(f"it asked every time, and last {calls}")


@pytest.fixture
def unresting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't indexed yet is asked for in each search."""
    monkeypatch.setattr("imap.header_fields.RETRY_S", 0.0)


@pytest.mark.usefixtures("unresting")
def test_random_programs_find_the_same(postroom: RunningPostroom, replica: Replica, calls: list[str]) -> None:
    choice = random.Random(9051)
    user = Rest(postroom).make_user()
    with opened(replica()["imap"], user) as client:
        for number in range(8):
            flags = " ".join(choice.sample(FLAGS, choice.randrange(4)))
            when = choice.choice(('"01-Feb-1994 00:00:00 +0000"', '"01-Feb-1994 23:30:00 -0100"'))
            assert client.append("INBOX", f"({flags})", when, letter(choice, number * 5))[0] == "OK"
        client.select("INBOX")
        client.store("2", "+FLAGS", "(\\Deleted)")
        client.uid("EXPUNGE", "2")
        until_known(client, calls)
        unasked = 0
        for _ in range(PROGRAMS):
            keys = program(choice)
            for by in (client.search, lambda _, *rest: client.uid("SEARCH", *rest)):
                client.noop()
                calls.clear()
                found = by(None, keys)
                unasked += not calls
                assert found == by(None, keys, OF_THE_STORE), keys
                assert calls[-1] == "search", keys
        assert unasked > PROGRAMS


@pytest.mark.usefixtures("unresting")
def test_header_fields_are_asked_for_once(postroom: RunningPostroom, replica: Replica, calls: list[str]) -> None:
    """Of each message, by all sessions together; of what isn't indexed yet the store searches."""
    user, other = Rest(postroom).make_user(), Rest(postroom).make_user()
    with opened(replica()["imap"], user) as client, opened(postroom.ports["imap"], user) as elsewhere:
        assert until_known(client, calls) == b""
        for message in (WANTED, b"Subject: none\r\n\r\n"):
            elsewhere.append("INBOX", "", "", message)
        until_seen(client, 2)
        assert wanted(client, calls) == until_known(client, calls) == b"1"
        elsewhere.append("INBOX", "", "", WANTED)
        until_seen(client, 3)
        assert wanted(client, calls) == b"1 3"
        assert calls
        assert until_known(client, calls) == b"1 3"
        elsewhere.store("1", "+FLAGS", "(\\Deleted)")
        elsewhere.expunge()
        until_seen(client, 2)
        assert wanted(client, calls) == until_known(client, calls) == b"2"
    with opened(replica()["imap"], other) as stranger:
        assert wanted(stranger, calls) == b""


def until_seen(client: imaplib.IMAP4, number: int) -> None:
    """NOOP, until it has told of so many messages."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        client.noop()
        [status] = client.uid("SEARCH", "ALL")[1]
        if len(status.split()) == number:
            return
    raise AssertionError("it didn't hear of them")


@pytest.mark.usefixtures("unresting")
def test_fields_that_have_no_room_are_asked_for_again(
    postroom: RunningPostroom, replica: Replica, calls: list[str]
) -> None:
    user = Rest(postroom).make_user()
    with opened(replica(field_cache_octets=2_000)["imap"], user) as client:
        client.append("INBOX", "", "", WANTED)
        client.select("INBOX")
        until_known(client, calls)
        client.append("INBOX", "", "", b"Subject: wanted %s\r\n\r\n" % (b"x" * 3_000))
        complete = 0
        deadline = time.monotonic() + TIMEOUT_S
        while complete < 3 and time.monotonic() < deadline:
            client.noop()
            assert wanted(client, calls) == b"1 2"
            assert calls
            complete += calls == ["header-fields"]
        assert complete == 3


def test_a_large_mailbox_is_searched_by_the_store(
    postroom: RunningPostroom, replica: Replica, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imap.header_fields.MAX_MESSAGES", 1)
    user = Rest(postroom).make_user()
    with opened(replica()["imap"], user) as client:
        for _ in range(2):
            client.append("INBOX", "", "", WANTED)
        client.select("INBOX")
        assert wanted(client, calls) == b"1 2"
        assert calls == ["search"]


async def test_a_store_of_the_release_before_searches(postroom: RunningPostroom) -> None:
    """It knows no such question: asked once in a while, it goes on searching."""
    asked = []

    class Older(StoreClient):
        async def header_fields(self, account_id: UUID, blob_ids: list[UUID]) -> list[HeaderFields]:
            asked.append(blob_ids)
            raise NotFound("there is no such route")

    zeros = [0]
    view = View(MailboxColumns(Rows([7], zeros, zeros, zeros, zeros, zeros, zeros, [[]]), 1))
    mailbox = Mailbox(id=uuid4(), name="INBOX", uid_validity=1, uid_next=8, highest_modseq=1, **COUNTERS)
    async with Older(postroom.api_url, postroom.service_token) as store:
        known = header_fields.HeaderFields(store, 10_000)
        for _ in range(2):
            assert await known.of(uuid4(), mailbox, view) is None
    assert asked == [[UUID(int=0)]]
