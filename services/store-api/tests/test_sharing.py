"""Mailboxes of others (RFC 4314): nobody does in one what he has no right to, and nobody of another domain anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound, NotPermitted, OverQuota, Refused, StoreError
from mail_runtime.contracts.store import search as wire_search
from mail_runtime.contracts.store.sharing import RIGHTS
from mail_runtime.contracts.store.uids import compact, joined
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database, run

from .conftest import MESSAGE, PASSWORD, Account


async def give(store: StoreClient, owner: Account, mailbox: wire.Mailbox, to: str, rights: str) -> None:
    await store.set_rights(owner.id, mailbox.id, wire.SetRights(identifier=to, rights=rights))


async def elsewhere(store: StoreClient, account: Account) -> dict[str, wire.Mailbox]:
    return {m.name: m for m in await store.mailboxes(account.id, elsewhere=True) if m.owner_id is not None}


async def filled(store: StoreClient, owner: Account, *flags: str) -> wire.Mailbox:
    """A mailbox `Work` with one message."""
    made = await store.create_mailbox(owner.id, "Work")
    await store.append(owner.id, made.id, wire.AppendHeader(flags=list(flags)), MESSAGE)
    return made


async def blob_of(store: StoreClient, owner: Account, mailbox: wire.Mailbox) -> UUID:
    return (await store.changes(owner.id, mailbox.id)).blob_ids[0]


async def in_domain(store: StoreClient, rest: aiohttp.ClientSession, domain: str) -> Account:
    """A new account."""
    address = f"{uuid4().hex[:12]}@{domain}"
    async with rest.post("/v1/accounts", json={"address": address, "password": PASSWORD}) as response:
        assert response.status == 201, await response.text()
        account_id = UUID((await response.json())["id"])
    return Account(account_id, address, {m.name: m for m in await store.mailboxes(account_id)})


async def new_domain(rest: aiohttp.ClientSession) -> str:
    name = f"sharing-{uuid4().hex[:10]}.test"
    async with rest.post("/v1/domains", json={"name": name}) as response:
        assert response.status == 201
    return name


@pytest.fixture
async def domain(rest: aiohttp.ClientSession) -> str:
    """Of this test alone: `anyone` is all of a domain."""
    return await new_domain(rest)


@pytest.fixture
async def account(store: StoreClient, rest: aiohttp.ClientSession, domain: str) -> Account:
    return await in_domain(store, rest, domain)


@pytest.fixture
async def other_account(store: StoreClient, rest: aiohttp.ClientSession, domain: str) -> Account:
    return await in_domain(store, rest, domain)


@pytest.fixture
async def stranger(store: StoreClient, rest: aiohttp.ClientSession) -> Account:
    """Somebody of another domain."""
    return await in_domain(store, rest, await new_domain(rest))


Attempt = Callable[[StoreClient, Account, wire.Mailbox, UUID], Awaitable[Any]]
ALL = compact([1])

# What can be tried with another's mailbox (and a blob of it), and the rights that it takes.
ATTEMPTS: dict[str, tuple[str, Attempt]] = {
    "columns": ("r", lambda s, a, m, b: s.columns(a.id, m.id)),
    "changes since": ("r", lambda s, a, m, b: s.columns(a.id, m.id, 1)),
    "objects": ("r", lambda s, a, m, b: s.columns(a.id, m.id, with_objects=True)),
    "lists": ("r", lambda s, a, m, b: s.changes(a.id, m.id)),
    "search": ("r", lambda s, a, m, b: s.search(a.id, m.id, wire_search.Search(key=wire_search.Everything()))),
    "bodies": ("r", lambda s, a, m, b: s.bodies(a.id, [b])),
    "body range": ("r", lambda s, a, m, b: s.body_range(a.id, b, 0, 10)),
    "seen": ("rs", lambda s, a, m, b: s.store_flags(a.id, m.id, store_flags("add", "\\Seen"))),
    "flagged": ("rw", lambda s, a, m, b: s.store_flags(a.id, m.id, store_flags("add", "\\Flagged"))),
    "deleted": ("rt", lambda s, a, m, b: s.store_flags(a.id, m.id, store_flags("add", "\\Deleted"))),
    "append": ("i", lambda s, a, m, b: s.append(a.id, m.id, wire.AppendHeader(), MESSAGE, elsewhere=True)),
    "multiappend": (
        "i",
        lambda s, a, m, b: s.append_all(a.id, m.id, [wire.AppendHeader()] * 2, [MESSAGE] * 2, elsewhere=True),
    ),
    "copy out": ("r", lambda s, a, m, b: s.copy(a.id, m.id, wire.CopyMessages(uids=ALL, target_id=a.inbox.id))),
    "copy in": ("i", lambda s, a, m, b: s.copy(a.id, a.inbox.id, wire.CopyMessages(uids=ALL, target_id=m.id))),
    "move out": (
        "rte",
        lambda s, a, m, b: s.copy(a.id, m.id, wire.CopyMessages(uids=ALL, target_id=a.inbox.id, move=True)),
    ),
    "expunge": ("e", lambda s, a, m, b: s.expunge(a.id, m.id, wire.Expunge())),
    "expunge all": ("te", lambda s, a, m, b: s.expunge(a.id, m.id, wire.Expunge(force=True))),
    "delete": ("x", lambda s, a, m, b: s.delete_mailbox(a.id, m.id)),
    "rights": ("a", lambda s, a, m, b: s.rights(a.id, m.id)),
    "set rights": ("a", lambda s, a, m, b: s.set_rights(a.id, m.id, wire.SetRights(identifier="anyone", rights="l"))),
}


def store_flags(operation: Any, *flags: str) -> wire.StoreFlags:
    return wire.StoreFlags(uids=ALL, operation=operation, flags=list(flags))


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_each_thing_takes_its_rights_and_no_others(
    store: StoreClient, account: Account, other_account: Account, stranger: Account, name: str
) -> None:
    needed, attempt = ATTEMPTS[name]
    work = await filled(store, account)
    blob_id = await blob_of(store, account, work)
    for one in (other_account, stranger):  # without any right it isn't there
        with pytest.raises(NotFound):
            await attempt(store, one, work, blob_id)
    for missing in needed:  # seeing it, and all other rights, are not enough
        await give(store, account, work, other_account.address, "".join(set(RIGHTS) - {missing}))
        with pytest.raises((NotPermitted, NotFound)):
            await attempt(store, other_account, work, blob_id)
    assert (await store.changes(account.id, work.id)).flags == [[]], "nothing happened to it"
    await give(store, account, work, other_account.address, needed)
    await attempt(store, other_account, work, blob_id)


async def test_nobody_of_another_domain_gets_a_right(
    store: StoreClient, database: Database, account: Account, stranger: Account
) -> None:
    work = await filled(store, account)
    with pytest.raises(Refused, match="nobody of this domain"):
        await give(store, account, work, stranger.address, "lr")
    with pytest.raises(Refused, match="nobody of this domain"):
        await give(store, account, work, f"nobody@{uuid4().hex}.test", "lr")
    await give(store, account, work, "anyone", RIGHTS)
    assert not await elsewhere(store, stranger)
    # Not even with a row that says so.
    async with database.transaction() as connection:
        await run(
            connection,
            "INSERT INTO mailbox_right (account_id, mailbox_id, subject_id, is_negative, rights)"
            " VALUES (:account_id, :mailbox_id, :subject_id, false, 2047)",
            account_id=account.id,
            mailbox_id=work.id,
            subject_id=stranger.id,
        )
    blob_id = await blob_of(store, account, work)
    for _, attempt in ATTEMPTS.values():
        with pytest.raises(NotFound):
            await attempt(store, stranger, work, blob_id)
    assert await store.summaries(stranger.id, [blob_id]) == []
    assert await store.deleted(stranger.id, [work.id]) == {}


async def test_rights_add_up_and_are_taken_away(store: StoreClient, account: Account, other_account: Account) -> None:
    work = await filled(store, account)
    name = f"Shared/{account.address}/Work"
    await give(store, account, work, "anyone", "lrw")
    await give(store, account, work, other_account.address, "lst")
    await give(store, account, work, f"-{other_account.address}", "wt")
    seen = (await elsewhere(store, other_account))[name]
    assert (seen.rights, seen.owner_id, seen.id) == ("lrs", account.id, work.id)
    assert [(one.identifier, one.rights) for one in await store.rights(account.id, work.id)] == [
        (account.address, RIGHTS),
        ("anyone", "lrw"),
        (other_account.address, "lst"),
        (f"-{other_account.address}", "wt"),
    ]
    change = wire.SetRights(identifier=other_account.address.upper(), rights="ls", how="remove")
    await store.set_rights(account.id, work.id, change)
    await store.set_rights(account.id, work.id, wire.SetRights(identifier="-anyone", rights="r", how="add"))
    assert (await elsewhere(store, other_account))[name].rights == "l"
    for identifier in ("anyone", "-anyone", other_account.address, f"-{other_account.address}"):
        await store.set_rights(account.id, work.id, wire.SetRights(identifier=identifier, rights=""))
    assert len(await store.rights(account.id, work.id)) == 1
    assert not await elsewhere(store, other_account)


async def test_the_owner_keeps_all_rights(store: StoreClient, account: Account, other_account: Account) -> None:
    work = await filled(store, account)
    await give(store, account, work, other_account.address, "la")
    await give(store, account, work, "-anyone", RIGHTS)
    for giver in (account, other_account):
        with pytest.raises((Refused, NotFound, NotPermitted)):
            await store.set_rights(giver.id, work.id, wire.SetRights(identifier=account.address, rights=""))
    with pytest.raises(Refused, match="is no right"):
        await give(store, account, work, other_account.address, "lq")
    await store.store_flags(account.id, work.id, store_flags("add", "\\Seen"))


async def test_flags_without_the_right_stay_as_they_are(
    store: StoreClient, account: Account, other_account: Account
) -> None:
    work = await filled(store, account, "\\Seen", "$own")

    async def flags() -> set[str]:
        return set((await store.changes(account.id, work.id)).flags[0])

    await give(store, account, work, other_account.address, "lrw")
    await store.store_flags(other_account.id, work.id, store_flags("replace", "\\Deleted", "\\Flagged"))
    assert await flags() == {"\\Seen", "\\Flagged"}
    await store.store_flags(other_account.id, work.id, store_flags("remove", "\\Seen", "\\Flagged"))
    assert await flags() == {"\\Seen"}
    with pytest.raises(NotPermitted):
        await store.store_flags(other_account.id, work.id, store_flags("replace", "\\Deleted"))
    await store.store_flags(other_account.id, work.id, store_flags("replace"))
    assert await flags() == {"\\Seen"}
    assert (await elsewhere(store, other_account))[f"Shared/{account.address}/Work"].unseen == 0


async def test_new_messages_have_the_flags_that_their_inserter_may_set(
    store: StoreClient, account: Account, other_account: Account
) -> None:
    """RFC 4314 §4: APPEND and COPY don't fail, they leave flags out."""
    box = await store.create_mailbox(account.id, "Box")
    await give(store, account, box, other_account.address, "it")
    header = wire.AppendHeader(flags=["\\Deleted", "\\Seen", "$Forwarded"])
    await store.append(other_account.id, box.id, header, MESSAGE, elsewhere=True)
    await store.append(other_account.id, other_account.inbox.id, header, MESSAGE)
    wanted = wire.CopyMessages(uids=ALL, target_id=box.id)
    copied = await store.copy(other_account.id, other_account.inbox.id, wanted)
    assert (copied.source_uids, copied.target_uids) == ([1], [2])
    changes = await store.changes(account.id, box.id)
    assert changes.flags == [["\\Deleted"], ["\\Deleted"]]
    assert (changes.mailbox.messages, changes.mailbox.unseen, changes.mailbox.octets) == (2, 2, 2 * len(MESSAGE))


