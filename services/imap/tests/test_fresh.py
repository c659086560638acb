"""Nobody is asked where it is proven that there is nothing new, and nothing is missed that was answered to somebody."""

from __future__ import annotations

import asyncio
import imaplib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from imap import watches
from mail_runtime.bus import Bus
from mail_runtime.contracts.subjects import UNTOLD
from mail_runtime.order import Echoes
from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User, deliver, open_pop3
from mail_testkit.replicas import Replica
from mail_testkit.running import RunningPostroom

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
TURNS = 20


@contextmanager
def selected(port: int, user: User) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4(HOST, port, timeout=TIMEOUT_S) as client:
        client.login(user.address, user.password)
        client.select("INBOX")
        yield client


def news(client: imaplib.IMAP4) -> list[tuple[str, bytes]]:
    """What a NOOP tells."""
    for name in ("EXISTS", "EXPUNGE", "FETCH"):
        client.response(name)
    client.noop()
    found = []
    for name in ("EXISTS", "EXPUNGE", "FETCH"):
        found += [(name, value) for value in client.response(name)[1] if value is not None]
    return found


def until_quiet(command: Callable[[], object], calls: list[str], allowed: Collection[str] = ()) -> None:
    """Repeat it until it asks the store for no more than what is allowed."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        calls.clear()
        command()
        if set(calls) <= set(allowed):
            return
    raise AssertionError(f"it asked every time, and last {calls}")


def until_proven(client: imaplib.IMAP4, calls: list[str]) -> None:
    """NOOP, until one asks nobody."""
    until_quiet(client.noop, calls)


def test_noop_misses_nothing(postroom: RunningPostroom, calls: list[str], replica: Replica) -> None:
    """Changes by whomever, in another process: what was answered there shows in the next NOOP here."""
    rest = Rest(postroom)
    user = rest.make_user()
    deliver(postroom, user, *[MESSAGE] * 3)
    with (
        selected(postroom.ports["imap"], user) as there,
        selected(replica()["imap"], user) as here,
    ):
        present = 3

        def arrives(change: Callable[[], object]) -> None:
            nonlocal present
            until_proven(here, calls)
            change()
            present += 1
            assert ("EXISTS", b"%d" % present) in news(here)

        def goes(change: Callable[[], object]) -> None:
            nonlocal present
            until_proven(here, calls)
            change()
            present -= 1
            assert [name for name, _ in news(here)].count("EXPUNGE") == 1

        def quit_pop3() -> None:
            pop = open_pop3(postroom, user)
            pop.dele(1)
            pop.quit()

        def expunge() -> None:
            there.store("1", "+FLAGS.SILENT", "(\\Deleted)")
            there.expunge()

        for turn in range(TURNS):
            until_proven(here, calls)
            there.store("1", "+FLAGS", f"($k{turn})")
            assert any(name == "FETCH" and b"$k%d" % turn in value for name, value in news(here))
            arrives(lambda: there.append("INBOX", "", "", MESSAGE))
        arrives(lambda: deliver(postroom, user, MESSAGE))
        arrives(lambda: there.copy("1", "INBOX"))
        goes(quit_pop3)
        there.noop()
        goes(expunge)
        message = rest.messages(user)[0]["id"]
        path = f"/v1/accounts/{user.address}/messages/{message}"
        until_proven(here, calls)
        assert rest.call("PATCH", path, {"add": ["$rest"]})[0] == 204
        assert any(name == "FETCH" and b"$rest" in value for name, value in news(here))
        goes(lambda: rest.call("DELETE", path))


def test_a_session_in_the_same_process_shows_too(postroom: RunningPostroom, calls: list[str], replica: Replica) -> None:
    user = Rest(postroom).make_user()
    deliver(postroom, user, MESSAGE)
    port = replica()["imap"]
    with selected(port, user) as one, selected(port, user) as other:
        for turn in range(TURNS):
            until_proven(other, calls)
            one.store("1", "+FLAGS", f"($k{turn})")
            assert any(name == "FETCH" and b"$k%d" % turn in value for name, value in news(other))


def test_a_mailbox_that_is_deleted_elsewhere_is_gone(
    postroom: RunningPostroom, calls: list[str], replica: Replica
) -> None:
    user = Rest(postroom).make_user()
    with selected(postroom.ports["imap"], user) as there, selected(replica()["imap"], user) as here:
        there.create("Short")
        here.select("Short")
        until_proven(here, calls)
        there.delete("Short")
        with pytest.raises(imaplib.IMAP4.abort, match="gone"):
            here.noop()


def test_nothing_is_taken_for_proven_for_long(postroom: RunningPostroom, calls: list[str], replica: Replica) -> None:
    """A store may have lost NATS without knowing it: once in a while it is asked all the same."""
    user = Rest(postroom).make_user()
    with selected(replica()["imap"], user) as client:
        until_proven(client, calls)
        deadline = time.monotonic() + TIMEOUT_S
        while not calls and time.monotonic() < deadline:
            client.noop()
        assert set(calls) == {"columns"}


def test_a_known_list_shows_what_was_changed_elsewhere(
    postroom: RunningPostroom, calls: list[str], replica: Replica
) -> None:
    """STATUS, SELECT and LIST of own mailboxes go by what was read before, as long as that is how they are."""
    user = Rest(postroom).make_user()
    with selected(postroom.ports["imap"], user) as there, selected(replica()["imap"], user) as here:

        def is_listed(name: str) -> bool:
            """Patterns without wildcards: mailboxes of others aren't among them."""
            return here.list('""', name)[1] != [None]

        for turn in range(TURNS):
            name = f"m{turn}"
            until_quiet(lambda: here.status("INBOX", "(MESSAGES UIDNEXT)"), calls)
            there.create(name)
            assert is_listed(name)
            until_quiet(lambda: here.status("INBOX", "(MESSAGES UIDNEXT)"), calls)
            there.append("INBOX", "", "", MESSAGE)
            assert (
                b"(MESSAGES %d UIDNEXT %d)" % (turn + 1, 2 * turn + 2)
                in here.status("INBOX", "(MESSAGES UIDNEXT)")[1][0]
            )
            until_quiet(lambda: here.select("INBOX"), calls)
            there.append("INBOX", "", "", MESSAGE)
            there.store("1", "+FLAGS.SILENT", "(\\Deleted)")
            there.expunge()
            assert here.select("INBOX")[1] == [b"%d" % (turn + 1)]
            until_quiet(partial(here.append, name, "", "", MESSAGE), calls, {"messages"})
            there.rename(name, f"{name}-renamed")
            assert not is_listed(name)
            assert here.append(name, "", "", MESSAGE)[0] == "NO"
            there.delete(f"{name}-renamed")
            assert here.select(f"{name}-renamed")[0] == "NO"
            here.select("INBOX")


