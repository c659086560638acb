"""Passwords and logins, as the frontends see them."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from mail_proto.sasl.scram import make_verifier
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import AuthenticationFailed, TooManyLogins
from mail_runtime.store_client import StoreClient
from mail_testkit.running import RunningPostroom
from mail_testkit.scram import client_proof
from store_api.accounts import guard
from store_api.accounts.issuers import Issuers
from store_api.accounts.logins import Logins
from store_api.accounts.passwords import Passwords
from store_api.db.engine import Database, run

PASSWORD = "correct horse"  # of conftest.make_account


def some_network() -> str:
    """An address whose network no other test uses."""
    return f"2001:db8:{secrets.randbelow(65536):x}:{secrets.randbelow(65536):x}::1"


def credentials(login: str, password: str, peer: str, protocol: wire.Protocol = "imap") -> wire.Credentials:
    return wire.Credentials(username=login, password=password, protocol=protocol, peer=peer)


@pytest.fixture
async def replica(postroom: RunningPostroom, database: Database) -> AsyncIterator[Logins]:
    """Logins of a second store on the same database."""
    passwords = Passwords(postroom.service_token)
    yield Logins(database, passwords, Issuers([], ""))
    passwords.close()


async def scram(store: StoreClient, login: str, password: str, peer: str) -> wire.ScramFinished:
    challenge = await store.scram_start(wire.ScramStart(username=login))
    message = b"n=x,r=abc,r=abcdef,s=" + b64encode(challenge.salt) + b",i=1,c=biws,r=abcdef"
    proof = client_proof(password, challenge.salt, challenge.iterations, message)
    return await store.scram_finish(
        wire.ScramFinish(username=login, auth_message=message, proof=proof, protocol="imap", peer=peer)
    )


async def test_password_and_proof_log_in_by_any_case_of_the_name(store: StoreClient, account: Any) -> None:
    peer = some_network()
    for login in (account.address, account.address.upper()):
        principal = await store.authenticate(credentials(login, PASSWORD, peer))
        assert (principal.account_id, principal.address) == (account.id, account.address)
        finished = await scram(store, login, PASSWORD, peer)
        assert finished.principal.account_id == account.id
    with pytest.raises(AuthenticationFailed):
        await scram(store, account.address, "wrong horse", peer)


async def test_the_server_proves_that_it_knows_the_password(store: StoreClient, account: Any) -> None:
    challenge = await store.scram_start(wire.ScramStart(username=account.address))
    message = b"any message"
    proof = client_proof(PASSWORD, challenge.salt, challenge.iterations, message)
    finished = await store.scram_finish(
        wire.ScramFinish(
            username=account.address, auth_message=message, proof=proof, protocol="imap", peer=some_network()
        )
    )
    verifier = make_verifier(PASSWORD, challenge.salt, challenge.iterations)
    assert finished.signature == verifier.check(message, proof)


async def test_names_without_account_look_like_any_other(store: StoreClient, account: Any, replica: Logins) -> None:
    real = await store.scram_start(wire.ScramStart(username=account.address))
    fake = await store.scram_start(wire.ScramStart(username="nobody@example.test"))
    assert (len(fake.salt), fake.iterations) == (len(real.salt), real.iterations)
    assert fake == await replica.scram_start("Nobody@example.test")
    assert fake.salt != (await store.scram_start(wire.ScramStart(username="none@example.test"))).salt
    peer = some_network()
    for login in ("nobody@example.test", "", "\0", "\ud800", "x" * 100_000):
        with pytest.raises(AuthenticationFailed):
            await replica.authenticate(login, PASSWORD, "imap", peer)


async def test_a_name_that_is_prepared_differently_is_the_same(store: StoreClient, account: Any) -> None:
    await store.authenticate(credentials("\u00ad" + account.address, PASSWORD, some_network()))


async def test_guessing_is_slowed_down_on_all_replicas(store: StoreClient, account: Any, replica: Logins) -> None:
    peer = some_network()
    for _ in range(guard.PAIR.free):
        with pytest.raises(AuthenticationFailed):
            await store.authenticate(credentials(account.address, "wrong", peer))
    # The right one neither: nobody learns anything before the pause is over.
    for password in ("wrong", PASSWORD):
        with pytest.raises(TooManyLogins):
            await replica.authenticate(account.address, password, "pop3", peer)
        with pytest.raises(TooManyLogins):
            await scram(store, account.address, password, peer)


async def test_a_stranger_locks_nobody_out(store: StoreClient, account: Any, replica: Logins) -> None:
    home, away = some_network(), some_network()
    await store.authenticate(credentials(account.address, PASSWORD, home))
    for _ in range(guard.ATTACKED + 1):
        stranger = some_network()
        with pytest.raises(AuthenticationFailed):
            await scram(store, account.address, "wrong", stranger)
    with pytest.raises(TooManyLogins):  # each of them has one try now
        await scram(store, account.address, "wrong", stranger)
    for peer in (home, away):
        await replica.authenticate(account.address, PASSWORD, "imap", peer)
        await store.authenticate(credentials(account.address, PASSWORD, peer))


async def test_attempts_at_the_same_moment_get_no_further(account: Any, replica: Logins) -> None:
    peer = some_network()

    async def guess() -> bool:
        try:
            await replica.authenticate(account.address, secrets.token_hex(), "imap", peer)
        except AuthenticationFailed:
            return True
        except TooManyLogins:
            return False
        raise AssertionError("the guess was right")

    # Fewer than the database's connections: none has to wait for one, which only lasts 5 s.
    checked = await asyncio.gather(*(guess() for _ in range(15)))
    # One more if this took longer than the first pause.
    assert guard.PAIR.free <= checked.count(True) <= guard.PAIR.free + 1


async def test_a_client_may_open_many_connections_at_once(account: Any, replica: Logins, store: StoreClient) -> None:
    """From a network that the account doesn't know yet, with nothing remembered."""
    many = guard.PAIR.free * 2
    peer = some_network()
    await asyncio.gather(*(replica.authenticate(account.address, PASSWORD, "imap", peer) for _ in range(many)))
    peer = some_network()
    finished = await asyncio.gather(*(scram(store, account.address, PASSWORD, peer) for _ in range(many)))
    assert {each.principal.account_id for each in finished} == {account.id}


