"""Mail that travels by the table of routes, to real listeners: smarthosts, LMTP, routes by domain, pools."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from mail_runtime.contracts.store import Outcome, RelayJob
from mail_testkit.remotes import Authority, FakeJob, FakeStore, Inbox, Zone, serving
from smtp_out.attempt import Sender
from smtp_out.destinations import Destinations
from smtp_out.names import Names
from smtp_out.plans import Planner
from smtp_out.routes import Routes
from smtp_out.sharing import Sharing
from smtp_out.table import read_table
from smtp_out.tls_policies import TlsPolicies
from smtp_out.tls_reports import TlsReports
from smtp_out.worker import Worker

ZONE = """
smart.test.        60 IN A 127.0.0.1
archive.test.      60 IN A 127.0.0.1
there.test.        60 IN MX 10 mx.there.test.
mx.there.test.     60 IN A 127.0.0.1
six.test.          60 IN MX 10 mx.six.test.
mx.six.test.       60 IN AAAA ::1
"""


class Listener(Inbox):
    """An inbox that knows who came: (address, name in EHLO, user)."""

    def __init__(self) -> None:
        super().__init__()
        self.visitors: list[tuple[str, str, str]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        login = session.auth_data.login.decode() if session.auth_data else ""
        self.visitors.append((session.peer[0], str(session.host_name), login))
        return await super().handle_DATA(server, session, envelope)


@dataclass
class World:
    """DNS, an authority, and what listens; mail leaves by the table that `send` is given."""

    folder: Path
    authority: Authority
    dns: str
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def listen(self, inbox: Inbox, context: ssl.SSLContext | None = None, **options: Any) -> int:
        """The port of a server with STARTTLS by `context`, or TLS from the start: `implicit`."""
        loop = asyncio.get_running_loop()
        implicit = options.pop("implicit", False)
        server = await loop.create_server(
            lambda: SMTP(
                inbox, loop=loop, hostname="listener.test", tls_context=None if implicit else context, **options
            ),
            "127.0.0.1",
            0,
            ssl=context if implicit else None,
        )
        await self.stack.enter_async_context(server)
        return int(server.sockets[0].getsockname()[1])

    async def send(self, table: str, *recipients: str, sender: str = "alice@here.test", port: int = 1) -> list[Outcome]:
        """From the file of routes to the outcomes. `port`: where MX hosts listen."""
        path = self.folder / "relay.toml"
        path.write_text(table)
        routes, logins = read_table(str(path))
        names = Names(self.dns)
        planner = Planner(Routes(names, "here.test"), routes, logins, "here.test", port, str(self.authority.file))
        store = FakeStore(*recipients, reverse_path=sender)
        job = RelayJob(
            transmission_id=store.claimed.transmission_id,
            domain=recipients[0].rpartition("@")[2],
            delivery_ids=[delivery.id for delivery in store.claimed.deliveries],
            sender_domain=sender.rpartition("@")[2],
        )
        async with Destinations(Sharing(None)) as destinations:
            worker = Worker(
                store, planner, destinations, Sender(planner, TlsPolicies(names, None), TlsReports(None)), 120
            )
            await worker.handle(FakeJob(store, msgspec.msgpack.encode(job)))
        return store.outcomes


@pytest.fixture
def dns() -> Iterator[str]:
    with serving(Zone(ZONE)) as address:
        yield address


@pytest.fixture
async def world(tmp_path: Path, dns: str) -> AsyncIterator[World]:
    made = World(tmp_path, Authority(tmp_path), dns)
    async with made.stack:
        yield made


# --- smarthosts


def authenticated(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and data == LoginPassword(b"postroom", b"s3cret")
    return AuthResult(success=is_right, handled=is_right, auth_data=data)


def smarthost(world: World, port: int, password: str = "s3cret", **more: str) -> str:
    (world.folder / "password").write_text(f"{password}\n")
    lines = {"tls": '"verify"', **more}
    return f"""
[[routes]]
host = "smart.test"
port = {port}
user = "postroom"
password_file = "{world.folder / "password"}"
""" + "".join(f"{name} = {value}\n" for name, value in lines.items())


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_smarthost_with_login_and_tls(world: World, implicit: bool) -> None:
    """All mail goes there, whatever its domain's MX; the certificate is verified before the password is sent."""
    inbox = Listener()
    # aiosmtpd doesn't notice that TLS was there from the start.
    options = {"authenticator": authenticated, "auth_required": not implicit, "auth_require_tls": not implicit}
    port = await world.listen(inbox, world.authority.server("smart.test"), implicit=implicit, **options)
    table = smarthost(world, port, implicit_tls=str(implicit).lower())
    (outcome,) = await world.send(table, "bob@nowhere.test")
    assert (outcome.result, outcome.remote, outcome.tls.endswith("(configured)")) == ("delivered", "smart.test", True)
    assert inbox.visitors == [("127.0.0.1", "here.test", "postroom")]


