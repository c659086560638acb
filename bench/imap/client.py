"""An IMAP client that is as lean as can be: it finds the ends of replies, and looks at nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from mail_testkit.clients import HOST, User

TIMEOUT_S: Final = 120.0
RECEIVE_OCTETS: Final = 262_144
# Enough of a reply's end to find its last line in.
_TAIL_OCTETS: Final = 65_536

T = TypeVar("T")


class Client:
    """One connection, logged in."""

    def __init__(self, port: int, user: User) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(RECEIVE_OCTETS)
        greeting = self._socket.recv(RECEIVE_OCTETS)
        while not greeting.endswith(b"\r\n"):
            greeting += self._socket.recv(RECEIVE_OCTETS)
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
        found = b""
        while not found.endswith(b"\r\n"):
            piece = self._socket.recv(RECEIVE_OCTETS)
            assert piece, "the server closed the connection"
            found += piece
        self._buffer = bytearray()

    def abort(self) -> None:
        self._socket.close()

    def close(self) -> None:
        self.do("LOGOUT")
        self._socket.close()


def at_once(work: Callable[[T], object], each: Sequence[T]) -> float:
    """Do it with all of them, each in a thread; seconds until all are done. Raises what one raised."""
    failed: list[BaseException] = []

    def run(one: T) -> None:
        try:
            work(one)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in each]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    if failed:
        raise failed[0]
    return elapsed
