"""Sessions beside each other: changes become visible in order, and each is told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import nats
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Refused
from mail_runtime.contracts.subjects import AccountChanged, MailboxChanged, account_subject, mailbox_subject
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S
from mail_testkit.running import RunningPostroom

MESSAGE: Final = b"Subject: one\r\n\r\nbody\r\n"


async def test_a_view_that_catches_up_misses_nothing(store: StoreClient, account: Any) -> None:
    """RFC 9051 §2.3.1.1, RFC 7162 §3.1: who has read up to a modseq never has to look below it again."""
    inbox = account.inbox.id
    done = asyncio.Event()

    async def write(number: int) -> None:
        for _ in range(10):
            uid = (await store.append(account.id, inbox, wire.AppendHeader(), MESSAGE)).uid
            flag = wire.StoreFlags(uids=[(max(1, uid - 5), uid)], operation="add", flags=[f"k{number}"])
            await store.store_flags(account.id, inbox, flag)
            if number % 2:
                await store.expunge(account.id, inbox, wire.Expunge(uids=[uid], force=True))
            else:
                await store.copy(account.id, inbox, wire.CopyMessages(uids=[uid], target_id=inbox))

    async def follow() -> tuple[dict[int, set[str]], int]:
        view: dict[int, set[str]] = {}
        known, highest_uid = 1, 0
        while True:
            is_last = done.is_set()
            changes = await store.changes(account.id, inbox, known)
            assert all(known < modseq <= changes.mailbox.highest_modseq for modseq in changes.modseqs)
            new = [uid for uid in changes.uids if uid not in view]
            assert all(uid > highest_uid for uid in new), "a uid appeared below one that was seen before"
            highest_uid = max([highest_uid, *changes.uids, *changes.expunged])
            for uid in changes.expunged:
                view.pop(uid, None)
            view |= {uid: set(flags) for uid, flags in zip(changes.uids, changes.flags, strict=True)}
            known = changes.mailbox.highest_modseq
            if is_last:
                return view, known

    followers = [asyncio.create_task(follow()) for _ in range(2)]
    await asyncio.gather(*(write(number) for number in range(6)))
    done.set()
    whole = await store.changes(account.id, inbox)
    for follower in followers:
        view, known = await follower
        assert known == whole.mailbox.highest_modseq
        assert view == {uid: set(flags) for uid, flags in zip(whole.uids, whole.flags, strict=True)}


@asynccontextmanager
async def told(postroom: RunningPostroom, account: Any) -> AsyncIterator[Callable[[], Any]]:
    """What is published about an account: call it for all that came since the last call."""
    client = await nats.connect(postroom.nats_url)
    subscription = [
        await client.subscribe(mailbox_subject(account.id)),
        await client.subscribe(account_subject(account.id)),
    ]
    await client.flush()

    async def collect(number: int) -> list[Any]:
        """The next messages; that there are no more is seen by the next call."""
        found: list[Any] = []
        async with asyncio.timeout(TIMEOUT_S):
            while len(found) < number:
                for each in subscription:
                    while each.pending_msgs:
                        message = await each.next_msg()
                        place = message.subject.split(".")
                        kind = MailboxChanged if place[0] == "mailbox" else AccountChanged
                        found.append((place[-1], msgspec.msgpack.decode(message.data, type=kind)))
                await asyncio.sleep(0)
        return sorted(found, key=str)

    yield collect
    await client.close()


async def test_each_change_is_told_once(postroom: RunningPostroom, store: StoreClient, account: Any) -> None:
    inbox, archive = account.inbox.id, account.mailboxes["Archive"].id
    lists = (str(account.id), AccountChanged(what="mailboxes"))

    def at(mailbox_id: Any, modseq: int) -> tuple[str, MailboxChanged]:
        return str(mailbox_id), MailboxChanged(modseq=modseq)

    async with told(postroom, account) as collect:
        for n in (1, 2):
            await store.append(account.id, inbox, wire.AppendHeader(), MESSAGE)
            assert await collect(1) == [at(inbox, n + 1)]
        flags = wire.StoreFlags(uids=[(1, 9)], operation="add", flags=["\\Seen"])
        await store.store_flags(account.id, inbox, flags)
        await store.store_flags(account.id, inbox, flags)  # changes nothing: isn't told
        with pytest.raises(Refused):
            await store.store_flags(account.id, inbox, wire.StoreFlags(uids=[1], operation="add", flags=["("]))
        assert await collect(1) == [at(inbox, 4)]
        await store.copy(account.id, inbox, wire.CopyMessages(uids=[(1, 2)], target_id=archive, move=True))
        assert await collect(2) == sorted([at(inbox, 5), at(archive, 2)], key=str)
        await store.copy(account.id, archive, wire.CopyMessages(uids=[1], target_id=archive, move=True))
        assert await collect(1) == [at(archive, 4)], "one message for a mailbox, however much changed in it"
        await store.expunge(account.id, archive, wire.Expunge(uids=[(1, 9)], force=True))
        assert await collect(1) == [at(archive, 5)]
        made = await store.create_mailbox(account.id, "new/below")
        assert await collect(1) == [lists]
        await store.change_mailbox(account.id, made.id, wire.ChangeMailbox(name="other", subscribed=False))
        assert await collect(1) == [lists]
        await store.delete_mailbox(account.id, made.id)
        assert await collect(1) == [lists]
        await store.append(account.id, inbox, wire.AppendHeader(), MESSAGE)
        assert await collect(1) == [at(inbox, 6)]
