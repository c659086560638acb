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
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nats.js.api import StreamConfig

from mail_runtime.bus import Bus
from mail_runtime.contracts.events import EVENTS_STREAM, EVENTS_SUBJECTS, CloudEvent
from mail_runtime.contracts.store import Outcome, TlsWish
from mail_testkit.clients import TIMEOUT_S
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

    async def send(
        self, port: int, table: Table | None = None, *, tls_wish: TlsWish = "", reverse_path: str = "alice@here.test"
    ) -> Outcome:
        names = Names(self.dns, validating=True, clock=lambda: self.now)
        routes = Routes(names, "here.test")
        planner = Planner(routes, table or Table(), {}, "here.test", port, str(self.authority.file))
        sender = Sender(planner, TlsPolicies(names, await self.sts(names, routes)), self.reports)
        store = FakeStore("bob@there.test", tls_wish=tls_wish, reverse_path=reverse_path)
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


@pytest.mark.parametrize("at", ["alias.test", "mx.test"])
async def test_a_host_that_is_an_alias_has_its_tlsa_records_at_either_name(world: World, at: str) -> None:
    """RFC 7672 §2.2.2, §2.2.3: where the alias leads comes first, and the certificate is for that name."""
    inbox = Inbox()
    world.zone.authentic = True
    world.zone.records = []
    world.zone.add(
        "there.test. 60 IN MX 10 mx.test.\nmx.test. 60 IN CNAME alias.test.\nalias.test. 60 IN A 127.0.0.1\n"
    )
    async with receiving(inbox, world.authority.server(at)) as port:
        world.zone.add(f"_{port}._tcp.{at}. 60 IN TLSA {record(world, 2)}")
        if at == "alias.test":
            world.zone.add(f"_{port}._tcp.mx.test. 60 IN TLSA 3 1 1 {'00' * 32}")
        outcome = await world.send(port)
    assert (outcome.result, outcome.tls[-6:], len(inbox.got)) == ("delivered", "(dane)", 1)


@pytest.mark.parametrize(("host", "trust"), [("mx.test", "(dane)"), ("mx.unsigned.test", "(not verified)")])
async def test_an_alias_that_leads_to_where_nothing_is_signed(world: World, host: str, trust: str) -> None:
    """What DNSSEC vouches for is the alias itself, if that: its own TLSA records count, no others."""
    inbox = Inbox()
    world.zone.authentic = True
    world.zone.records = []
    world.zone.add(f"there.test. 60 IN MX 10 {host}.\n{host}. 60 IN CNAME b.unsigned.test.\n")
    world.zone.add("b.unsigned.test. 60 IN A 127.0.0.1\n")
    async with receiving(inbox, world.authority.server(host)) as port:
        world.zone.add(f"_{port}._tcp.{host}. 60 IN TLSA {record(world, 2)}")
        world.zone.add(f"_{port}._tcp.b.unsigned.test. 60 IN TLSA 3 1 1 {'00' * 32}")
        outcome = await world.send(port)
    assert (outcome.result, outcome.tls.endswith(trust)) == ("delivered", True)


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
        async with Bus(nats.url, "test") as world.bus, asyncio.timeout(TIMEOUT_S):
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


# --- REQUIRETLS and TLS-Required (RFC 8689)


class Requiring(SMTP):
    """aiosmtpd that offers REQUIRETLS under TLS; the handler's `mails` has what MAIL said."""

    async def smtp_MAIL(self, arg: str) -> None:
        self.event_handler.mails.append(arg)
        await super().smtp_MAIL(arg.replace(" REQUIRETLS", ""))


class Mails(Inbox):
    """An inbox that knows what MAIL said."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[str] = []

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        if session.ssl:
            responses.insert(1, "250-REQUIRETLS")
        return responses

    @property
    def required(self) -> list[bool]:
        return [" REQUIRETLS" in mail for mail in self.mails]


@asynccontextmanager
async def requiring(inbox: Mails, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Requiring(inbox, loop=loop, hostname="mx.test", tls_context=context), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("vouching", ["dane", "dnssec", "enforce", "testing"])
async def test_tls_is_required_and_had(world: World, vouching: str) -> None:
    """The host's name by DNSSEC or MTA-STS, its certificate by an authority or DANE, and REQUIRETLS to the next hop."""
    inbox = Mails()
    async with AsyncExitStack() as stack:
        if vouching in {"enforce", "testing"}:
            await stack.enter_async_context(publishing(world, policy(vouching)))
        port = await stack.enter_async_context(requiring(inbox, world.authority.server("mx.test")))
        world.zone.authentic = vouching in {"dane", "dnssec"}
        if vouching == "dane":
            world.zone.add(f"_{port}._tcp.mx.test. 60 IN TLSA {record(world, 3)}")
        outcome = await world.send(port, tls_wish="required")
    assert (outcome.result, inbox.required, inbox.got[0][2]) == ("delivered", [True], True)


