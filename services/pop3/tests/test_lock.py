"""The maildrop lock against a real store."""

from __future__ import annotations

from uuid import uuid4

import pytest

from mail_proto.pop3.errors import InUse
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.contracts.store import Credentials
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import Rest
from mail_testkit.running import RunningPostroom
from pop3.lock import Lock, LockLost


async def test_one_holder_at_a_time(postroom: RunningPostroom) -> None:
    user = Rest(postroom).make_user()
    async with StoreClient(postroom.api_url, postroom.service_token) as store:
        principal = await store.authenticate(
            Credentials(username=user.address, password=user.password, protocol="pop3", peer="127.0.0.1")
        )
        first, second = Lock(store, principal.account_id), Lock(store, principal.account_id)
        await first.acquire()
        await first.renew()
        with pytest.raises(InUse):
            await second.acquire()
        with pytest.raises(LockLost):
            await second.renew()
        await second.release()
        with pytest.raises(InUse):
            await second.acquire()
        await first.release()
        await second.acquire()
        await second.release()


async def test_without_a_store() -> None:
    async with StoreClient("http://127.0.0.1:1", "token") as store:
        lock = Lock(store, uuid4())
        with pytest.raises(Unavailable):
            await lock.acquire()
        await lock.release()
