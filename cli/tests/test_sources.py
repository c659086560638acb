"""Sources and targets of mail: what is written is read again, octet for octet, with flags and dates."""

from __future__ import annotations

import mailbox
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mail_testkit.messages import as_sent, paths
from postroom_cli.journal import Journal, journal_path
from postroom_cli.sources.choice import Format, guess_format, opened
from postroom_cli.sources.imap import Server
from postroom_cli.sources.source import SourceFault, SourceMessage, date_of
from postroom_cli.targets.maildir import MaildirTarget
from postroom_cli.targets.mbox import MboxTarget
from postroom_cli.targets.target import ExportedMessage, Target

RECEIVED = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "$Label1")


def exported(number: int, flags: tuple[str, ...] = FLAGS) -> ExportedMessage:
    return ExportedMessage(f"id-{number}", number, flags, RECEIVED)


def read(place: Path, kind: Format = Format.AUTO, into: str = "INBOX") -> list[SourceMessage]:
    with opened(str(place), kind, into, "", None) as source:
        found = list(source.messages())
        assert source.count() == len(found)
        return found


TRICKY = [
    b"Subject: quoted\r\n\r\nFrom the start\r\n>From there\r\n>>From afar\r\n.\r\n",
    b"Subject: 8-bit\r\n\r\nGr\xc3\xbc\xc3\x9fe \xff\x00\r\n",
    b"\r\nno header\r\n",
    b"Subject: only a header\r\n\r\n",
]


def messages() -> list[bytes]:
    return TRICKY + [as_sent(path) for path in paths()[:200]]


@pytest.mark.parametrize("kind", [MaildirTarget, MboxTarget])
def test_what_is_exported_is_read_again(kind: type[Target], tmp_path: Path) -> None:
    originals = [octets if octets.endswith(b"\n") else octets + b"\r\n" for octets in messages()]
    for name in ("INBOX", "Archiv/Größe"):
        with kind(tmp_path, name) as target:  # type: ignore[call-arg]
            for number, octets in enumerate(originals):
                target.write(exported(number), octets)
    found = read(tmp_path)
    assert {message.mailbox for message in found} == {"INBOX", "Archiv/Größe"}
    assert len({message.key for message in found}) == 2 * len(originals)
    for name in ("INBOX", "Archiv/Größe"):
        there = [message for message in found if message.mailbox == name]
        assert sorted(message.read() for message in there) == sorted(originals)
        assert {message.received_at for message in there} == {RECEIVED}
        assert {frozenset(message.flags) for message in there} == {frozenset(FLAGS)}


def test_an_exported_maildir_is_left_as_it_is(tmp_path: Path) -> None:
    MaildirTarget(tmp_path, "INBOX").write(exported(1), b"Subject: x\r\n\r\n")
    again = MaildirTarget(tmp_path, "INBOX")
    assert again.has(exported(1))
    assert not again.has(exported(2))


def test_an_mbox_that_was_not_finished_is_written_anew(tmp_path: Path) -> None:
    with suppress(ConnectionError), MboxTarget(tmp_path, "Sent") as target:
        target.write(exported(1), b"Subject: x\r\n\r\n")
        raise ConnectionError
    with MboxTarget(tmp_path, "Sent") as again:
        assert not again.has(exported(1))
        again.write(exported(1), b"Subject: x\r\n\r\nbody\r\n")
    assert [message.read() for message in read(tmp_path)] == [b"Subject: x\r\n\r\nbody\r\n"]
    assert MboxTarget(tmp_path, "Sent").has(exported(1))


def test_the_standard_library_reads_the_maildir(tmp_path: Path) -> None:
    MaildirTarget(tmp_path, "INBOX").write(exported(1), b"Subject: hello\r\n\r\nbody\r\n")
    [message] = list(mailbox.Maildir(tmp_path, create=False))
    assert message["Subject"] == "hello"
    assert set(message.get_flags()) >= {"S", "R", "F"}


def test_mboxes_of_thunderbird(tmp_path: Path) -> None:
    (tmp_path / "Archives.sbd").mkdir()
    (tmp_path / "Archives").write_bytes(b"")
    (tmp_path / "Inbox.msf").write_bytes(b"// <!-- mork -->")
    (tmp_path / "Archives.sbd" / "2024").write_bytes(
        b"From - Thu Feb 29 12:30:15 2024\nX-Mozilla-Status: 0005\nX-Mozilla-Status2: 00000000\nSubject: kept\n\nx\n\n"
        b"From - Thu Feb 29 12:30:16 2024\nX-Mozilla-Status: 0009\nSubject: deleted\n\nx\n"
    )
    with opened(str(tmp_path), Format.AUTO, "INBOX", "", None) as source:
        [message] = list(source.messages())
    assert (message.mailbox, message.flags) == ("Archives/2024", ("\\Seen", "\\Flagged"))
    assert message.read() == b"X-Mozilla-Status2: 00000000\r\nSubject: kept\r\n\r\nx\r\n"


