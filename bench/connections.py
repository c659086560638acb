"""What lean clients of benchmarks share: a connection, its lines, and doing something with many at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from mail_testkit.clients import HOST

TIMEOUT_S: Final = 120.0
RECEIVE_OCTETS: Final = 262_144

T = TypeVar("T")


def connect(port: int, source: str = HOST) -> socket.socket:
    """To a server of this machine, from an address of it; what is sent goes at once."""
    connection = socket.create_connection((HOST, port), timeout=TIMEOUT_S, source_address=(source, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def lines(connection: socket.socket) -> bytes:
    """What comes, up to where a line ends and nothing more is there yet."""
    found = b""
    while not found.endswith(b"\r\n"):
        piece = connection.recv(RECEIVE_OCTETS)
        assert piece, "the server closed the connection"
        found += piece
    return found


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
