"""What one transmission comes to: copies, mail that leaves again, bounces, refusals; all of it or nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from mail_proto.srs import Srs
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import OverQuota, Refused
from mail_runtime.store_client import StoreClient
from store_api.blobs.blobs import Blobs
from store_api.blobs.storage import open_storage
from store_api.db.engine import Database, run
from store_api.ingest import coalescer as coalescers
from store_api.ingest import planning
from store_api.ingest.drafts import Arrived

from .directories import add_account, add_alias, add_domain, mailbox_of

MESSAGE = b"From: a@remote.test\r\nSubject: one\r\n\r\nbody\r\n"
SENDER = "s@elsewhere.invalid"
SRS = Srs(b"secret of these tests")


class Directory:
    """A domain of one test, and what is in its accounts and its queue."""

    def __init__(self, database: Database, store: StoreClient) -> None:
        self.database, self.store = database, store
        self.domain = f"{uuid4().hex[:12]}.test"
        self.domain_id = uuid4()

    async def prepare(self, **columns: Any) -> None:
        async with self.database.transaction() as connection:
            self.domain_id = await add_domain(connection, self.domain, **columns)

    def at(self, name: str) -> str:
        return name if "@" in name else f"{name}@{self.domain}"

    async def account(self, name: str, **columns: Any) -> UUID:
        async with self.database.transaction() as connection:
            return await add_account(connection, self.domain_id, self.at(name), **columns)

    async def alias(self, name: str, *targets: str, **columns: Any) -> None:
        async with self.database.transaction() as connection:
            await add_alias(connection, self.domain_id, self.at(name), [self.at(t) for t in targets], **columns)

    async def accept(
        self, *recipients: str, octets: bytes = MESSAGE, reverse_path: str = SENDER, **more: Any
    ) -> wire.Transmission:
        sent = wire.Transmission(
            id=uuid4(), reverse_path=reverse_path, recipients=[self.at(name) for name in recipients], **more
        )
        await self.store.accept(sent, octets)
        return sent

    async def messages(self, account_id: UUID) -> list[bytes]:
        async with self.database.transaction() as connection:
            inbox = await mailbox_of(connection, account_id)
        return await self.store.bodies(account_id, (await self.store.changes(account_id, inbox)).blob_ids)

    async def leaving(self, to: str) -> list[tuple[str, bytes]]:
        """Reverse path and octets of what is queued for an address."""
        async with self.database.transaction() as connection:
            rows = await run(
                connection,
                "SELECT t.id, t.reverse_path FROM delivery d JOIN transmission t ON t.id = d.transmission_id"
                " WHERE d.recipient = :recipient ORDER BY d.id",
                recipient=to,
            )
            found = rows.all()
        return [(row.reverse_path, await self.store.queued_message(row.id)) for row in found]


@pytest.fixture
async def directory(database: Database, store: StoreClient) -> Directory:
    made = Directory(database, store)
    await made.prepare()
    return made


def address() -> str:
    """Nobody else's, and in no DNS."""
    return f"{uuid4().hex[:10]}@elsewhere.invalid"


async def test_one_stored_copy_for_a_list(directory: Directory) -> None:
    members = [await directory.account(name) for name in ("ann", "bob", "cid")]
    await directory.alias("team", "ann", "bob", "cid")
    await directory.accept("team", "ann")
    assert [await directory.messages(member) for member in members] == [[MESSAGE]] * 3
    async with directory.database.transaction() as connection:
        rows = await run(
            connection,
            "SELECT count(DISTINCT blob_id) FROM message WHERE account_id = ANY (CAST(:ids AS uuid[]))",
            ids=members,
        )
        assert rows.scalar() == 1


async def test_forwarded_mail_is_marked_and_its_sender_rewritten(directory: Directory) -> None:
    target = address()
    ann = await directory.account("ann", forward_to=[target])
    await directory.accept("ann")
    assert await directory.messages(ann) == [MESSAGE]
    ((reverse_path, octets),) = await directory.leaving(target)
    assert reverse_path.startswith("SRS0=")
    assert reverse_path.endswith(f"=elsewhere.invalid=s@{directory.domain}")
    assert octets == f"Delivered-To: {directory.at('ann')}\r\n".encode() + MESSAGE
    # The bounce of that goes to the sender, and to nobody else.
    await directory.accept(reverse_path, reverse_path="", octets=b"Subject: bounce\r\n\r\n")
    assert (b"Subject: bounce\r\n\r\n") in [octets for _, octets in await directory.leaving(SENDER)]
    with pytest.raises(Refused, match=r"^5\.7\.1 "):
        await directory.accept(reverse_path, reverse_path="x@elsewhere.invalid")


async def test_a_sender_of_ours_stays_and_the_null_one_too(directory: Directory) -> None:
    first, second = address(), address()
    await directory.account("ann", forward_to=[first], forward_keeps_copy=False)
    await directory.alias("out", second)
    await directory.accept("ann", "out", reverse_path=directory.at("bob"))
    await directory.accept("ann", "out", reverse_path="")
    for target in (first, second):
        assert [path for path, _ in await directory.leaving(target)] == [directory.at("bob"), ""]


