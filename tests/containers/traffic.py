"""Mail that flows while containers are stopped, killed and replaced: who sends, who idles, and what was lost."""

from __future__ import annotations

import contextlib
import imaplib
import random
import smtplib
import ssl
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Final
from uuid import uuid4

from imapclient import IMAPClient
from tests.containers.check import CALL_TIMEOUT_S, PASSWORD, CheckFailed, Stack

DOMAIN: Final = "check.test"
REMOTE: Final = "sink.test"
# What each sender waits between two messages: this machine has other work, too.
PAUSE_S: Final = 1.0
IDLE_CHECK_S: Final = 1.0
SETTLE_S: Final = 180.0
# How the senders come in; the last two have logged in, and write to the outside as well.
DOORS: Final = ("SMTP", "SUBMISSION", "SUBMISSIONS")

MESSAGE: Final = """From: <{sender}>\r
To: <{recipient}>\r
Subject: {name}\r
Date: Tue, 01 Sep 2026 10:00:00 +0000\r
Message-ID: <{name}>\r
MIME-Version: 1.0\r
Content-Type: text/plain\r
\r
{filling}\r
.\r
"""


def account(number: int) -> str:
    return f"user{number}@{DOMAIN}"


class Clients:
    """How this check's clients connect: every connection encrypted, with the certificate checked."""

    def __init__(self, stack: Stack, certificate: Path) -> None:
        self._stack, self._certificate = stack, certificate

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._certificate))

    def smtp(self, door: str, user: str = "") -> smtplib.SMTP:
        """`door` names the port; with `user` logged in. Raises OSError, SMTPException."""
        port = self._stack.ports[door]
        client: smtplib.SMTP
        if door == "SUBMISSIONS":
            client = smtplib.SMTP_SSL("localhost", port, timeout=CALL_TIMEOUT_S, context=self.tls)
        else:
            client = smtplib.SMTP("localhost", port, timeout=CALL_TIMEOUT_S)
            try:
                client.starttls(context=self.tls)
            except BaseException:
                client.close()
                raise
        if user:
            client.login(user, PASSWORD)
        return client

    def imap(self, user: str) -> IMAPClient:
        """Logged in, in INBOX. Raises OSError, IMAPClientError."""
        client = IMAPClient(
            "localhost", self._stack.ports["IMAPS"], ssl=True, ssl_context=self.tls, timeout=CALL_TIMEOUT_S
        )
        try:
            client.login(user, PASSWORD)
            client.select_folder("INBOX", readonly=True)
        except BaseException:
            with contextlib.suppress(OSError):
                client.shutdown()
            raise
        return client


class Sender(threading.Thread):
    """Sends one message after the other, each until it is taken, as a mail server does."""

    def __init__(self, clients: Clients, number: int, users: int, over: threading.Event) -> None:
        super().__init__(name=f"sender-{number}", daemon=True)
        self._clients, self._number, self._users, self._over = clients, number, users, over
        # Names of the step before must not stand in for messages of this one.
        self._run = uuid4().hex[:8]
        self.taken: dict[str, list[str]] = {}
        self.taken_at: list[float] = []
        self.refused: Counter[str] = Counter()
        self.fault = ""

    def run(self) -> None:
        count = 0
        while not self._over.is_set() and not self.fault:
            name = f"{self._run}.{self._number}.{count}@{DOMAIN}"
            door = DOORS[count % len(DOORS)]
            recipients = [account(random.randrange(self._users))]
            if door != "SMTP":
                recipients.append(f"r{self._number}@{REMOTE}")
            count += 1
            while not self._send(door, name, recipients):
                if self.fault or self._over.wait(PAUSE_S / 2):
                    return
            self._over.wait(random.uniform(PAUSE_S / 2, PAUSE_S * 1.5))

    def _send(self, door: str, name: str, recipients: list[str]) -> bool:
        user = account(self._number % self._users) if door != "SMTP" else ""
        sender = user or "sender@elsewhere.test"
        message = MESSAGE.format(sender=sender, recipient=recipients[0], name=name, filling="x" * 60)
        try:
            with self._clients.smtp(door, user) as client:
                refused = client.sendmail(sender, recipients, message)
        except (OSError, smtplib.SMTPException) as error:
            return self._refused(error)
        if refused:
            return self._refused(smtplib.SMTPRecipientsRefused(refused))
        self.taken[name] = recipients
        self.taken_at.append(time.monotonic())
        return True

    def _refused(self, error: Exception) -> bool:
        codes = [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in error.recipients.values()]
        # A login may be refused for good only with a wrong password; 454 says that it can't be checked.
        if any(code >= 500 for code in codes):
            self.fault = repr(error)
        self.refused["/".join(map(str, codes)) or type(error).__name__] += 1
        return False