def test_a_copy_goes_where_the_name_leads(postroom: RunningPostroom, calls: list[str], replica: Replica) -> None:
    user = Rest(postroom).make_user()
    deliver(postroom, user, MESSAGE)
    with selected(postroom.ports["imap"], user) as there, selected(replica()["imap"], user) as here:
        there.create("A")
        for _ in range(TURNS):
            until_quiet(lambda: here.copy("1", "A"), calls, {"copy"})
            there.rename("A", "B")
            there.create("A")
            here.copy("1", "A")
            assert b"(MESSAGES 1)" in there.status("A", "(MESSAGES)")[1][0]
            there.delete("B")


def test_who_couldnt_tell_says_so(
    postroom: RunningPostroom, calls: list[str], replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that had lost NATS, or took in rows of an export."""
    monkeypatch.setattr(watches, "TRUSTED_S", 3_600.0)
    user = Rest(postroom).make_user()

    async def tell() -> None:
        async with Bus(postroom.nats_url, "test") as bus:
            echoes = Echoes(bus)
            await bus.wait_connected()
            await bus.publish(UNTOLD, b"")
            async with asyncio.timeout(TIMEOUT_S):
                while not await echoes.heard():
                    await asyncio.sleep(0.01)

    with selected(replica()["imap"], user) as client:
        until_proven(client, calls)
        asyncio.run(tell())
        client.noop()
        assert calls == ["columns"]
        until_proven(client, calls)
