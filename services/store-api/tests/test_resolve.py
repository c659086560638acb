"""Where addresses lead: accounts, aliases, lists, catch-alls, details, forwarding, and back through SRS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from mail_proto.srs import Srs
from mail_testkit.running import RunningPostroom
from store_api.db.engine import Database
from store_api.directory.expansion import MAX_DEPTH, MAX_TARGETS, Sender, Submitter
from store_api.directory.resolve import Route, may_send_as, resolve

from .directories import add_account, add_alias, add_domain, mailbox_of

SRS = Srs(b"secret of these tests")
TODAY = datetime.now(UTC).date()
STRANGER = Sender("stranger@elsewhere.test")


class Directory:
    """A domain of one test, in a transaction that is rolled back."""

    def __init__(self, connection: AsyncConnection, domain: str, domain_id: UUID) -> None:
        self.connection, self.domain, self.domain_id = connection, domain, domain_id

    async def account(self, name: str, mailboxes: tuple[str, ...] = (), **columns: Any) -> UUID:
        return await add_account(self.connection, self.domain_id, self.at(name), mailboxes, **columns)

    async def alias(self, name: str, *targets: str, **columns: Any) -> None:
        await add_alias(self.connection, self.domain_id, self.at(name), [self.at(t) for t in targets], **columns)

    def at(self, name: str) -> str:
        return name if name.count("@") and not name.startswith("@") else f"{name.rstrip('@')}@{self.domain}"

    async def route(self, name: str, sender: Sender = STRANGER) -> Route:
        return (await resolve(self.connection, SRS, [(self.at(name), sender)])).routes[0]

    async def inboxes(self, name: str, sender: Sender = STRANGER) -> set[str]:
        return {local.address.partition("@")[0] for local in (await self.route(name, sender)).locals}


@pytest.fixture
async def directory(database: Database) -> AsyncIterator[Directory]:
    async with database.engine.connect() as connection:
        transaction = await connection.begin()
        domain = f"{uuid4().hex[:12]}.test"
        yield Directory(connection, domain, await add_domain(connection, domain))
        await transaction.rollback()


async def test_an_account_in_any_case(directory: Directory) -> None:
    account_id = await directory.account("ann")
    (local,) = (await directory.route("aNN")).locals
    assert (local.account_id, local.mailbox_id) == (account_id, await mailbox_of(directory.connection, account_id))
    assert not local.is_shared


async def test_an_unknown_name_and_another_servers(directory: Directory) -> None:
    assert (await directory.route("nobody")).status == "unknown"
    assert (await directory.route("a@elsewhere.test")).status == "remote"


async def test_a_disabled_account_also_behind_an_alias(directory: Directory) -> None:
    await directory.account("ann", state="disabled", forward_to=["b@elsewhere.test"])
    await directory.alias("alias", "ann")
    assert (await directory.route("ann")).status == "disabled"
    assert (await directory.route("alias")).status == "disabled"


async def test_an_alias_of_a_domain(directory: Directory) -> None:
    await directory.account("ann")
    await directory.alias("@", "ann", kind="catch_all")
    other = f"{uuid4().hex[:12]}.test"
    own = await add_domain(directory.connection, other, directory.domain_id)
    assert await directory.inboxes(f"ann@{other}") == {"ann"}
    assert await directory.inboxes(f"anybody@{other}") == {"ann"}
    # What the aliased domain has itself comes first.
    await add_account(directory.connection, own, f"bob@{other}")
    assert await directory.inboxes(f"bob@{other}") == {"bob"}


async def test_aliases_of_aliases_and_each_mailbox_once(directory: Directory) -> None:
    for name in ("ann", "bob"):
        await directory.account(name)
    await directory.alias("both", "ann", "bob")
    await directory.alias("all", "both", "ann", "c@elsewhere.test")
    route = await directory.route("all")
    assert {local.address for local in route.locals} == {directory.at("ann"), directory.at("bob")}
    assert [remote.address for remote in route.remotes] == ["c@elsewhere.test"]
    assert [forwarder.address for forwarder in route.remotes[0].path] == [directory.at("all")]
    assert route.status == "local"
    assert all(local.is_shared for local in route.locals)


async def test_the_case_of_a_remote_target_is_kept(directory: Directory) -> None:
    await directory.alias("out", "John.Doe@elsewhere.test")
    assert [remote.address for remote in (await directory.route("out")).remotes] == ["John.Doe@elsewhere.test"]


async def test_cycles_end(directory: Directory) -> None:
    await directory.account("ann")
    await directory.alias("one", "two")
    await directory.alias("two", "one", "ann")
    await directory.alias("self", "self")
    await directory.alias("empty")
    assert await directory.inboxes("one") == {"ann"}
    assert (await directory.route("self")).status == "loop"
    assert (await directory.route("empty")).status == "unknown"


async def test_what_is_nested_too_deep_is_a_loop(directory: Directory) -> None:
    await directory.account("ann")
    for depth in range(MAX_DEPTH + 2):
        await directory.alias(f"a{depth}", f"a{depth - 1}" if depth else "ann")
    assert await directory.inboxes(f"a{MAX_DEPTH - 1}") == {"ann"}
    assert (await directory.route(f"a{MAX_DEPTH + 1}")).status == "loop"


async def test_a_list_without_end_is_refused(directory: Directory) -> None:
    await directory.alias("some", *(f"{n}@elsewhere.test" for n in range(MAX_TARGETS // 2)))
    await directory.alias("more", *(f"{n}@elsewhere.example" for n in range(MAX_TARGETS // 2 + 1)))
    await directory.alias("all", "some", "more")
    assert len((await directory.route("some")).remotes) == MAX_TARGETS // 2
    assert (await directory.route("all")).status == "too_many"


async def test_a_member_that_fails_does_not_fail_the_others(directory: Directory) -> None:
    await directory.account("ann")
    await directory.account("bob", state="disabled")
    await directory.alias("team", "ann", "bob", "gone")
    route = await directory.route("team")
    assert {local.address for local in route.locals} == {directory.at("ann")}
    assert {(f.address, f.reason) for f in route.failures} == {
        (directory.at("bob"), "disabled"),
        (directory.at("gone"), "unknown"),
    }


async def test_a_detail(directory: Directory) -> None:
    plain = await directory.account("plain", ("Lists",))
    sorted_ = await directory.account("sorted", ("Lists", "Lists/Python"), detail_to_mailbox=True)
    await directory.account("exact+x")
    await directory.alias("team", "plain", "sorted+lists")

    async def mailbox(name: str) -> list[UUID]:
        return [local.mailbox_id for local in (await directory.route(name)).locals]

    connection = directory.connection
    assert await mailbox("plain+lists") == [await mailbox_of(connection, plain)]
    assert await mailbox("sorted+lists") == [await mailbox_of(connection, sorted_, "Lists")]
    assert await mailbox("sorted+LISTS/python") == [await mailbox_of(connection, sorted_, "Lists/Python")]
    assert await mailbox("sorted+nothing") == [await mailbox_of(connection, sorted_)]
    assert await directory.inboxes("exact+x") == {"exact+x"}
    assert (await directory.route("exact+y")).status == "unknown"
    assert (await directory.route("+x")).status == "unknown"
    assert await directory.inboxes("team+news") == {"plain", "sorted"}
    assert set(await mailbox("team")) == {
        await mailbox_of(connection, plain),
        await mailbox_of(connection, sorted_, "Lists"),
    }


async def test_a_catch_all_comes_last(directory: Directory) -> None:
    await directory.account("ann")
    await directory.account("bob")
    await directory.account("off", state="disabled")
    await directory.alias("@", "bob", kind="catch_all")
    assert await directory.inboxes("ann") == {"ann"}
    assert await directory.inboxes("ann+x") == {"ann"}
    assert await directory.inboxes("anything+at.all") == {"bob"}
    assert (await directory.route("off")).status == "disabled"


async def test_forwarding_with_and_without_a_copy(directory: Directory) -> None:
    await directory.account("keeps", forward_to=["a@elsewhere.test"])
    await directory.account("passes", forward_to=["a@elsewhere.test"], forward_keeps_copy=False)
    await directory.account("itself", forward_to=[directory.at("itself"), "a@elsewhere.test"], forward_keeps_copy=False)
    for name, copies in (("keeps", {"keeps"}), ("passes", set()), ("itself", {"itself"})):
        assert await directory.inboxes(name) == copies
        (remote,) = (await directory.route(name)).remotes
        assert (remote.address, [f.address for f in remote.path]) == ("a@elsewhere.test", [directory.at(name)])


async def test_two_accounts_that_forward_to_each_other(directory: Directory) -> None:
    await directory.account("ann", forward_to=[directory.at("bob")])
    await directory.account("bob", forward_to=[directory.at("ann")])
    assert await directory.inboxes("ann") == {"ann", "bob"}
    await directory.account("one", forward_to=[directory.at("two")], forward_keeps_copy=False)
    await directory.account("two", forward_to=[directory.at("one")], forward_keeps_copy=False)
    assert (await directory.route("one")).status == "loop"


async def test_who_may_post(directory: Directory) -> None:
    member = await directory.account("ann")
    await directory.account("bob")
    await directory.alias("members", "ann", "m@elsewhere.test", kind="list", who_may_post="members")
    await directory.alias("domain", "ann", kind="list", who_may_post="domain")
    await directory.alias("outer", "members", "bob")
    ann = Sender("other@elsewhere.test", Submitter(member, directory.at("ann"), directory.domain_id))
    for name, sender, allowed in (
        ("members", Sender("m@elsewhere.test"), True),
        ("members", Sender("M@elsewhere.test"), True),
        ("members", Sender(directory.at("ann+x")), True),
        ("members", Sender(directory.at("bob")), False),
        ("members", Sender(""), False),
        ("members", ann, True),
        ("domain", Sender(directory.at("bob")), True),
        ("domain", Sender("m@elsewhere.test"), False),
        ("domain", ann, True),
    ):
        route = await directory.route(name, sender)
        assert (route.status == "local", route.asks_sender) == (allowed, True), (name, sender)
    route = await directory.route("outer")
    assert [(f.address, f.reason) for f in route.failures] == [(directory.at("members"), "not_permitted")]
    assert {local.address for local in route.locals} == {directory.at("bob")}


async def test_bounces_come_back_through_srs_and_nothing_else_does(directory: Directory) -> None:
    rewritten = SRS.forward("s.ender@elsewhere.test", directory.domain, TODAY)
    route = await directory.route(rewritten, Sender(""))
    assert [(remote.address, remote.is_return) for remote in route.remotes] == [("s.ender@elsewhere.test", True)]
    assert route.status == "local"
    assert (await directory.route(rewritten, Sender("a@elsewhere.test"))).status == "not_permitted"
    forged = rewritten.replace("=elsewhere", "=elsewhen")
    assert (await directory.route(forged, Sender(""))).status == "unknown"
    old = SRS.forward("s.ender@elsewhere.test", directory.domain, TODAY - timedelta(days=30))
    assert (await directory.route(old, Sender(""))).status == "unknown"
    await directory.alias("@", "a@elsewhere.test", kind="catch_all")
    assert (await directory.route(rewritten, Sender(""))).remotes[0].address == "s.ender@elsewhere.test"
    # An address that somebody has is his.
    await directory.account("srs0=x")
    assert await directory.inboxes("SRS0=x", Sender("a@elsewhere.test")) == {"srs0=x"}


async def test_whom_one_may_write_as(directory: Directory) -> None:
    own = await directory.account("ann")
    await directory.account("bob")
    await directory.alias("sales", "ann", "bob")
    await directory.alias("others", "bob")
    await directory.alias("list", "ann", kind="list")
    other = f"{uuid4().hex[:12]}.test"
    await add_domain(directory.connection, other, directory.domain_id)
    ann = Submitter(own, directory.at("ann"), directory.domain_id)
    for address, allowed in (
        (directory.at("ann"), True),
        (directory.at("Ann+detail"), True),
        (f"ann@{other}", True),
        (directory.at("sales"), True),
        (f"sales@{other}", True),
        (directory.at("others"), False),
        (directory.at("list"), False),
        (directory.at("bob"), False),
        (directory.at("nobody"), False),
        ("ann@elsewhere.test", False),
    ):
        assert await may_send_as(directory.connection, ann, address) is allowed, address


Graph = dict[str, tuple[str, tuple[str, ...], bool]]
NAMES = [f"n{number}" for number in range(8)]
ENDS = ["remote@elsewhere.test", "nobody"]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Each name an account, a forwarding account (with a copy or not) or an alias, to any others."""
    targets = st.lists(st.sampled_from(NAMES + ENDS), max_size=3, unique=True)
    return {name: (draw(st.sampled_from("af")), tuple(draw(targets)), draw(st.booleans())) for name in NAMES}


