"""A whole system into a folder, and from there into a new one: what clients see is the same."""

from __future__ import annotations

import json
import shutil
import smtplib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imapclient
import pytest
from typer.testing import CliRunner, Result

from mail_testkit.clients import TIMEOUT_S
from mail_testkit.messages import as_sent, paths
from mail_testkit.running import PASSWORD, RunningPostroom, run_postroom, temporary_directory
from postroom_cli.__main__ import app
from postroom_cli.backup_folder import BackupFolder
from postroom_cli.command import CommandError
from postroom_cli.launcher.config import HOST, free_port

Typed = Callable[..., Result]
NAME = "carol@kept.test"


@pytest.fixture(scope="module")
def systems() -> Iterator[tuple[RunningPostroom, RunningPostroom]]:
    """Two empty systems. Nobody answers their questions about other domains: what is to be sent waits."""
    dns = f"{HOST}:{free_port()}"
    with (
        temporary_directory() as directory,
        run_postroom(directory / "old", POSTROOM_FIRST_ACCOUNTS="0", POSTROOM_DNS_SERVER=dns) as old,
        run_postroom(directory / "new", POSTROOM_FIRST_ACCOUNTS="0", POSTROOM_DNS_SERVER=dns) as new,
    ):
        yield old, new


@pytest.fixture(scope="module")
def old_postroom(systems: tuple[RunningPostroom, RunningPostroom]) -> RunningPostroom:
    return systems[0]


@pytest.fixture(scope="module")
def new_postroom(systems: tuple[RunningPostroom, RunningPostroom]) -> RunningPostroom:
    return systems[1]


def typed(system: RunningPostroom, *arguments: str, code: int = 0) -> Result:
    options = ["--url", system.api_url, "--token", system.admin_token]
    result = CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def told(system: RunningPostroom, *arguments: str) -> Any:
    return json.loads(typed(system, *arguments, "--json").stdout)


def seen(system: RunningPostroom, address: str, password: str) -> dict[str, Any]:
    """All that an IMAP client can see of an account."""
    with imapclient.IMAPClient(system.host, system.ports["imap"], ssl=False, timeout=TIMEOUT_S) as client:
        client.login(address, password)
        found = {}
        for _, _, name in client.list_folders():
            state = client.select_folder(name, readonly=True)
            uids = client.search()
            rows = client.fetch(uids, ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"]) if uids else {}
            found[name] = (
                state[b"UIDVALIDITY"],
                state[b"UIDNEXT"],
                {uid: (row[b"FLAGS"], row[b"INTERNALDATE"], row[b"BODY[]"]) for uid, row in rows.items()},
            )
        return found


def originals() -> list[bytes]:
    """Without NUL, which a literal can't have (RFC 9051 §9)."""
    return [octets for octets in map(as_sent, paths()[:40]) if b"\0" not in octets]


def fill(system: RunningPostroom) -> None:
    typed(system, "domains", "create", "kept.test")
    typed(system, "accounts", "create", NAME, "--password", PASSWORD)
    typed(system, "accounts", "set", NAME, "--display-name", "Carol", "--quota-octets", "2G")
    typed(system, "aliases", "create", "sales@kept.test", NAME, "x@else.test", "--kind", "list")
    with imapclient.IMAPClient(system.host, system.ports["imap"], ssl=False, timeout=TIMEOUT_S) as client:
        client.login(NAME, PASSWORD)
        client.create_folder("Projekte/Größe")
        for number, octets in enumerate(originals()):
            client.append(["INBOX", "Projekte/Größe"][number % 2], octets, [b"\\Seen", b"$Work"][: number % 3])
        client.select_folder("INBOX")
        client.delete_messages([2, 3])
        client.expunge()
    with smtplib.SMTP(system.host, system.ports["submission"], timeout=TIMEOUT_S) as client:
        client.login(NAME, PASSWORD)
        client.sendmail(NAME, ["bill@nowhere.invalid"], b"Subject: waits\r\n\r\n")


def test_a_system_is_moved_with_all_it_has(
    old_postroom: RunningPostroom, new_postroom: RunningPostroom, tmp_path: Path
) -> None:
    fill(old_postroom)
    folder = str(tmp_path / "backup")
    first = told(old_postroom, "backup", folder)
    assert first["messages"] == first["fetched"] >= len(originals()) + 1
    assert told(old_postroom, "backup", folder)["fetched"] == 0
    restored = told(new_postroom, "restore", folder)
    assert restored["accounts"] == first["accounts"]
    assert seen(new_postroom, NAME, PASSWORD) == seen(old_postroom, NAME, PASSWORD)
    for command in (
        ("accounts", "show", NAME),
        ("aliases", "show", "sales@kept.test"),
        ("domains", "show", "kept.test"),
    ):
        assert told(new_postroom, *command) == told(old_postroom, *command)
    told(new_postroom, "restore", folder)
    assert seen(new_postroom, NAME, PASSWORD) == seen(old_postroom, NAME, PASSWORD)


def test_mail_goes_on_in_the_new_system(new_postroom: RunningPostroom) -> None:
    before = seen(new_postroom, NAME, PASSWORD)["INBOX"]
    with smtplib.SMTP(new_postroom.host, new_postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        client.sendmail("x@else.test", [NAME], b"Subject: after\r\n\r\n")
    after = seen(new_postroom, NAME, PASSWORD)["INBOX"]
    assert after[1] == before[1] + 1
    assert before[2].items() <= after[2].items()


def test_what_waited_to_be_sent_is_held(new_postroom: RunningPostroom) -> None:
    waiting = told(new_postroom, "queue", "list", "--recipient", "bill@nowhere.invalid")
    assert [delivery["state"] for delivery in waiting] == ["held"]


def test_a_backup_that_was_cut_off_is_not_restored(new_postroom: RunningPostroom, tmp_path: Path) -> None:
    folder = BackupFolder(tmp_path)
    folder.begin()
    assert "no whole backup" in typed(new_postroom, "restore", str(tmp_path), code=1).stderr
    with pytest.raises(CommandError, match="cut off"):
        folder.write_rows(folder.rows_file("directory"), b'{"format":"x"}\n{"table":"domain","row":{}}\n')


def test_pruning_removes_what_no_account_has(tmp_path: Path) -> None:
    folder = BackupFolder(tmp_path)
    folder.begin()
    kept, gone = str(uuid.uuid4()), str(uuid.uuid4())
    for blob_id in (kept, gone):
        folder.write_blob(blob_id, b"x")
    assert folder.prune({kept}) == 1
    assert folder.blob_file(kept).exists()
    assert not folder.blob_file(gone).exists()
    shutil.rmtree(tmp_path)
