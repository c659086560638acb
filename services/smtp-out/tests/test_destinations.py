"""Limits of destinations, for all replicas together, and connections that are used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mail_proto.smtp.client_actions import Envelope, Manner, Verdict
from mail_runtime.bus import Bus
from mail_testkit.clients import TIMEOUT_S
from mail_testkit.nats_server import Nats
from smtp_out.connection import Connection, Target
from smtp_out.destinations import IDLE_S, Destinations
from smtp_out.pace import (
    FIRST_PAUSE_S,
    HOLD_S,
    PAUSE_LIMIT_S,
    WARM_S,
    Busy,
    Limits,
    Shared,
    connected,
    counted,
    held,
    is_complaint,
    slowed,
    warmed,
)
from smtp_out.sharing import Sharing

LIMITS = Limits(connections=4)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


# --- pace


def test_connections_of_all_workers_count() -> None:
    shared = connected(connected(Shared(), "a", 1, LIMITS, 0), "b", 3, LIMITS, 0)
    with pytest.raises(Busy):
        connected(shared, "a", 2, LIMITS, 0)
    shared = held(shared, "b", 2, 1)
    assert connected(shared, "a", 2, LIMITS, 1).holdings["a"].connections == 2


def test_what_a_dead_worker_held_is_free_after_a_while() -> None:
    shared = connected(Shared(), "dead", 4, LIMITS, 0)
    with pytest.raises(Busy):
        connected(shared, "a", 1, LIMITS, HOLD_S - 1)
    assert list(connected(shared, "a", 1, LIMITS, HOLD_S + 1).holdings) == ["a"]


def test_messages_of_a_minute() -> None:
    limits, shared = Limits(messages_per_minute=2), Shared()
    for _ in range(2):
        shared = counted(shared, limits, 90.0)
    with pytest.raises(Busy) as busy:
        counted(shared, limits, 100.0)
    assert busy.value.delay_s == 20.0
    assert counted(shared, limits, 121.0).sent == 1


def test_a_complaint_halves_and_pauses_and_patience_gives_back() -> None:
    shared = slowed(Shared(), 0)
    assert (shared.share, shared.paused_until) == (0.5, FIRST_PAUSE_S)
    assert slowed(shared, 1) == shared, "several connections that are told the same"
    with pytest.raises(Busy):
        connected(shared, "a", 1, LIMITS, 1)
    now = FIRST_PAUSE_S + 1
    shared = connected(shared, "a", 2, LIMITS, now)
    with pytest.raises(Busy):
        connected(shared, "a", 3, LIMITS, now)
    assert slowed(shared, now).paused_until == now + 2 * FIRST_PAUSE_S
    while shared.share < 1.0:
        before, now = shared, now + WARM_S
        shared = warmed(shared, now)
        assert shared.share > before.share
    assert connected(shared, "a", 4, LIMITS, now).holdings["a"].connections == 4


def test_the_pause_has_an_end_and_one_connection_is_always_left() -> None:
    shared, now = Shared(), 0.0
    for _ in range(40):
        shared = slowed(shared, now)
        assert shared.paused_until - now <= PAUSE_LIMIT_S
        now = shared.paused_until + 1
    assert connected(shared, "a", 1, LIMITS, now)


@pytest.mark.parametrize(
    ("reply", "status", "complaint"),
    [
        ("421 too many", "4.0.0", True),
        ("451 4.7.1 greylisted", "4.7.1", True),
        ("450 slow down", "4.0.0", True),
        ("450 4.2.1 mailbox busy", "4.2.1", False),
        ("451 4.3.0 disk full", "4.3.0", False),
        ("550 5.7.1 spam", "5.7.1", False),
    ],
)
def test_what_is_a_complaint(reply: str, status: str, complaint: bool) -> None:
    result = "failed" if reply.startswith("5") else "deferred"
    assert is_complaint(Verdict(result, reply, status)) is complaint  # type: ignore[arg-type]


# --- replicas


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[Nats]:
    server = Nats(tmp_path)
    server.start()
    yield server
    server.stop()


async def test_replicas_share_the_limit_and_the_pause(nats_server: Nats) -> None:
    clock = Clock()
    async with Bus(nats_server.url, "one") as bus, Bus(nats_server.url, "two") as other, asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(bus.wait_connected(), other.wait_connected())
        sharings = [Sharing(bus, clock), Sharing(other, clock)]
        async with Destinations(sharings[0]) as one, Destinations(sharings[1]) as two:
            limits = Limits(connections=2)
            async with one.visit("mx.test", limits), two.visit("mx.test", limits):
                for destinations in (one, two):
                    with pytest.raises(Busy):
                        async with destinations.visit("mx.test", limits):
                            pass
                async with two.visit("else.test", limits):
                    pass
            async with one.visit("mx.test", limits) as visit:
                visit.complained = True
            with pytest.raises(Busy) as busy:
                async with two.visit("mx.test", limits):
                    pass
            assert busy.value.delay_s == FIRST_PAUSE_S
            clock.now += FIRST_PAUSE_S + 1
            async with two.visit("mx.test", limits):
                with pytest.raises(Busy):
                    async with one.visit("mx.test", limits):
                        pass


async def test_many_at_once_from_two_replicas_never_exceed_the_limit(nats_server: Nats) -> None:
    inside = most = let_in = 0
    go = asyncio.Event()

    async def come(destinations: Destinations) -> None:
        nonlocal inside, most, let_in
        try:
            async with destinations.visit("mx.test", Limits(connections=5)):
                inside, let_in = inside + 1, let_in + 1
                most = max(most, inside)
                await go.wait()
                inside -= 1
        except Busy:
            return

    async with Bus(nats_server.url, "one") as bus, Bus(nats_server.url, "two") as other, asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(bus.wait_connected(), other.wait_connected())
        async with Destinations(Sharing(bus)) as one, Destinations(Sharing(other)) as two:
            comers = [asyncio.create_task(come(one if n % 2 else two)) for n in range(30)]
            done, _ = await asyncio.wait(comers, return_when=asyncio.FIRST_COMPLETED)
            while len(done) < 25:
                done, _ = await asyncio.wait(comers, timeout=0.05)
            go.set()
            await asyncio.gather(*comers)
    assert (most, let_in) == (5, 5)


async def test_without_nats_a_process_keeps_its_own_limit() -> None:
    async with Destinations(Sharing(None)) as destinations:
        async with destinations.visit("mx.test", Limits(connections=1)):
            with pytest.raises(Busy):
                async with destinations.visit("mx.test", Limits(connections=1)):
                    pass
        async with destinations.visit("mx.test", Limits(connections=1)):
            pass


# --- connections


class Host:
    """An SMTP server that takes everything; `said` has what it was told on each connection."""

    def __init__(self) -> None:
        self.said: list[list[str]] = []
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said: list[str] = []
        self.said.append(said)
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            verb = line[:4].decode().upper()
            said.append(verb)
            if verb == "DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
            if verb == "QUIT":
                break
        writer.close()
        self.closed.set()


@asynccontextmanager
async def hosting(host: Host) -> AsyncIterator[int]:
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def send(destinations: Destinations, port: int, limits: Limits = LIMITS) -> None:
    async with destinations.visit("mx.test", limits) as visit:
        if visit.connection is None:
            visit.connection = await Connection.open(Target("127.0.0.1", "127.0.0.1", port, Manner("here.test")))
        (verdict,) = await visit.connection.transmit(Envelope("a@x", ("b@y",), 3), b"x\r\n.\r\n")
        assert verdict.result == "delivered"


async def test_the_next_message_takes_the_same_connection() -> None:
    host = Host()
    async with hosting(host) as port:
        async with Destinations(Sharing(None)) as destinations:
            for _ in range(3):
                await send(destinations, port)
        await asyncio.wait_for(host.closed.wait(), TIMEOUT_S)
    assert host.said == [["EHLO", *["MAIL", "RCPT", "DATA"] * 3, "QUIT"]]


async def test_a_connection_carries_so_many_messages() -> None:
    host = Host()
    async with hosting(host) as port, Destinations(Sharing(None)) as destinations:
        for _ in range(5):
            await send(destinations, port, Limits(messages_per_connection=2))
    assert [said.count("MAIL") for said in host.said] == [2, 2, 1]


async def test_a_connection_isnt_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smtp_out.destinations.IDLE_S", 0.02)
    assert IDLE_S > 1
    host = Host()
    async with hosting(host) as port, Destinations(Sharing(None)) as destinations:
        await send(destinations, port)
        await asyncio.wait_for(host.closed.wait(), TIMEOUT_S)
        assert host.said[0][-1] == "QUIT"
        await send(destinations, port)
    assert len(host.said) == 2


async def test_what_is_down_is_left_alone_longer_each_time() -> None:
    clock = Clock()
    async with Destinations(Sharing(None, clock)) as destinations:
        for pause_s in (30, 60, 120):
            async with destinations.visit("mx.test", LIMITS) as visit:
                visit.unreachable = "connection refused"
            clock.now += pause_s - 1
            assert destinations.down("mx.test") == "connection refused"
            clock.now += 2
            assert destinations.down("mx.test") == ""