async def test_what_has_been_here_before_is_refused(directory: Directory) -> None:
    target = address()
    ann = await directory.account("ann", forward_to=[target])
    bob = await directory.account("bob")
    await directory.alias("both", "ann", "bob")
    marked = f"Received: x\r\nDelivered-To: {directory.at('Ann')}\r\n".encode() + MESSAGE
    with pytest.raises(Refused, match=r"^5\.4\.6 "):
        await directory.accept("ann", octets=marked)
    assert await directory.messages(ann) == []
    # Behind an alias the others get it, and the sender hears of the loop.
    sender = await directory.account("sender")
    await directory.accept("both", octets=marked, reverse_path=directory.at("sender"))
    assert (await directory.messages(ann), await directory.messages(bob)) == ([], [marked])
    (bounce,) = await directory.messages(sender)
    assert b"Status: 5.4.6" in bounce
    assert await directory.leaving(target) == []
    # Who doesn't forward takes it: the field may be from another life.
    await directory.accept("bob", octets=f"Delivered-To: {directory.at('bob')}\r\n".encode() + MESSAGE)
    assert len(await directory.messages(bob)) == 2


async def test_members_that_fail_bounce_with_the_message(directory: Directory) -> None:
    ann, sender = await directory.account("ann"), await directory.account("sender")
    await directory.account("off", state="disabled")
    await directory.account("full", quota_octets=10)
    await directory.alias("team", "ann", "off", "gone", "full")
    sent = await directory.accept("team", reverse_path=directory.at("sender"))
    assert await directory.messages(ann) == [MESSAGE]
    (bounce,) = await directory.messages(sender)
    for name, status in (("off", "5.2.1"), ("gone", "5.1.1"), ("full", "5.2.2")):
        assert f"Final-Recipient: rfc822; {directory.at(name)}\r\nAction: failed\r\nStatus: {status}".encode() in bounce
    await directory.store.accept(sent, MESSAGE)
    assert len(await directory.messages(sender)) == 1, "repeating it bounces nothing twice"
    await directory.accept("team", reverse_path="")
    assert len(await directory.messages(sender)) == 1, "the null reverse path gets no bounce"
    assert len(await directory.messages(ann)) == 2


async def test_a_bounce_to_a_sender_elsewhere_is_queued(directory: Directory) -> None:
    sender = address()
    await directory.account("ann")
    await directory.alias("team", "ann", "gone")
    await directory.accept("team", reverse_path=sender)
    ((reverse_path, octets),) = await directory.leaving(sender)
    assert reverse_path == ""
    assert b"Status: 5.1.1" in octets


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({"state": "disabled"}, "5.2.1"),
        ({"forward_to": ["nobody@{domain}"], "forward_keeps_copy": False}, "5.1.1"),
    ],
)
async def test_a_recipient_that_takes_no_mail_refuses_the_whole(
    directory: Directory, columns: dict[str, Any], status: str
) -> None:
    columns = {
        name: [each.format(domain=directory.domain) for each in value] if isinstance(value, list) else value
        for name, value in columns.items()
    }
    ann = await directory.account("ann")
    await directory.account("off", **columns)
    with pytest.raises(Refused, match=f"^{status} "):
        await directory.accept("ann", "off")
    assert await directory.messages(ann) == []


async def test_a_full_mailbox_refuses_the_whole_for_now(directory: Directory) -> None:
    ann = await directory.account("ann")
    full = await directory.account("full", quota_octets=len(MESSAGE) * 2 + 1)
    await directory.accept("full")
    await directory.accept("full", "ann")
    with pytest.raises(OverQuota, match=r"^4\.2\.2 "):
        await directory.accept("ann", "full")
    assert (len(await directory.messages(ann)), len(await directory.messages(full))) == (1, 2)
    statuses = [r.status for r in await directory.store.resolve([directory.at("full"), directory.at("ann")])]
    assert statuses == ["local", "local"], "an octet is left"
    await directory.account("fuller", quota_messages=0)
    (resolution,) = await directory.store.resolve([directory.at("fuller")])
    assert (resolution.status, resolution.for_sender) == ("over_quota", True)


async def test_an_alias_of_full_mailboxes_only_refuses_too(directory: Directory) -> None:
    for name in ("one", "two"):
        await directory.account(name, quota_octets=1)
    await directory.alias("both", "one", "two")
    with pytest.raises(OverQuota):
        await directory.accept("both", reverse_path="")


