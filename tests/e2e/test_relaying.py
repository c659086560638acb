"""Two Postrooms that find each other in DNS: delivery, deferral, bounce."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator
from typing import Any

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