@pytest.mark.parametrize(
    ("password", "name", "status"), [("wrong", "smart.test", "4.7.8"), ("s3cret", "other.test", "4.7.5")]
)
async def test_a_smarthost_that_wont_do_gets_neither_mail_nor_bounce(
    world: World, password: str, name: str, status: str
) -> None:
    inbox = Listener()
    port = await world.listen(inbox, world.authority.server(name), authenticator=authenticated, auth_required=True)
    (outcome,) = await world.send(smarthost(world, port, password), "bob@nowhere.test")
    assert (outcome.result, outcome.status, inbox.got) == ("deferred", status, [])


async def test_no_password_without_tls(world: World) -> None:
    inbox = Listener()
    port = await world.listen(inbox, authenticator=authenticated, auth_require_tls=False)
    (outcome,) = await world.send(smarthost(world, port), "bob@nowhere.test")
    assert (outcome.result, outcome.status, inbox.got) == ("deferred", "4.7.0", [])


# --- LMTP


@asynccontextmanager
async def lmtp(answers: dict[str, bytes], said: list[str]) -> AsyncIterator[int]:
    """An LMTP server: after the message an answer for each recipient that it took (RFC 2033 §4.2)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 archive LMTP\r\n")
        taken: list[str] = []
        while line := await reader.readline():
            said.append(line.decode().strip())
            verb = line[:4].upper()
            if verb == b"RCPT":
                taken.append(line.decode().partition("<")[2].partition(">")[0])
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"".join(answers[recipient] for recipient in taken))
                taken = []
            elif verb == b"LHLO":
                writer.write(b"250-archive\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            else:
                writer.write(b"250 2.0.0 fine\r\n")
            if verb == b"QUIT":
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_lmtp_answers_for_each_recipient(world: World) -> None:
    said: list[str] = []
    answers = {
        "a@kept.test": b"250 2.1.5 kept\r\n",
        "b@kept.test": b"452 4.2.2 full\r\n",
        "c@kept.test": b"550 5.1.1 who\r\n",
    }
    async with lmtp(answers, said) as port:
        table = f"""
[[routes]]
recipient_domains = ["kept.test"]
host = "archive.test"
port = {port}
protocol = "lmtp"
tls = "never"
"""
        outcomes = await world.send(table, *answers)
    assert [(outcome.result, outcome.status) for outcome in outcomes] == [
        ("delivered", "2.1.5"),
        ("deferred", "4.2.2"),
        ("failed", "5.1.1"),
    ]
    assert said[0] == "LHLO here.test"


# --- by domain


async def test_routes_by_sender_and_by_recipient(world: World) -> None:
    """The first that fits, by both domains; what fits none goes to its MX."""
    inboxes = {name: Listener() for name in ("bank", "shop", "mx")}
    ports = {name: await world.listen(inbox) for name, inbox in inboxes.items()}
    table = f"""
[[routes]]
recipient_domains = ["bank.test", ".bank.test"]
host = "smart.test"
port = {ports["bank"]}
[[routes]]
sender_domains = ["shop.test"]
host = "smart.test"
port = {ports["shop"]}
"""
    for recipient, sender in [
        ("a@bank.test", "x@shop.test"),
        ("b@sub.bank.test", "x@here.test"),
        ("c@there.test", "x@shop.test"),
        ("d@there.test", "x@here.test"),
    ]:
        (outcome,) = await world.send(table, recipient, sender=sender, port=ports["mx"])
        assert outcome.result == "delivered", outcome
    got = {name: [recipients for recipients, _, _ in inbox.got] for name, inbox in inboxes.items()}
    assert got == {"bank": [["a@bank.test"], ["b@sub.bank.test"]], "shop": [["c@there.test"]], "mx": [["d@there.test"]]}


# --- pools


async def test_a_pool_has_addresses_and_a_name(world: World) -> None:
    inbox = Listener()
    port = await world.listen(inbox)
    table = """
[pools.bulk]
addresses = ["127.0.0.9"]
hostname = "bulk.here.test"
[[routes]]
sender_domains = ["shop.test"]
pool = "bulk"
"""
    for sender in ("x@shop.test", "x@here.test"):
        (outcome,) = await world.send(table, "bob@there.test", sender=sender, port=port)
        assert outcome.result == "delivered"
    assert [visitor[:2] for visitor in inbox.visitors] == [
        ("127.0.0.9", "bulk.here.test"),
        ("127.0.0.1", "here.test"),
    ]
    (outcome,) = await world.send(table, "bob@six.test", sender="x@shop.test", port=port)
    assert (outcome.result, outcome.status) == ("deferred", "4.4.4"), "the pool has no address of IPv6"
