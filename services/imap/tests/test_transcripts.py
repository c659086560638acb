"""Every transcript of `transcripts/` against a running Postroom; each has an account of its own."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import ssl
import zlib
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from mail_proto.imap.compression import FLUSH
from mail_testkit.clients import HOST, TIMEOUT_S, Rest, deliver
from mail_testkit.running import RunningPostroom
from mail_testkit.transcripts import Peer, Player, SocketPeer, parse, read

PATHS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
MESSAGE = (
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Fred Foobar <foobar@blurdybloop.example>\r\n"
    b"Subject: %b\r\nTo: mooch@owatagu.example\r\nMessage-ID: <%b@blurdybloop.example>\r\n\r\nhello %b\r\n"
)


class CompressedPeer:
    """A connection with DEFLATE in both directions."""

    def __init__(self, peer: Peer) -> None:
        assert isinstance(peer, SocketPeer)
        self._peer = peer
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        self._inflate = zlib.decompressobj(-15)
        self._received = self._behind = b""
        self._is_flushed, self._last = True, b""

    def send(self, octets: bytes) -> None:
        self._peer.send(self._deflate.compress(octets) + self._deflate.flush(zlib.Z_SYNC_FLUSH))

    def send_raw(self, octets: bytes) -> None:
        self._peer.send(octets)

    def send_with(self, compressed: bytes, in_clear: bytes) -> None:
        """Both in one packet."""
        self._peer.send(self._deflate.compress(compressed) + self._deflate.flush(zlib.Z_SYNC_FLUSH) + in_clear)

    def uncompressed(self) -> SocketPeer:
        """The connection behind the flush that ends what was compressed."""
        while not self._is_flushed:
            self._read_some()
        assert not self._received, self._received
        self._peer.put_back(self._behind)
        return self._peer

    def _read_some(self) -> bool:
        """Inflate no further than the next flush; False: the connection has ended."""
        octets = self._behind or self._peer.read_some()
        if not octets:
            return False
        head, flush, self._behind = octets.partition(FLUSH)
        self._received += self._inflate.decompress(head + flush)
        self._last = (self._last + head + flush)[-len(FLUSH) :]
        self._is_flushed = self._last == FLUSH
        return True

    def read_line(self) -> bytes:
        while b"\n" not in self._received:
            if not self._read_some():
                break
        line, end, self._received = self._received.partition(b"\n")
        return line + end

    def close(self) -> None:
        self._peer.close()


class Stage:
    """What the `!` lines of a transcript do."""

    def __init__(self, postroom: RunningPostroom) -> None:
        self._postroom = postroom
        self._rest = Rest(postroom)
        self.user = self._rest.make_user()
        plain = base64.b64encode(f"\0{self.user.address}\0{self.user.password}".encode()).decode()
        captures = {"user": self.user.address, "password": self.user.password, "plain": plain}
        captures |= {f"x{size}": "x" * size for size in (1_000, 60_000)}
        self._has_begun = False
        self.player = Player(self._connect, self._actions(), captures)

    def _actions(self) -> dict[str, Callable[..., None]]:
        return {
            "append": self._append,
            "as": self._log_in_as,
            "bomb": self._bomb,
            "colleagues": self._make_colleagues,
            "command": self._command,
            "compress": self._compress,
            "catenate": self._catenate,
            "clear": self._clear,
            "deliver": self._deliver,
            "login": self._login,
            "pipeline": self._pipeline,
            "quota": self._quota,
            "quota-setter": self._let_set_quotas,
            "select": self._select,
            "tls": self._start_tls,
        }

    def _connect(self, number: int) -> SocketPeer:
        return SocketPeer(HOST, self._postroom.ports["imap"], timeout_s=TIMEOUT_S)

    def _imap(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4(HOST, self._postroom.ports["imap"], timeout=TIMEOUT_S)
        client.login(self.user.address, self.user.password)
        return client

    def _append(self, *subjects: str) -> None:
        """Messages into INBOX, by somebody else's hand. Those from before the first login aren't \\Recent any more."""
        with self._imap() as client:
            for subject in subjects:
                word = subject.encode()
                assert client.append("INBOX", "", "", MESSAGE % (word, word, word))[0] == "OK"
            if not self._has_begun:
                assert client.select()[0] == "OK"

    def _command(self, mailbox: str, *words: str) -> None:
        """A command of another client that has the mailbox open."""
        with self._imap() as client:
            client.select(mailbox)
            tag = client._new_tag().decode()  # type: ignore[attr-defined]
            client.send(f"{tag} {' '.join(words)}\r\n".encode())
            while not (line := client.readline()).startswith(tag.encode()):
                assert line
            assert b" OK " in line, line

    def _deliver(self, *subjects: str) -> None:
        deliver(self._postroom, self.user, *(MESSAGE % ((word.encode(),) * 3) for word in subjects))

    def _login(self, connection: str = "1") -> None:
        self._has_begun = True
        lines = f"{connection}S: * OK {{_:.*}}\n{connection}C: in LOGIN {{user}} {{password}}\n"
        self.player.go_on(parse("login", lines + f"{connection}S: in OK {{_:.*}}\n"))

    def _make_colleagues(self, *names: str) -> None:
        """Accounts of a domain of their own; their names become their addresses."""
        domain = f"d{uuid4().hex[:12]}.test"
        status, answer = self._rest.call("POST", "/v1/domains", {"name": domain})
        assert status == 201, answer
        for name in names:
            self.player.captures[name] = self._rest.make_user(domain).address

    def _log_in_as(self, address: str, connection: str = "1") -> None:
        lines = f"{connection}S: * OK {{_:.*}}\n{connection}C: in LOGIN {address} {{password}}\n"
        self.player.go_on(parse("as", lines + f"{connection}S: in OK {{_:.*}}\n"))

    def _select(self, mailbox: str = "INBOX", connection: str = "1") -> None:
        lines = f"{connection}C: sel SELECT {mailbox}\n{connection}S: ...\n{connection}S: sel OK {{_:.*}}\n"
        self.player.go_on(parse("select", lines))

    def _pipeline(self, count: str, *words: str) -> None:
        """So many commands in one go."""
        self.player.peer().send("".join(f"p{at} {' '.join(words)}\r\n" for at in range(int(count))).encode())

    def _quota(self, octets: str, messages: str) -> None:
        body = {"quota_octets": int(octets), "quota_messages": int(messages)}
        status, answer = self._rest.call("PATCH", f"/v1/accounts/{self.user.address}", body)
        assert status == 200, answer

    def _let_set_quotas(self, address: str) -> None:
        status, answer = self._rest.call("PATCH", f"/v1/accounts/{address}", {"sets_quotas": True})
        assert status == 200, answer

    def _compress(self, connection: str = "1") -> None:
        number = int(connection)
        self.player.adopt(number, CompressedPeer(self.player.peer(number)))

    def _catenate(self, count: str) -> None:
        """The message with uid 6 so many times."""
        parts = b" ".join([b'URL ";UID=6"'] * int(count))
        self.player.peer().send(b"big APPEND INBOX CATENATE (" + parts + b")\r\n")

    def _clear(self) -> None:
        """UNAUTHENTICATE and a login behind it in one go; from then on nothing is compressed."""
        peer = self.player.peer()
        assert isinstance(peer, CompressedPeer)
        login = f"u2 LOGIN {self.user.address} {self.user.password}\r\n"
        peer.send_with(b"u1 UNAUTHENTICATE\r\n", login.encode())
        assert peer.read_line().startswith(b"u1 OK ")
        self.player.adopt(1, peer.uncompressed())

    def _bomb(self) -> None:
        peer = self.player.peer()
        assert isinstance(peer, CompressedPeer)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        nothing = bytes(1024 * 1024)
        octets = b"".join(packer.compress(nothing) for _ in range(1024)) + packer.flush()
        assert len(octets) < 1_200_000
        with contextlib.suppress(ConnectionError):  # it may be cut off before it has sent everything
            peer.send_raw(octets)

    def _start_tls(self, connection: str = "1") -> None:
        peer = self.player.peer(int(connection))
        assert isinstance(peer, SocketPeer)
        peer.start_tls(ssl.create_default_context(cafile=str(self._postroom.certificate)))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_transcript(path: Path, postroom: RunningPostroom) -> None:
    Stage(postroom).player.play(read(path))