async def test_messages_of_one_moment_share_the_room_that_is_left(directory: Directory) -> None:
    """However they are batched: as many as fit, and never one more."""
    full = await directory.account("full", quota_messages=7)
    results = await asyncio.gather(*(directory.accept("full") for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(result, OverQuota) for result in results) == 23
    assert len(await directory.messages(full)) == 7


async def test_a_domain_that_is_full(database: Database, store: StoreClient) -> None:
    directory = Directory(database, store)
    await directory.prepare(quota_messages=3)
    accounts = [await directory.account(name) for name in ("ann", "bob")]
    results = await asyncio.gather(*(directory.accept(name) for name in ("ann", "bob") * 5), return_exceptions=True)
    assert sum(isinstance(result, OverQuota) for result in results) == 7
    assert sum([len(await directory.messages(account)) for account in accounts]) == 3


async def test_a_domain_that_others_fill_while_a_batch_is_planned(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known to be full stays so, while the plans of a batch change: nobody is told that it is busy."""
    plans = 0

    async def plan_slowly(*arguments: Any) -> Any:
        nonlocal plans
        plans += 1
        planned = await planning.plan(*arguments)
        if plans == 2:
            await directory.accept("ann")
        return planned

    monkeypatch.setattr(coalescers, "plan", plan_slowly)
    for name in ("ann", "bob"):
        await directory.account(name)
    async with directory.database.transaction() as connection:
        await run(connection, "UPDATE domain SET quota_messages = 1 WHERE id = :id", id=directory.domain_id)
    blobs = Blobs(open_storage(f"file://{tmp_path}", "", ""), directory.database)
    coalescer = coalescers.Coalescer(directory.database, blobs, planning.Rules(SRS, "here.test", 1.0, 1.0), committed)
    sent = [wire.Transmission(id=uuid4(), reverse_path=SENDER, recipients=[directory.at(n)]) for n in ("ann", "bob")]
    accepting = [asyncio.create_task(coalescer.accept(Arrived(one, MESSAGE))) for one in sent]
    await asyncio.sleep(0)
    committing = asyncio.create_task(coalescer.run())
    both = await asyncio.gather(*accepting, return_exceptions=True)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    blobs.close()
    assert [type(result) for result in both] == [OverQuota, OverQuota]
    assert plans == 3, "a batch of two, and what came of it twice"


async def committed(*arguments: Any) -> None:
    """Nobody wants to know."""


async def test_batches_with_crossing_mailboxes_all_end(directory: Directory) -> None:
    names = [f"n{number}" for number in range(6)]
    accounts = [await directory.account(name) for name in names]
    orders = [names[shift:] + names[:shift] for shift in range(6)]
    orders += [list(reversed(order)) for order in orders]
    await asyncio.gather(*(directory.accept(*order) for order in orders for _ in range(5)))
    for account in accounts:
        assert len(await directory.messages(account)) == 60


async def test_an_alias_may_be_written_as(directory: Directory) -> None:
    ann = await directory.account("ann")
    bob = await directory.account("bob")
    await directory.alias("sales", "ann")
    await directory.accept("bob", reverse_path=directory.at("sales"), submitted_by=ann)
    await directory.accept("bob", reverse_path=directory.at("ann+x"), submitted_by=ann)
    with pytest.raises(Refused, match="not an address of this account"):
        await directory.accept("bob", reverse_path=directory.at("sales"), submitted_by=bob)
    await directory.store.check_sender(ann, directory.at("sales"))
    with pytest.raises(Refused):
        await directory.store.check_sender(bob, directory.at("sales"))
    assert len(await directory.messages(bob)) == 2


async def test_answers_join_the_thread(directory: Directory) -> None:
    ann, bob = await directory.account("ann"), await directory.account("bob")

    async def send(identifier: str, *references: str) -> None:
        header = f"Message-ID: <{identifier}>\r\n"
        if references:
            header += "References: " + "\r\n ".join(f"<{reference}>" for reference in references) + "\r\n"
        await directory.accept("ann", "bob", octets=header.encode() + b"\r\nx")

    await send("1@x")
    await send("2@x", "1@x")
    await send("3@x", "0@x", "2@x")
    await send("other@x")
    await send("5@x", "other@x")
    await send("6@x", "5@x")
    # Shows that both threads are one: it joins the older, as do its answers.
    await send("7@x", "other@x", "1@x")
    await send("8@x", "other@x")
    async with directory.database.transaction() as connection:
        rows = await run(
            connection,
            "SELECT account_id, array_agg(thread_id ORDER BY uid) AS threads FROM message"
            " WHERE account_id = ANY (CAST(:ids AS uuid[])) GROUP BY account_id",
            ids=[ann, bob],
        )
        found = {row.account_id: row.threads for row in rows}
    first, *rest = found[ann]
    other = rest[2]
    assert [thread == first for thread in found[ann]] == [True, True, True, False, False, False, True, True]
    assert found[ann][3:6] == [other] * 3
    assert set(found[ann]).isdisjoint(found[bob]), "threads belong to an account"
    assert [found[bob].index(thread) for thread in found[bob]] == [found[ann].index(thread) for thread in found[ann]]
