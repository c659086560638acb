"""SMTP in, Postroom beside Debian's Postfix and Dovecot where they are installed: prints figures, tests nothing.

Twenty senders, each with an account of its own to write to, send corpus messages over connections that they keep
(*kept*), or with a connection per message (*each*). *accepted* counts replies to the end of data; *visible* ends when
IMAP shows the last message; latency is from MAIL, or from connecting, to the 250. Postroom is measured without sender
checks, as its peer has none, and with them: SPF, a DKIM signature to verify and DMARC, by a name server on this
machine (*sender checks*). The peer is Postfix as packaged, which hands over to Dovecot by LMTP (Maildir). No TLS
anywhere; the load generator is included. Postroom's indexer is waited for between the measurements; what it costs is
told apart.

Figures of one run can be compared with each other, and with nothing else; where other programs keep the machine busy,
compare CPU: a server of many processes gets a larger share of it than one of few.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import imaplib
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final, get_args

import dkim  # type: ignore[import-untyped]
import psutil
from bench import dovecot
from bench.indexing import indexed
from bench.processes import cpu_s
from bench.senders import SENDER, Load, Way, send_all, wired
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from rich.console import Console
from rich.table import Table

from mail_proto.dkim import key_record, record_name
from mail_proto.smtp.content import has_bare_line_ends
from mail_testkit import messages, postfix
from mail_testkit.clients import HOST, Rest, User
from mail_testkit.running import DOMAIN, RunningPostroom, run_postroom, temporary_directory
from postroom_cli.demo.dns import dns_server

SENDERS: Final = 20
VISIBLE_TIMEOUT_S: Final = 300.0
# Where connections come from, by which Postroom knows whether to check their senders.
TRUSTED, STRANGER = "127.0.0.2", "127.0.0.3"
SELECTOR: Final = "bench"
SENDER_DOMAIN: Final = SENDER.partition("@")[2]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement. `later_cpu_ms`: what the indexer took for each message after all were visible."""

    server: str
    way: str
    messages: int
    octets: int
    accepted_per_s: float
    visible_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: dict[str, float]
    later_cpu_ms: float


@dataclass(frozen=True, slots=True)
class Server:
    """One of those compared. `settle` returns when nothing is left to do; `roots` are its processes by name."""

    name: str
    port: int
    imap_port: int
    source: str
    roots: dict[str, psutil.Process]
    settle: Callable[[], None]


