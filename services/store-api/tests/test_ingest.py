"""Taking in mail: committed once, for every recipient, or refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from mail_runtime.contracts import framing
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import NotFound, Refused, TooLarge
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database, run

MESSAGE = b"From: a@remote.test\r\nSubject: one\r\n\r\nbody\r\n"


def transmission(*recipients: str, **more: Any) -> wire.Transmission:
    return wire.Transmission(id=uuid4(), reverse_path="a@remote.test", recipients=list(recipients), **more)


async def test_what_was_accepted_once_is_not_refused_when_it_comes_again(
    store: StoreClient, account: Any, database: Database
) -> None:
    sent = transmission(account.address)
    await store.accept(sent, MESSAGE)
    async with database.transaction() as connection:
        await run(connection, "UPDATE account SET state = 'disabled' WHERE id = :id", id=account.id)
    again = await asyncio.gather(*(store.accept(sent, MESSAGE) for _ in range(3)), return_exceptions=True)
    assert not [answer for answer in again if isinstance(answer, BaseException)]
    with pytest.raises(Refused):
        await store.accept(transmission(account.address), MESSAGE)
    assert (await store.changes(account.id, account.inbox.id)).uids == [1]


async def test_what_was_accepted_is_read_back_octet_for_octet(store: StoreClient, account: Any) -> None:
    octets = b"Subject: \xff\x00bytes\r\n\r\n.\r\n\xfe lone \r and \n ends"
    await store.accept(transmission(account.address), octets)
    changes = await store.changes(account.id, account.inbox.id)
    assert changes.octets == [len(octets)]
    assert await store.bodies(account.id, changes.blob_ids) == [octets]


async def test_a_repeated_transmission_is_stored_once(store: StoreClient, account: Any) -> None:
    sent = transmission(account.address)
    await asyncio.gather(*(store.accept(sent, MESSAGE) for _ in range(5)))
    assert (await store.changes(account.id, account.inbox.id)).uids == [1]


async def test_two_recipients_share_the_octets(store: StoreClient, account: Any, other_account: Any) -> None:
    await store.accept(transmission(account.address, other_account.address, account.address.upper()), MESSAGE)
    first = await store.changes(account.id, account.inbox.id)
    second = await store.changes(other_account.id, other_account.inbox.id)
    assert first.blob_ids == second.blob_ids
    assert len(first.uids) == 1


async def test_messages_that_arrive_together_get_uids_without_gaps(store: StoreClient, account: Any) -> None:
    await asyncio.gather(*(store.accept(transmission(account.address), MESSAGE) for _ in range(60)))
    changes = await store.changes(account.id, account.inbox.id)
    assert changes.uids == list(range(1, 61))
    assert changes.mailbox.uid_next == 61
    assert (changes.mailbox.messages, changes.mailbox.unseen) == (60, 60)
    assert changes.mailbox.octets == 60 * len(MESSAGE)
    assert max(changes.modseqs) == changes.mailbox.highest_modseq


async def test_an_unknown_recipient_refuses_the_whole(store: StoreClient, account: Any) -> None:
    with pytest.raises(Refused, match="no such user"):
        await store.accept(transmission(account.address, "nobody@example.test"), MESSAGE)
    assert (await store.changes(account.id, account.inbox.id)).uids == []


async def test_mail_from_outside_is_not_relayed(store: StoreClient) -> None:
    with pytest.raises(Refused, match="relaying"):
        await store.accept(transmission("a@elsewhere.test"), MESSAGE)


async def test_nobody_submits_in_anothers_name(store: StoreClient, account: Any, other_account: Any) -> None:
    sent = wire.Transmission(
        id=uuid4(),
        reverse_path=other_account.address,
        recipients=["a@elsewhere.test"],
        submitted_by=account.id,
    )
    with pytest.raises(Refused, match="not an address of this account"):
        await store.accept(sent, MESSAGE)


async def test_an_oversized_message_is_refused(store: StoreClient, account: Any) -> None:
    with pytest.raises(TooLarge):
        await store.accept(transmission(account.address), b"x" * (52_428_800 + 16_384 + 1))
    assert (await store.changes(account.id, account.inbox.id)).uids == []


async def test_append_keeps_flags_and_date(store: StoreClient, account: Any) -> None:
    date = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    header = wire.AppendHeader(flags=["\\seen", "$Work", "\\Recent"], internal_date=date)
    appended = await store.append(account.id, account.inbox.id, header, MESSAGE)
    changes = await store.changes(account.id, account.inbox.id)
    assert changes.uids == [appended.uid]
    assert changes.flags == [["\\Seen", "$Work"]]
    assert changes.internal_dates == [int(date.timestamp())]
    assert changes.mailbox.unseen == 0


async def test_append_to_a_mailbox_that_is_gone(store: StoreClient, account: Any) -> None:
    with pytest.raises(NotFound):
        await store.append(account.id, uuid4(), wire.AppendHeader(), MESSAGE)


async def test_append_refuses_what_is_no_flag(store: StoreClient, account: Any) -> None:
    with pytest.raises(Refused):
        await store.append(account.id, account.inbox.id, wire.AppendHeader(flags=["a b"]), MESSAGE)


async def test_one_account_cannot_read_the_others_mail(store: StoreClient, account: Any, other_account: Any) -> None:
    await store.accept(transmission(account.address), MESSAGE)
    blob_ids = (await store.changes(account.id, account.inbox.id)).blob_ids
    assert await store.summaries(other_account.id, blob_ids) == []
    with pytest.raises(NotFound):
        await store.bodies(other_account.id, blob_ids)
    with pytest.raises(NotFound):
        await store.changes(other_account.id, account.inbox.id)


async def test_a_summary_has_what_clients_list(store: StoreClient, account: Any) -> None:
    await store.accept(transmission(account.address), MESSAGE)
    blob_ids = (await store.changes(account.id, account.inbox.id)).blob_ids
    (summary,) = await store.summaries(account.id, blob_ids)
    assert summary.octets == len(MESSAGE)
    assert summary.header == MESSAGE[: MESSAGE.index(b"body")]
    assert summary.envelope.startswith(b'(NIL "one" ((NIL NIL "a" "remote.test"))')
    assert (summary.root.media_type, summary.root.body_end) == ("text/plain", len(MESSAGE))


async def test_a_repeated_append_is_stored_once(store: StoreClient, account: Any) -> None:
    header = wire.AppendHeader(id=uuid4(), flags=["\\Seen"])
    first = await store.append(account.id, account.inbox.id, header, MESSAGE)
    again = await asyncio.gather(*(store.append(account.id, account.inbox.id, header, MESSAGE) for _ in range(5)))
    assert set(again) == {first}
    assert (await store.changes(account.id, account.inbox.id)).uids == [first.uid]
    # Also when the client has removed it meanwhile: it was stored.
    await store.expunge(account.id, account.inbox.id, wire.Expunge(uids=[first.uid], force=True))
    assert await store.append(account.id, account.inbox.id, header, MESSAGE) == first
    assert (await store.changes(account.id, account.inbox.id)).uids == []


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x00",
        b"\xff" * 1000,
        b"\r\n\r\n\r\n",
        b"Subject: " + b"x" * 10_000_000 + b"\r\n\r\nbody",
        b"References: " + b"<a@b>" * 1_000_000 + b"\r\n\r\nbody",
        b"no header at all",
        b":\r\n:\r\n",
    ],
    ids=["empty", "nul", "8-bit", "line ends", "10 MB line", "a million references", "text", "colons"],
)
async def test_bytes_that_are_no_message_are_kept_as_they_are(store: StoreClient, account: Any, octets: bytes) -> None:
    neighbours = [store.accept(transmission(account.address), MESSAGE) for _ in range(3)]
    await asyncio.gather(store.accept(transmission(account.address), octets), *neighbours)
    changes = await store.changes(account.id, account.inbox.id)
    assert sorted(changes.octets) == sorted([len(octets), *[len(MESSAGE)] * 3])
    blob_id = changes.blob_ids[changes.octets.index(len(octets))]
    assert await store.bodies(account.id, [blob_id]) == [octets]
    (summary,) = await store.summaries(account.id, [blob_id])
    assert summary.octets == len(octets)


@pytest.mark.parametrize(
    "recipient",
    ["", "@", "a@", "@example.test", "a b@example.test", "\0@example.test", "a\0@example.test", "é", "a" * 5000],
)
async def test_what_is_no_address_is_refused_and_hurts_no_neighbour(
    store: StoreClient, account: Any, recipient: str
) -> None:
    neighbours = [store.accept(transmission(account.address), MESSAGE) for _ in range(3)]
    bad = store.accept(transmission(account.address, recipient), MESSAGE)
    results = await asyncio.gather(bad, *neighbours, return_exceptions=True)
    assert isinstance(results[0], Refused)
    assert len((await store.changes(account.id, account.inbox.id)).uids) == 3


async def test_a_reverse_path_that_no_database_keeps_is_refused(store: StoreClient, account: Any) -> None:
    sent = wire.Transmission(id=uuid4(), reverse_path="a\0@b.test", recipients=[account.address])
    with pytest.raises(Refused):
        await store.accept(sent, MESSAGE)


async def test_of_a_set_each_is_accepted_or_refused_by_itself(store: StoreClient, account: Any) -> None:
    recipients = [account.address, "nobody@example.test", account.address]
    handed = [wire.Handed(transmission=transmission(recipient)) for recipient in recipients]
    messages = [MESSAGE, MESSAGE, MESSAGE + b"more\r\n"]
    for _ in range(2):  # a repeated set stores nothing twice
        answers = await store._hand_over(list(zip(handed, messages, strict=True)))
        assert [type(answer) for answer in answers] == [type(None), Refused, type(None)]
        assert str(answers[1]).startswith("5.1.1 ")
    changes = await store.changes(account.id, account.inbox.id)
    assert sorted(changes.octets) == [len(MESSAGE), len(MESSAGE) + 6]


async def test_a_set_without_a_message_for_each_is_refused(store: StoreClient, account: Any) -> None:
    handed = [wire.Handed(transmission=transmission(account.address)) for _ in range(3)]
    sent = framing.pack_envelope(msgspec.msgpack.encode(handed), b"".join(framing.pack_stream([MESSAGE] * 2)))
    with pytest.raises(Refused):
        await store._call("POST", "/transmission-sets", sent)
    assert not (await store.changes(account.id, account.inbox.id)).uids