@pytest.mark.parametrize(
    ("fault", "status"),
    [("no REQUIRETLS", "5.7.30"), ("no TLS", "5.7.10"), ("expired", "5.7.10"), ("other name", "5.7.10")],
)
async def test_tls_is_required_and_a_host_lacks_something(world: World, fault: str, status: str) -> None:
    inbox = Inbox() if fault == "no REQUIRETLS" else Mails()
    world.zone.authentic = True
    contexts = {
        "no REQUIRETLS": world.authority.server("mx.test"),
        "no TLS": None,
        "expired": world.authority.server("mx.test", days=-1),
        "other name": world.authority.server("other.test"),
    }
    context = contexts[fault]
    serve = requiring(inbox, context) if isinstance(inbox, Mails) else receiving(inbox, context)
    async with serve as port:
        outcome = await world.send(port, tls_wish="required")
    assert (outcome.result, outcome.status, inbox.got) == ("failed", status, [])


async def test_tls_is_required_and_nobody_vouches_for_the_host(world: World) -> None:
    inbox = Mails()
    async with requiring(inbox, world.authority.server("mx.test")) as port:
        outcome = await world.send(port, tls_wish="required")
    assert (outcome.result, outcome.status, inbox.mails) == ("failed", "5.7.10", [])
    assert "neither DNSSEC nor MTA-STS" in outcome.reply


async def test_tls_is_required_and_a_host_cant_be_reached_now(world: World) -> None:
    world.zone.authentic = True
    async with requiring(Mails(), None) as port:
        pass
    outcome = await world.send(port, tls_wish="required")
    assert (outcome.result, outcome.status) == ("deferred", "4.4.1")


async def test_a_bounce_goes_though_tls_cant_be_required(world: World) -> None:
    inbox = Inbox()
    async with receiving(inbox, world.authority.server("other.test")) as port:
        outcome = await world.send(port, tls_wish="required", reverse_path="")
    assert (outcome.result, len(inbox.got)) == ("delivered", 1)


@pytest.mark.parametrize("authentic", [True, False])
async def test_a_bounce_requires_tls_where_it_can(world: World, authentic: bool) -> None:
    inbox = Mails()
    world.zone.authentic = authentic
    async with requiring(inbox, world.authority.server("mx.test")) as port:
        world.zone.add(f"_{port}._tcp.mx.test. 60 IN TLSA {record(world, 3)}")
        outcome = await world.send(port, tls_wish="required", reverse_path="")
    assert (outcome.result, inbox.required) == ("delivered", [authentic])


@pytest.mark.parametrize("tls_wish", ["", "optional"])
async def test_a_sender_who_wants_policies_ignored(world: World, tls_wish: TlsWish) -> None:
    inbox = Mails()
    async with publishing(world, policy("enforce")), requiring(inbox, world.authority.server("other.test")) as port:
        outcome = await world.send(port, tls_wish=tls_wish)
    if tls_wish:
        assert (outcome.result, inbox.got[0][2], inbox.required) == ("delivered", True, [False])
    else:
        assert (outcome.result, inbox.got) == ("deferred", [])


# --- reports


async def test_what_came_of_tls_is_told_as_events(world: World, tmp_path: Path) -> None:
    nats = Nats(tmp_path / "nats")
    nats.start()
    try:
        async with Bus(nats.url, "test") as bus, asyncio.timeout(TIMEOUT_S):
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
            (message,) = await subscription.fetch(1, timeout=TIMEOUT_S)
    finally:
        nats.stop()
    event = msgspec.json.decode(message.data, type=CloudEvent)
    content = msgspec.json.decode(event.data)
    assert event.type == "tls.counted"
    assert (content["policy-domain"], content["receiving-mx-hostname"]) == ("there.test", "mx.test")
    assert (content["result-type"], content["session-count"]) == ("success", 3)
    assert world.counted == []