async def test_the_owner_s_quota_counts(
    store: StoreClient, rest: aiohttp.ClientSession, account: Account, other_account: Account
) -> None:
    box = await store.create_mailbox(account.id, "Box")
    await give(store, account, box, other_account.address, "lrite")
    await store.append(other_account.id, other_account.inbox.id, wire.AppendHeader(), MESSAGE)
    await store.append(other_account.id, box.id, wire.AppendHeader(), MESSAGE, elsewhere=True)
    assert ((await store.quota(account.id)).messages, (await store.quota(other_account.id)).messages) == (1, 1)
    async with rest.patch(f"/v1/accounts/{account.address}", json={"quota_messages": 1}) as response:
        assert response.status == 200
    with pytest.raises(OverQuota):
        await store.append(other_account.id, box.id, wire.AppendHeader(), MESSAGE, elsewhere=True)
    for move in (False, True):
        wanted = wire.CopyMessages(uids=ALL, target_id=box.id, move=move)
        with pytest.raises(OverQuota):
            await store.copy(other_account.id, other_account.inbox.id, wanted)
    out = wire.CopyMessages(uids=ALL, target_id=other_account.inbox.id, move=True)
    await store.copy(other_account.id, box.id, out)
    assert ((await store.quota(account.id)).messages, (await store.quota(other_account.id)).messages) == (0, 2)
    body = (await store.bodies(other_account.id, (await store.changes(other_account.id, out.target_id)).blob_ids))[1]
    assert body == MESSAGE
    assert joined((await store.columns(account.id, box.id, 1)).expunged) == [(1, 1)]


