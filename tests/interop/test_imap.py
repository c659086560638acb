"""Mail clients that people use, on one mailbox each: what they read, and what they change, there and here."""

from __future__ import annotations

import asyncio
import email
import imaplib
import re
import shutil
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from aioimaplib import aioimaplib
from imapclient import IMAPClient

from mail_runtime.contracts.store import Transmission
from mail_runtime.store_client import StoreClient
from mail_testkit import messages
from mail_testkit.clients import HOST, Rest, User
from mail_testkit.imap_clients import Maildir, curl, mbsync, mutt, offlineimap
from mail_testkit.pop3_clients import Task
from mail_testkit.running import RunningPostroom, temporary_directory

NUMBER = 40
TIMEOUT_S = 90.0
PACKAGES = {"mbsync": "isync", "offlineimap": "offlineimap3"}


def letter(subject: str) -> bytes:
    header = f"From: ada@elsewhere.test\r\nMessage-ID: <{uuid4()}@elsewhere.test>\r\nSubject: {subject}\r\n"
    return f"{header}\r\nabout {subject}\r\n".encode()


ONE, TWO, THREE, FOUR = (letter(name) for name in ("first", "second", "third", "fourth"))


def with_lf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n")


def deliver(postroom: RunningPostroom, user: User, *letters: bytes) -> None:
    async def fill() -> None:
        async with StoreClient(postroom.api_url, postroom.service_token) as store:
            for octets in letters:
                await store.accept(Transmission(id=uuid4(), reverse_path="", recipients=[user.address]), octets)

    asyncio.run(fill())


def corpus() -> list[bytes]:
    """Without NUL, which APPEND doesn't take, and bare line ends, which these clients make into whole ones.

    With a header and an empty line, for which mbsync looks.
    """
    found = (messages.as_sent(path) for path in messages.paths())
    headed = [octets for octets in found if re.match(rb"[!-9;-~]+:", octets) and b"\r\n\r\n" in octets]
    clean = [o for o in headed if b"\0" not in o and o.count(b"\r\n") == o.count(b"\n") == o.count(b"\r")]
    return [clean[number % len(clean)] for number in range(NUMBER)]


@pytest.fixture
def user(postroom: RunningPostroom) -> User:
    return Rest(postroom).make_user()


@pytest.fixture
def task(postroom: RunningPostroom, user: User) -> Iterator[Task]:
    with temporary_directory() as place:
        yield Task(user, "tls", postroom.ports["imaps"], postroom.certificate, 0, place)


@pytest.fixture
def there(postroom: RunningPostroom, user: User) -> Iterator[IMAPClient]:
    """What another client sees of the account."""
    with IMAPClient(HOST, postroom.ports["imap"], ssl=False, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        client.select_folder("INBOX")
        yield client


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} isn't installed (apt install {PACKAGES.get(program, program)})")


def uid_of(client: IMAPClient, subject: str) -> int:
    [uid] = client.search(["SUBJECT", subject])
    assert isinstance(uid, int)
    return uid


def flags_of(client: IMAPClient, subject: str) -> set[bytes]:
    uid = uid_of(client, subject)
    return set(client.fetch([uid], ["FLAGS"])[uid][b"FLAGS"])


def of_mbsync(octets: bytes) -> bytes:
    """It marks what it has copied by a field of its own."""
    return re.sub(rb"^X-TUID: [^\n]*\n", b"", with_lf(octets), count=1, flags=re.MULTILINE)


def of_offlineimap(octets: bytes) -> bytes:
    """It writes what Python's email made of a message: what that leaves as it is."""
    return b" ".join(str(email.message_from_bytes(octets)["Message-ID"]).encode("ascii", "replace").split())


