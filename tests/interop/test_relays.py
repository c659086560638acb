"""Other mail servers relay into Postroom: Postfix and Exim, to the MX, through a login, and over LMTP.

Both run as packaged, in a directory of their own, with nothing changed but where they deliver; that takes root.
Postfix hands over in the background: IMAP tells when its mail is there. Exim delivers in the foreground.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from imapclient import IMAPClient

from mail_testkit import messages, postfix
from mail_testkit.clients import HOST, Rest, User, send_octets
from mail_testkit.running import RunningPostroom, temporary_directory

TIMEOUT_S = 120
SENDER = "sender@elsewhere.test"
EXIM = shutil.which("exim4", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
EXIM_USER = "Debian-exim"

needs_postfix = pytest.mark.skipif(postfix.program() is None, reason="no Postfix, or not root (apt install postfix)")
needs_exim = pytest.mark.skipif(
    EXIM is None or os.geteuid() != 0, reason="no Exim, or not root (apt install exim4-daemon-light)"
)

LETTERS = {
    "dots": b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n",
    "eight-bit": "Subject: 8bit\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n".encode(),
    "large": b"Subject: large\r\n\r\n" + b"0123456789" * 7 + b"\r\n" * 3 + (b"x" * 70 + b"\r\n") * 20_000,
}


@pytest.fixture
def user(postroom: RunningPostroom) -> User:
    return Rest(postroom).make_user()


@pytest.fixture
def place() -> Iterator[Path]:
    with temporary_directory() as directory:
        yield directory


def body(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[2]


def came(postroom: RunningPostroom, user: User, number: int) -> list[bytes]:
    """The user's messages as soon as there are so many; IMAP tells."""
    with IMAPClient(HOST, postroom.ports["imap"], ssl=False, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        there = client.select_folder("INBOX")[b"EXISTS"]
        client.idle()
        while there < number:
            said = client.idle_check(timeout=TIMEOUT_S)
            assert said, f"{there} of {number} messages came within {TIMEOUT_S} s"
            there = max([there, *[found[0] for found in said if found[1:] == (b"EXISTS",)]])
        client.idle_done()
        fetched = client.fetch(client.search(), ["BODY.PEEK[]"])
    assert len(fetched) == number
    return [fetched[number][b"BODY[]"] for number in sorted(fetched)]


def newest_hop(message: bytes) -> str:
    """What Postroom says of how it got the message."""
    received = message_from_bytes(message).get_all("Received")
    assert received is not None
    return re.sub(r"\s+", " ", str(received[0]))


def postfix_settings(postroom: RunningPostroom, way: str, user: User, place: Path) -> list[str]:
    """Lines of `main.cf` for each way in."""
    if way == "lmtp":
        return [f"default_transport = lmtp:inet:{HOST}:{postroom.ports['lmtp']}"]
    if way == "mx":
        return [f"relayhost = [{HOST}]:{postroom.ports['smtp']}", "smtp_tls_security_level = encrypt"]
    relay = f"[{HOST}]:{postroom.ports['submission']}"
    (place / "passwords").write_text(f"{relay} {user.address}:{user.password}\n")
    return [
        f"relayhost = {relay}",
        "smtp_tls_security_level = encrypt",
        "smtp_sasl_auth_enable = yes",
        f"smtp_sasl_password_maps = texthash:{place}/passwords",
        "smtp_sasl_security_options = noanonymous",
        f"smtp_sasl_mechanism_filter = {way}",
    ]


@needs_postfix
@pytest.mark.parametrize("way", ["mx", "lmtp", "plain", "login"])
def test_postfix(postroom: RunningPostroom, user: User, place: Path, way: str) -> None:
    sender = user.address if way in ("plain", "login") else SENDER
    with (
        postfix.running(place / "postfix", postfix_settings(postroom, way, user, place)) as relay,
        smtplib.SMTP(HOST, relay.port, timeout=TIMEOUT_S) as client,
    ):
        for letter in LETTERS.values():
            head = b"From: <%b>\r\n" % sender.encode()
            assert send_octets(client, sender, [user.address], head + letter)[0] == 250
        found = came(postroom, user, len(LETTERS))
    assert sorted(map(body, found)) == sorted(map(body, LETTERS.values()))
    keyword = {"mx": "ESMTPS", "lmtp": "LMTP"}.get(way, "ESMTPSA")
    assert {f"with {keyword} id" in newest_hop(message) for message in found} == {True}


@needs_postfix
def test_postfix_relays_real_messages(postroom: RunningPostroom, user: User, place: Path) -> None:
    """What Postfix took from a client is what Postroom has: both add trace fields, and Postfix what is missing."""
    sent = [octets for path in messages.paths()[:100] if b"\0" not in (octets := messages.as_sent(path))]
    # Postfix writes CRLF for bare LF, cuts lines that are longer than smtp_line_length_limit, and takes what is no
    # header for the first line of the body.
    sent = [octets for octets in sent if re.match(rb"[!-9;-~]+:", octets) and b"\r\n\r\n" in octets]
    sent = [octets for octets in sent if octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")]
    sent = [octets for octets in sent if max(map(len, octets.split(b"\r\n"))) <= 990]
    with (
        postfix.running(place / "postfix", postfix_settings(postroom, "mx", user, place)) as relay,
        smtplib.SMTP(HOST, relay.port, timeout=TIMEOUT_S) as client,
    ):
        for octets in sent:
            assert send_octets(client, SENDER, [user.address], octets)[0] == 250
        found = came(postroom, user, len(sent))
    assert sorted(map(body, found)) == sorted(map(body, sent))


EXIM_CONFIG = """
exim_path = {exim}
primary_hostname = exim.test
spool_directory = {root}
log_file_path = {root}/%slog
keep_environment =
begin routers
relay:
  driver = manualroute
  transport = remote
  route_list = * {host}
  self = send
begin transports
remote:
  driver = smtp
  port = {port}
  protocol = {protocol}
  allow_localhost
  {options}
begin authenticators
{mechanism}:
  driver = plaintext
  public_name = {mechanism}
  client_send = {client_send}
"""
EXIM_AUTH = {
    "PLAIN": "^{0.address}^{0.password}",
    "LOGIN": ": {0.address} : {0.password}",
}
MUST_TLS = "hosts_require_tls = *\n  tls_verify_hosts =\n  tls_try_verify_hosts ="


@needs_exim
@pytest.mark.parametrize(
    ("door", "protocol", "options", "mechanism", "keyword"),
    [
        ("smtp", "smtp", MUST_TLS, "", "ESMTPS"),
        ("smtp", "smtp", "hosts_avoid_tls = *\n  hosts_try_chunking =", "", "ESMTP"),
        ("lmtp", "lmtp", "hosts_avoid_tls = *", "", "LMTP"),
        ("submission", "smtp", MUST_TLS + "\n  hosts_require_auth = *", "PLAIN", "ESMTPSA"),
        ("submission", "smtp", MUST_TLS + "\n  hosts_require_auth = *", "LOGIN", "ESMTPSA"),
        ("submissions", "smtps", MUST_TLS + "\n  hosts_require_auth = *", "PLAIN", "ESMTPSA"),
    ],
)
def test_exim(
    postroom: RunningPostroom,
    user: User,
    place: Path,
    door: str,
    protocol: str,
    options: str,
    mechanism: str,
    keyword: str,
) -> None:
    """With BDAT where it isn't told otherwise."""
    assert EXIM is not None
    send = EXIM_AUTH.get(mechanism, "").format(user)
    config = place / "exim.conf"
    config.write_text(
        EXIM_CONFIG.format(
            exim=EXIM,
            root=place / "exim",
            host=HOST,
            port=postroom.ports[door],
            protocol=protocol,
            options=options,
            mechanism=mechanism or "PLAIN",
            client_send=send,
        )
    )
    (place / "exim").mkdir()
    owner = pwd.getpwnam(EXIM_USER)
    os.chown(place / "exim", owner.pw_uid, owner.pw_gid)
    sender = user.address if mechanism else SENDER
    for letter in LETTERS.values():
        octets = (b"From: <%b>\r\n" % sender.encode() + letter).replace(b"\r\n", b"\n")
        command = [EXIM, "-C", str(config), "-odf", "-oi", "-f", sender, user.address]
        subprocess.run(command, input=octets, check=True, timeout=TIMEOUT_S)
    log = (place / "exim" / "mainlog").read_text()
    assert log.count(" => ") == len(LETTERS), log
    if protocol != "lmtp":
        assert (" K " in log) == ("hosts_try_chunking" not in options), "K: by BDAT"
    found = came(postroom, user, len(LETTERS))
    assert [body(message) for message in found] == [body(letter) for letter in LETTERS.values()]
    assert {f"with {keyword} id" in newest_hop(message) for message in found} == {True}
