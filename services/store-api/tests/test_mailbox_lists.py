"""Which mailboxes an account has, what they are called and what they are for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Conflict, NotFound, Refused, StoreError
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database, run
from store_api.mailboxes.mailboxes import MAX_MAILBOXES

MESSAGE = b"Subject: one\r\n\r\nbody\r\n"


async def by_name(store: StoreClient, account: Any) -> dict[str, wire.Mailbox]:
    return {mailbox.name: mailbox for mailbox in await store.mailboxes(account.id)}


async def test_a_mailbox_is_created_for_a_special_use(store: StoreClient, account: Any) -> None:
    """RFC 6154 §3."""
    with pytest.raises(Conflict, match="Sent is the mailbox"):
        await store.create_mailbox(account.id, "mine", "\\sent")
    for use in ("\\All", "\\Flagged", "\\Inbox", "Sent", ""):
        with pytest.raises(Refused, match="no special use"):
            await store.create_mailbox(account.id, "mine", use)
    await store.change_mailbox(account.id, account.mailboxes["Sent"].id, wire.ChangeMailbox(special_use=""))
    made = await store.create_mailbox(account.id, "above/mine", "\\sent")
    found = await by_name(store, account)
    assert (made.special_use, found["above"].special_use, found["Sent"].special_use) == ("\\Sent", None, None)
    with pytest.raises(Conflict):
        await store.change_mailbox(account.id, found["Sent"].id, wire.ChangeMailbox(special_use="\\Sent"))
    with pytest.raises(Refused, match="INBOX"):
        await store.change_mailbox(account.id, account.inbox.id, wire.ChangeMailbox(special_use="\\Sent"))


@pytest.mark.parametrize("name", ["\u2028", "a\u0085b", "a/b//c", "//", "é" * 501, "/".join("x" * 51)])
async def test_names_that_are_none_change_nothing(store: StoreClient, account: Any, name: str) -> None:
    before = await by_name(store, account)
    for call in (
        store.create_mailbox(account.id, name),
        store.change_mailbox(account.id, account.mailboxes["Sent"].id, wire.ChangeMailbox(name=name)),
        store.subscribe(account.id, name, subscribed=True),
    ):
        with pytest.raises(Refused):
            await call
    assert await by_name(store, account) == before


@pytest.mark.parametrize(
    "name", ["日本語/メール", "a%b*c", '~ \\ "quoted"', "e\u0301", "é" * 500, "InboX2", "/".join("x" * 50)]
)
async def test_names_are_kept_as_they_are(store: StoreClient, account: Any, name: str) -> None:
    assert (await store.create_mailbox(account.id, name)).name == name


async def test_inbox_is_one_in_any_case(store: StoreClient, account: Any) -> None:
    assert (await store.create_mailbox(account.id, "iNbOx/sub")).name == "INBOX/sub"
    await store.change_mailbox(account.id, account.inbox.id, wire.ChangeMailbox(name="old"))
    assert {"INBOX", "INBOX/sub", "old"} <= set(await by_name(store, account)), "inferiors of INBOX stay"


async def test_there_are_only_so_many_mailboxes(store: StoreClient, database: Database, account: Any) -> None:
    async with database.transaction() as connection:
        await run(
            connection,
            "INSERT INTO mailbox (account_id, id, name)"
            " SELECT :account_id, gen_random_uuid(), 'many ' || n FROM generate_series(1, :number) AS n",
            account_id=account.id,
            number=MAX_MAILBOXES - 1 - len(account.mailboxes),
        )
    with pytest.raises(Refused, match="at most"):
        await store.create_mailbox(account.id, "last/but one")
    await store.create_mailbox(account.id, "last")
    with pytest.raises(Refused, match="at most"):
        await store.create_mailbox(account.id, "one more")


async def test_renaming_refuses_what_clashes(store: StoreClient, account: Any) -> None:
    for name in ("a/x", "b/x"):
        await store.create_mailbox(account.id, name)
    found = await by_name(store, account)
    await store.delete_mailbox(account.id, found["b"].id)
    with pytest.raises(Conflict, match="b/x"):
        await store.change_mailbox(account.id, found["a"].id, wire.ChangeMailbox(name="b"))
    same = await store.change_mailbox(account.id, found["a"].id, wire.ChangeMailbox(name="a"))
    assert same.name == "a"
    await store.create_mailbox(account.id, "a/" + "y" * 400)
    with pytest.raises(Refused, match="too long"):
        await store.change_mailbox(account.id, found["a"].id, wire.ChangeMailbox(name="z" * 700))
    assert "a" in await by_name(store, account)


async def test_uid_validity_of_a_name_never_goes_back(store: StoreClient, account: Any) -> None:
    """RFC 9051 §2.3.1.1: whoever remembers the name would take other messages for his."""
    older = await store.create_mailbox(account.id, "name")
    await store.create_mailbox(account.id, "name/below")
    await store.change_mailbox(account.id, older.id, wire.ChangeMailbox(name="other"))
    back = await store.change_mailbox(account.id, older.id, wire.ChangeMailbox(name="name"))
    assert back.uid_validity == older.uid_validity, "the same messages under the same name"
    await store.change_mailbox(account.id, older.id, wire.ChangeMailbox(name="other"))
    newer = await store.create_mailbox(account.id, "name")
    below = await store.create_mailbox(account.id, "name/below")
    await store.delete_mailbox(account.id, below.id)
    await store.delete_mailbox(account.id, newer.id)
    back = await store.change_mailbox(account.id, older.id, wire.ChangeMailbox(name="name"))
    assert back.uid_validity > newer.uid_validity > older.uid_validity
    assert (await by_name(store, account))["name/below"].uid_validity > below.uid_validity


async def test_subscriptions_outlive_mailboxes(store: StoreClient, account: Any) -> None:
    """RFC 9051 §6.3.7, §6.3.8."""
    one, two = [await store.create_mailbox(account.id, name) for name in ("one", "two")]
    await store.subscribe(account.id, "two", subscribed=False)
    assert not (await by_name(store, account))["two"].subscribed
    await store.delete_mailbox(account.id, one.id)
    await store.delete_mailbox(account.id, two.id)
    assert await store.former_subscriptions(account.id) == ["one"]
    for name, subscribed in (("one", True), ("two", False), ("three/four", False)):
        again = await store.create_mailbox(account.id, name, subscribed=False)
        assert again.subscribed == subscribed
        assert name != "three/four" or not (await by_name(store, account))["three"].subscribed
        await store.delete_mailbox(account.id, again.id)
    assert await store.former_subscriptions(account.id) == ["one"]
    for name in ("one", "two", "never"):
        with pytest.raises(NotFound):
            await store.subscribe(account.id, name, subscribed=True)
    with pytest.raises(NotFound):
        await store.subscribe(account.id, "never", subscribed=False)
    again = await store.create_mailbox(account.id, "one")
    assert await store.former_subscriptions(account.id) == []
    await store.change_mailbox(account.id, again.id, wire.ChangeMailbox(name="renamed"))
    assert await store.former_subscriptions(account.id) == ["one"]
    await store.subscribe(account.id, "one", subscribed=False)
    assert await store.former_subscriptions(account.id) == []


async def test_retention_is_a_number_of_days(store: StoreClient, account: Any) -> None:
    for days, kept in ((30, 30), (0, 0), (-1, None)):
        changed = await store.change_mailbox(account.id, account.inbox.id, wire.ChangeMailbox(retention_days=days))
        assert changed.retention_days == kept
    for days in (-2, 36_501):
        with pytest.raises(Refused):
            await store.change_mailbox(account.id, account.inbox.id, wire.ChangeMailbox(retention_days=days))


async def test_renamed_and_deleted_at_once(store: StoreClient, account: Any) -> None:
    """Each call ends well or with one clear error, and the list is as if they had come one after the other."""

    async def outcome(call: Any) -> type[StoreError] | None:
        try:
            await call
        except StoreError as error:
            return type(error)
        return None

    for _ in range(5):
        mailbox = await store.create_mailbox(account.id, "a")
        await store.create_mailbox(account.id, "a/b")
        before = set(await by_name(store, account))
        renamed, deleted, again = await asyncio.gather(
            outcome(store.change_mailbox(account.id, mailbox.id, wire.ChangeMailbox(name="z"))),
            outcome(store.delete_mailbox(account.id, mailbox.id)),
            outcome(store.delete_mailbox(account.id, mailbox.id)),
        )
        assert sorted(str(kind) for kind in (deleted, again)) == sorted([str(None), str(NotFound)])
        after = await by_name(store, account)
        if renamed is None:
            assert set(after) == before - {"a", "a/b"} | {"z/b"}
        else:
            assert renamed is NotFound
            assert set(after) == before - {"a"}
        for name in ("a/b", "z/b"):
            if name in after:
                await store.delete_mailbox(account.id, after[name].id)


async def test_two_create_the_same(store: StoreClient, account: Any) -> None:
    made = await asyncio.gather(
        *(store.create_mailbox(account.id, "new/same") for _ in range(6)), return_exceptions=True
    )
    assert sorted(type(result) is Conflict for result in made) == [False] + [True] * 5


async def test_recent_messages_are_claimed_once(store: StoreClient, account: Any) -> None:
    """RFC 3501 §2.3.2."""
    inbox = (await by_name(store, account))["INBOX"]
    assert inbox.recent_uid == 0
    for _ in range(3):
        await store.append(account.id, inbox.id, wire.AppendHeader(), b"Subject: x\r\n\r\n")
    assert await store.recent(account.id, [inbox.id]) == {inbox.id: 3}
    assert sorted(await asyncio.gather(*(store.claim_recent(account.id, inbox.id, 2) for _ in range(4)))) == [
        0,
        2,
        2,
        2,
    ]
    assert await store.recent(account.id, [inbox.id]) == {inbox.id: 1}
    assert await store.claim_recent(account.id, inbox.id, 1) == 2
    after = (await by_name(store, account))["INBOX"]
    assert (after.recent_uid, after.highest_modseq) == (2, inbox.highest_modseq + 3)
    with pytest.raises(NotFound):
        await store.claim_recent(account.id, account.id, 1)