def model(graph: Graph, start: str) -> tuple[set[str], set[str]]:
    """Accounts that get a copy, and addresses elsewhere: depth first, each name once."""
    kept, elsewhere, seen, open_ = set(), set(), set(), [start]
    while open_:
        name = open_.pop()
        if name in seen or name == "nobody":
            continue
        seen.add(name)
        if name not in graph:
            elsewhere.add(name)
            continue
        kind, targets, keeps_copy = graph[name]
        if kind == "f" and (keeps_copy or not targets or name in targets):
            kept.add(name)
        open_ += targets
    return kept, elsewhere


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs())
async def test_any_graph_leads_where_a_plain_walk_leads(postroom: RunningPostroom, graph: Graph) -> None:
    database = Database(postroom.database_url)
    async with database.engine.connect() as connection:
        transaction = await connection.begin()
        domain = f"{uuid4().hex[:12]}.test"
        directory = Directory(connection, domain, await add_domain(connection, domain))
        for name, (kind, targets, keeps_copy) in graph.items():
            if kind == "a":
                await directory.alias(name, *targets)
            else:
                await directory.account(
                    name, forward_to=[directory.at(target) for target in targets], forward_keeps_copy=keeps_copy
                )
        sender = Sender("s@elsewhere.test")
        routes = (await resolve(connection, SRS, [(directory.at(name), sender) for name in NAMES])).routes
        for name, route in zip(NAMES, routes, strict=True):
            kept, elsewhere = model(graph, name)
            assert {local.address.partition("@")[0] for local in route.locals} == kept, name
            assert {remote.address for remote in route.remotes} == elsewhere, name
            assert (route.failure is None) == bool(kept or elsewhere), name
        await transaction.rollback()
    await database.close()
