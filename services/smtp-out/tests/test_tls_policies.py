"""TLS as policies demand it: certificates, DANE (RFC 7672), MTA-STS (RFC 8461), and what is counted (RFC 8460)."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nats.js.api import StreamConfig

from mail_runtime.bus import Bus
from mail_runtime.contracts.events import EVENTS_STREAM, EVENTS_SUBJECTS, CloudEvent
from mail_runtime.contracts.store import Outcome
from mail_testkit.nats_server import Nats
from mail_testkit.remotes import Authority, FakeJob, FakeStore, Inbox, Zone, receiving, serving
from smtp_out.attempt import Sender
from smtp_out.destinations import Destinations
from smtp_out.names import Names
from smtp_out.plans import Planner
from smtp_out.routes import Routes
from smtp_out.sharing import Sharing
from smtp_out.sts_policies import StsPolicies
from smtp_out.table import Route, Table
from smtp_out.tls_policies import TlsPolicies
from smtp_out.tls_reports import TlsReports
from smtp_out.worker import Worker

ZONE = """
there.test.          60 IN MX 10 mx.test.
mx.test.             60 IN A 127.0.0.1
mta-sts.there.test.  60 IN A 127.0.0.1
"""


@dataclass
class World:
    """DNS, a certificate authority, and one message to bob@there.test at a time."""

    authority: Authority
    zone: Zone = field(default_factory=lambda: Zone(ZONE))
    dns: str = ""
    https_port: int = 443
    now: float = 1_000_000.0
    bus: Bus | None = None
    reports: TlsReports = field(default_factory=lambda: TlsReports(None))
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _sts: StsPolicies | None = None

    async def sts(self, names: Names, routes: Routes) -> StsPolicies:
        """The policies of this process."""
        if self._sts is None:
            policies = StsPolicies(
                names, routes, self.bus, str(self.authority.file), self.https_port, clock=lambda: self.now
            )
            self._sts = await self.stack.enter_async_context(policies)
        return self._sts

    def restarted(self) -> None:
        """As another process would begin."""
        self._sts = None

    async def send(self, port: int, table: Table | None = None) -> Outcome:
        names = Names(self.dns, validating=True, timeout_s=3, clock=lambda: self.now)
        routes = Routes(names, "here.test")
        planner = Planner(routes, table or Table(), {}, "here.test", port, str(self.authority.file))
        sender = Sender(planner, TlsPolicies(names, await self.sts(names, routes)), self.reports)
        store = FakeStore("bob@there.test")
        async with Destinations(Sharing(None)) as destinations:
            await Worker(store, planner, destinations, sender, 120).handle(FakeJob(store))
        (outcome,) = store.outcomes
        return outcome

    @property
    def counted(self) -> list[tuple[str, str]]:
        return sorted((session.policy, session.result) for session in self.reports._counted)


@pytest.fixture
def dns_zone() -> Iterator[tuple[Zone, str]]:
    zone = Zone(ZONE)
    with serving(zone) as address:
        yield zone, address


@pytest.fixture
async def world(tmp_path: Path, dns_zone: tuple[Zone, str]) -> AsyncIterator[World]:
    made = World(Authority(tmp_path), *dns_zone)
    async with made.stack:
        yield made


VERIFY = Table(routes=(Route(recipient_domains=("there.test",), tls="verify"),))


# --- certificates


@pytest.mark.parametrize(("name", "days"), [("mx.test", -1), ("other.test", 1)])
async def test_without_a_policy_any_certificate_is_better_than_none(world: World, name: str, days: int) -> None:
    inbox = Inbox()
    async with receiving(inbox, world.authority.server(name, days=days)) as port:
        outcome = await world.send(port)
    assert (outcome.result, len(inbox.got), inbox.got[0][2]) == ("delivered", 1, True)
    assert outcome.tls.startswith("TLSv1.3 TLS_")
    assert outcome.tls.endswith("(not verified)")
    assert world.counted == [("no-policy-found", "success")]


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [("mx.test", -1, "expired"), ("other.test", 1, "mismatch"), ("mx.test", 1, "")],
)
async def test_a_route_that_verifies(world: World, name: str, days: int, words: str) -> None:
    inbox = Inbox()
    async with receiving(inbox, world.authority.server(name, days=days)) as port:
        outcome = await world.send(port, VERIFY)
    if words:
        assert (outcome.result, outcome.status, inbox.got) == ("deferred", "4.7.5", [])
        assert words in outcome.reply
    else:
        assert (outcome.result, len(inbox.got)) == ("delivered", 1)
        assert outcome.tls.endswith("(configured)")


async def test_a_route_that_verifies_and_a_server_without_tls(world: World) -> None:
    inbox = Inbox()
    async with receiving(inbox) as port:
        outcome = await world.send(port, VERIFY)
    assert (outcome.result, outcome.status, inbox.got) == ("deferred", "4.7.0", [])
    assert world.counted == [("no-policy-found", "starttls-not-supported")]


async def test_a_route_that_never_encrypts(world: World) -> None:
    inbox = Inbox()
    async with receiving(inbox, world.authority.server("mx.test")) as port:
        outcome = await world.send(port, Table(routes=(Route(tls="never"),)))
    assert (outcome.result, outcome.tls, inbox.got[0][2]) == ("delivered", "", False)


# --- DANE


def record(world: World, usage: int) -> str:
    if usage == 3:
        key = world.authority.issued.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"3 1 1 {hashlib.sha256(spki).hexdigest()}"
    return f"2 0 1 {hashlib.sha256(world.authority.certificate.public_bytes(Encoding.DER)).hexdigest()}"


@pytest.mark.parametrize(
    ("usage", "name", "days", "delivered"),
    [
        (3, "mx.test", 1, True),
        (3, "other.test", -1, True),
        (2, "mx.test", 1, True),
        (2, "other.test", 1, False),
        (2, "mx.test", -1, False),
    ],
)
async def test_dane(world: World, usage: int, name: str, days: int, delivered: bool) -> None:
    inbox = Inbox()
    world.zone.authentic = True
    async with receiving(inbox, world.authority.server(name, days=days)) as port:
        world.zone.add(f"_{port}._tcp.mx.test. 60 IN TLSA {record(world, usage)}")
        outcome = await world.send(port)
    assert (outcome.result == "delivered", len(inbox.got)) == (delivered, int(delivered))
    assert world.counted == [("tlsa", "success" if delivered else "validation-failure")]
    if delivered:
        assert outcome.tls.endswith("(dane)")
    else:
        assert (outcome.result, outcome.status) == ("deferred", "4.7.5")


async def test_dane_with_another_key_never_falls_back(world: World) -> None:
    inbox = Inbox()
    world.zone.authentic = True
    async with receiving(inbox, world.authority.server("mx.test")) as port:
        world.zone.add(f"_{port}._tcp.mx.test. 60 IN TLSA 3 1 1 {'00' * 32}")
        outcome = await world.send(port)
    assert (outcome.result, outcome.status, inbox.got) == ("deferred", "4.7.5", [])


async def test_tlsa_records_that_nobody_signed_dont_count(world: World) -> None:
    inbox = Inbox()
    async with receiving(inbox, world.authority.server("mx.test")) as port:
        world.zone.add(f"_{port}._tcp.mx.test. 60 IN TLSA 3 1 1 {'00' * 32}")
        outcome = await world.send(port)
    assert (outcome.result, outcome.tls[-14:]) == ("delivered", "(not verified)")


async def test_tlsa_records_of_no_use_still_demand_tls(world: World) -> None:
    inbox = Inbox()
    world.zone.authentic = True
    async with receiving(inbox) as port:
        world.zone.add(f"_{port}._tcp.mx.test. 60 IN TLSA 1 1 1 {'00' * 32}")
        outcome = await world.send(port)
    assert (outcome.result, outcome.status, inbox.got) == ("deferred", "4.7.0", [])


async def test_a_host_whose_tlsa_records_cant_be_had_isnt_used(world: World) -> None:
    inbox = Inbox()
    world.zone.authentic = True
    world.zone.records = []
    world.zone.add("there.test. 60 IN MX 10 mx.test.\nmx.test. 60 IN A 127.0.0.1\n")
    async with receiving(inbox, world.authority.server("mx.test")) as port:
        world.zone.add(f"_{port}._tcp.mx.test. 60 IN CNAME x.broken.test.")
        outcome = await world.send(port)
    assert (outcome.result, outcome.status, inbox.got) == ("deferred", "4.4.3", [])


# --- MTA-STS


@asynccontextmanager
async def publishing(
    world: World, text: str, *, name: str = "mta-sts.there.test", kind: str = "text/plain"
) -> AsyncIterator[list[str]]:
    """A web server with that policy, and the record in DNS; the list has what was asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=text, content_type=kind)

    app = web.Application()
    app.router.add_get("/.well-known/mta-sts.txt", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    context: ssl.SSLContext = world.authority.server(name)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    world.https_port = runner.addresses[0][1]
    world.zone.add('_mta-sts.there.test. 60 IN TXT "v=STSv1; id=1;"')
    try:
        yield asked
    finally:
        await runner.cleanup()


def policy(mode: str, mx: str = "mx.test", max_age: int = 86400) -> str:
    return f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: {max_age}\n"


async def test_an_enforced_policy_and_a_good_host(world: World) -> None:
    inbox = Inbox()
    async with (
        publishing(world, policy("enforce")) as asked,
        receiving(inbox, world.authority.server("mx.test")) as port,
    ):
        outcomes = [await world.send(port) for _ in range(2)]
    assert [outcome.tls[-9:] for outcome in outcomes] == ["(mta-sts)"] * 2
    assert len(asked) == 1
    assert world.counted == [("sts", "success")]


@pytest.mark.parametrize("server", ["other name", "expired", "no TLS", "not allowed"])
async def test_an_enforced_policy_and_a_bad_host(world: World, server: str) -> None:
    inbox = Inbox()
    contexts = {
        "other name": world.authority.server("other.test"),
        "expired": world.authority.server("mx.test", days=-1),
        "no TLS": None,
        "not allowed": world.authority.server("mx.test"),
    }
    text = policy("enforce", "*.else.test" if server == "not allowed" else "mx.test")
    async with publishing(world, text), receiving(inbox, contexts[server]) as port:
        outcome = await world.send(port)
    assert (outcome.result, inbox.got) == ("deferred", [])
    assert outcome.status in {"4.7.0", "4.7.5"}


@pytest.mark.parametrize(
    ("mx", "name", "result"),
    [
        ("mx.test", "other.test", "certificate-host-mismatch"),
        ("else.test", "mx.test", "validation-failure"),
        ("mx.test", "mx.test", "success"),
    ],
)
async def test_a_policy_on_trial_is_counted_only(world: World, mx: str, name: str, result: str) -> None:
    inbox = Inbox()
    async with publishing(world, policy("testing", mx)), receiving(inbox, world.authority.server(name)) as port:
        outcome = await world.send(port)
    assert (outcome.result, inbox.got[0][2]) == ("delivered", True)
    assert ("sts", result) in world.counted


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("nonsense", "mta-sts.there.test", "text/plain"),
        (policy("enforce"), "other.test", "text/plain"),
        (policy("enforce"), "mta-sts.there.test", "text/html"),
        (policy("enforce") + "x: " + "y" * 70_000, "mta-sts.there.test", "text/plain"),
    ],
)
async def test_a_policy_that_cant_be_had_is_none(world: World, text: str, name: str, kind: str) -> None:
    inbox = Inbox()
    server = world.authority.server("other.test")
    async with publishing(world, text, name=name, kind=kind), receiving(inbox, server) as port:
        assert [(await world.send(port)).result for _ in range(2)] == ["delivered"] * 2


