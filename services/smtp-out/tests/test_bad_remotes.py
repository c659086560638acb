"""Remote hosts that misbehave: each delivery ends in a state that says what happened."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from mail_runtime.contracts.store import Outcome
from mail_testkit.clients import TIMEOUT_S
from mail_testkit.remotes import Authority, FakeJob, FakeStore, Zone, serving
from postroom_cli.launcher.config import free_port
from smtp_out.attempt import Sender
from smtp_out.connection import Connection
from smtp_out.destinations import Destinations
from smtp_out.names import Names
from smtp_out.plans import Planner
from smtp_out.routes import Routes
from smtp_out.sharing import Sharing
from smtp_out.table import Route, Table
from smtp_out.tls_policies import TlsPolicies
from smtp_out.tls_reports import TlsReports
from smtp_out.worker import Worker

ZONE = "there.test. 60 IN MX 10 mx.test.\nmx.test. 60 IN A 127.0.0.1\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


LIES = [
    ("there.test. 60 IN MX 10 gone.test.\n", "failed", "5.4.4", "no address"),
    ("there.test. 60 IN MX 10 x.broken.test.\n", "deferred", "4.4.3", "no answer from DNS"),
    ("there.test. 60 IN MX 10 here.test.\n", "failed", "5.4.6", "loops back"),
    ("there.test. 60 IN MX 10 127.0.0.1.\n", "failed", "5.4.4", "names no mail server"),
    ("there.test. 60 IN CNAME there.test.\n", "deferred", "4.4.3", "there.test"),
    ("x.test. 60 IN A 127.0.0.1\n", "failed", "5.1.2", "does not exist"),
]
TWO_HOSTS = "there.test. 60 IN MX 10 gone.test.\nthere.test. 60 IN MX 20 x.broken.test.\n"
# Zone → address of a server that has it.
DNS: dict[str, str] = {}


@pytest.fixture(scope="module", autouse=True)
def dns_servers() -> Iterator[None]:
    with ExitStack() as stack:
        for zone in (ZONE, TWO_HOSTS, *(lie[0] for lie in LIES)):
            DNS[zone] = stack.enter_context(serving(Zone(zone)))
        yield


@asynccontextmanager
async def remote(serve: Serve) -> AsyncIterator[int]:
    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def send(
    port: int, *recipients: str, zone: str = ZONE, table: Table | None = None, hostname: str = "here.test"
) -> list[Outcome]:
    store = FakeStore(*(recipients or ("bob@there.test",)))
    names = Names(DNS[zone], timeout_s=2 if zone == "silent" else TIMEOUT_S)
    planner = Planner(Routes(names, hostname), table or Table(), {}, hostname, port)
    sender = Sender(planner, TlsPolicies(names, None), TlsReports(None))
    async with Destinations(Sharing(None)) as destinations, asyncio.timeout(TIMEOUT_S):
        job = FakeJob(store)
        await Worker(store, planner, destinations, sender, 120).handle(job)
    assert job.settled == ["ack"]
    return store.outcomes


STAGES = ["banner", "EHLO", "MAIL", "RCPT", "DATA", "message", "dot"]
ANSWERS = {"EHLO": b"250 mx\r\n", "MAIL": b"250 ok\r\n", "RCPT": b"250 ok\r\n", "DATA": b"354 go\r\n"}


def until(stage: str, then: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> Serve:
    """A server that behaves until `stage`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stage == "banner":
            return await then(writer)
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            verb = line[:4].decode()
            if verb == stage:
                return await then(writer)
            writer.write(ANSWERS[verb])
            if verb == "DATA":
                break
        if stage == "dot":
            await reader.readuntil(b"\r\n.\r\n")
        else:
            await reader.readline()
        return await then(writer)

    return serve


@pytest.mark.parametrize("stage", STAGES)
async def test_resets_at_every_stage(stage: str) -> None:
    async def then(writer: asyncio.StreamWriter) -> None:
        reset(writer)

    async with remote(until(stage, then)) as port:
        (outcome,) = await send(port)
    assert (outcome.result, outcome.status) == ("deferred", "4.4.2")
    state = {"banner": "GREETING", "message": "MESSAGE", "dot": "MESSAGE"}.get(stage, stage)
    assert outcome.reply.startswith(f"connection lost in state {state}:")
    assert outcome.remote == "mx.test"