async def test_a_neighbour_costs_little_patience_only(account: Any, replica: Logins, database: Database) -> None:
    peer = some_network()
    await replica.authenticate(account.address, PASSWORD, "imap", peer)
    async with database.transaction() as connection:
        await run(
            connection,
            "UPDATE login_failure SET failures = 1000, last_at = now() - make_interval(secs => :ago)"
            " WHERE account = :login AND network = :network",
            login=account.address,
            network=guard.network_of(peer),
            ago=guard.KNOWN.cap_s + 0.1,
        )
    await replica.authenticate(account.address, PASSWORD, "imap", peer)


async def test_one_network_cannot_try_many_names(store: StoreClient, account: Any, replica: Logins) -> None:
    peer = some_network()
    for number in range(guard.NETWORK.free):
        with pytest.raises(AuthenticationFailed):
            await scram(store, f"user{number}@example.test", "password1", peer)
    with pytest.raises(TooManyLogins):
        await replica.authenticate(account.address, PASSWORD, "imap", peer)
    await replica.authenticate(account.address, PASSWORD, "imap", some_network())


async def test_a_right_password_starts_the_count_afresh(account: Any, replica: Logins) -> None:
    peer = some_network()
    for password in ["wrong", "wrong", PASSWORD] * 4:
        try:
            await replica.authenticate(account.address, password, "imap", peer)
        except AuthenticationFailed:
            assert password == "wrong"
        else:
            assert password == PASSWORD


async def test_clients_that_come_back_cost_nothing(account: Any, database: Database, postroom: RunningPostroom) -> None:
    passwords = Passwords(postroom.service_token)
    logins, peer = Logins(database, passwords, Issuers([], "")), some_network()
    await logins.authenticate(account.address, PASSWORD, "imap", peer)
    passwords.close()  # from here on argon2 would raise RuntimeError
    for _ in range(10):
        await logins.authenticate(account.address, PASSWORD, "imap", peer)
    with pytest.raises(RuntimeError):
        await logins.authenticate(account.address, "another", "imap", peer)


async def test_failures_are_told(account: Any, replica: Logins, database: Database) -> None:
    async with database.transaction() as connection:
        # The publisher of the running store waits for this lock with what it would take away.
        await run(connection, "LOCK TABLE statistic IN ACCESS EXCLUSIVE MODE")
        peer = some_network()
        for login in (account.address, "nobody@example.test"):
            with pytest.raises(AuthenticationFailed):
                await replica.authenticate(login, "my secret", "smtp", peer)
        rows = await run(connection, "SELECT account_id, content FROM event WHERE type = 'login.failed' ORDER BY id")
        told = [(row.account_id, row.content) for row in rows if row.content["peer"] == peer]
    assert told == [
        (account.id, {"login": account.address, "service": "smtp", "peer": peer}),
        (None, {"service": "smtp", "peer": peer}),
    ]


async def test_passwords_of_other_alphabets(rest: aiohttp.ClientSession, store: StoreClient) -> None:
    login = f"{secrets.token_hex(6)}@example.test"
    password = "pa\u00dfw\u00f6rter\u2168"
    async with rest.post("/v1/accounts", json={"address": login, "password": password}) as response:
        assert response.status == 201
    peer = some_network()
    await store.authenticate(credentials(login, "pa\u00dfwo\u0308rterIX", peer))
    await scram(store, login, "pa\u00dfw\u00f6rterIX", peer)  # clients prepare before they prove


async def test_accounts_of_former_versions_get_their_verifier_with_the_next_login(
    store: StoreClient, account: Any, replica: Logins, database: Database
) -> None:
    async with database.transaction() as connection:
        await run(
            connection,
            "UPDATE account SET scram_salt = NULL, scram_iterations = NULL, scram_stored_key = NULL,"
            " scram_server_key = NULL WHERE id = :id",
            id=account.id,
        )
    peer = some_network()
    with pytest.raises(AuthenticationFailed):
        await scram(store, account.address, PASSWORD, peer)
    await replica.authenticate(account.address, PASSWORD, "imap", peer)
    await scram(store, account.address, PASSWORD, peer)


def test_networks() -> None:
    assert guard.network_of("192.0.2.77") == guard.network_of("::ffff:192.0.2.1") == "192.0.2.0/24"
    assert guard.network_of("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert guard.network_of("fe80::1%eth0") == "fe80::/64"
    assert guard.network_of("unknown") == "unknown"


def test_pauses_grow_up_to_their_limit() -> None:
    limit = guard.Limit(5, 1.0, 900.0)
    assert [limit.wait_s(failures, 0.0) for failures in (0, 4, 5, 6, 8, 15, 10_000)] == [0, 0, 1, 2, 8, 900, 900]
    assert limit.wait_s(8, 7.0) == 1.0
    assert limit.wait_s(10_000, guard.WINDOW_S) == 0
