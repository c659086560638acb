"""The maildrop lock across replicas: who has it, when it is free, what without it is refused."""

from __future__ import annotations

import contextlib
import poplib
import time
from uuid import UUID, uuid4

import pytest

from mail_runtime.contracts.errors import Conflict
from mail_runtime.contracts.store import CloseMaildrop, KeepMaildrops, OpenMaildrop
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver, open_pop3
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom
from pop3.locks import LEASE_S, Locks

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"


def log_in(port: int, user: User) -> poplib.POP3:
    client = poplib.POP3(HOST, port, timeout=TIMEOUT_S)
    try:
        client.user(user.address)
        client.pass_(user.password)
    except poplib.error_proto:
        client.close()
        raise
    return client


def opening(holder: UUID, lease_s: float = 60.0) -> OpenMaildrop:
    return OpenMaildrop(owner=uuid4(), holder=holder, lease_s=lease_s)


@pytest.fixture
def user(postroom: RunningPostroom) -> User:
    return Rest(postroom).make_user()


async def account_id(postroom: RunningPostroom, user: User) -> UUID:
    return UUID(Rest(postroom).get(f"/v1/accounts/{user.address}")["id"])


def test_replicas_share_the_lock(postroom: RunningPostroom, replica: Replica, user: User) -> None:
    first = open_pop3(postroom, user)
    other = replica()["pop3"]
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        log_in(other, user)
    first.quit()
    second = log_in(other, user)
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        open_pop3(postroom, user)
    second.quit()
    open_pop3(postroom, user).quit()


def test_a_killed_process_frees_its_locks(postroom: RunningPostroom, user: User) -> None:
    deliver(postroom, user, MESSAGE)
    first = open_pop3(postroom, user)
    first.dele(1)
    postroom.kill("pop3")
    postroom.wait_ready("pop3")
    free_by = time.monotonic() + LEASE_S + TIMEOUT_S
    first.close()
    client = None
    while client is None and time.monotonic() < free_by:
        with contextlib.suppress(poplib.error_proto):
            client = open_pop3(postroom, user)
    assert client is not None, "the lock outlives its process"
    assert client.stat()[0] == 1, "nothing was removed"
    client.quit()


def test_shared_maildrops(postroom: RunningPostroom, replica: Replica, user: User) -> None:
    deliver(postroom, user, MESSAGE, MESSAGE)
    port = replica(lock="shared")["pop3"]
    first, second = log_in(port, user), log_in(port, user)
    first.dele(1)
    first.quit()
    assert second.stat()[0] == 2
    second.dele(1)
    second.dele(2)
    second.quit()
    assert Rest(postroom).messages(user) == []


def test_time_between_logins(postroom: RunningPostroom, replica: Replica, user: User) -> None:
    port, other = replica(login_delay_s=600)["pop3"], replica(login_delay_s=600)["pop3"]
    client = log_in(port, user)
    assert client.capa()["LOGIN-DELAY"] == ["600"]
    client.quit()
    for number in (port, other):
        with pytest.raises(poplib.error_proto, match=r"\[LOGIN-DELAY\]"):
            log_in(number, user)
    patient = replica(login_delay_s=0)["pop3"]
    log_in(patient, user).quit()


async def test_a_lock_that_ran_out_can_be_taken_and_its_owner_is_told(postroom: RunningPostroom, user: User) -> None:
    account = await account_id(postroom, user)
    async with StoreClient(postroom.api_url, postroom.service_token) as store:
        slow, quick = Locks(store), Locks(store)
        stale = opening(slow.holder, lease_s=0.0)
        lost: list[bool] = []
        drop = await store.open_maildrop(account, stale)
        slow.hold(stale.owner, lambda: lost.append(True))
        fresh = opening(quick.holder)
        await store.open_maildrop(account, fresh)
        await slow.renew()
        assert lost == [True]
        with pytest.raises(Conflict):
            await store.close_maildrop(account, CloseMaildrop(mailbox_id=drop.mailbox_id, owner=stale.owner))
        await store.close_maildrop(account, CloseMaildrop(mailbox_id=drop.mailbox_id, owner=fresh.owner))


async def test_a_lock_that_nobody_else_took_is_renewed_however_late(postroom: RunningPostroom, user: User) -> None:
    account = await account_id(postroom, user)
    async with StoreClient(postroom.api_url, postroom.service_token) as store:
        wanted = opening(uuid4(), lease_s=0.0)
        drop = await store.open_maildrop(account, wanted)
        keep = KeepMaildrops(holder=wanted.holder, owners=[wanted.owner], lease_s=60.0)
        assert await store.keep_maildrops(keep) == []
        with pytest.raises(Conflict):
            await store.open_maildrop(account, opening(uuid4()))
        await store.close_maildrop(account, CloseMaildrop(mailbox_id=drop.mailbox_id, owner=wanted.owner))


async def test_without_a_store_no_lock_is_lost() -> None:
    async with StoreClient("http://127.0.0.1:1", "token") as store:
        locks = Locks(store)
        lost: list[bool] = []
        locks.hold(uuid4(), lambda: lost.append(True))
        await locks.renew()
        assert lost == []
