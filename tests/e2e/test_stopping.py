"""A service that is told to stop says so on its admin port until its last connection has ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys

import pytest

from mail_testkit.clients import HOST, TIMEOUT_S
from mail_testkit.running import RunningPostroom
from postroom_cli.launcher.config import free_port

# The second of two connections ends after half of it: long after the test.
DRAIN_S = "600"


def ask(port: int, path: str) -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)) as admin:
        admin.request("GET", path)
        response = admin.getresponse()
        return response.status, response.read().decode()


@pytest.mark.parametrize(
    ("name", "module", "door"),
    [("smtp-in", "smtp_in", "SMTP"), ("pop3", "pop3", "POP3"), ("imap", "imap", "IMAP")],
)
def test_the_admin_port_answers_while_connections_end(
    postroom: RunningPostroom, name: str, module: str, door: str
) -> None:
    environ = postroom.environ(name)
    ports = {key: str(free_port()) for key in environ if key.endswith("_PORT")}
    command = [sys.executable, "-m", module]
    replica = subprocess.Popen(command, env={**os.environ, **environ, **ports, "POSTROOM_DRAIN_S": DRAIN_S})
    try:
        admin = int(ports["POSTROOM_ADMIN_PORT"])
        wait_until_open(replica, admin)
        first, second = (greeted(int(ports[f"POSTROOM_{door}_PORT"])) for _ in range(2))
        assert ask(admin, "/readyz")[0] == 200
        replica.send_signal(signal.SIGTERM)
        with first, second:
            assert first.recv(1000), "the last word to the first client"
            assert ask(admin, "/openz") == (503, "stopping\n")
            assert ask(admin, "/readyz") == (503, "not ready: stopping\n")
            assert ask(admin, "/healthz")[0] == 200
            assert f"postroom_{module}_connections" in ask(admin, "/metrics")[1]
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, int(ports[f"POSTROOM_{door}_PORT"])), timeout=TIMEOUT_S)
    finally:
        replica.kill()
        replica.wait()


def wait_until_open(replica: subprocess.Popen[bytes], admin: int) -> None:
    while replica.poll() is None:
        with contextlib.suppress(ConnectionRefusedError):
            if ask(admin, "/openz") == (200, "open\n"):
                return
    raise AssertionError("the replica doesn't start")


def greeted(port: int) -> socket.socket:
    """A connection whose greeting has come."""
    client = socket.create_connection((HOST, port), timeout=TIMEOUT_S)
    assert client.recv(1000)
    return client
