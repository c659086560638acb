"""Three hundred messages through real POP3 clients, over plain TCP, STLS and TLS, compared octet for octet.

What a client does to messages by itself is undone, or done to what is expected, and said here: all but poplib and curl
write LF for CRLF; the others' habits are in the functions below, by name.
"""

from __future__ import annotations

import asyncio
import email
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from email.generator import BytesGenerator
from pathlib import Path
from uuid import uuid4

import pytest

from mail_runtime.contracts.store import Transmission
from mail_runtime.store_client import StoreClient
from mail_testkit import messages
from mail_testkit.clients import Rest, User
from mail_testkit.pop3_clients import CLIENTS, MODES, Mode, Task
from mail_testkit.running import RunningPostroom, temporary_directory

NUMBER = 300
# fetchmail cuts lines that are longer than its buffer.
FETCHMAIL_LINE_OCTETS = 8192


@pytest.fixture(scope="module")
def mailbox(postroom: RunningPostroom) -> tuple[User, list[bytes]]:
    """An account and what is in its INBOX."""
    user = Rest(postroom).make_user()
    paths = messages.paths()
    sent = [messages.as_sent(paths[number % len(paths)]) for number in range(NUMBER)]

    async def fill() -> None:
        async with StoreClient(postroom.api_url, postroom.service_token) as store:
            for octets in sent:
                await store.accept(Transmission(id=uuid4(), reverse_path="", recipients=[user.address]), octets)

    asyncio.run(fill())
    return user, sent


@pytest.fixture
def place() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


def as_it_is(octets: bytes) -> bytes:
    return octets


def of_curl(octets: bytes) -> bytes:
    """It takes CRLF only for line ends, so the dot that Postroom doubles behind a bare LF stays doubled."""
    return re.sub(rb"(?<!\r)\n\.", b"\n..", octets)


def with_lf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n")


def of_mutt(octets: bytes) -> bytes:
    """A NUL ends the line for it."""
    return re.sub(rb"\0[^\r\n]*", b"", with_lf(octets))


def of_getmail(octets: bytes) -> bytes:
    """It parses messages with Python's email and writes them anew, with a Return-Path of its own."""
    message = email.message_from_bytes(octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
    del message["Return-Path"]
    written = io.BytesIO()
    BytesGenerator(written, mangle_from_=False).flatten(message)
    return written.getvalue().rstrip(b"\n")


def by_getmail(octets: bytes) -> bytes:
    return re.sub(rb"\AReturn-Path:[^\n]*\n(?:[ \t][^\n]*\n)*", b"", octets).rstrip(b"\n")


def suits_fetchmail(octets: bytes) -> bool:
    """It writes a header of its own where it finds none that it understands, and cuts long lines."""
    header, empty, _ = octets.partition(b"\r\n\r\n")
    is_header = all(re.match(rb"[!-9;-~]+[ \t]*:|[ \t]", line) for line in header.split(b"\r\n"))
    longest = max(len(line) for line in octets.split(b"\n"))
    return bool(empty) and is_header and longest < FETCHMAIL_LINE_OCTETS


# What is expected of what was sent, and of what the client wrote.
HABITS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "poplib": (as_it_is, as_it_is),
    "curl": (of_curl, as_it_is),
    "fetchmail": (with_lf, with_lf),
    "getmail": (of_getmail, by_getmail),
    "mpop": (with_lf, as_it_is),
    "mutt": (of_mutt, as_it_is),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CLIENTS)
def test_client(
    postroom: RunningPostroom, mailbox: tuple[User, list[bytes]], place: Path, name: str, mode: Mode
) -> None:
    if name != "poplib" and shutil.which(name) is None:
        pytest.skip(f"{name} isn't installed (apt install {'getmail6' if name == 'getmail' else name})")
    if (name, mode) == ("getmail", "stls"):
        pytest.skip("getmail 6 knows no STLS")
    user, sent = mailbox
    port = postroom.ports["pop3s" if mode == "tls" else "pop3"]
    found = CLIENTS[name](Task(user, mode, port, postroom.certificate, NUMBER, place))
    expect, read = HABITS[name]
    if name == "fetchmail":
        sent = [octets for octets in sent if suits_fetchmail(octets)]
        assert len(sent) > NUMBER / 2, "enough is left to compare; our own messages are odder than the corpus"
    wanted, got = Counter(map(expect, sent)), Counter(map(read, found))
    missing = [octets[:500] for octets in wanted - got]
    assert not missing, missing[:3]
    assert name == "fetchmail" or not got - wanted
