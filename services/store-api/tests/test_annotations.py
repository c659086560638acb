"""Annotations (RFC 5464): limits, all or none, and who sees whose."""

from __future__ import annotations

from uuid import uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound, NotPermitted, OverQuota, Refused, TooLarge
from mail_runtime.contracts.store.annotations import MAX_VALUE_OCTETS, FindAnnotations, SetAnnotations
from mail_runtime.store_client import StoreClient
from store_api.mailboxes.annotations import MAX_ENTRIES, MAX_OCTETS

from .conftest import PASSWORD, Account

ALL = FindAnnotations(entries=["/private", "/shared"], below=True)


def entries(number: int, value: bytes = b"x") -> SetAnnotations:
    return SetAnnotations(values={f"/private/e{at}": value for at in range(number)})


async def test_limits_and_all_or_none(store: StoreClient, account: Account) -> None:
    inbox = account.inbox.id
    await store.set_annotations(account.id, inbox, entries(MAX_ENTRIES))
    for wanted, error in (
        (SetAnnotations(values={"/private/e0": b"y", "/private/more": b""}), Refused),
        (SetAnnotations(values={"/private/e0": b"y", "/shared/x": b"x" * (MAX_VALUE_OCTETS + 1)}), TooLarge),
        (SetAnnotations(values={"/private/e0": b"y", "/public/x": b""}), Refused),
    ):
        with pytest.raises(error):
            await store.set_annotations(account.id, inbox, wanted)
    # One goes, another comes; the mailbox's shared ones are counted apart.
    wanted = SetAnnotations(values={"/private/e0": None, "/private/more": b"", "/shared/x": b"y" * MAX_VALUE_OCTETS})
    await store.set_annotations(account.id, inbox, wanted)
    found = await store.annotations(account.id, inbox, ALL)
    assert len(found) == MAX_ENTRIES + 1
    assert "/private/e0" not in found
    assert found["/shared/x"] == b"y" * MAX_VALUE_OCTETS
    assert set(found.values()) == {b"x", b"", b"y" * MAX_VALUE_OCTETS}


async def test_octets_of_an_account_are_bounded(store: StoreClient, account: Account) -> None:
    full = MAX_OCTETS // MAX_VALUE_OCTETS
    half = full // 2
    await store.set_annotations(account.id, account.inbox.id, entries(half, b"x" * MAX_VALUE_OCTETS))
    await store.set_annotations(account.id, None, entries(full - half, b"x" * MAX_VALUE_OCTETS))
    with pytest.raises(OverQuota):
        await store.set_annotations(account.id, None, SetAnnotations(values={"/private/one-more": b"x"}))
    await store.set_annotations(account.id, None, SetAnnotations(values={"/private/e0": b"x"}))
    await store.set_annotations(account.id, None, SetAnnotations(values={"/private/one-more": b"x"}))


async def test_nobody_else_sees_them(
    store: StoreClient, rest: aiohttp.ClientSession, account: Account, other_account: Account
) -> None:
    inbox = account.inbox.id
    both = SetAnnotations(values={"/private/a": b"mine", "/shared/a": b"ours"})
    await store.set_annotations(account.id, inbox, both)
    await store.set_annotations(account.id, None, SetAnnotations(values={"/private/a": b"mine"}))
    for question in (
        store.annotations(other_account.id, inbox, ALL),
        store.set_annotations(other_account.id, inbox, both),
        store.annotations(account.id, uuid4(), ALL),
    ):
        with pytest.raises(NotFound):
            await question
    assert list(await store.annotations(other_account.id, None, ALL)) == ["/shared/admin"]
    await store.set_rights(account.id, inbox, wire.SetRights(identifier=other_account.address, rights="lp"))
    assert await store.annotations(other_account.id, inbox, ALL) == {"/shared/a": b"ours"}
    with pytest.raises(NotPermitted):
        await store.set_annotations(other_account.id, inbox, both)
    await store.set_annotations(other_account.id, inbox, SetAnnotations(values={"/private/a": b"theirs"}))
    assert await store.annotations(account.id, inbox, ALL) == {"/private/a": b"mine", "/shared/a": b"ours"}
    # What somebody wrote for himself goes with him.
    async with rest.delete(f"/v1/accounts/{other_account.address}") as response:
        assert response.status == 204
    async with rest.post("/v1/accounts", json={"address": other_account.address, "password": PASSWORD}) as response:
        again = (await response.json())["id"]
    await store.set_rights(account.id, inbox, wire.SetRights(identifier=other_account.address, rights="lr"))
    assert await store.annotations(again, inbox, ALL) == {"/shared/a": b"ours"}