async def test_a_policy_is_kept_while_it_holds_though_dns_and_web_are_gone(world: World, tmp_path: Path) -> None:
    nats, inbox = Nats(tmp_path / "nats"), Inbox()
    nats.start()
    try:
        async with Bus(nats.url, "test") as world.bus, asyncio.timeout(30):
            await world.bus.wait_connected()
            async with receiving(inbox, world.authority.server("other.test")) as port:
                async with publishing(world, policy("enforce", max_age=3600)):
                    assert (await world.send(port)).result == "deferred"
                world.zone.records = [one for one in world.zone.records if "mta-sts" not in str(one.rname)]
                world.restarted()
                world.now += 3500
                assert (await world.send(port)).result == "deferred"
                world.now += 200
                assert (await world.send(port)).result == "delivered"
    finally:
        nats.stop()


# --- reports


async def test_what_came_of_tls_is_told_as_events(world: World, tmp_path: Path) -> None:
    nats = Nats(tmp_path / "nats")
    nats.start()
    try:
        async with Bus(nats.url, "test") as bus, asyncio.timeout(30):
            await bus.wait_connected()
            jetstream = bus.jetstream()
            await jetstream.add_stream(StreamConfig(name=EVENTS_STREAM, subjects=[EVENTS_SUBJECTS]))
            world.reports = TlsReports(bus)
            async with receiving(Inbox(), world.authority.server("mx.test")) as port:
                for _ in range(3):
                    await world.send(port)
            stopping = asyncio.Event()
            telling = asyncio.create_task(world.reports.run(stopping))
            await asyncio.sleep(0)
            stopping.set()
            await telling
            subscription = await jetstream.pull_subscribe("events.tls.counted", durable="test")
            (message,) = await subscription.fetch(1, timeout=5)
    finally:
        nats.stop()
    event = msgspec.json.decode(message.data, type=CloudEvent)
    content = msgspec.json.decode(event.data)
    assert event.type == "tls.counted"
    assert (content["policy-domain"], content["receiving-mx-hostname"]) == ("there.test", "mx.test")
    assert (content["result-type"], content["session-count"]) == ("success", 3)
    assert world.counted == []
