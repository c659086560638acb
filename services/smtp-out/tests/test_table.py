"""The file with routes, pools and limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from mail_proto.smtp.client_actions import Envelope, Login, Verdict
from mail_runtime.contracts.store import Claim
from mail_testkit.remotes import FakeStore
from smtp_out.letter import Fitted, Letter, with_a_labels
from smtp_out.names import Names
from smtp_out.pace import Limits
from smtp_out.plans import Planner
from smtp_out.routes import Routes
from smtp_out.table import DIRECT, Table, TableError, read_table
from smtp_out.tls import TlsDemand


def table_of(folder: Path, text: str) -> tuple[Table, dict[str, Login]]:
    (folder / "password").write_text("s3cret\n")
    path = folder / "relay.toml"
    path.write_text(text.replace("FOLDER", str(folder)))
    return read_table(str(path))


EXAMPLE = """
[limits]
connections = 3
[pools.bulk]
addresses = ["127.0.0.9", "::1"]
hostname = "bulk.test"
[[routes]]
recipient_domains = ["archive.test"]
host = "archive.internal"
protocol = "lmtp"
tls = "never"
[[routes]]
recipient_domains = ["bank.test", ".bank.test"]
tls = "verify"
limits = { connections = 1, messages_per_minute = 60 }
[[routes]]
sender_domains = ["shop.test"]
host = "smtp.provider.test"
port = 465
implicit_tls = true
tls = "verify"
user = "shop"
password_file = "FOLDER/password"
pool = "bulk"
"""


async def test_the_first_route_that_fits(tmp_path: Path) -> None:
    table, logins = table_of(tmp_path, EXAMPLE)
    archive, bank, shop = table.routes
    assert table.route("archive.test", "shop.test") is archive
    assert table.route("BANK.test", "shop.test") is bank
    assert table.route("a.bank.test", "") is bank
    assert table.route("xbank.test", "") is DIRECT
    assert table.route("else.test", "Shop.test") is shop
    assert (table.limits_of(bank).connections, table.limits_of(shop)) == (1, Limits(connections=3))
    planner = Planner(Routes(Names("127.0.0.1:1"), "here.test"), table, logins, "here.test", 25)
    plan = await planner.plan("else.test", "shop.test")
    target = planner.target(plan, "smtp.provider.test", "127.0.0.1", TlsDemand("verify", "configured"))
    assert target is not None
    assert (target.port, target.source, target.implicit_tls) == (465, "127.0.0.9", True)
    assert (target.manner.hostname, target.manner.login) == ("bulk.test", Login("shop", "s3cret"))
    plan = await planner.plan("archive.test", "")
    target = planner.target(plan, "archive.internal", "127.0.0.1", TlsDemand("never", "configured"))
    assert target is not None
    assert (target.port, target.manner.lmtp, target.manner.starttls) == (24, True, "never")


def test_a_pool_without_an_address_of_that_family(tmp_path: Path) -> None:
    table, _ = table_of(tmp_path, '[pools.a]\naddresses = ["127.0.0.9"]\n')
    assert table.pools["a"].source("127.0.0.1") == "127.0.0.9"
    assert table.pools["a"].source("::1") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limit]\n", "limit"),
        ("[limits]\nconnections = 0\n", "start at 1"),
        ("[[routes]]\ntls = 'maybe'\n", "tls"),
        ("[[routes]]\npool = 'none'\n", "no pool"),
        ("[[routes]]\nuser = 'a'\npassword_file = 'FOLDER/password'\ntls = 'must'\n", "needs a host"),
        ("[[routes]]\nhost = 'a'\nuser = 'a'\npassword_file = 'FOLDER/password'\n", "verify"),
        ("[[routes]]\nhost = 'a'\nuser = 'a'\ntls = 'must'\n", "come together"),
        ("[[routes]]\nhost = 'a'\nuser = 'a'\ntls = 'must'\npassword_file = 'FOLDER/x'\n", "No such file"),
        ("[pools.a]\naddresses = ['localhost']\n", "localhost"),
        ("nonsense", "relay.toml"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        table_of(tmp_path, text)


def test_no_file_no_routes() -> None:
    assert read_table("") == (Table(), {})


# --- messages for servers that can do less


def letter(message: str, *, smtputf8: bool = False) -> tuple[Letter, Envelope]:
    claim: Claim = FakeStore("bob@bücher.test", smtputf8=smtputf8).claimed
    made = Letter(claim, message.encode())
    return made, made.envelope(claim.deliveries)


def test_domains_become_ascii_where_smtputf8_is_missing() -> None:
    assert with_a_labels("bob@bücher.test") == "bob@xn--bcher-kva.test"
    assert with_a_labels("jürgen@bücher.test") == "jürgen@bücher.test"
    made, envelope = letter("Subject: x\r\n\r\nx\r\n")
    fitted = made.fitted(envelope, frozenset())
    assert isinstance(fitted, Fitted)
    assert fitted.envelope.recipients == ("bob@xn--bcher-kva.test",)
    fitted = made.fitted(envelope, frozenset({"SMTPUTF8"}))
    assert isinstance(fitted, Fitted)
    assert fitted.envelope.recipients == ("bob@bücher.test",)


def test_bodies_are_encoded_where_8bitmime_is_missing() -> None:
    made, envelope = letter("Subject: x\r\n\r\nGrüße\r\n")
    fitted = made.fitted(envelope, frozenset())
    assert isinstance(fitted, Fitted)
    assert fitted.octets.endswith(b"\r\n\r\nGr=C3=BC=C3=9Fe\r\n.\r\n")
    assert (fitted.envelope.eight_bit, fitted.envelope.octets) == (False, len(fitted.octets) - 3)
    whole = made.fitted(envelope, frozenset({"8BITMIME"}))
    assert isinstance(whole, Fitted)
    assert (whole.envelope.eight_bit, whole.octets[-12:]) == (True, "Grüße\r\n.\r\n".encode()[-12:])


def test_a_header_that_cant_be_encoded_fails_cleanly() -> None:
    made, envelope = letter("Subject: ä\r\n\r\nx\r\n")
    verdict = made.fitted(envelope, frozenset())
    assert isinstance(verdict, Verdict)
    assert (verdict.result, verdict.status) == ("failed", "5.6.3")
