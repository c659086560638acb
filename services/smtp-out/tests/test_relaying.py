"""Jobs sent to real SMTP servers on loopback, and what the store is told."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from mail_runtime.contracts.errors import Conflict, Unavailable
from mail_runtime.contracts.store import Claim, ClaimDeliveries, Outcomes
from mail_testkit.clients import TIMEOUT_S
from mail_testkit.remotes import MESSAGE, Authority, FakeJob, FakeStore, Inbox, receiving, scripted
from smtp_out import worker as worker_module
from smtp_out.attempt import Sender
from smtp_out.destinations import Destinations
from smtp_out.names import Names
from smtp_out.plans import Planner
from smtp_out.routes import Addresses, MailHosts, NoRoute, Routes
from smtp_out.sharing import Sharing
from smtp_out.table import Table
from smtp_out.tls_policies import TlsPolicies
from smtp_out.tls_reports import TlsReports
from smtp_out.worker import Worker


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


async def relay(store: FakeStore, port: int, *hosts: str, data: bytes | None = None) -> list[str]:
    job = FakeJob(store, data)
    planner = Planner(Fixed(*(hosts or ("127.0.0.1",))), Table(), {}, "here.test", port)
    async with Destinations(Sharing(None)) as destinations:
        sender = Sender(planner, TlsPolicies(Names("127.0.0.1:1"), None), TlsReports(None))
        await Worker(store, planner, destinations, sender, 120).handle(job)
    return job.settled


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    return Authority(tmp_path).server("mx.test")


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
        await asyncio.wait_for(store.was_claimed.wait(), TIMEOUT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert store.results == [("deferred", "4.3.2")]


async def test_what_was_said_before_an_interruption_is_reported_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 101 recipients the first hundred have their 250, and the store is away just then."""
    inbox, store = Inbox(), FakeStore(*(f"user{number}@there.test" for number in range(101)))
    asked = asyncio.Event()
    report = store.report

    async def away(outcomes: Outcomes) -> None:
        asked.set()
        raise Unavailable("down")

    monkeypatch.setattr(store, "report", away)
    async with receiving(inbox) as port:
        task = asyncio.create_task(relay(store, port))
        await asyncio.wait_for(asked.wait(), TIMEOUT_S)
        monkeypatch.setattr(store, "report", report)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert store.results == [("delivered", "2.0.0")] * 100 + [("deferred", "4.3.2")]
