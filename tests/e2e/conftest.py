"""Fixtures of the end-to-end tests: a user per test, clients that close themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from imapclient import IMAPClient

from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User
from mail_testkit.running import RunningPostroom

Connect = Callable[[User], IMAPClient]


@pytest.fixture
def rest(postroom: RunningPostroom) -> Rest:
    return Rest(postroom)


@pytest.fixture
def user(rest: Rest) -> User:
    return rest.make_user()


@pytest.fixture
def imap(postroom: RunningPostroom) -> Iterator[Connect]:
    """`imap(user)` gives a client that is logged in."""
    opened: list[IMAPClient] = []

    def connect(user: User) -> IMAPClient:
        client = IMAPClient(HOST, postroom.ports["imap"], ssl=False, timeout=TIMEOUT_S)
        opened.append(client)
        client.login(user.address, user.password)
        return client

    yield connect
    for client in opened:
        with contextlib.suppress(Exception):
            client.logout()
        with contextlib.suppress(OSError):
            client.shutdown()
