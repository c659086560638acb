"""A store, or a database behind it, that doesn't answer: 4xx in time, nothing taken for stored, memory bounded."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager

import asyncpg
import pytest

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, send_octets
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
LATER = (451, b"4.3.0 the mail store can't take this now; try again later")
PATIENCE_S = 0.3


@pytest.fixture
def rest(postroom: RunningPostroom) -> Rest:
    return Rest(postroom)


@pytest.fixture
def user(rest: Rest) -> User:
    return rest.make_user()


def begun(port: int) -> smtplib.SMTP:
    client = smtplib.SMTP(HOST, port, timeout=TIMEOUT_S)
    client.ehlo()
    return client


@contextmanager
def locked(postroom: RunningPostroom, table: str) -> Iterator[None]:
    """While the block runs nobody else can read or write the table."""

    @asynccontextmanager
    async def lock() -> AsyncIterator[None]:
        connection = await asyncpg.connect(postroom.database_url)
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                yield
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        holding = lock()
        runner.run(holding.__aenter__())
        try:
            yield
        finally:
            runner.run(holding.__aexit__(None, None, None))


def test_a_frozen_store_at_rcpt(postroom: RunningPostroom, replica: Replica, user: User, rest: Rest) -> None:
    with begun(replica(lookup_timeout_s=PATIENCE_S)["mx"]) as mx:
        assert mx.docmd("MAIL FROM:<a@elsewhere.test>")[0] == 250
        with postroom.frozen("store-api"):
            assert mx.docmd(f"RCPT TO:<{user.address}>") == LATER
            assert mx.docmd("DATA")[0] == 503
            assert mx.docmd("NOOP")[0] == 250
        assert mx.docmd("RSET")[0] == 250
    # A replica whose look-ups have time: on a busy machine they need it.
    with begun(replica()["mx"]) as mx:
        assert send_octets(mx, "a@elsewhere.test", [user.address], MESSAGE)[0] == 250
    assert len(rest.messages(user)) == 1


def test_a_frozen_store_at_login_and_at_mail(postroom: RunningPostroom, replica: Replica, user: User) -> None:
    port = replica(lookup_timeout_s=PATIENCE_S)["submission"]
    with begun(port) as submission:
        with postroom.frozen("store-api"), pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            submission.login(user.address, user.password)
        assert refused.value.smtp_code == 454, "RFC 4954 §6: not that the password was wrong"
    # A replica whose look-ups have time: a password takes long to check on a busy machine.
    with begun(replica()["submission"]) as submission:
        submission.login(user.address, user.password)
        assert submission.docmd("MAIL FROM:<somebody.else@example.test>")[0] == 553


@pytest.mark.parametrize("behind", ["store-api", "postgres"])
def test_a_slow_store_at_the_end_of_data(
    postroom: RunningPostroom, replica: Replica, user: User, rest: Rest, behind: str
) -> None:
    """451 for what the store may still store: it knows the transmission, the client will send another."""
    slow = postroom.frozen("store-api") if behind == "store-api" else locked(postroom, "mailbox")
    with begun(replica(store_timeout_s=PATIENCE_S)["mx"]) as mx:
        mx.docmd("MAIL FROM:<a@elsewhere.test>")
        assert mx.docmd(f"RCPT TO:<{user.address}>")[0] == 250
        with slow:
            assert mx.docmd("DATA")[0] == 354
            mx.send(MESSAGE + b".\r\n")
            assert mx.getreply() == LATER
    with begun(replica()["mx"]) as mx:
        assert send_octets(mx, "b@elsewhere.test", [user.address], b"Subject: second\r\n\r\nbody\r\n")[0] == 250
    assert "second" in [message["subject"] for message in rest.messages(user)]


def test_lmtp_says_so_for_each_recipient(postroom: RunningPostroom, replica: Replica, rest: Rest) -> None:
    users = [rest.make_user(), rest.make_user()]
    with smtplib.LMTP(HOST, replica(store_timeout_s=PATIENCE_S)["lmtp"], timeout=TIMEOUT_S) as lmtp:
        lmtp.ehlo()
        lmtp.docmd("MAIL FROM:<a@elsewhere.test>")
        for user in users:
            assert lmtp.docmd(f"RCPT TO:<{user.address}>")[0] == 250
        with postroom.frozen("store-api"):
            assert lmtp.docmd("DATA")[0] == 354
            lmtp.send(MESSAGE + b".\r\n")
            assert [lmtp.getreply(), lmtp.getreply()] == [LATER, LATER]


def test_many_messages_wait_for_a_slow_store(
    postroom: RunningPostroom, replica: Replica, user: User, rest: Rest
) -> None:
    """Those that there is memory for are told 451 once the store has had its time, the others 452 at once."""
    clients, size = 12, 100_000
    large = MESSAGE + (b"x" * 98 + b"\r\n") * (size // 100)
    # The store has more time than all of them need to send what they have.
    port = replica(max_buffered_octets=size * 4, store_timeout_s=TIMEOUT_S / 4)["mx"]

    def begin(mx: smtplib.SMTP) -> smtplib.SMTP:
        mx.docmd("MAIL FROM:<a@elsewhere.test>")
        assert mx.docmd(f"RCPT TO:<{user.address}>")[0] == 250
        return mx

    def send(mx: smtplib.SMTP) -> int:
        assert mx.docmd("DATA")[0] == 354
        mx.send(large + b".\r\n")
        return mx.getreply()[0]

    with ExitStack() as stack, ThreadPoolExecutor(clients) as pool:
        connections = [begin(stack.enter_context(begun(port))) for _ in range(clients)]
        with postroom.frozen("store-api"):
            replies = list(pool.map(send, connections))
    assert set(replies) == {451, 452}
    assert replies.count(451) <= 3, "four would be more than there is"
    with begun(port) as mx:
        for _ in range(2):
            assert send_octets(mx, "b@elsewhere.test", [user.address], large * 3)[0] == 250, "all was given back"


def test_connections_beyond_the_limit_are_told_at_once(postroom: RunningPostroom, replica: Replica) -> None:
    port = replica(max_connections=2)["mx"]
    with begun(port), begun(port), postroom.frozen("store-api"):
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            smtplib.SMTP(HOST, port, timeout=TIMEOUT_S)
        assert refused.value.smtp_code == 421