async def test_what_was_moved_out_can_be_restored_by_its_owner(
    store: StoreClient, rest: aiohttp.ClientSession, account: Account, other_account: Account
) -> None:
    work = await filled(store, account)
    await give(store, account, work, other_account.address, "lrte")
    out = wire.CopyMessages(uids=ALL, target_id=other_account.inbox.id, move=True)
    await store.copy(other_account.id, work.id, out)
    async with rest.get(f"/v1/accounts/{account.address}/deleted") as response:
        assert len((await response.json())["items"]) == 1


async def test_mailboxes_are_made_renamed_and_deleted_elsewhere(
    store: StoreClient, account: Account, other_account: Account
) -> None:
    work = await store.create_mailbox(account.id, "Work")
    hidden = await store.create_mailbox(account.id, "Work/Hidden")
    await give(store, account, work, other_account.address, "lrk")
    prefix = f"Shared/{account.address}/"
    made = await store.create_mailbox(other_account.id, prefix + "Work/New/Deep")
    assert (made.name, made.owner_id, made.rights) == (prefix + "Work/New/Deep", account.id, "lrk")
    assert [one.identifier for one in await store.rights(account.id, made.id)] == [
        account.address,
        other_account.address,
    ], "rights are those of the mailbox above"
    for name in ("Top", "Work/Hidden/Below"):
        with pytest.raises(NotPermitted):
            await store.create_mailbox(other_account.id, prefix + name)
    for name in ("Shared/nobody@example.test/x", "Public/x", "Shared"):
        with pytest.raises((NotFound, Refused)):
            await store.create_mailbox(other_account.id, name)
    new = wire.ChangeMailbox(name=prefix + "Work/Renamed")
    with pytest.raises(NotPermitted):
        await store.change_mailbox(other_account.id, made.id, new)
    await give(store, account, made, other_account.address, "lx")
    await store.change_mailbox(other_account.id, made.id, new)
    assert "Work/Renamed" in {m.name for m in await store.mailboxes(account.id)}
    for bad in (wire.ChangeMailbox(name="Mine"), wire.ChangeMailbox(name="Shared/x@example.test/y")):
        with pytest.raises(StoreError):
            await store.change_mailbox(other_account.id, made.id, bad)
    with pytest.raises(NotPermitted):
        await store.change_mailbox(other_account.id, made.id, wire.ChangeMailbox(retention_days=1))
    with pytest.raises(Refused):
        await store.change_mailbox(account.id, hidden.id, wire.ChangeMailbox(name="Public/x"))
    await store.delete_mailbox(other_account.id, made.id)
    assert made.id not in {m.id for m in await store.mailboxes(account.id)}


