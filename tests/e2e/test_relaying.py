"""Two Postrooms that find each other in DNS: delivery, deferral, bounce."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any
from uuid import uuid4

import pytest

from mail_testkit import messages
from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, send_octets
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory
from postroom_cli.demo.dns import dns_server, mail_domains
from postroom_cli.launcher.config import free_port

REMOTE = "remote.test"
MESSAGE = "From: a\r\nSubject: Grüße\r\n\r\n.dot\r\nümläut\r\n".encode()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[RunningPostroom, RunningPostroom]]:
    """(home, away): home relays to away, which keeps the mail of remote.test."""
    away_port = str(free_port())
    with temporary_directory() as base, dns_server(mail_domains(["example.test", REMOTE])) as (dns, _):
        common = {"POSTROOM_DNS_SERVER": dns, "POSTROOM_RETRY_FIRST_S": "1", "POSTROOM_RELAY_LEASE_S": "5"}
        relay = {"POSTROOM_RELAY_PORT": away_port, "POSTROOM_HOSTNAME": "mail.example.test"}
        relay["POSTROOM_RELAY_DOWN_S"] = "1"
        with (
            run_postroom(base / "home", **common, **relay) as home,
            run_postroom(base / "away", POSTROOM_SMTP_PORT=away_port, **common) as away,
        ):
            assert Rest(away).call("POST", "/v1/domains", {"name": REMOTE})[0] == 201
            yield home, away


def submit(postroom: RunningPostroom, user: User, recipients: list[str], message: bytes) -> None:
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        assert send_octets(client, user.address, recipients, message)[0] == 250


def wait_for_messages(postroom: RunningPostroom, user: User, number: int) -> list[bytes]:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        listed = Rest(postroom).messages(user)
        if len(listed) >= number:
            return [Rest(postroom).raw(user, message["id"]) for message in listed]
        time.sleep(0.1)
    raise AssertionError(f"{number} messages didn't arrive: {Rest(postroom).get('/v1/queue')}")


def queue_of(postroom: RunningPostroom, address: str) -> list[dict[str, Any]]:
    items = Rest(postroom).items("/v1/queue")
    return [item for item in items if item["recipient"] == address]


def wait_for_end(postroom: RunningPostroom, address: str) -> list[dict[str, Any]]:
    """Its deliveries once no relay has any of them: the remote has a message before its outcome is told."""
    deadline = time.monotonic() + TIMEOUT_S
    while "sending" in [item["state"] for item in queue_of(postroom, address)]:
        assert time.monotonic() < deadline, "the outcome isn't told"
        time.sleep(0.1)
    return queue_of(postroom, address)


def test_every_octet_arrives(pair: tuple[RunningPostroom, RunningPostroom]) -> None:
    home, away = pair
    sender, recipient = Rest(home).make_user(), Rest(away).make_user(REMOTE)
    submit(home, sender, [recipient.address], MESSAGE)
    (received,) = wait_for_messages(away, recipient, 1)
    assert messages.without_trace(received, 5).endswith(MESSAGE), "behind what submission adds"
    assert f"Return-Path: <{sender.address}>".encode() in received
    (delivery,) = wait_for_end(home, recipient.address)
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 1)


def test_a_local_copy_and_a_remote_one(pair: tuple[RunningPostroom, RunningPostroom]) -> None:
    home, away = pair
    sender, neighbour, recipient = Rest(home).make_user(), Rest(home).make_user(), Rest(away).make_user(REMOTE)
    submit(home, sender, [neighbour.address, recipient.address], MESSAGE)
    assert len(wait_for_messages(home, neighbour, 1)) == 1
    assert len(wait_for_messages(away, recipient, 1)) == 1


def test_an_unknown_remote_user_bounces(pair: tuple[RunningPostroom, RunningPostroom]) -> None:
    home, away = pair
    sender, recipient = Rest(home).make_user(), Rest(away).make_user(REMOTE)
    submit(home, sender, [f"nobody@{REMOTE}", recipient.address], MESSAGE)
    (bounce,) = wait_for_messages(home, sender, 1)
    assert f"Final-Recipient: rfc822; nobody@{REMOTE}".encode() in bounce
    assert b"Status: 5.1.1" in bounce
    assert b"multipart/report" in bounce
    assert len(wait_for_messages(away, recipient, 1)) == 1, "the other recipient is not affected"


def submit_asking(
    postroom: RunningPostroom, user: User, mail: str, recipients: dict[str, str], message: bytes = MESSAGE
) -> None:
    """With parameters of MAIL, and of RCPT for each recipient (RFC 3461 §4)."""
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        assert client.has_extn("dsn")
        assert client.docmd(f"MAIL FROM:<{user.address}> {mail}")[0] == 250
        for recipient, asked in recipients.items():
            assert client.docmd(f"RCPT TO:<{recipient}> {asked}")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert client.getreply()[0] == 250


@pytest.mark.parametrize(("ret", "returned"), [("HDRS", "text/rfc822-headers"), ("FULL", "message/rfc822")])
def test_what_was_asked_for_comes_out_in_the_report(
    pair: tuple[RunningPostroom, RunningPostroom], ret: str, returned: str
) -> None:
    """RET, ENVID, NOTIFY and ORCPT, from submission to the sender's mailbox; NEVER is never reported."""
    home, _ = pair
    sender = Rest(home).make_user()
    unknown, secret = f"u{uuid4().hex}@{REMOTE}", f"s{uuid4().hex}@{REMOTE}"
    message = b"Subject: x\r\n\r\nthe body\r\n"
    asked = {unknown: "NOTIFY=FAILURE,DELAY ORCPT=rfc822;Carol+2BLists@lists.test", secret: "NOTIFY=NEVER"}
    submit_asking(home, sender, f"RET={ret} ENVID=QQ+2B314159", asked, message)
    (bounce,) = wait_for_messages(home, sender, 1)
    for address in (unknown, secret):
        (delivery,) = wait_for_end(home, address)
        assert delivery["state"] == "failed"
    assert b"\r\nOriginal-Envelope-Id: QQ+314159\r\n" in bounce
    assert b"\r\nOriginal-Recipient: rfc822;Carol+Lists@lists.test\r\n" in bounce
    assert f"\r\nFinal-Recipient: rfc822; {unknown}\r\n".encode() in bounce
    assert b"\r\nAction: failed\r\n" in bounce
    assert secret.encode() not in bounce
    _, told, original = message_from_bytes(bounce).get_payload()
    assert (told.get_content_type(), original.get_content_type()) == ("message/delivery-status", returned)
    assert (b"the body" in bounce) == (ret == "FULL")
    assert len(wait_for_messages(home, sender, 1)) == 1


