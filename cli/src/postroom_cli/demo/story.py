"""The story: Alice writes to Bill, whose mail is kept by another Postroom; Bill answers while Alice waits."""

from __future__ import annotations

import asyncio
import imaplib
import poplib
import re
import shutil
import smtplib
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from email import message_from_bytes
from email.headerregistry import Address
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console

from postroom_cli.demo import clients, letters
from postroom_cli.demo.dns import dns_server, mail_domains
from postroom_cli.launcher.config import PORTS, LaunchError, free_port, read_config
from postroom_cli.launcher.postroom import Running, running

T = TypeVar("T")

ALICE: Final = Address("Alice", "alice", "example.test")
BILL: Final = Address("Bill", "bill", "remote.test")
_CLIENT_ERRORS: Final = (OSError, smtplib.SMTPException, poplib.error_proto, imaplib.IMAP4.error)
_TRACE: Final = re.compile(rb"(?:(?:Return-Path|Received|X-Postroom-Trace):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*")


async def tell_story(console: Console) -> None:
    """Run it all; leaves nothing running, and no file. Raises LaunchError: something differs or doesn't arrive."""
    with _temporary_directory() as directory, dns_server(mail_domains([ALICE.domain, BILL.domain])) as (dns, answers):
        async with AsyncExitStack() as stack:
            try:
                await _Story(console, answers).run(*await _start(console, stack, directory, dns))
            except _CLIENT_ERRORS as error:
                raise LaunchError(f"a mail client failed: {error!r}") from error
    console.print("\nEvery octet arrived. Both Postrooms are stopped.", style="bold green")


@contextmanager
def _temporary_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="postroom-demo-"))
    directory.chmod(0o755)  # Postgres enters it as another user when root runs the demo
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _start(console: Console, stack: AsyncExitStack, directory: Path, dns: str) -> tuple[Running, Running]:
    """Both systems; each finds the other by MX, at the port that the other listens on."""
    ports = [{name: str(free_port()) for name in PORTS} for _ in range(2)]
    systems: list[Running] = []
    with console.status("starting two complete Postrooms"):
        started = time.monotonic()
        for own, other, address in ((0, 1, ALICE), (1, 0, BILL)):
            environ = {
                "PATH": "/usr/bin:/bin",
                "POSTROOM_DATA": str(directory / address.domain),
                "POSTROOM_HOSTNAME": f"mail.{address.domain}",
                "POSTROOM_DNS_SERVER": dns,
                "POSTROOM_RELAY_PORT": ports[other]["POSTROOM_SMTP_PORT"],
                **ports[own],
            }
            config = replace(read_config(environ), domain=address.domain, users=(address.username,))
            systems.append(await stack.enter_async_context(running(config, _ignore)))
    console.print(f"Two Postrooms run, {ALICE.domain} and {BILL.domain} ({time.monotonic() - started:.1f} s).")
    return systems[0], systems[1]


def _ignore(text: str) -> None:
    """What the supervisors report is in the logs; the story ends with an error by itself."""


class _Story:
    """Tells each hop, what was said and how long it took."""

    def __init__(self, console: Console, dns_answers: list[str]) -> None:
        self._console, self._dns_answers = console, dns_answers

    def _tell(self, line: str) -> None:
        style = "cyan" if line.startswith("C:") else "dim" if line.startswith("S:") else ""
        self._console.print("     " + line, style=style, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def _hop(self, title: str) -> Iterator[None]:
        self._console.print(f"\n{title}", style="bold", highlight=False, soft_wrap=True)
        started = time.monotonic()
        yield
        self._console.print(f"     {(time.monotonic() - started) * 1000:.0f} ms", style="green", highlight=False)

    async def run(self, home: Running, away: Running) -> None:
        alice = (ALICE.addr_spec, home.config.dev_password)
        bill = (BILL.addr_spec, away.config.dev_password)
        letter = letters.letter(ALICE, BILL)
        at_home, at_away = _Ports(home), _Ports(away)
        with self._hop("1. Alice submits a message to her server: SMTP with STARTTLS and AUTH"):
            await _call(clients.submit, at_home["SUBMISSION"], at_home.tls, alice, bill[0], letter, self._tell)
        with self._hop("2. Her Postroom asks DNS for Bill's server, relays over SMTP; Bill downloads with POP3"):
            received = await _call(clients.download, at_away["POP3"], at_away.tls, bill, self._tell)
            self._tell_route(ALICE.domain, received)
        self._compare("what Bill got", letter, received)

        reader = await _call(clients.Reader, at_home["IMAP"], at_home.tls, alice, self._tell)
        try:
            with self._hop("3. Alice opens her INBOX over IMAP and waits in IDLE"):
                await _call(reader.idle)
            reply = letters.answer(BILL, ALICE, str(message_from_bytes(received)["Message-ID"]))
            with self._hop("4. Bill answers: his server relays, Alice's server pushes"):
                waiting = asyncio.create_task(_call(reader.wait))
                await _call(clients.submit, at_away["SUBMISSION"], at_away.tls, bill, alice[0], reply, self._tell)
                pushed = await waiting
                self._tell_route(BILL.domain, pushed)
            self._compare("what Alice got", reply, pushed)
        finally:
            await _call(reader.close)

    def _tell_route(self, source: str, received: bytes) -> None:
        """What DNS said, and the hops that the message carries."""
        for answer in dict.fromkeys(self._dns_answers):
            if source not in answer:
                self._tell(f"DNS: {answer}")
        for hop in message_from_bytes(received).get_all("Received", []):
            self._tell("Received: " + " ".join(str(hop).split())[:110])

    def _compare(self, what: str, sent: bytes, received: bytes) -> None:
        header = _TRACE.match(received)
        assert header is not None, "matches the empty string too"
        if received[header.end() :] != sent:
            raise LaunchError(f"{what} isn't what was sent: {len(sent)} octets sent, {len(received)} received")
        self._console.print(
            f"     {what} is what was sent: {len(sent)} octets, behind {header.end()} octets of trace header",
            style="green",
            highlight=False,
        )


class _Ports:
    """Ports of a system by protocol, and the TLS context that trusts its certificate."""

    def __init__(self, system: Running) -> None:
        self._ports = system.config.ports
        self.tls = ssl.create_default_context(cafile=str(system.plan.certificate))

    def __getitem__(self, protocol: str) -> int:
        return self._ports[f"POSTROOM_{protocol}_PORT"]


async def _call(function: Callable[..., T], *arguments: object) -> T:
    """Run a blocking client beside the systems' event loop."""
    return await asyncio.to_thread(function, *arguments)
