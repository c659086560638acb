"""The commands against a running system, as an administrator types them."""

from __future__ import annotations

import json
import poplib
import smtplib
import uuid
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mail_testkit.clients import TIMEOUT_S
from mail_testkit.running import PASSWORD, RunningPostroom
from postroom_cli.__main__ import app

Postroom = Callable[..., Result]


@pytest.fixture
def typed(postroom: RunningPostroom, monkeypatch: pytest.MonkeyPatch) -> Postroom:
    """Types a command; raises when its exit code isn't `code`."""
    monkeypatch.setenv("POSTROOM_URL", postroom.api_url)
    monkeypatch.setenv("POSTROOM_TOKEN", postroom.admin_token)
    monkeypatch.setenv("COLUMNS", "1000")  # nothing is shortened

    def run(*arguments: str, code: int = 0, typing: str = "") -> Result:
        result = CliRunner().invoke(app, arguments, input=typing, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def domain(typed: Postroom) -> str:
    name = f"d{uuid.uuid4().hex[:12]}.test"
    typed("domains", "create", name)
    return name


def told(result: Result) -> Any:
    return json.loads(result.stdout)


def test_domains(typed: Postroom, domain: str) -> None:
    assert domain in typed("domains", "list").stdout
    typed("domains", "set", domain, "--quota-octets", "2G", "--account-quota-messages", "5000", "--trash-days", "30")
    shown = told(typed("domains", "show", domain, "--json"))
    assert (shown["quota_octets"], shown["account_quota_messages"], shown["trash_days"]) == (2 << 30, 5000, 30)
    typed("domains", "set", domain, "--quota-octets", "none")
    assert told(typed("domains", "show", domain, "--json"))["quota_octets"] is None
    assert "see --help" in typed("domains", "set", domain, code=1).stderr
    typed("domains", "delete", domain)
    assert "404" in typed("domains", "show", domain, code=1).stderr


def test_accounts(typed: Postroom, domain: str) -> None:
    address = f"carol@{domain}"
    typed("accounts", "create", address, "--password", "-", typing="a long password\n")
    typed(
        "accounts", "set", address, "--display-name", "Carol", "--quota-octets", "500M", "--forward-to", "c@else.test"
    )
    [row] = told(typed("accounts", "list", "--domain", domain, "--json"))
    assert (row["display_name"], row["quota_octets"], row["forward_to"]) == ("Carol", 500 << 20, ["c@else.test"])
    typed("accounts", "set", address, "--forward-to", "none", "--disable")
    assert "disabled" in typed("accounts", "list", "--domain", domain).stdout
    assert "already" in typed("accounts", "create", address, "--password", "another one", code=1).stderr
    typed("accounts", "password", address, "--password", "-", typing="another long one\n")
    assert typed("accounts", "delete", address, typing="n\n", code=1)
    typed("accounts", "delete", address, "--yes")
    assert told(typed("accounts", "list", "--domain", domain, "--json")) == []


def test_aliases(typed: Postroom, domain: str) -> None:
    address = f"sales@{domain}"
    typed("aliases", "create", address, f"x@{domain}", "y@else.test", "--kind", "list", "--who-may-post", "members")
    typed("aliases", "add", address, "z@else.test")
    typed("aliases", "remove", address, "y@else.test")
    shown = told(typed("aliases", "show", address, "--json"))
    assert (shown["members"], shown["who_may_post"]) == ([f"x@{domain}", "z@else.test"], "members")
    typed("aliases", "set", address, "--name", "Sales")
    typed("aliases", "create", f"@{domain}", f"x@{domain}")
    kinds = {row["address"]: row["kind"] for row in told(typed("aliases", "list", "--domain", domain, "--json"))}
    assert kinds == {address: "list", f"@{domain}": "catch_all"}
    typed("aliases", "delete", address)
    assert "404" in typed("aliases", "show", address, code=1).stderr


def test_tokens(typed: Postroom, domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = typed("tokens", "create", "of a test", "--domain", domain, "--days", "1").stdout.strip()
    monkeypatch.setenv("POSTROOM_TOKEN", secret)
    assert [row["name"] for row in told(typed("domains", "list", "--json"))] == [domain]
    [token] = told(typed("tokens", "list", "--json"))
    typed("tokens", "revoke", token["id"])
    assert "POSTROOM_TOKEN" in typed("domains", "list", code=1).stderr


def test_a_token_acts_for_one_thing(typed: Postroom) -> None:
    assert "one of --domain, --account" in typed("tokens", "create", "x", code=1).stderr


def test_without_a_token(typed: Postroom, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("POSTROOM_TOKEN")
    monkeypatch.chdir(tmp_path)
    assert "set POSTROOM_TOKEN" in typed("domains", "list", code=1).stderr


def test_a_size_that_is_none(typed: Postroom, domain: str) -> None:
    assert "500M, 2G, or none" in typed("domains", "set", domain, "--quota-octets", "much", code=2).stderr


def test_the_queue(typed: Postroom, postroom: RunningPostroom) -> None:
    recipient = f"{uuid.uuid4().hex}@nowhere.broken.test"  # it waits: DNS says nothing
    with smtplib.SMTP(postroom.host, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.login(f"alice@{postroom.domain}", PASSWORD)
        client.sendmail(f"alice@{postroom.domain}", [recipient], b"Subject: to nowhere\r\n\r\n")
    [delivery] = told(typed("queue", "list", "--recipient", recipient, "--json"))
    assert recipient in typed("queue", "list", "--domain", "nowhere.broken.test").stdout
    assert recipient in typed("queue", "show", delivery["id"]).stdout
    while told(typed("queue", "cancel", "--recipient", recipient, "--json"))["changed"] == 0:
        pass  # a relay is at it just now
    [after] = told(typed("queue", "list", "--recipient", recipient, "--json"))
    assert after["state"] == "cancelled"
    assert "say which" in typed("queue", "hold", code=1).stderr


def test_remote_domains(typed: Postroom) -> None:
    name = f"d{uuid.uuid4().hex[:12]}.invalid"
    typed("remotes", "set", name, "--retry-first", "15m", "--lifetime", "2d", "--defer-permanent")
    assert name in typed("remotes", "list").stdout
    typed("remotes", "set", name, "--lifetime", "none", "--retry-longest", "1h", "--bounce-permanent")
    shown = told(typed("remotes", "show", name, "--json"))
    assert (shown["retry_first_s"], shown["retry_longest_s"], shown["lifetime_s"]) == (900, 3600, None)
    assert shown["defer_permanent"] is False
    assert "see --help" in typed("remotes", "set", name, code=1).stderr
    assert "15m, 2h" in typed("remotes", "set", name, "--lifetime", "long", code=2).stderr
    typed("remotes", "delete", name)
    assert "404" in typed("remotes", "show", name, code=1).stderr


def test_sending(typed: Postroom, domain: str, tmp_path: Path, postroom: RunningPostroom) -> None:
    for name in ("carol", "dave"):
        typed("accounts", "create", f"{name}@{domain}", "--password", PASSWORD)
    (tmp_path / "plan.txt").write_text("first this, then that\n")
    arguments = ["--to", f"dave@{domain}", "--subject", "Grüße", "--text", "Thursday?"]
    sent = told(typed("send", f"carol@{domain}", *arguments, "--attach", str(tmp_path / "plan.txt"), "--json"))
    assert sent["recipients"] == [f"dave@{domain}"]
    raw = tmp_path / "raw.eml"
    raw.write_bytes(f"From: carol@{domain}\r\nTo: dave@{domain}\r\nSubject: as it is\r\n\r\nx\r\n".encode())
    typed("send", f"carol@{domain}", "--raw", str(raw))
    assert "leave the other options out" in typed("send", f"carol@{domain}", "--raw", "-", "--to", "x", code=1).stderr
    refused = typed("send", f"carol@{domain}", "--from", "other@else.test", *arguments, code=1)
    assert "422" in refused.stderr
    client = poplib.POP3(postroom.host, postroom.ports["pop3"], timeout=TIMEOUT_S)
    client.user(f"dave@{domain}")
    client.pass_(PASSWORD)
    assert client.stat()[0] == 2
    received = message_from_bytes(b"\r\n".join(client.retr(1)[1]))
    attached = [part.get_payload(decode=True) for part in received.walk() if part.get_filename() == "plan.txt"]
    assert attached == [b"first this, then that\n"]
    client.quit()
