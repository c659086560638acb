"""Messages for mailboxes go to the store together where there are several, and alone to a store that takes them so."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mail_runtime.contracts import framing
from mail_runtime.contracts.errors import NotFound, OverQuota, StoreError, Unavailable
from mail_runtime.contracts.store import AppendAnswer, Appended, AppendHeader, HandedAppend
from mail_runtime.handing_over import SMALL_OCTETS
from mail_runtime.store_client import StoreClient

REFUSALS: dict[bytes, tuple[int, type[StoreError]]] = {
    b"full": (507, OverQuota),
    b"gone": (404, NotFound),
    b"bug": (500, Unavailable),
}


class Served:
    """A store behind HTTP, as it was before sets of messages, or as it is. The uid is the number in the message."""

    def __init__(self, *, knows_sets: bool) -> None:
        self.alone: list[tuple[str, bytes]] = []
        self.sets: list[list[tuple[UUID, bytes]]] = []
        self.app = web.Application(client_max_size=1 << 24)
        self.app.router.add_post("/internal/accounts/{account}/mailboxes/{mailbox}/messages", self._alone)
        if knows_sets:
            self.app.router.add_post("/internal/append-sets", self._set)

    async def _alone(self, request: web.Request) -> web.Response:
        _, octets = framing.unpack_envelope(await request.read())
        self.alone.append((request.match_info["mailbox"], bytes(octets)))
        if octets in REFUSALS:
            return web.Response(status=REFUSALS[octets][0], text="no")
        return web.Response(body=msgspec.msgpack.encode(_appended(octets)))

    async def _set(self, request: web.Request) -> web.Response:
        header, octets = framing.unpack_envelope(await request.read())
        handed = msgspec.msgpack.decode(header, type=list[HandedAppend])
        messages = [bytes(message) for message in framing.unpack_stream(octets)]
        self.sets.append([(one.mailbox_id, message) for one, message in zip(handed, messages, strict=True)])
        answers = [
            AppendAnswer(status=REFUSALS[message][0], text="no")
            if message in REFUSALS
            else AppendAnswer(status=200, appended=_appended(message))
            for message in messages
        ]
        return web.Response(body=msgspec.msgpack.encode(answers))


def _appended(octets: bytes) -> Appended:
    return Appended(uid_validity=1, uid=int(octets.strip()))


@pytest.mark.parametrize("knows_sets", [True, False])
async def test_messages_reach_a_store_of_this_release_and_of_the_one_before(knows_sets: bool) -> None:
    served = Served(knows_sets=knows_sets)
    messages = [b"%d" % number for number in range(10)]
    mailboxes = [uuid4() for _ in messages]
    large = b"77" + b" " * SMALL_OCTETS
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as store:

        async def append(mailbox_id: UUID, message: bytes, *, elsewhere: bool = False) -> int:
            header = AppendHeader(flags=["\\Seen"])
            return (await store.append(UUID(int=1), mailbox_id, header, message, elsewhere=elsewhere)).uid

        others = [append(uuid4(), large), append(uuid4(), b"78", elsewhere=True)]
        uids = await asyncio.gather(*(append(*one) for one in zip(mailboxes, messages, strict=True)), *others)
        assert uids == [*range(10), 77, 78]
    together = [one for each in served.sets for one in each]
    alone = [(UUID(mailbox), message) for mailbox, message in served.alone if message not in {large, b"78"}]
    assert dict(together + alone) == dict(zip(mailboxes, messages, strict=True))
    assert len(together) == (10 if knows_sets else 0)
    assert len(served.alone) == (2 if knows_sets else 12)


@pytest.mark.parametrize("knows_sets", [True, False])
async def test_each_hears_of_its_own_message(knows_sets: bool) -> None:
    served = Served(knows_sets=knows_sets)
    messages = [b"1", *REFUSALS, b"2"]
    async with TestServer(served.app) as server, StoreClient(str(server.make_url("")), "token") as store:
        results = await asyncio.gather(
            *(store.append(UUID(int=1), uuid4(), AppendHeader(), message) for message in messages),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [Appended, *(kind for _, kind in REFUSALS.values()), Appended]
