"""Remote hosts as the relay meets them: servers, certificates, a zone; and the store and the jobs that it works for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dnslib import QTYPE, RCODE, RR, DNSRecord
from dnslib.server import BaseResolver, DNSServer

from mail_runtime.contracts.store import Claim, ClaimDeliveries, ClaimedDelivery, Outcome, Outcomes, RelayJob, TlsWish

MESSAGE: Final = "Subject: x\r\n\r\n.dot\r\nGrüße\r\n".encode()
DAY: Final = timedelta(days=1)


class Authority:
    """A certificate authority, and the servers that it vouches for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed("authority.test", self._key.public_key(), 1, authority=True)
        self.file = folder / "authority.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(
        self, name: str, public_key: ec.EllipticCurvePublicKey, days: int, *, authority: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named("authority.test"))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 9 * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if authority:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def server(self, name: str, *, days: int = 1) -> ssl.SSLContext:
        """For a server of that name; `days` below 0: its certificate has expired. `issued` is its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.issued = self._signed(name, key.public_key(), days)
        pem = self._folder / f"{uuid4()}.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + self.issued.public_bytes(serialization.Encoding.PEM)
            + self.certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


class Zone(BaseResolver):  # type: ignore[misc]
    """Answers from records in the form of a zone file, which may be added to; `authentic` sets AD.

    A name that ends in broken.test. makes the server fail, one in unsigned.test. is never authentic; `asked` counts.
    """

    def __init__(self, text: str = "", *, authentic: bool = False) -> None:
        self.records = list(RR.fromZone(text))
        self.authentic = authentic
        self.asked: list[str] = []

    def add(self, text: str) -> None:
        self.records += RR.fromZone(text)

    def resolve(self, request: DNSRecord, handler: Any) -> DNSRecord:
        reply = request.reply()
        name, kind = request.q.qname, QTYPE[request.q.qtype]
        self.asked.append(f"{name}{kind}")
        reply.header.ad = int(self.authentic and not str(name).endswith("unsigned.test."))
        if str(name).endswith("broken.test."):
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        here = [record for record in self.records if record.rname == name]
        if not here:
            reply.header.rcode = RCODE.NXDOMAIN
        for record in here:
            if QTYPE[record.rtype] in {kind, "CNAME"}:
                reply.add_answer(record)
        return reply


class _Quiet:
    """A logger of dnslib that says nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


@contextmanager
def serving(zone: Zone) -> Iterator[str]:
    """The address of a DNS server with that zone."""
    server = DNSServer(zone, address="127.0.0.1", port=0, logger=_Quiet())
    server.start_thread()
    try:
        yield f"127.0.0.1:{server.server.server_address[1]}"
    finally:
        server.server.shutdown()
        server.server.server_close()


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
    def __init__(
        self,
        *recipients: str,
        smtputf8: bool = False,
        reverse_path: str = "alice@here.test",
        tls_wish: TlsWish = "",
    ) -> None:
        self.claimed = Claim(
            transmission_id=uuid4(),
            reverse_path=reverse_path,
            tls_wish=tls_wish,
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
