"""`postroom import` and `postroom export` against a running system: octets, flags, dates, and running them again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imapclient
import pytest
from typer.testing import CliRunner, Result

from mail_testkit.clients import TIMEOUT_S
from mail_testkit.messages import as_sent, paths
from mail_testkit.running import PASSWORD, RunningPostroom
from postroom_cli.__main__ import app
from postroom_cli.sources.choice import Format, opened
from postroom_cli.targets.maildir import MaildirTarget
from postroom_cli.targets.mbox import MboxTarget
from postroom_cli.targets.target import ExportedMessage

RECEIVED = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
MESSAGES = min(60, len(paths()))
IN_INBOX = MESSAGES // 3


@pytest.fixture(autouse=True)
def environment(postroom: RunningPostroom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTROOM_URL", postroom.api_url)
    monkeypatch.setenv("POSTROOM_TOKEN", postroom.admin_token)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def typed(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def told(*arguments: str, code: int = 0) -> Any:
    return json.loads(typed(*arguments, "--json", code=code).stdout)


@pytest.fixture
def address(postroom: RunningPostroom) -> str:
    made = f"m{uuid.uuid4().hex[:12]}@{postroom.domain}"
    typed("accounts", "create", made, "--password", PASSWORD)
    return made


@pytest.fixture
def client(postroom: RunningPostroom, address: str) -> Iterator[imapclient.IMAPClient]:
    client = imapclient.IMAPClient(postroom.host, postroom.ports["imap"], ssl=False, timeout=TIMEOUT_S)
    client.login(address, PASSWORD)
    yield client
    client.logout()


def originals() -> list[bytes]:
    return [as_sent(path) for path in paths()[:MESSAGES]]


def write_maildir(top: Path) -> None:
    for name, part in (("INBOX", originals()[:IN_INBOX]), ("Projekte/Größe", originals()[IN_INBOX:])):
        with MaildirTarget(top, name) as target:
            for number, octets in enumerate(part):
                target.write(ExportedMessage(f"m{number}", number, ("\\Seen", "$Label1"), RECEIVED), octets)


def fetched(client: imapclient.IMAPClient, mailbox: str) -> dict[int, dict[bytes, Any]]:
    client.select_folder(mailbox, readonly=True)
    rows: dict[int, dict[bytes, Any]] = client.fetch(client.search(), ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"])
    return rows


def test_a_maildir_arrives_as_it_was(tmp_path: Path, address: str, client: imapclient.IMAPClient) -> None:
    write_maildir(tmp_path / "mail")
    assert told("import", str(tmp_path / "mail"), "--to", address, "--dry-run")["messages"] == MESSAGES
    assert told("import", str(tmp_path / "mail"), "--to", address)["imported"] == MESSAGES
    inbox, project = fetched(client, "INBOX"), fetched(client, "Projekte/Größe")
    assert sorted(row[b"BODY[]"] for row in inbox.values()) == sorted(originals()[:IN_INBOX])
    assert sorted(row[b"BODY[]"] for row in project.values()) == sorted(originals()[IN_INBOX:])
    flags = frozenset({b"\\Seen", b"$Label1", b"\\Recent"})  # the last as nobody has seen them here yet
    assert {frozenset(row[b"FLAGS"]) for row in project.values()} == {flags}
    assert {row[b"INTERNALDATE"].astimezone(UTC) for row in project.values()} == {RECEIVED}


def test_running_it_again_imports_nothing_twice(
    tmp_path: Path, address: str, client: imapclient.IMAPClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_maildir(tmp_path / "mail")
    typed("import", str(tmp_path / "mail"), "--to", address)
    again = told("import", str(tmp_path / "mail"), "--to", address)
    assert (again["imported"], again["skipped"]) == (0, MESSAGES)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    told("import", str(tmp_path / "mail"), "--to", address)
    assert client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"] == IN_INBOX
    assert client.folder_status("Projekte/Größe", ["MESSAGES"])[b"MESSAGES"] == MESSAGES - IN_INBOX


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_what_is_exported_can_be_imported(kind: str, tmp_path: Path, postroom: RunningPostroom, address: str) -> None:
    write_maildir(tmp_path / "mail")
    typed("import", str(tmp_path / "mail"), "--to", address, "--rename", "Projekte/Größe=Archive")
    written = told(
        "export", address, str(tmp_path / "out"), "--format", kind, "--mailbox", "INBOX", "--mailbox", "Archive"
    )
    assert written["written"] == MESSAGES
    with opened(str(tmp_path / "out"), Format.AUTO, "INBOX", "", None) as source:
        found = list(source.messages())
    assert sorted(message.read() for message in found) == sorted(originals())
    assert {(message.received_at, frozenset(message.flags)) for message in found} == {
        (RECEIVED, frozenset({"\\Seen", "$Label1"}))
    }
    assert told("export", address, str(tmp_path / "out"), "--format", kind)["written"] == 0


def test_from_another_imap_server(
    tmp_path: Path, postroom: RunningPostroom, address: str, client: imapclient.IMAPClient
) -> None:
    write_maildir(tmp_path / "mail")
    typed("import", str(tmp_path / "mail"), "--to", address)
    other = f"o{uuid.uuid4().hex[:12]}@{postroom.domain}"
    typed("accounts", "create", other, "--password", PASSWORD)
    url = f"imaps://{address.replace('@', '%40')}@localhost:{postroom.ports['imaps']}"
    moved = told("import", url, "--to", other, "--password", PASSWORD, "--ca", str(postroom.certificate))
    assert (moved["imported"], moved["refused"]) == (MESSAGES, [])
    with imapclient.IMAPClient(postroom.host, postroom.ports["imap"], ssl=False, timeout=TIMEOUT_S) as there:
        there.login(other, PASSWORD)
        for mailbox in ("INBOX", "Projekte/Größe"):
            assert sorted(row[b"BODY[]"] for row in fetched(there, mailbox).values()) == sorted(
                row[b"BODY[]"] for row in fetched(client, mailbox).values()
            )
            assert {row[b"INTERNALDATE"].astimezone(UTC) for row in fetched(there, mailbox).values()} == {RECEIVED}


def test_a_message_that_is_refused_is_named(tmp_path: Path, address: str) -> None:
    with MboxTarget(tmp_path, "INBOX") as target:
        target.write(ExportedMessage("1", 1, ("bad(flag",), RECEIVED), b"Subject: x\r\n\r\n")
        target.write(ExportedMessage("2", 2, (), RECEIVED), b"Subject: y\r\n\r\n")
    result = typed("import", str(tmp_path / "INBOX"), "--to", address, code=1)
    assert "1 messages imported" in result.stdout
    assert "mbox:INBOX:0" in result.stderr


def test_an_account_that_is_not_there(tmp_path: Path) -> None:
    write_maildir(tmp_path)
    assert "404" in typed("import", str(tmp_path), "--to", "nobody@example.test", code=1).stderr


def test_a_wrong_password_of_the_other_server(postroom: RunningPostroom, address: str) -> None:
    url = f"imaps://nobody@localhost:{postroom.ports['imaps']}"
    result = typed("import", url, "--to", address, "--password", "x", "--ca", str(postroom.certificate), code=1)
    assert f"localhost:{postroom.ports['imaps']}" in result.stderr


def test_a_mailbox_that_is_not_there(tmp_path: Path, address: str) -> None:
    assert "no mailbox Nowhere" in typed("export", address, str(tmp_path), "--mailbox", "Nowhere", code=1).stderr