def synchronized(
    postroom: RunningPostroom,
    there: IMAPClient,
    task: Task,
    synchronize: Callable[[Task], Maildir],
    read: Callable[[bytes], bytes],
) -> None:
    """Messages, flags, additions and removals reach the other side, from either. `read`: what is compared of each."""
    letters = corpus()
    deliver(postroom, task.user, ONE, TWO, THREE, *letters)
    here = synchronize(task)
    wanted = Counter(map(read, (ONE, TWO, THREE, *letters)))
    assert Counter(map(read, here.contents())) == wanted
    here.set_flags(b"about first", "FS")
    here.remove(b"about second")
    here.add(with_lf(FOUR))
    there.noop()
    there.add_flags([uid_of(there, "third")], [b"\\Answered"])
    synchronize(task)
    assert flags_of(there, "first") == {b"\\Flagged", b"\\Seen"}
    assert there.search(["SUBJECT", "second"]) == []
    assert flags_of(there, "fourth") == set()
    assert here.flags(b"about third") == {"R"}
    there.remove_flags([uid_of(there, "first")], [b"\\Flagged"])
    there.delete_messages([uid_of(there, "fourth")])
    there.expunge()
    synchronize(task)
    assert here.flags(b"about first") == {"S"}
    assert not [octets for octets in here.contents() if b"about fourth" in octets]
    assert len(here.files()) == len(there.search("ALL")) == NUMBER + 2


def test_mbsync(postroom: RunningPostroom, there: IMAPClient, task: Task) -> None:
    needs("mbsync")
    synchronized(postroom, there, task, mbsync, of_mbsync)


def test_offlineimap(postroom: RunningPostroom, there: IMAPClient, task: Task) -> None:
    needs("offlineimap")
    synchronized(postroom, there, task, offlineimap, of_offlineimap)


def test_mutt(postroom: RunningPostroom, there: IMAPClient, task: Task) -> None:
    needs("mutt")
    letters = corpus()
    deliver(postroom, task.user, ONE, TWO, THREE, *letters)
    for name in ("", "cur", "new", "tmp"):
        (task.place / "mail" / name).mkdir(exist_ok=True)
    copies = f"<tag-pattern>~A<enter><tag-prefix><copy-message>{task.place}/mail<enter><untag-pattern>~A<enter>"
    mutt(task, f"{copies}1<enter><flag-message>2<enter><delete-message>3<enter><copy-message>=Archive<enter>")
    there.noop()
    found = Maildir(task.place / "mail").contents()
    assert len(found) == NUMBER + 3
    for octets in (ONE, TWO, THREE):
        subject = octets.rpartition(b"\r\n\r\n")[2].rstrip()
        assert sum(subject in copied for copied in found) == 1
    assert b"\\Flagged" in flags_of(there, "first")
    assert there.search(["SUBJECT", "second"]) == []
    assert len(there.search("ALL")) == NUMBER + 2