async def test_subscriptions_are_the_reader_s_own(store: StoreClient, account: Account, other_account: Account) -> None:
    work = await filled(store, account)
    name = f"Shared/{account.address}/Work"
    with pytest.raises(NotFound):
        await store.subscribe(other_account.id, name, subscribed=True)
    await give(store, account, work, other_account.address, "lr")
    assert not (await elsewhere(store, other_account))[name].subscribed
    await store.subscribe(other_account.id, name, subscribed=True)
    assert (await elsewhere(store, other_account))[name].subscribed
    assert await store.former_subscriptions(other_account.id) == []
    await give(store, account, work, other_account.address, "")
    assert await store.former_subscriptions(other_account.id) == [name]
    await store.subscribe(other_account.id, name, subscribed=False)
    assert await store.former_subscriptions(other_account.id) == []


async def test_counters_are_for_readers(store: StoreClient, account: Account, other_account: Account) -> None:
    work = await filled(store, account, "\\Deleted")
    await give(store, account, work, other_account.address, "l")
    (seen,) = (await elsewhere(store, other_account)).values()
    assert (seen.messages, seen.unseen, seen.octets) == (0, 0, 0)
    assert await store.deleted(other_account.id, [work.id]) == {}
    await give(store, account, work, other_account.address, "lr")
    (seen,) = (await elsewhere(store, other_account)).values()
    assert (seen.messages, seen.unseen, seen.octets) == (1, 1, len(MESSAGE))
    assert (await store.deleted(other_account.id, [work.id]))[work.id].messages == 1


async def test_whoever_gets_an_address_later_doesn_t_get_its_rights(
    store: StoreClient, rest: aiohttp.ClientSession, account: Account, other_account: Account
) -> None:
    work = await filled(store, account)
    await give(store, account, work, other_account.address, "lr")
    await give(store, other_account, other_account.inbox, account.address, "lr")
    assert await elsewhere(store, account)
    async with rest.delete(f"/v1/accounts/{other_account.address}") as response:
        assert response.status == 204
    assert not await elsewhere(store, account), "what a deleted account shared is gone"
    assert len(await store.rights(account.id, work.id)) == 1
    again = {"address": other_account.address, "password": PASSWORD}
    async with rest.post("/v1/accounts", json=again) as response:
        account_id = UUID((await response.json())["id"])
    assert not [one for one in await store.mailboxes(account_id, elsewhere=True) if one.owner_id]