def measure(server: Server, users: Sequence[User], letters: Sequence[bytes], number: int, way: Way) -> Measured:
    """Send `number` messages to each user."""
    loads = [
        Load([(user.address, letters[(n * 7 + u) % len(letters)]) for n in range(number)])
        for u, user in enumerate(users)
    ]
    with ExitStack() as stack:
        readers = [stack.enter_context(imaplib.IMAP4(HOST, server.imap_port)) for _ in users]
        expected = []
        for reader, user in zip(readers, users, strict=True):
            reader.login(user.address, user.password)
            expected.append(_messages(reader) + number)
        before, started = cpu_s(server.roots), time.perf_counter()
        sent = send_all(loads, server.port, server.source, way)
        _wait_until_visible(readers, expected)
        visible_s = time.perf_counter() - started
        used = cpu_s(server.roots) - before
    server.settle()
    later = (cpu_s(server.roots) - before - used).total()
    latencies, total = sorted(sent.latencies_s), len(sent.latencies_s)
    return Measured(
        server.name,
        way,
        total,
        sum(len(letter) for load in loads for _, letter in load.letters),
        round(total / sent.elapsed_s, 1),
        round(total / visible_s, 1),
        round(statistics.median(latencies) * 1000, 1),
        round(latencies[min(total - 1, total * 99 // 100)] * 1000, 1),
        {name: round(seconds / total * 1000, 3) for name, seconds in used.items()},
        round(later / total * 1000, 3),
    )


def _messages(reader: imaplib.IMAP4) -> int:
    return int(reader.select("INBOX", readonly=True)[1][0] or b"0")


def _wait_until_visible(readers: Sequence[imaplib.IMAP4], expected: Sequence[int]) -> None:
    until = time.monotonic() + VISIBLE_TIMEOUT_S
    for reader, number in zip(readers, expected, strict=True):
        while _messages(reader) < number:
            if time.monotonic() > until:
                raise SystemExit(f"after {VISIBLE_TIMEOUT_S} s a mailbox hasn't its {number} messages")
            time.sleep(0.01)


def signed(letters: Sequence[bytes]) -> tuple[list[bytes], str]:
    """The letters with a DKIM signature each, where they can have one, and the zone of who signs."""
    key = rsa.generate_private_key(65_537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = key_record("rsa-sha256", public)
    halves = " ".join(f'"{record[at : at + 200]}"' for at in range(0, len(record), 200))
    zone = f'{SENDER_DOMAIN}. 60 IN TXT "v=spf1 ip4:127.0.0.0/8 -all"\n'
    zone += f"{record_name(SENDER_DOMAIN, SELECTOR)}. 60 IN TXT {halves}\n"
    found = []
    for letter in letters:
        field = b""
        with contextlib.suppress(dkim.DKIMException):
            field = dkim.sign(letter, SELECTOR.encode(), SENDER_DOMAIN.encode(), private)
        found.append(field + letter)
    return found, zone


def postrooms(postroom: RunningPostroom) -> Iterator[Server]:
    """The same system, to a client that it trusts and to one whose mail it checks."""
    roots = {name: psutil.Process(postroom.pid(name)) for name in ("smtp-in", "store-api", "postgres", "nats", "imap")}
    for name, source in (("Postroom", TRUSTED), ("Postroom, sender checks", STRANGER)):
        yield Server(
            name,
            postroom.ports["smtp"],
            postroom.ports["imap"],
            source,
            roots,
            lambda: asyncio.run(indexed(postroom.database_url)),
        )


def peers(stack: ExitStack, users: Sequence[User]) -> Iterator[Server]:
    """Postfix and Dovecot, where both are installed and may be run."""
    if dovecot.program() is None or postfix.program() is None:
        return
    root = stack.enter_context(temporary_directory())
    addresses = [user.address for user in users]
    store = stack.enter_context(
        dovecot.running(
            root / "dovecot",
            addresses,
            users[0].password,
            "SHA512-CRYPT",
            protocol="imap",
            reuses_login=False,
            takes_mail=True,
        )
    )
    (root / "recipients").write_text("".join(f"{address} x\n" for address in addresses))
    settings = [
        f"virtual_mailbox_domains = {DOMAIN}",
        f"virtual_mailbox_maps = texthash:{root}/recipients",
        f"virtual_transport = lmtp:unix:{store.root}/lmtp",
    ]
    front = stack.enter_context(postfix.running(root / "postfix", settings))
    roots = {"postfix": psutil.Process(front.pid), "dovecot": psutil.Process(store.pid)}
    yield Server("Postfix, Dovecot", front.port, store.port, HOST, roots, lambda: None)


def tables(found: Sequence[Measured]) -> Iterator[Table]:
    """Medians of the rounds: how fast, and what each message cost in each process."""
    rates = Table(title=f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    costs = Table(title="CPU ms of a message until it is visible; later: the indexer")
    for shown, columns in ((rates, ("accepted/s", "visible/s", "p50 ms", "p99 ms")), (costs, ("in all", "later"))):
        for column in ("server", "connections"):
            shown.add_column(column)
        for column in columns:
            shown.add_column(column, justify="right")
    costs.add_column("by process")
    for server, way in dict.fromkeys((one.server, one.way) for one in found):
        rounds = [one for one in found if (one.server, one.way) == (server, way)]
        speeds = [(one.accepted_per_s, one.visible_per_s, one.p50_ms, one.p99_ms) for one in rounds]
        rates.add_row(server, way, *[f"{statistics.median(each):,.0f}" for each in zip(*speeds, strict=True)])
        by_process = {name: statistics.median(one.cpu_ms[name] for one in rounds) for name in rounds[0].cpu_ms}
        costs.add_row(
            server,
            way,
            f"{statistics.median(sum(one.cpu_ms.values()) for one in rounds):.2f}",
            f"{statistics.median(one.later_cpu_ms for one in rounds):.2f}",
            ", ".join(f"{name} {cost:.2f}" for name, cost in by_process.items()),
        )
    yield rates
    yield costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50, help="of each sender, in each measurement")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object for each measurement")
    arguments = parser.parse_args()
    # Postfix goes on when whoever started it is killed: let the blocks end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    octets = [sent for path in messages.paths() if not has_bare_line_ends(sent := messages.as_sent(path))]
    letters, zone = signed(octets)
    letters = [wired(letter) for letter in letters]
    found: list[Measured] = []
    with ExitStack() as stack:
        dns, _ = stack.enter_context(dns_server(zone))
        settings = {
            "POSTROOM_LOG_LEVEL": "warning",
            "POSTROOM_DNS_SERVER": dns,
            "POSTROOM_TRUSTED_NETWORKS": f"{TRUSTED}/32",
            "POSTROOM_SMTP_CLIENT_MESSAGES_PER_MINUTE": "0",
        }
        data = stack.enter_context(temporary_directory()) / "data"
        postroom = stack.enter_context(run_postroom(data, **settings))
        rest = Rest(postroom)
        users = [rest.make_user() for _ in range(SENDERS)]
        compared = [*postrooms(postroom), *peers(stack, users)]
        for server in compared:
            measure(server, users, letters, 2, "kept")  # what is made once is made; look-ups are cached
        for _ in range(arguments.rounds):
            for way in get_args(Way):
                for server in compared:
                    found.append(measure(server, users, letters, arguments.messages, way))
                    if arguments.json:
                        print(json.dumps(asdict(found[-1])), flush=True)
    if not arguments.json:
        Console().print(*tables(found))
        if not any("Postfix" in server.name for server in compared):
            print("Postfix and Dovecot aren't compared: apt install postfix dovecot-lmtpd dovecot-imapd, run as root")


if __name__ == "__main__":
    main()
