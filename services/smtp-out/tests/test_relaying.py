"""Jobs sent to real SMTP servers on loopback, and what the store is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mail_runtime.contracts.errors import Conflict, Unavailable
from mail_runtime.contracts.store import Claim, ClaimDeliveries, ClaimedDelivery, Outcome, Outcomes, RelayJob
from smtp_out import worker as worker_module
from smtp_out.attempt import Sender
from smtp_out.destinations import Destinations
from smtp_out.names import Names
from smtp_out.plans import Planner
from smtp_out.routes import Addresses, MailHosts, NoRoute, Routes
from smtp_out.sharing import Sharing
from smtp_out.table import Table
from smtp_out.worker import Worker

MESSAGE = "Subject: x\r\n\r\n.dot\r\nGrüße\r\n".encode()


class Fixed(Routes):
    """Routes without DNS."""

    def __init__(self, *hosts: str) -> None:
        super().__init__(Names("127.0.0.1:1"), "here.test")
        self._hosts = hosts

    async def hosts(self, domain: str) -> MailHosts:
        if not self._hosts:
            raise NoRoute("failed", "5.1.2", "no such domain")
        return MailHosts(self._hosts, self._hosts[0])

    async def addresses(self, host: str) -> Addresses:
        return Addresses((host,))


class Inbox:
    """aiosmtpd's handler."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], bytes, bool]] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("no-one"):
            return "550 5.1.1 no such user"
        if address.startswith("later"):
            return "450 4.2.1 come back"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.original_content, bytes)
        self.got.append((list(envelope.rcpt_tos), envelope.original_content, session.ssl is not None))
        return "250 2.0.0 kept"


