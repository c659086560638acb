"""A relay that is killed with SIGKILL: nothing is lost, and only one window sends anything twice (RFC 1047).

Three messages are under way when it happens, each at another point: before DATA, in DATA, and after the remote's 250
but before the relay could report it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import smtplib
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mail_testkit.clients import HOST, Rest, User
from mail_testkit.running import RunningPostroom, run_postroom
from postroom_cli.demo.dns import dns_server, mail_domains
from postroom_cli.launcher.config import free_port

BEFORE, IN, AFTER = "before.test", "in.test", "after.test"
DOMAINS = (BEFORE, IN, AFTER)
WAIT_S = 90


class Remote:
    """A server for all of the domains that stops, the first time that it meets each, at its point."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: defaultdict[str, list[bytes]] = defaultdict(list)
        self.at = {domain: threading.Event() for domain in DOMAINS}
        self.may_answer = threading.Event()
        self.answered = threading.Event()
        self._met: set[str] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 mx\r\n")
            domain, stops = "", False
            while line := await reader.readline():
                verb = line[:4].upper()
                if verb == b"RCPT":
                    domain = line.decode().partition("@")[2].partition(">")[0]
                    stops = domain in self.at and domain not in self._met
                    self._met.add(domain)
                    if stops and domain == BEFORE:
                        await self._stop(domain, reader)
                        return
                if verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    await self._take(domain, stops, reader, writer)
                elif verb == b"EHLO":
                    writer.write(b"250 mx\r\n")
                else:
                    writer.write(b"250 ok\r\n")
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _take(self, domain: str, stops: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stops and domain == IN:
            await reader.readline()
            await self._stop(domain, reader)
            return
        message = await reader.readuntil(b"\r\n.\r\n")
        if stops and domain == AFTER:
            self.at[domain].set()
            await asyncio.to_thread(self.may_answer.wait, WAIT_S)
        self.taken[domain].append(message)
        writer.write(b"250 2.0.0 kept\r\n")
        await writer.drain()
        if domain == AFTER:
            self.answered.set()

    async def _stop(self, domain: str, reader: asyncio.StreamReader) -> None:
        """Say nothing any more, until the client has gone."""
        self.at[domain].set()
        await reader.read()


@contextmanager
def running(remote: Remote) -> Iterator[None]:
    up = threading.Event()
    stop: list[Callable[[], object]] = []

    async def run() -> None:
        loop, down = asyncio.get_running_loop(), asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(down.set))
        server = await asyncio.start_server(remote.serve, HOST, remote.port)
        up.set()
        await down.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert up.wait(WAIT_S)
    try:
        yield
    finally:
        stop[0]()
        thread.join(WAIT_S)


def submit(postroom: RunningPostroom, user: User, recipients: list[str]) -> None:
    with smtplib.SMTP(HOST, postroom.ports["submission"], timeout=WAIT_S) as client:
        client.login(user.address, user.password)
        for recipient in recipients:
            message = f"Message-ID: <{recipient}>\r\nSubject: x\r\n\r\nwords\r\n"
            assert client.sendmail(user.address, [recipient], message) == {}


def delivered(postroom: RunningPostroom, recipients: list[str]) -> dict[str, Any]:
    """Deliveries with their history by recipient, once all of them are delivered."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        items = {item["recipient"]: item for item in Rest(postroom).items("/v1/queue")}
        if all(items[recipient]["state"] == "delivered" for recipient in recipients):
            return {r: Rest(postroom).get(f"/v1/queue/{items[r]['id']}") for r in recipients}
        time.sleep(0.1)
    raise AssertionError(Rest(postroom).get("/v1/queue"))


def unrecorded_ms(postroom: RunningPostroom) -> tuple[float, int]:
    """Mean time between a remote's 250 and the commit of what became of it, and of how many."""
    with urllib.request.urlopen(f"{postroom.admin_url('smtp-out')}/metrics", timeout=WAIT_S) as answer:
        text = answer.read().decode()
    total = re.search(r"^postroom_relay_unrecorded_seconds_sum (\S+)", text, re.MULTILINE)
    count = re.search(r"^postroom_relay_unrecorded_seconds_count (\S+)", text, re.MULTILINE)
    assert total
    assert count
    return 1000 * float(total[1]) / float(count[1]), int(float(count[1]))


@pytest.mark.timeout(300)
def test_a_relay_that_is_killed(open_directory: Path) -> None:
    remote = Remote()
    with running(remote), dns_server(mail_domains(DOMAINS)) as (dns, _):
        settings = {
            "POSTROOM_DNS_SERVER": dns,
            "POSTROOM_RELAY_PORT": str(remote.port),
            "POSTROOM_RELAY_LEASE_S": "10",
        }
        with run_postroom(open_directory / "data", **settings) as postroom:
            user = Rest(postroom).make_user()
            recipients = [f"bob@{domain}" for domain in DOMAINS]
            submit(postroom, user, recipients)
            for domain in DOMAINS:
                assert remote.at[domain].wait(WAIT_S), domain
            # Stopped, it can't report what it is told now; killed, it never will.
            os.kill(postroom.pid("smtp-out"), signal.SIGSTOP)
            remote.may_answer.set()
            assert remote.answered.wait(WAIT_S)
            postroom.kill("smtp-out")
            shown = delivered(postroom, recipients)
            postroom.wait_ready("smtp-out")
            further = [f"user{n}@{AFTER}" for n in range(50)]
            submit(postroom, user, further)
            delivered(postroom, further)
            mean_ms, count = unrecorded_ms(postroom)
    assert len(remote.taken[BEFORE]) == len(remote.taken[IN]) == 1, "tried again, sent once"
    of_bob = [taken for taken in remote.taken[AFTER] if b"Message-ID: <bob@" in taken]
    assert len(of_bob) == 2, "the window: once more, by the same Message-ID"
    assert len(remote.taken[AFTER]) == 2 + len(further)
    for delivery in shown.values():
        assert delivery["attempts"] >= 2
        assert [attempt["result"] for attempt in delivery["history"]] == ["delivered"]
    assert count >= len(further)
    print(f"from the remote's 250 to the commit of its report: {mean_ms:.1f} ms, mean of {count}")
    assert mean_ms < 5000