@pytest.mark.parametrize(
    ("stage", "timeout_s"),
    [("banner", 300), ("EHLO", 300), ("MAIL", 300), ("RCPT", 300), ("DATA", 120), ("dot", 600)],
)
async def test_silence_at_every_stage(stage: str, timeout_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A banner that never comes, 354 and then silence: as long as RFC 5321 §4.5.3.2 says, and no longer."""
    gone = asyncio.Event()
    asked: list[float] = []
    patient = Connection._reply
    answers = [one for one in STAGES if one != "message"].index(stage)

    async def impatient(self: Connection, timeout_s: float) -> object:
        """Doesn't wait for what never comes."""
        asked.append(timeout_s)
        return await patient(self, timeout_s if len(asked) <= answers else 0.2)

    async def then(writer: asyncio.StreamWriter) -> None:
        await gone.wait()

    monkeypatch.setattr(Connection, "_reply", impatient)
    async with remote(until(stage, then)) as port:
        (outcome,) = await send(port)
        gone.set()
    assert (outcome.result, outcome.status) == ("deferred", "4.4.2")
    assert outcome.reply.startswith("timed out in state ")
    assert asked[-1] == timeout_s


async def test_a_250_that_comes_late_counts() -> None:
    async def then(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.write(b"250 2.0.0 at last\r\n")

    async with remote(until("dot", then)) as port:
        (outcome,) = await send(port)
    assert (outcome.result, outcome.reply) == ("delivered", "250 2.0.0 at last")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "junk",
    [b"220-a\r\nb\r\n", b"250-a\r\n550 b\r\n", b"\x00\xff\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"999 x\r\n"],
)
async def test_junk_at_every_stage(stage: str, junk: bytes) -> None:
    async def then(writer: asyncio.StreamWriter) -> None:
        writer.write(junk)

    async with remote(until(stage, then)) as port:
        (outcome,) = await send(port)
    assert (outcome.result, outcome.status) == ("deferred", "4.5.0")
    assert outcome.reply.startswith("the server")


@pytest.mark.parametrize("piece", [b"220 " + b"x" * 9_996, b"220-" + b"x" * 994 + b"\r\n"])
@pytest.mark.parametrize("stage", ["banner", "RCPT", "dot"])
async def test_answers_of_10_mb_are_cut_off(stage: str, piece: bytes) -> None:
    written = 0

    async def then(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while written < 10_000_000:
            writer.write(piece)
            await writer.drain()
            written += len(piece)

    tracemalloc.start()
    async with remote(until(stage, then)) as port:
        (outcome,) = await send(port)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (outcome.result, outcome.status) == ("deferred", "4.5.0")
    assert len(outcome.reply) < 200
    assert peak < 4_000_000


async def test_each_recipient_is_answered_differently() -> None:
    answers = [b"450 4.2.1 busy\r\n", b"550 5.1.1 unknown\r\n", b"250 ok\r\n", b"421 4.3.2 bye\r\n"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        left = list(answers)
        while line := await reader.readline():
            verb = line[:4].decode()
            writer.write(left.pop(0) if verb == "RCPT" else ANSWERS[verb])

    async with remote(serve) as port:
        outcomes = await send(port, *(f"{number}@there.test" for number in range(5)))
    assert [(outcome.result, outcome.status) for outcome in outcomes] == [
        ("deferred", "4.2.1"),
        ("failed", "5.1.1"),
        ("deferred", "4.3.2"),
        ("deferred", "4.3.2"),
        ("deferred", "4.3.2"),
    ]


# --- TLS that fails halfway


def broken_tls(context: ssl.SSLContext, how: str, got: list[bytes]) -> Serve:
    """A server whose TLS never works; in clear it takes everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            verb = line[:4].decode()
            if verb == "EHLO":
                writer.write(b"250-mx\r\n250 STARTTLS\r\n")
            elif verb == "STAR":
                if how == "spoken before":
                    writer.write(b"220 go\r\n250 injected\r\n")
                else:
                    writer.write(b"220 go\r\n")
                if how == "reset":
                    await reader.read(10)
                    return reset(writer)
                if how == "closed after the handshake":
                    await writer.start_tls(context)
                    return None
                if how == "garbage":
                    writer.write(b"\x16\x03\x01 no TLS at all\r\n")
            elif verb == "QUIT":
                return None
            elif verb == "DATA":
                writer.write(b"354 go\r\n")
                got.append(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"250 in clear\r\n")
            else:
                writer.write(ANSWERS.get(verb, b"500 what\r\n"))
        return None

    return serve


HALFWAY = ["reset", "closed after the handshake", "garbage", "spoken before"]


@pytest.mark.parametrize("how", HALFWAY)
async def test_tls_that_fails_is_followed_by_an_attempt_in_clear(how: str, tmp_path: Path) -> None:
    got: list[bytes] = []
    async with remote(broken_tls(Authority(tmp_path).server("mx.test"), how, got)) as port:
        (outcome,) = await send(port)
    assert (outcome.result, outcome.reply, outcome.tls, len(got)) == ("delivered", "250 in clear", "", 1)


@pytest.mark.parametrize("how", HALFWAY)
async def test_but_not_when_a_policy_forbids_it(how: str, tmp_path: Path) -> None:
    got: list[bytes] = []
    table = Table(routes=(Route(tls="must"),))
    async with remote(broken_tls(Authority(tmp_path).server("mx.test"), how, got)) as port:
        (outcome,) = await send(port, table=table)
    assert (outcome.result, outcome.status, got) == ("deferred", "4.7.5", [])
    assert outcome.reply.startswith("mx.test [127.0.0.1]: ")


# --- DNS that lies or says nothing


@pytest.mark.parametrize(("zone", "result", "status", "words"), LIES)
async def test_dns_that_lies(zone: str, result: str, status: str, words: str) -> None:
    (outcome,) = await send(1, zone=zone)
    assert (outcome.result, outcome.status) == (result, status)
    assert words in outcome.reply


async def test_dns_that_never_answers() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        DNS["silent"] = "127.0.0.1:{1}".format(*silent.getsockname())
        (outcome,) = await send(1, zone="silent")
    assert (outcome.result, outcome.status) == ("deferred", "4.4.3")
    assert outcome.reply == "no answer from DNS about there.test"


async def test_a_host_that_can_be_asked_counts_more_than_one_that_cant_exist() -> None:
    (outcome,) = await send(1, zone=TWO_HOSTS)
    assert (outcome.result, outcome.status) == ("deferred", "4.4.3")


async def test_mail_that_is_led_to_ourselves_by_another_name_comes_back() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            writer.write(b"250 here.test at your service\r\n" if line.startswith(b"EHLO") else b"221 bye\r\n")

    async with remote(serve) as port:
        (outcome,) = await send(port)
    assert (outcome.result, outcome.status) == ("failed", "5.4.6")


async def test_nobody_listens() -> None:
    (outcome,) = await send(free_port())
    assert (outcome.result, outcome.status) == ("deferred", "4.4.1")
    assert outcome.reply == "mx.test [127.0.0.1]: Connection refused"