@asynccontextmanager
async def receiving(inbox: Inbox, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(inbox, loop=loop, hostname="mx.test", enable_SMTPUTF8=True, tls_context=context), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def scripted(*replies: bytes, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """A server that says the next reply to whatever comes, then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            writer.write(reply)
            await writer.drain()
            if not await reader.read(65536):
                break
        writer.close()

    server = await asyncio.start_server(serve, host, port)
    async with server:
        yield server.sockets[0].getsockname()[1]


class FakeStore:
    def __init__(self, *recipients: str, smtputf8: bool = False) -> None:
        self.claimed = Claim(
            transmission_id=uuid4(),
            reverse_path="alice@here.test",
            blob_id=uuid4(),
            octets=len(MESSAGE),
            smtputf8=smtputf8,
            deliveries=[ClaimedDelivery(id=uuid4(), recipient=recipient, attempts=1) for recipient in recipients],
        )
        self.outcomes: list[Outcome] = []
        self.claims = 0
        self.was_claimed = asyncio.Event()
        self.claim_error: Exception | None = None
        self.report_errors: list[Exception] = []

    async def claim(self, claim: ClaimDeliveries) -> Claim:
        self.claims += 1
        self.was_claimed.set()
        if self.claim_error:
            raise self.claim_error
        return self.claimed

    async def queued_message(self, transmission_id: UUID) -> bytes:
        return MESSAGE

    async def report(self, outcomes: Outcomes) -> None:
        if self.report_errors:
            raise self.report_errors.pop(0)
        self.outcomes += outcomes.outcomes

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(outcome.result, outcome.status) for outcome in self.outcomes]


class FakeMetadata:
    num_delivered = 1


class FakeJob:
    metadata = FakeMetadata()

    def __init__(self, store: FakeStore, data: bytes | None = None) -> None:
        job = RelayJob(
            transmission_id=store.claimed.transmission_id,
            domain="there.test",
            delivery_ids=[delivery.id for delivery in store.claimed.deliveries],
        )
        self.data = msgspec.msgpack.encode(job) if data is None else data
        self.settled: list[str] = []

    async def ack(self) -> None:
        self.settled.append("ack")

    async def nak(self, delay: float | None = None) -> None:
        self.settled.append("nak")

    async def term(self) -> None:
        self.settled.append("term")

    async def in_progress(self) -> None:
        pass


async def relay(store: FakeStore, port: int, *hosts: str, data: bytes | None = None) -> list[str]:
    job = FakeJob(store, data)
    planner = Planner(Fixed(*(hosts or ("127.0.0.1",))), Table(), {}, "here.test", port)
    async with Destinations(Sharing(None)) as destinations:
        await Worker(store, planner, destinations, Sender(planner), 120).handle(job)
    return job.settled


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "both.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def test_each_recipient_gets_its_outcome() -> None:
    inbox, store = Inbox(), FakeStore("bob@there.test", "no-one@there.test", "later@there.test")
    async with receiving(inbox) as port:
        assert await relay(store, port) == ["ack"]
    assert inbox.got == [(["bob@there.test"], MESSAGE, False)]
    assert store.results == [("delivered", "2.0.0"), ("failed", "5.1.1"), ("deferred", "4.2.1")]
    assert store.outcomes[1].reply == "550 5.1.1 no such user"


async def test_tls_is_used_when_offered_whatever_the_certificate(tls: ssl.SSLContext) -> None:
    inbox, store = Inbox(), FakeStore("bob@there.test")
    async with receiving(inbox, tls) as port:
        assert await relay(store, port) == ["ack"]
    assert inbox.got == [(["bob@there.test"], MESSAGE, True)]


async def test_broken_tls_is_followed_by_plaintext() -> None:
    store, connections = FakeStore("bob@there.test"), 0
    plain = [b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 2.0.0 kept\r\n", b"221 bye\r\n"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        ehlo = b"250-mx\r\n250 STARTTLS\r\n"
        rest = [b"220 go\r\n", b"this is no TLS\r\n"] if connections == 1 else plain
        for reply in (b"220 hi\r\n", ehlo, *rest):
            writer.write(reply)
            await writer.drain()
            if not await reader.read(65536):
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        assert await relay(store, server.sockets[0].getsockname()[1]) == ["ack"]
    assert (connections, store.results) == (2, [("delivered", "2.0.0")])


async def test_the_next_host_is_tried_when_one_is_busy() -> None:
    inbox, store = Inbox(), FakeStore("bob@there.test")
    async with receiving(inbox) as port, scripted(b"421 busy\r\n", host="127.0.0.2", port=port):
        assert await relay(store, port, "127.0.0.3", "127.0.0.2", "127.0.0.1") == ["ack"]
    assert store.results == [("delivered", "2.0.0")]
    assert store.outcomes[0].remote == "127.0.0.1"


async def test_no_host_answers() -> None:
    async with scripted() as port:
        pass
    store = FakeStore("bob@there.test")
    assert await relay(store, port, "127.0.0.1", "127.0.0.2") == ["ack"]
    assert store.results == [("deferred", "4.4.1")]


async def test_connection_lost_after_the_final_dot_is_tried_again() -> None:
    store = FakeStore("bob@there.test")
    replies = [b"220 hi\r\n", b"250 mx\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
    async with scripted(*replies) as port:
        assert await relay(store, port) == ["ack"]
    assert store.results == [("deferred", "4.4.2")]


async def test_what_is_no_smtp_is_tried_again() -> None:
    store = FakeStore("bob@there.test")
    async with scripted(b"SSH-2.0-x\r\n") as port:
        assert await relay(store, port) == ["ack"]
    assert store.results == [("deferred", "4.5.0")]


async def test_smtputf8_address_and_a_server_without() -> None:
    store = FakeStore("jürgen@there.test", smtputf8=True)
    async with scripted(b"220 hi\r\n", b"250 mx\r\n", b"221 bye\r\n") as port:
        assert await relay(store, port) == ["ack"]
    assert store.results == [("failed", "5.6.7")]


async def test_more_recipients_than_one_transaction_takes() -> None:
    inbox, store = Inbox(), FakeStore(*(f"user{number}@there.test" for number in range(250)))
    async with receiving(inbox) as port:
        assert await relay(store, port) == ["ack"]
    assert [len(recipients) for recipients, _, _ in inbox.got] == [100, 100, 50]
    assert store.results == [("delivered", "2.0.0")] * 250


@pytest.mark.parametrize(("error", "word"), [(Conflict("done"), "ack"), (Unavailable("down"), "nak")])
async def test_a_claim_that_fails(error: Exception, word: str) -> None:
    store = FakeStore("bob@there.test")
    store.claim_error = error
    assert await relay(store, 1) == [word]


async def test_the_report_is_repeated_until_the_store_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "REPORT_AGAIN_S", 0.01)
    inbox, store = Inbox(), FakeStore("bob@there.test")
    store.report_errors = [Unavailable("down"), Unavailable("down")]
    async with receiving(inbox) as port:
        assert await relay(store, port) == ["ack"]
    assert (len(inbox.got), store.results) == (1, [("delivered", "2.0.0")])


async def test_the_report_of_a_lost_lease_is_refused_and_the_job_acknowledged() -> None:
    inbox, store = Inbox(), FakeStore("bob@there.test")
    store.report_errors = [Conflict("the lease was lost")]
    async with receiving(inbox) as port:
        assert await relay(store, port) == ["ack"]


async def test_a_job_nobody_can_read_is_dropped() -> None:
    assert await relay(FakeStore("bob@there.test"), 1, data=b"\xc1") == ["term"]


async def test_a_lost_lease_stops_the_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "RENEW_S", 0.05)
    store = FakeStore("bob@there.test")

    async def lose(claim: ClaimDeliveries) -> Claim:
        store.claims += 1
        if store.claims > 1:
            raise Conflict("taken")
        return store.claimed

    monkeypatch.setattr(store, "claim", lose)
    async with scripted(b"220-never ends\r\n") as port:
        assert await relay(store, port) == ["ack"]
    assert store.outcomes == []


async def test_interrupted_work_is_reported_deferred() -> None:
    store = FakeStore("bob@there.test")
    async with scripted(b"220-never ends\r\n") as port:
        task = asyncio.create_task(relay(store, port))
        await asyncio.wait_for(store.was_claimed.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert store.results == [("deferred", "4.3.2")]
