"""Logging in by SASL, through the frontends, and losing the login."""

from __future__ import annotations

import hashlib
import imaplib
import smtplib
import ssl
from base64 import b64decode, b64encode
from contextlib import ExitStack

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User
from mail_testkit.running import RunningPostroom
from mail_testkit.scram import ScramClient


def _tls(postroom: RunningPostroom, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(postroom.certificate))
    context.maximum_version = version
    return context


def test_scram_over_imap(postroom: RunningPostroom, user: User) -> None:
    with imaplib.IMAP4(HOST, postroom.ports["imap"], timeout=TIMEOUT_S) as client:
        assert "AUTH=SCRAM-SHA-256" in client.capabilities
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            client.authenticate("SCRAM-SHA-256", ScramClient(user.address, "wrong password"))
        assert client.authenticate("SCRAM-SHA-256", ScramClient(user.address, user.password))[0] == "OK"
        assert client.select()[0] == "OK"


@pytest.mark.parametrize("binding", ["tls-unique", "tls-server-end-point"])
def test_scram_bound_to_tls_1_2(postroom: RunningPostroom, user: User, binding: str) -> None:
    context = _tls(postroom, ssl.TLSVersion.TLSv1_2)
    for wrong in (b"", b"!"):
        with imaplib.IMAP4_SSL(HOST, postroom.ports["imaps"], ssl_context=context, timeout=TIMEOUT_S) as client:
            assert "AUTH=SCRAM-SHA-256-PLUS" in client.capabilities
            socket = client.socket()
            assert isinstance(socket, ssl.SSLSocket)
            certificate = socket.getpeercert(binary_form=True)
            assert certificate is not None
            bound = (
                socket.get_channel_binding("tls-unique")
                if binding == "tls-unique"
                else hashlib.sha256(certificate).digest()
            )
            assert bound is not None
            scram = ScramClient(user.address, user.password, (binding, bound + wrong))
            if wrong:
                with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
                    client.authenticate("SCRAM-SHA-256-PLUS", scram)
            else:
                assert client.authenticate("SCRAM-SHA-256-PLUS", scram)[0] == "OK"


def test_nothing_is_bound_to_tls_1_3(postroom: RunningPostroom) -> None:
    context = _tls(postroom, ssl.TLSVersion.TLSv1_3)
    with imaplib.IMAP4_SSL(HOST, postroom.ports["imaps"], ssl_context=context, timeout=TIMEOUT_S) as client:
        assert "AUTH=SCRAM-SHA-256" in client.capabilities
        assert "AUTH=SCRAM-SHA-256-PLUS" not in client.capabilities


def test_scram_over_submission(postroom: RunningPostroom, user: User) -> None:
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.ehlo()
        assert client.esmtp_features["auth"].split() == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]
        assert client.docmd("AUTH OAUTHBEARER")[0] == 504
        for password, code in [("wrong password", 535), (user.password, 235)]:
            scram = ScramClient(user.address, password)
            answer, challenge = client.docmd("AUTH SCRAM-SHA-256")
            while answer == 334:
                octets = scram(b64decode(challenge))
                answer, challenge = client.docmd(b64encode(octets).decode())
            assert answer == code
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S) as client:
        client.starttls(context=_tls(postroom, ssl.TLSVersion.TLSv1_2))
        client.ehlo()
        assert client.esmtp_features["auth"].split()[0] == "SCRAM-SHA-256-PLUS"


def test_a_new_password_ends_open_sessions(postroom: RunningPostroom, user: User, rest: Rest) -> None:
    idle, waiting, again = (imaplib.IMAP4(HOST, postroom.ports["imap"], timeout=TIMEOUT_S) for _ in range(3))
    with ExitStack() as closing:
        for client in (idle, waiting, again):
            closing.callback(client.shutdown)
        for client in (idle, waiting):
            client.login(user.address, user.password)
        idle.select()
        idle.send(b"x IDLE\r\n")
        assert idle.readline().startswith(b"+")
        status, body = rest.call("PUT", f"/v1/accounts/{user.address}/password", {"password": "another password"})
        assert status == 204, body
        for client in (idle, waiting):
            assert client.readline() == b"* BYE the password was changed; log in again\r\n"
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            again.login(user.address, user.password)
        again.login(user.address, "another password")