def test_curl(postroom: RunningPostroom, there: IMAPClient, task: Task) -> None:
    needs("curl")
    letters = corpus()
    deliver(postroom, task.user, *letters)
    assert b'"/" "INBOX"\r\n' in curl(task, "")
    for uid in (1, NUMBER // 2, NUMBER):
        assert curl(task, f"INBOX;UID={uid}") == letters[uid - 1]
    header = curl(task, "INBOX;UID=1;SECTION=HEADER")
    assert header == letters[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    (task.place / "letter").write_bytes(ONE)
    curl(task, "INBOX", "-T", "letter")
    there.noop()
    uid = uid_of(there, "first")
    assert curl(task, "INBOX?SUBJECT%20first") == b"* SEARCH %d\r\n" % uid
    curl(task, "INBOX", "-X", f"UID STORE {uid} +FLAGS (\\Flagged)")
    there.noop()
    assert b"\\Flagged" in flags_of(there, "first")


def test_imaplib(postroom: RunningPostroom, user: User) -> None:
    context = ssl.create_default_context(cafile=str(postroom.certificate))
    letters = corpus()
    with imaplib.IMAP4_SSL("localhost", postroom.ports["imaps"], ssl_context=context, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        for octets in letters:
            assert client.append("INBOX", "(\\Seen $Sent)", None, octets)[0] == "OK"  # type: ignore[arg-type]
        assert client.select("INBOX") == ("OK", [b"%d" % NUMBER])
        answers = client.fetch("1:*", "(UID BODY.PEEK[])")[1]
        assert [answer[1] for answer in answers if isinstance(answer, tuple)] == letters
        assert client.store("2,4", "+FLAGS.SILENT", "\\Deleted")[0] == "OK"
        assert client.search(None, "DELETED") == ("OK", [b"2 4"])
        assert client.copy("1:3", "Archive")[0] == "OK"
        assert client.expunge() == ("OK", [b"4", b"2"])
        assert client.uid("SEARCH", "UID 1:5")[1] == [b"1 3 5"]
        assert client.status("Archive", "(MESSAGES UIDNEXT)")[1] == [b'"Archive" (MESSAGES 3 UIDNEXT 4)']
        assert client.create("Work/Gr&APwA3w-e")[0] == "OK"
        assert client.thread("REFERENCES", "UTF-8", "UID 1")[1] == [b"(1)"]
        assert client.close()[0] == "OK"


def test_imapclient(postroom: RunningPostroom, there: IMAPClient, user: User) -> None:
    letters = corpus()
    for octets in letters:
        there.append("INBOX", octets, [b"\\Seen"])
    there.noop()
    found = there.fetch(there.search("ALL"), ["BODY.PEEK[]", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE"])
    assert [found[uid][b"BODY[]"] for uid in sorted(found)] == letters
    assert [found[uid][b"RFC822.SIZE"] for uid in sorted(found)] == [len(octets) for octets in letters]
    there.idle()
    deliver(postroom, user, ONE)
    told: list[Any] = []
    while (NUMBER + 1, b"EXISTS") not in told:
        news = there.idle_check(timeout=TIMEOUT_S)
        assert news, told
        told += news
    there.idle_done()
    uid = uid_of(there, "first")
    there.move([uid], "Archive")
    assert there.search("ALL") == list(range(1, NUMBER + 1))
    there.create_folder("Grüße/你好")
    there.rename_folder("Grüße/你好", "Grüße/world")
    assert {"Grüße", "Grüße/world"} <= {name for _, _, name in there.list_folders()}


async def test_aioimaplib(postroom: RunningPostroom, user: User) -> None:
    client = aioimaplib.IMAP4(HOST, postroom.ports["imap"], timeout=TIMEOUT_S)
    try:
        await use_aioimaplib(client, postroom, user)
    finally:
        client.protocol.transport.close()


async def use_aioimaplib(client: aioimaplib.IMAP4, postroom: RunningPostroom, user: User) -> None:
    await client.wait_hello_from_server()
    assert (await client.login(user.address, user.password)).result == "OK"
    assert (await client.select("INBOX")).result == "OK"
    idling = await client.idle_start(timeout=TIMEOUT_S)
    async with StoreClient(postroom.api_url, postroom.service_token) as store:
        await store.accept(Transmission(id=uuid4(), reverse_path="", recipients=[user.address]), ONE)
    while b"1 EXISTS" not in await client.wait_server_push(timeout=TIMEOUT_S):
        pass
    client.idle_done()
    await asyncio.wait_for(idling, TIMEOUT_S)
    fetched = await client.uid("fetch", "1:*", "(FLAGS BODY.PEEK[])")
    assert fetched.result == "OK"
    assert ONE in [bytes(line) for line in fetched.lines]
    assert (await client.append(TWO, "INBOX", "\\Seen")).result == "OK"
    assert (await client.uid("store", "2", "+FLAGS", "(\\Flagged)")).result == "OK"
    assert (await client.search("FLAGGED", charset=None)).lines[0] == b"2"
    assert (await client.uid("move", "1", "Archive")).result == "OK"
    assert (await client.expunge()).result == "OK"
    await client.logout()