async def test_changes_of_rights_are_in_the_audit_log(
    store: StoreClient, rest: aiohttp.ClientSession, account: Account
) -> None:
    work = await filled(store, account)
    await give(store, account, work, "anyone", "lr")
    async with rest.get("/v1/audit", params={"limit": 1000}) as response:
        rows = [row for row in (await response.json())["items"] if row["object"] == account.address]
    assert any(
        row["action"] == "mailbox.share"
        and row["actor"] == f"account {account.address}"
        and row["detail"] == {"mailbox": "Work", "identifier": "anyone", "rights": "lr"}
        for row in rows
    )


async def test_copies_go_in_both_directions(store: StoreClient, account: Account, other_account: Account) -> None:
    """Mailboxes are locked in the order of accounts, whosever is the own one."""
    first, second = sorted([account, other_account], key=lambda one: one.id)
    for one, other in ((first, second), (second, first)):
        await give(store, one, one.inbox, other.address, "lri")
        await store.append(one.id, one.inbox.id, wire.AppendHeader(), MESSAGE)
    for one, other in ((first, second), (second, first)):
        wanted = wire.CopyMessages(uids=ALL, target_id=other.inbox.id)
        assert (await store.copy(one.id, one.inbox.id, wanted)).target_uids


async def test_rights_over_rest(
    store: StoreClient, rest: aiohttp.ClientSession, account: Account, other_account: Account
) -> None:
    work = await filled(store, account)
    path = f"/v1/accounts/{account.address}/mailboxes/{work.id}/rights"
    async with rest.put(f"{path}/{other_account.address}", json={"rights": "srl"}) as response:
        assert (response.status, await response.json()) == (
            200,
            {"identifier": other_account.address, "rights": "lrs"},
        )
    async with rest.get(path) as response:
        assert await response.json() == {
            "items": [
                {"identifier": account.address, "rights": RIGHTS},
                {"identifier": other_account.address, "rights": "lrs"},
            ]
        }
    assert await elsewhere(store, other_account)
    # It isn't the other's to give, whatever the path says.
    others = f"/v1/accounts/{other_account.address}/mailboxes/{work.id}/rights"
    await give(store, account, work, other_account.address, RIGHTS)
    for method, there in (("GET", others), ("PUT", f"{others}/anyone"), ("DELETE", f"{others}/anyone")):
        async with rest.request(method, there, json={"rights": "l"} if method == "PUT" else None) as response:
            assert response.status == 404
    there = others.removesuffix("/rights")
    for method, body in (("PATCH", {"subscribed": False}), ("DELETE", None)):
        async with rest.request(method, there, json=body) as response:
            assert response.status == 404
    async with rest.delete(f"{path}/{other_account.address}") as response:
        assert response.status == 204
    assert not await elsewhere(store, other_account)


async def test_public_mailboxes_are_those_of_the_domain_s_account(
    store: StoreClient,
    rest: aiohttp.ClientSession,
    domain: str,
    account: Account,
    other_account: Account,
    stranger: Account,
) -> None:
    news = await store.create_mailbox(account.id, "News")
    await store.create_mailbox(account.id, "Drafts/Unseen")
    await give(store, account, news, "anyone", "lr")
    async with rest.post("/v1/tokens", json={"name": "x", "scope": "domain", "domain": domain}) as response:
        token = (await response.json())["secret"]
    headers = {"Authorization": f"Bearer {token}"}
    for address, status in ((stranger.address, 422), (f"nobody@{domain}", 422), (account.address, 200)):
        change = {"public_account": address}
        async with rest.patch(f"/v1/domains/{domain}", json=change, headers=headers) as response:
            assert response.status == status, await response.text()
    (seen,) = await elsewhere(store, other_account)
    assert seen == "Public/News"
    assert {m.name for m in await store.mailboxes(account.id)} >= {"News"}
    await give(store, account, news, "anyone", "lrki")
    made = await store.create_mailbox(other_account.id, "Public/News/More")
    assert (made.name, made.owner_id, made.rights) == ("Public/News/More", account.id, "lrik")
    async with rest.patch(f"/v1/domains/{domain}", json={"public_account": None}) as response:
        assert (await response.json())["public_account"] is None
    assert f"Shared/{account.address}/News" in await elsewhere(store, other_account)