def test_success_is_told_here_and_asked_for_there(pair: tuple[RunningPostroom, RunningPostroom]) -> None:
    """For a neighbour by this server; the remote server hears of the wish, and writes to the sender itself."""
    home, away = pair
    sender, neighbour, recipient = Rest(home).make_user(), Rest(home).make_user(), Rest(away).make_user(REMOTE)
    # Both servers have that domain: what away writes to the sender stays there.
    account = {"address": sender.address, "password": sender.password}
    assert Rest(away).call("POST", "/v1/accounts", account)[0] == 201
    wish = "NOTIFY=SUCCESS ORCPT=rfc822;original@lists.test"
    submit_asking(home, sender, "ENVID=abc", {neighbour.address: wish, recipient.address: wish})
    (report,) = wait_for_messages(home, sender, 1)
    assert b"\r\nAction: delivered\r\n" in report
    assert b"\r\nOriginal-Envelope-Id: abc\r\n" in report
    assert f"\r\nFinal-Recipient: rfc822; {neighbour.address}\r\n".encode() in report
    assert recipient.address.encode() not in report
    (report,) = wait_for_messages(away, sender, 1)
    assert b"\r\nAction: delivered\r\n" in report
    assert b"\r\nOriginal-Envelope-Id: abc\r\n" in report
    assert b"\r\nOriginal-Recipient: rfc822;original@lists.test\r\n" in report
    assert f"\r\nFinal-Recipient: rfc822; {recipient.address}\r\n".encode() in report
    assert len(wait_for_messages(home, sender, 1)) == 1


def test_a_server_that_is_away_is_tried_again(pair: tuple[RunningPostroom, RunningPostroom]) -> None:
    home, away = pair
    sender, recipient = Rest(home).make_user(), Rest(away).make_user(REMOTE)
    with away.stopped("smtp-in"):
        submit(home, sender, [recipient.address], MESSAGE)
        while not queue_of(home, recipient.address)[0]["last_reply"]:
            time.sleep(0.1)
    (received,) = wait_for_messages(away, recipient, 1)
    assert messages.without_trace(received, 5).endswith(MESSAGE), "behind what submission adds"
    assert queue_of(home, recipient.address)[0]["attempts"] >= 2


def test_a_relay_that_is_killed_goes_on(pair: tuple[RunningPostroom, RunningPostroom]) -> None:
    home, away = pair
    sender, recipient = Rest(home).make_user(), Rest(away).make_user(REMOTE)
    for _ in range(5):
        submit(home, sender, [recipient.address], MESSAGE)
    home.kill("smtp-out")
    for _ in range(5):
        submit(home, sender, [recipient.address], MESSAGE)
    home.wait_ready("smtp-out")
    # One that was being sent when its worker died comes when its lease is over: perhaps a second time (RFC 1047).
    assert len(wait_for_messages(away, recipient, 10)) >= 10