class Idler(threading.Thread):
    """A client in IDLE, which comes back when it is told to go."""

    def __init__(self, clients: Clients, number: int, over: threading.Event) -> None:
        super().__init__(name=f"idler-{number}", daemon=True)
        self._clients, self.user, self._over = clients, account(number), over
        self.exists = 0
        self.connections = 0
        self.failed: Counter[str] = Counter()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self._idle()
            except (OSError, imaplib.IMAP4.error) as error:
                self.failed[type(error).__name__] += 1
                self._over.wait(random.uniform(0.2, 1.0))

    def _idle(self) -> None:
        client = self._clients.imap(self.user)
        self.connections += 1
        try:
            self.exists = int(client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"])
            client.idle()
            while not self._over.is_set():
                asked = time.monotonic()
                responses = client.idle_check(timeout=IDLE_CHECK_S)
                for response in responses:
                    if response[1:] == (b"EXISTS",):
                        self.exists = int(response[0])
                if not responses and time.monotonic() - asked < IDLE_CHECK_S / 2:
                    # How imapclient says that the connection has ended.
                    raise ConnectionError("closed by the server")
            client.idle_done()
            client.logout()
        finally:
            with contextlib.suppress(OSError):
                client.shutdown()


class Traffic:
    """Use as `with Traffic(…) as traffic`: it flows while the block runs. `lost` may be asked afterwards."""

    def __init__(self, clients: Clients, sink: Path, senders: int = 20, idlers: int = 20) -> None:
        self._clients, self._sink, self._over = clients, sink, threading.Event()
        self.senders = [Sender(clients, number, idlers, self._over) for number in range(senders)]
        self.idlers = [Idler(clients, number, self._over) for number in range(idlers)]

    def __enter__(self) -> Traffic:
        for thread in (*self.idlers, *self.senders):
            thread.start()
        self.wait("20 clients idle", lambda: all(idler.connections for idler in self.idlers))
        self.wait_flowing()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in (*self.idlers, *self.senders):
            thread.join(CALL_TIMEOUT_S * 4)

    @staticmethod
    def wait(what: str, done: object, timeout_s: float = SETTLE_S) -> None:
        """Raises CheckFailed: it wasn't so in time."""
        assert callable(done)
        limit = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > limit:
                raise CheckFailed(f"not within {timeout_s:.0f} s: {what}")
            time.sleep(0.2)

    def taken(self) -> int:
        return sum(len(sender.taken) for sender in self.senders)

    def faults(self) -> list[str]:
        return [sender.fault for sender in self.senders if sender.fault]

    def wait_flowing(self) -> float:
        """Until each sender gets a message through; seconds that the first of them took."""
        start, before = time.monotonic(), [len(sender.taken) for sender in self.senders]
        first: list[float] = []

        def all_did() -> bool:
            more = [len(sender.taken) > known for sender, known in zip(self.senders, before, strict=True)]
            if any(more) and not first:
                first.append(time.monotonic() - start)
            return all(more) or bool(self.faults())

        self.wait("each of the senders gets a message through", all_did)
        if self.faults():
            raise CheckFailed(f"refused for good: {self.faults()}")
        return first[0] if first else 0.0

    def longest_gap_s(self) -> float:
        """Between two messages that anyone got through."""
        times = sorted(at for sender in self.senders for at in sender.taken_at)
        return max((b - a for a, b in pairwise(times)), default=0.0)

    def check_idlers(self) -> None:
        """Each of them is told of a message that comes now."""
        before = {idler: idler.exists for idler in self.idlers}
        for idler in self.idlers:
            with self._clients.smtp("SMTP") as client:
                name = f"last.{time.monotonic()}@{DOMAIN}"
                message = MESSAGE.format(sender="a@b.test", recipient=idler.user, name=name, filling="")
                client.sendmail("sender@elsewhere.test", [idler.user], message)
        self.wait("who idles is told of new mail", lambda: all(i.exists > n for i, n in before.items()))

    def check_nothing_is_lost(self) -> str:
        """All that was taken is in its mailbox, or at the server elsewhere. Raises CheckFailed; says how much."""
        if self.faults():
            raise CheckFailed(f"refused for good: {self.faults()}")
        wanted = {(name, rcpt) for sender in self.senders for name, rcpts in sender.taken.items() for rcpt in rcpts}
        here = {pair for pair in wanted if pair[1].endswith(f"@{DOMAIN}")}
        found = self._found_here()
        if missing := here - found.keys():
            raise CheckFailed(f"of {len(here)} messages that were taken, lost: {sorted(missing)[:20]}")
        elsewhere = wanted - here
        self.wait("what goes elsewhere has arrived", lambda: elsewhere <= self._found_elsewhere().keys())
        arrived = self._found_elsewhere()
        twice = sum(n - 1 for n in found.values()) + sum(arrived[pair] - 1 for pair in elsewhere)
        refused: Counter[str] = sum((sender.refused for sender in self.senders), Counter())
        lines = (
            f"{len(here)} messages here, {len(elsewhere)} elsewhere: none lost, {twice} came twice",
            f"told to come again: {dict(refused)}",
            f"longest time in which nobody got a message through: {self.longest_gap_s():.1f} s",
            f"connections of {len(self.idlers)} idle clients: {sum(idler.connections for idler in self.idlers)}",
        )
        return "; ".join(lines)

    def _found_here(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for idler in self.idlers:
            client = self._clients.imap(idler.user)
            try:
                for envelope in client.fetch(client.search(), ["ENVELOPE"]).values():
                    name = (envelope[b"ENVELOPE"].message_id or b"").decode().strip("<>")
                    found[name, idler.user] += 1
            finally:
                client.logout()
        return found

    def _found_elsewhere(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for line in (self._sink / "received").read_text().splitlines():
            name, _, recipient = line.partition(" ")
            found[name, recipient] += 1
        return found