def test_message_files(tmp_path: Path) -> None:
    (tmp_path / "Sent").mkdir()
    (tmp_path / "one.eml").write_bytes(b"Date: Thu, 29 Feb 2024 13:30:15 +0100\n\nx\n")
    (tmp_path / "Sent" / "two.EML").write_bytes(b"Subject: no date\n\nx\n")
    one, two = sorted(read(tmp_path), key=lambda message: message.mailbox)
    assert (one.mailbox, one.received_at, one.flags) == ("INBOX", RECEIVED, ("\\Seen",))
    assert (two.mailbox, two.received_at) == ("Sent", None)
    assert two.read() == b"Subject: no date\r\n\r\nx\r\n"


def test_one_message_file(tmp_path: Path) -> None:
    file = tmp_path / "one.eml"
    file.write_bytes(b"Subject: x\n\n")
    assert guess_format(str(file)) is Format.EML
    assert [message.mailbox for message in read(file, into="Drafts")] == ["Drafts"]


def test_keywords_and_names_of_dovecot(tmp_path: Path) -> None:
    folder = tmp_path / ".Entw&APw-rfe.Alt"
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
        (folder / part).mkdir(parents=True)
    (folder / "dovecot-keywords").write_text("0 $Junk\n1 Projekt\n")
    file = folder / "cur" / "1700000000.M1P1.host:2,DRSb"
    file.write_bytes(b"Subject: x\n\n")
    os.utime(file, (RECEIVED.timestamp(), RECEIVED.timestamp()))
    [message] = read(tmp_path)
    assert message.mailbox == "Entwürfe/Alt"
    assert message.flags == ("\\Draft", "\\Answered", "\\Seen", "Projekt")
    assert message.received_at == RECEIVED


@pytest.mark.parametrize(
    ("octets", "date"),
    [
        (b"Received: by b;\r\n Thu, 29 Feb 2024 12:30:15 +0000\r\nDate: 1 Jan 2024 00:00:00 +0000\r\n\r\n", RECEIVED),
        (b"Date: Thu, 29 Feb 2024 12:30:15 -0000\r\n\r\nDate: not here\r\n", RECEIVED),
        (b"Date: tomorrow\r\n\r\n", None),
        (b"Date: Thu, 99 Feb 99999 12:30:15 +9900\r\n\r\n", None),
        (b"", None),
        (b"\xff\x00", None),
    ],
)  # fmt: skip
def test_dates_of_messages(octets: bytes, date: datetime | None) -> None:
    assert date_of(octets) == date


@pytest.mark.parametrize("url", ["imaps://host", "http://user@host", "imaps://", "imaps:///x"])
def test_urls_that_name_no_server(url: str) -> None:
    with pytest.raises(SourceFault, match="write imaps://user@host"):
        Server.parse(url, "", None)


def test_a_user_with_an_at_sign() -> None:
    server = Server.parse("imaps://alice%40example.test@mail.example.test:1993", "secret", None)
    assert (server.host, server.port, server.user) == ("mail.example.test", 1993, "alice@example.test")


def test_places_where_no_mail_is(tmp_path: Path) -> None:
    with pytest.raises(SourceFault, match="no such file"):
        guess_format(str(tmp_path / "none"))
    with pytest.raises(SourceFault, match="no mbox"):
        read(tmp_path)
    with pytest.raises(SourceFault, match="no Maildir"):
        read(tmp_path, Format.MAILDIR)
    with pytest.raises(SourceFault, match=r"no \.eml files"):
        read(tmp_path, Format.EML)


def test_a_journal_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = journal_path("url", "account", "source")
    assert path != journal_path("url", "account", "other")
    with Journal(path) as journal:
        journal.add("one\ntwo\\n")
    with path.open("a") as file:
        file.write("cut of")  # the process was killed in the middle of a line
    with Journal(path) as journal:
        assert "one\ntwo\\n" in journal
        assert "one" not in journal
        assert "cut of" not in journal
