"""Every transcript of `transcripts/` against a running Postroom; each has an account of its own."""

from __future__ import annotations

import base64
import imaplib
import ssl
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest
from mail_testkit.running import DOMAIN, RunningPostroom
from mail_testkit.transcripts import Player, SocketPeer, parse, read

PATHS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
SPACED_PASSWORD = "three words  here"


class Stage:
    """What the `!` lines of a transcript do."""

    def __init__(self, postroom: RunningPostroom) -> None:
        self._postroom = postroom
        self._rest = Rest(postroom)
        self.user = self._rest.make_user()
        self.player = Player(self._connect, self._actions(), self._captures())

    def _captures(self) -> dict[str, str]:
        user = self.user
        local, _, domain = user.address.partition("@")
        spaced = f"s{uuid4().hex[:12]}@{DOMAIN}"
        body = {"address": spaced, "password": SPACED_PASSWORD}
        assert self._rest.call("POST", "/v1/accounts", body)[0] == 201
        plain = base64.b64encode(f"\0{user.address}\0{user.password}".encode()).decode()
        sizes = {f"x{size}": "x" * size for size in (248, 249, 1100)}
        names = {"user": user.address, "password": user.password, "local": local, "domain": domain, "plain": plain}
        return {**names, **sizes, "spaced": spaced, "spaced_password": SPACED_PASSWORD}

    def _actions(self) -> dict[str, Callable[..., None]]:
        return {
            "append": self._append,
            "expunge": self._expunge,
            "left": self._left,
            "login": self._login,
            "login-again": self._login_again,
            "mailbox": self._create,
            "tls": self._start_tls,
        }

    def _connect(self, number: int) -> SocketPeer:
        return SocketPeer(HOST, self._postroom.ports["pop3"], timeout_s=TIMEOUT_S)

    def _imap(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4(HOST, self._postroom.ports["imap"], timeout=TIMEOUT_S)
        client.login(self.user.address, self.user.password)
        return client

    def _append(self, octets: str, *mailbox: str) -> None:
        head = b"Subject: one\r\n\r\n"
        message = head + b"x" * (int(octets) - len(head) - 2) + b"\r\n"
        with self._imap() as client:
            assert client.append(f'"{" ".join(mailbox) or "INBOX"}"', "", "", message)[0] == "OK"

    def _create(self, *name: str) -> None:
        with self._imap() as client:
            assert client.create(f'"{" ".join(name)}"')[0] == "OK"

    def _expunge(self, number: str) -> None:
        with self._imap() as client:
            client.select("INBOX")
            client.store(number, "+FLAGS", "(\\Deleted)")
            client.expunge()

    def _left(self, number: str) -> None:
        assert len(self._rest.messages(self.user)) == int(number)

    def _login(self, connection: str = "1") -> None:
        lines = f"{connection}S: +OK {{_:.*}}\n{connection}C: USER {{user}}\n{connection}S: +OK {{_:.*}}\n"
        lines += f"{connection}C: PASS {{password}}\n{connection}S: +OK {{_:.*}}\n"
        self.player.go_on(parse("login", lines))

    def _login_again(self, connection: str) -> None:
        """Once the service has noticed that the connection before is gone."""
        while True:
            peer = self._connect(int(connection))
            peer.read_line()
            peer.send(f"USER {self.user.address}\r\nPASS {self.user.password}\r\n".encode())
            assert peer.read_line().startswith(b"+OK")
            answer = peer.read_line()
            if answer.startswith(b"+OK"):
                self.player.adopt(int(connection), peer)
                return
            assert b"[IN-USE]" in answer, answer
            peer.close()

    def _start_tls(self, connection: str = "1") -> None:
        peer = self.player.peer(int(connection))
        assert isinstance(peer, SocketPeer)
        peer.start_tls(ssl.create_default_context(cafile=str(self._postroom.certificate)))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_transcript(path: Path, postroom: RunningPostroom) -> None:
    Stage(postroom).player.play(read(path))
