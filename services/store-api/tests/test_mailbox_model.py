"""A mailbox's messages as a model says: any sequence of changes leaves the store and the model alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import aiohttp
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import OverQuota
from mail_runtime.store_client import StoreClient
from mail_testkit.running import PASSWORD, RunningPostroom
from store_api.db.engine import Database, run

T = TypeVar("T")

QUOTA = 12
NAMES = ("INBOX", "Archive")
FLAGS = ("\\Seen", "\\Deleted", "$Work")
LONG_AGO = "2000-01-01T00:00:00Z"

mailboxes = st.sampled_from(NAMES)
uid_sets = st.lists(
    st.one_of(st.integers(1, 15), st.tuples(st.integers(1, 8), st.sampled_from([8, 12, 2**32 - 1]))), max_size=3
)
flag_sets = st.sets(st.sampled_from(FLAGS))


@dataclass(slots=True)
class ModelMailbox:
    """What a mailbox has: flags and octets by uid, and what went since the beginning."""

    messages: dict[int, tuple[frozenset[str], int]] = field(default_factory=dict)
    uid_next: int = 1
    gone: set[int] = field(default_factory=set)

    def add(self, flags: frozenset[str], octets: int) -> int:
        self.messages[self.uid_next] = (flags, octets)
        self.uid_next += 1
        return self.uid_next - 1

    def chosen(self, uids: Any) -> list[int]:
        wanted = [(uid, uid) if isinstance(uid, int) else uid for uid in uids]
        return [uid for uid in sorted(self.messages) if any(first <= uid <= last for first, last in wanted)]


class Machine(RuleBasedStateMachine):
    """Each rule does the same to the store, through HTTP, and to the model."""

    postroom: RunningPostroom
    loop: asyncio.AbstractEventLoop
    store: StoreClient
    rest: aiohttp.ClientSession
    database: Database

    def wait(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def start(self) -> None:
        self.address = f"model-{uuid4().hex[:12]}@example.test"
        self.account_id: UUID = self.wait(self._make_account())
        self.ids = {m.name: m.id for m in self.wait(self.store.mailboxes(self.account_id))}
        self.model = {name: ModelMailbox() for name in NAMES}
        self.deleted: list[tuple[str, frozenset[str], int]] = []
        self.views: dict[str, dict[int, frozenset[str]]] = {name: {} for name in NAMES}
        self.known = dict.fromkeys(NAMES, 1)

    async def _make_account(self) -> UUID:
        body = {"address": self.address, "password": PASSWORD}
        async with self.rest.post("/v1/accounts", json=body) as response:
            account_id = UUID((await response.json())["id"])
        async with self.database.transaction() as connection:
            await run(connection, "UPDATE account SET quota_messages = :n WHERE id = :id", n=QUOTA, id=account_id)
        return account_id

    @property
    def room(self) -> int:
        return QUOTA - sum(len(mailbox.messages) for mailbox in self.model.values())

    @rule(name=mailboxes, flags=flag_sets, extra=st.integers(0, 50))
    def append(self, name: str, flags: set[str], extra: int) -> None:
        octets = b"Subject: x\r\n\r\n" + b"y" * extra
        call = self.store.append(self.account_id, self.ids[name], wire.AppendHeader(flags=sorted(flags)), octets)
        if self.room < 1:
            with pytest.raises(OverQuota):
                self.wait(call)
            return
        assert self.wait(call).uid == self.model[name].add(frozenset(flags), len(octets))

    @rule(name=mailboxes, uids=uid_sets, operation=st.sampled_from(["add", "remove", "replace"]), flags=flag_sets)
    def flag(self, name: str, uids: Any, operation: Any, flags: set[str]) -> None:
        change = wire.StoreFlags(uids=uids, operation=operation, flags=sorted(flags))
        self.wait(self.store.store_flags(self.account_id, self.ids[name], change))
        messages = self.model[name].messages
        for uid in self.model[name].chosen(uids):
            old, octets = messages[uid]
            new = {"add": old | flags, "remove": old - flags, "replace": frozenset(flags)}[operation]
            messages[uid] = (frozenset(new), octets)

    @rule(source=mailboxes, destination=mailboxes, uids=uid_sets, move=st.booleans())
    def copy(self, source: str, destination: str, uids: Any, move: bool) -> None:
        chosen = self.model[source].chosen(uids)
        wanted = wire.CopyMessages(uids=uids, target_id=self.ids[destination], move=move)
        call = self.store.copy(self.account_id, self.ids[source], wanted)
        if not move and len(chosen) > self.room:
            with pytest.raises(OverQuota):
                self.wait(call)
            return
        copied = self.wait(call)
        assert copied.source_uids == chosen
        assert copied.target_uids == [self.model[destination].add(*self.model[source].messages[uid]) for uid in chosen]
        if move:
            for uid in chosen:
                del self.model[source].messages[uid]

    @rule(name=mailboxes, uids=st.none() | uid_sets, force=st.booleans())
    def expunge(self, name: str, uids: Any, force: bool) -> None:
        expunged = self.wait(self.store.expunge(self.account_id, self.ids[name], wire.Expunge(uids=uids, force=force)))
        model = self.model[name]
        chosen = model.chosen([(1, 2**32 - 1)] if uids is None else uids)
        doomed = [uid for uid in chosen if force or "\\Deleted" in model.messages[uid][0]]
        assert expunged.uids == doomed
        for uid in doomed:
            flags, octets = model.messages.pop(uid)
            self.deleted.append((name, flags - {"\\Deleted"}, octets))

    @rule()
    def undelete(self) -> None:
        expected = 507 if len(self.deleted) > self.room else 200
        assert self.wait(self._undelete()) == expected
        if expected == 200:
            for name, flags, octets in self.deleted:
                self.model[name].add(flags, octets)
            self.deleted.clear()

    async def _undelete(self) -> int:
        async with self.rest.post(f"/v1/accounts/{self.address}/undelete", json={"since": LONG_AGO}) as response:
            return response.status

    @rule(name=mailboxes)
    def catch_up(self, name: str) -> None:
        """A view that only ever asks what changed has what a view that reads everything has."""
        changes = self.wait(self.store.changes(self.account_id, self.ids[name], self.known[name]))
        view = self.views[name]
        for uid in changes.expunged:
            view.pop(uid, None)
        view |= {uid: frozenset(flags) for uid, flags in zip(changes.uids, changes.flags, strict=True)}
        self.known[name] = changes.mailbox.highest_modseq
        assert view == {uid: flags for uid, (flags, _) in self.model[name].messages.items()}

    @invariant()
    def store_and_model_are_alike(self) -> None:
        for name, model in self.model.items():
            changes = self.wait(self.store.changes(self.account_id, self.ids[name]))
            mailbox = changes.mailbox
            assert changes.uids == sorted(model.messages)
            assert [(frozenset(f), o) for f, o in zip(changes.flags, changes.octets, strict=True)] == [
                model.messages[uid] for uid in changes.uids
            ]
            assert mailbox.uid_next == model.uid_next
            assert mailbox.messages == len(model.messages)
            assert mailbox.unseen == sum("\\Seen" not in flags for flags, _ in model.messages.values())
            assert mailbox.octets == sum(octets for _, octets in model.messages.values())
            assert max(changes.modseqs, default=0) <= mailbox.highest_modseq


@contextmanager
def connected(postroom: RunningPostroom) -> Iterator[type[Machine]]:
    """The machine with a loop and clients of its own: hypothesis calls its rules from outside of any loop."""
    loop = asyncio.new_event_loop()

    async def close() -> None:
        await rest.close()
        await store.__aexit__(None, None, None)
        await database.close()

    async def open_rest() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(postroom.api_url, headers={"Authorization": f"Bearer {postroom.admin_token}"})

    store = loop.run_until_complete(StoreClient(postroom.api_url, postroom.service_token).__aenter__())
    rest = loop.run_until_complete(open_rest())
    database = Database(postroom.database_url)
    try:
        values = {"postroom": postroom, "loop": loop, "store": store, "rest": rest, "database": database}
        yield type("Connected", (Machine,), values)
    finally:
        loop.run_until_complete(close())
        loop.close()


def test_any_sequence_of_changes(postroom: RunningPostroom) -> None:
    with connected(postroom) as machine:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=settings(
                max_examples=8,
                stateful_step_count=25,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
