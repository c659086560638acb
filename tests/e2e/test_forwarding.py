"""Two Postrooms that forward to each other: senders are rewritten, bounces come back, loops end."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, send_octets
from mail_testkit.running import RunningPostroom, run_postroom, temporary_directory
from postroom_cli.demo.dns import dns_server, mail_domains
from postroom_cli.launcher.config import free_port

HOME, AWAY, ORIGIN = "home.test", "away.test", "origin.test"
MESSAGE = b"From: a\r\nSubject: round\r\nMessage-ID: <1@origin.test>\r\n\r\nbody\r\n"

Pair = tuple[RunningPostroom, RunningPostroom]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """(home, away): each relays to the other; away keeps the mail of the sender's domain too."""
    home_port, away_port = str(free_port()), str(free_port())
    with temporary_directory() as base, dns_server(mail_domains([HOME, AWAY, ORIGIN])) as (dns, _):
        common = {"POSTROOM_DNS_SERVER": dns, "POSTROOM_RETRY_FIRST_S": "1", "POSTROOM_RELAY_LEASE_S": "5"}
        home_ports = {"POSTROOM_SMTP_PORT": home_port, "POSTROOM_RELAY_PORT": away_port}
        away_ports = {"POSTROOM_SMTP_PORT": away_port, "POSTROOM_RELAY_PORT": home_port}
        with (
            run_postroom(base / "home", **common, **home_ports, POSTROOM_HOSTNAME="mail.home.test") as home,
            run_postroom(base / "away", **common, **away_ports, POSTROOM_HOSTNAME="mail.away.test") as away,
        ):
            for postroom, domain in ((home, HOME), (away, AWAY), (away, ORIGIN)):
                assert Rest(postroom).call("POST", "/v1/domains", {"name": domain})[0] == 201
            yield home, away


def forward(postroom: RunningPostroom, user: User, target: str, *, keep: bool) -> None:
    change = {"forward_to": [target], "forward_keeps_copy": keep}
    status, body = Rest(postroom).call("PATCH", f"/v1/accounts/{user.address}", change)
    assert status == 200, body


def send(postroom: RunningPostroom, sender: str, recipient: str) -> None:
    with smtplib.SMTP(HOST, postroom.ports["smtp"], timeout=TIMEOUT_S) as client:
        assert send_octets(client, sender, [recipient], MESSAGE)[0] == 250


def wait_for_messages(postroom: RunningPostroom, user: User, number: int) -> list[bytes]:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        listed = Rest(postroom).messages(user)
        if len(listed) >= number:
            return [Rest(postroom).raw(user, message["id"]) for message in listed]
        time.sleep(0.1)
    raise AssertionError(f"{number} messages didn't arrive: {Rest(postroom).get('/v1/queue')}")


def test_forwarded_mail_has_a_sender_of_ours_and_its_bounce_comes_back(pair: Pair) -> None:
    home, away = pair
    sender, forwarder = Rest(away).make_user(ORIGIN), Rest(home).make_user(HOME)
    target = Rest(away).make_user(AWAY)
    forward(home, forwarder, target.address, keep=False)
    send(home, sender.address, forwarder.address)
    (received,) = wait_for_messages(away, target, 1)
    assert received.startswith(b"Return-Path: <SRS0=")
    assert f"=origin.test={sender.address.partition('@')[0]}@home.test>".encode() in received.splitlines()[0]
    assert f"Delivered-To: {forwarder.address}".encode() in received
    assert received.endswith(MESSAGE)
    # Now to an address that isn't there: away refuses, home bounces, to whom it had the message from.
    forward(home, forwarder, f"nobody@{AWAY}", keep=True)
    send(home, sender.address, forwarder.address)
    (bounce,) = wait_for_messages(away, sender, 1)
    assert b"Status: 5.1.1" in bounce
    assert f"Final-Recipient: rfc822; nobody@{AWAY}".encode() in bounce
    assert len(wait_for_messages(home, forwarder, 1)) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_a_loop_between_two_systems_ends_with_one_copy_each_and_a_bounce(pair: Pair, keep: bool) -> None:
    home, away = pair
    sender = Rest(away).make_user(ORIGIN)
    here, there = Rest(home).make_user(HOME), Rest(away).make_user(AWAY)
    forward(home, here, there.address, keep=keep)
    forward(away, there, here.address, keep=keep)
    send(home, sender.address, here.address)
    # The bounce takes the way back: from away over home, whose rewritten sender it was, to the sender's own server.
    (bounce,) = wait_for_messages(away, sender, 1)
    assert b"multipart/report" in bounce
    assert b"Status: 5.4.6" in bounce
    assert f"Final-Recipient: rfc822; {here.address}".encode() in bounce
    copies = 1 if keep else 0
    assert len(Rest(home).messages(here)) == copies
    assert len(Rest(away).messages(there)) == copies
