"""SASL over POP3 (RFC 5034) against a running store: SCRAM, channel binding, LOGIN, bearer tokens, other mailboxes."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Callable, Iterator

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom
from mail_testkit.scram import ScramClient
from mail_testkit.transcripts import SocketPeer


@pytest.fixture
def user(postroom: RunningPostroom) -> User:
    return Rest(postroom).make_user()


@pytest.fixture
def peer(postroom: RunningPostroom) -> Iterator[SocketPeer]:
    connected = SocketPeer(HOST, postroom.ports["pop3"], timeout_s=TIMEOUT_S)
    assert connected.read_line().startswith(b"+OK")
    yield connected
    connected.close()


def exchanged(peer: SocketPeer, mechanism: str, client: Callable[[bytes | None], bytes]) -> bytes:
    """The server's last word."""
    answer, challenge = f"AUTH {mechanism}".encode(), None
    while True:
        peer.send(answer + b"\r\n")
        said = peer.read_line()
        if not said.startswith(b"+ "):
            return said
        challenge = base64.b64decode(said[2:].strip())
        answer = base64.b64encode(client(challenge))


def test_scram(peer: SocketPeer, user: User) -> None:
    assert exchanged(peer, "SCRAM-SHA-256", ScramClient(user.address, "not it")).startswith(b"-ERR [AUTH]")
    assert (
        exchanged(peer, "SCRAM-SHA-256", ScramClient(user.address, user.password)) == b"+OK 0 messages (0 octets)\r\n"
    )


def test_scram_of_nobody_is_refused_like_a_wrong_password(peer: SocketPeer) -> None:
    assert exchanged(peer, "SCRAM-SHA-256", ScramClient("nobody@example.test", "x" * 9)).startswith(b"-ERR [AUTH]")


def test_scram_opens_other_mailboxes(peer: SocketPeer, user: User) -> None:
    name = user.address.replace("@", "+nowhere@")
    assert exchanged(peer, "SCRAM-SHA-256", ScramClient(name, user.password)).startswith(b"-ERR [SYS/PERM]")
    name = user.address.replace("@", "+Archive@")
    assert exchanged(peer, "SCRAM-SHA-256", ScramClient(name, user.password)).startswith(b"+OK")


@pytest.mark.parametrize("wrong", [b"", b"!"])
def test_scram_bound_to_tls_1_2(postroom: RunningPostroom, peer: SocketPeer, user: User, wrong: bytes) -> None:
    context = ssl.create_default_context(cafile=str(postroom.certificate))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    peer.send(b"STLS\r\n")
    assert peer.read_line().startswith(b"+OK")
    peer.start_tls(context)
    bound = hashlib.sha256(ssl.PEM_cert_to_DER_cert(postroom.certificate.read_text())).digest()
    client = ScramClient(user.address, user.password, ("tls-server-end-point", bound + wrong))
    said = exchanged(peer, "SCRAM-SHA-256-PLUS", client)
    assert said.startswith(b"-ERR" if wrong else b"+OK"), said


def test_no_binding_without_tls(peer: SocketPeer, user: User) -> None:
    assert exchanged(peer, "SCRAM-SHA-256-PLUS", ScramClient(user.address, user.password)).startswith(b"-ERR")


def test_login(peer: SocketPeer, user: User) -> None:
    words = iter([b"", user.address.encode(), user.password.encode()])
    next(words)
    assert exchanged(peer, "LOGIN", lambda challenge: next(words)).startswith(b"+OK")


def test_bearer_tokens_are_offered_where_there_is_an_issuer(peer: SocketPeer, replica: Replica, user: User) -> None:
    assert exchanged(peer, "OAUTHBEARER", lambda challenge: b"").startswith(b"-ERR")
    port = replica(oauth_issuers="https://issuer.test")["pop3"]
    other = SocketPeer(HOST, port, timeout_s=TIMEOUT_S)
    other.read_line()
    token = f"n,a={user.address},\x01auth=Bearer not.a.token\x01\x01".encode()
    answers = iter([token, b"\x01"])
    assert exchanged(other, "OAUTHBEARER", lambda challenge: next(answers)).startswith(b"-ERR [AUTH]")
    answers = iter([f"user={user.address}\x01auth=Bearer not.a.token\x01\x01".encode(), b""])
    assert exchanged(other, "XOAUTH2", lambda challenge: next(answers)).startswith(b"-ERR [AUTH]")
    other.close()
