"""Octets in, octets out: every message, sent by SMTP where it takes it, read back by IMAP, POP3 and REST."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from imapclient import IMAPClient

from mail_proto.smtp.content import has_bare_line_ends
from mail_runtime import tracing
from mail_runtime.contracts.store import Transmission
from mail_runtime.store_client import StoreClient
from mail_testkit import messages
from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, open_pop3, retrieve, send_octets
from mail_testkit.running import RunningPostroom

TRACE_FIELDS = 3  # Return-Path, Received and X-Postroom-Trace
PATHS = messages.paths()
SENT = [messages.as_sent(path) for path in PATHS]


@pytest.fixture(scope="module")
def reader(postroom: RunningPostroom) -> User:
    """An account that has got every message, in order."""
    user = Rest(postroom).make_user()
    with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        for path, message in zip(PATHS, SENT, strict=True):
            code, text = send_octets(client, "sender@elsewhere.test", [user.address], message)
            if has_bare_line_ends(message):
                assert code == 550, path
                asyncio.run(store(postroom, user, message))
            else:
                assert code == 250, f"{path}: {text!r}"
    return user


async def store(postroom: RunningPostroom, user: User, message: bytes) -> None:
    """As smtp-in would: messages that it refuses come by other ways, and must come back all the same."""
    traced = (
        b"Return-Path: <>\r\nReceived: by a.test; Thu, 1 Jan 2026 00:00:00 +0000\r\n" + tracing.new().field() + message
    )
    async with StoreClient(postroom.api_url, postroom.service_token) as client:
        await client.accept(Transmission(id=uuid4(), reverse_path="", recipients=[user.address]), traced)


def differing(received: list[bytes]) -> list[Path]:
    """The messages that didn't come back as they were sent, behind the trace header."""
    assert len(received) == len(SENT)
    return [
        path
        for path, sent, octets in zip(PATHS, SENT, received, strict=True)
        if messages.without_trace(octets, TRACE_FIELDS) != sent
    ]


def test_the_repository_has_its_own_messages() -> None:
    assert len(list(messages.OWN.glob("*.eml"))) >= 14


def test_by_imap(reader: User, imap: Callable[[User], IMAPClient]) -> None:
    client = imap(reader)
    client.select_folder("INBOX")
    received: list[bytes] = []
    for uid in range(1, len(SENT) + 1):
        fetched = client.fetch([uid], ["BODY.PEEK[]", "RFC822.SIZE", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]"])[uid]
        received.append(fetched[b"BODY[]"])
        assert fetched[b"RFC822.SIZE"] == len(fetched[b"BODY[]"])
        assert fetched[b"BODY[HEADER]"] + fetched[b"BODY[TEXT]"] == fetched[b"BODY[]"]
    assert differing(received) == []


def test_by_pop3(postroom: RunningPostroom, reader: User) -> None:
    client = open_pop3(postroom, reader)
    try:
        sizes = [int(line.split()[1]) for line in client.list()[1]]
        received = [retrieve(client, number) for number in range(1, len(SENT) + 1)]
    finally:
        client.quit()
    assert sizes == [len(octets) for octets in received]
    assert differing(received) == []


def test_by_rest(reader: User, rest: Rest) -> None:
    listed = rest.messages(reader)
    assert differing([rest.raw(reader, message["id"]) for message in listed]) == []


def test_every_message_is_shown_as_json(reader: User, rest: Rest) -> None:
    for path, message in zip(PATHS, rest.messages(reader), strict=True):
        shown = rest.get(f"/v1/accounts/{reader.address}/messages/{message['id']}")
        assert shown["octets"] == message["octets"], path
        assert isinstance(shown["text"], str), path


def test_structures_are_understood_by_a_client(reader: User, imap: Callable[[User], IMAPClient]) -> None:
    """imapclient's parser raises on anything that isn't a well-formed response."""
    client = imap(reader)
    client.select_folder("INBOX", readonly=True)
    fetched = client.fetch(range(1, len(SENT) + 1), ["ENVELOPE", "BODYSTRUCTURE", "BODY", "INTERNALDATE", "FLAGS"])
    assert len(fetched) == len(SENT)
    for uid, items in fetched.items():
        assert items[b"BODYSTRUCTURE"], PATHS[uid - 1]
        assert b"ENVELOPE" in items, PATHS[uid - 1]


def test_every_part_can_be_fetched(reader: User, imap: Callable[[User], IMAPClient]) -> None:
    """What BODYSTRUCTURE promises is there, in the size that it says."""
    client = imap(reader)
    client.select_folder("INBOX", readonly=True)
    for uid, items in client.fetch(range(1, len(SENT) + 1), ["BODYSTRUCTURE"]).items():
        parts = dict(leaves(items[b"BODYSTRUCTURE"]))
        fetched = client.fetch([uid], [f"BODY.PEEK[{number}]" for number in parts])[uid]
        for number, octets in parts.items():
            body = fetched[f"BODY[{number}]".encode()]
            assert body is not None, (PATHS[uid - 1], number)
            assert len(body) == octets, (PATHS[uid - 1], number)


def leaves(structure: tuple[object, ...], prefix: str = "") -> list[tuple[str, int]]:
    """Number and size of each part that isn't a multipart; not into embedded messages."""
    if isinstance(structure[0], list):
        found: list[tuple[str, int]] = []
        for number, child in enumerate(structure[0], 1):
            found += leaves(child, f"{prefix}{number}.")
        return found
    octets = structure[6]
    assert isinstance(octets, int)
    return [((prefix or "1.")[:-1], octets)]
