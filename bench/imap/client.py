"""An IMAP client that is as lean as can be: it finds the ends of replies, and looks at nothing else."""

from __future__ import annotations

from typing import Final

from bench.connections import RECEIVE_OCTETS, connect, lines

from mail_testkit.clients import HOST, User

# Enough of a reply's end to find its last line in.
_TAIL_OCTETS: Final = 65_536


class Client:
    """One connection, logged in."""

    def __init__(self, port: int, user: User, source: str = HOST) -> None:
        self._socket = connect(port, source)
        self._buffer = bytearray(RECEIVE_OCTETS)
        greeting = lines(self._socket)
        assert greeting.startswith(b"* OK"), greeting
        self.do(f"LOGIN {user.address} {user.password}")

    def do(self, command: str, literal: bytes | None = None) -> bytes:
        """One command; the end of what is answered. `literal` is appended to it. It must end with OK."""
        octets = b"a " + command.encode()
        if literal is not None:
            octets += b" {%d+}\r\n%b" % (len(literal), literal)
        self._socket.sendall(octets + b"\r\n")
        return self._reply()

    def _reply(self) -> bytes:
        tail = b""
        while True:
            received = self._socket.recv_into(self._buffer)
            assert received, "the server closed the connection"
            tail = (tail + self._buffer[:received])[-_TAIL_OCTETS:]
            if tail.endswith(b"\r\n"):
                last = tail[tail.rfind(b"\n", 0, -2) + 1 :]
                if last.startswith(b"a "):
                    assert last.startswith(b"a OK"), last
                    return tail

    def start_idling(self) -> None:
        """IDLE, until `abort`."""
        self._socket.sendall(b"a IDLE\r\n")
        lines(self._socket)
        self._buffer = bytearray()

    def abort(self) -> None:
        self._socket.close()

    def close(self) -> None:
        self.do("LOGOUT")
        self._socket.close()
