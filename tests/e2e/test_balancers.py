"""Behind a balancer that speaks the PROXY protocol, each service knows its clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

import imap.server
import pop3.server
import smtp_in.server
from imap.session import Shared as ImapShared
from imap.settings import Settings as ImapSettings
from imap.watches import Watches
from mail_runtime.bus import Bus
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import HOST, TIMEOUT_S, Rest, User
from mail_testkit.replicas import in_thread
from mail_testkit.running import RunningPostroom
from pop3.locks import Locks
from pop3.settings import Settings as Pop3Settings
from pop3.shared import Shared as Pop3Shared
from smtp_in.connection import Shared as SmtpShared
from smtp_in.recipients import Recipients
from smtp_in.settings import Settings as SmtpSettings

CLIENT = "192.0.2.17"
HEADER = f"PROXY TCP4 {CLIENT} 198.51.100.1 40000 25\r\n".encode()


@asynccontextmanager
async def replicas(postroom: RunningPostroom) -> AsyncIterator[dict[str, int]]:
    """One more of each frontend, on free ports, which takes this machine for a balancer."""
    common: dict[str, Any] = {
        "service_token": postroom.service_token,
        "store_url": postroom.api_url,
        "plaintext_login_on_loopback": True,
        "proxy_protocol_from": HOST,
    }
    smtp = SmtpSettings(**common, nats_url=postroom.nats_url, smtp_port=0, submission_port=0, lmtp_port=0)
    pop = Pop3Settings(**common, pop3_port=0)
    im = ImapSettings(**common, nats_url=postroom.nats_url, imap_port=0)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(StoreClient(postroom.api_url, postroom.service_token))
        bus = await stack.enter_async_context(Bus(postroom.nats_url, "replicas"))
        ports = await stack.enter_async_context(smtp_in.server.serve(smtp, SmtpShared(smtp, store, Recipients(store))))
        ports |= await stack.enter_async_context(pop3.server.serve(pop, Pop3Shared(pop, store, Locks(store))))
        shared = ImapShared.of(im, store, Watches(bus))
        yield ports | await stack.enter_async_context(imap.server.serve(im, shared))


@pytest.fixture
def behind_balancer(postroom: RunningPostroom) -> Iterator[dict[str, int]]:
    with in_thread(replicas(postroom)) as ports:
        yield ports


async def talk(port: int, header: bytes, *lines: str) -> list[str]:
    """The last line of the greeting and of each answer; an SMTP answer's last line has no hyphen behind its code."""
    async with asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(header)
        answers: list[str] = []
        for line in ("", *lines):
            if line:
                writer.write(f"{line}\r\n".encode())
            answer = (await reader.readline()).decode()
            while answer[3:4] == "-" or (line and answer.startswith("* ")):
                answer = (await reader.readline()).decode()
            answers.append(answer.strip())
        writer.close()
        return answers


async def test_the_trace_header_names_the_client(
    behind_balancer: dict[str, int], rest: Rest, user: User, postroom: RunningPostroom
) -> None:
    commands = [
        "EHLO client.example",
        "MAIL FROM:<>",
        f"RCPT TO:<{user.address}>",
        "DATA",
        "Subject: behind a balancer\r\n\r\ntext\r\n.",
    ]
    answers = await talk(behind_balancer["mx"], HEADER, *commands)
    assert [answer[:3] for answer in answers] == ["220", "250", "250", "250", "354", "250"]
    message = rest.messages(user)[0]
    received = rest.raw(user, message["id"]).partition(b"\r\n\r\n")[0].decode()
    assert f"[{CLIENT}]" in received
    assert HOST not in received


async def test_a_client_behind_a_balancer_is_not_on_this_machine(behind_balancer: dict[str, int], user: User) -> None:
    """The balancer is; passwords in clear are for those that are themselves."""
    local = b"PROXY UNKNOWN\r\n"
    capability = "a CAPABILITY"
    login = f"a LOGIN {user.address} {user.password}"
    assert (await talk(behind_balancer["imap"], local, login))[-1].startswith("a OK")
    assert (await talk(behind_balancer["imap"], HEADER, capability, login))[-1].startswith("a NO [PRIVACYREQUIRED]")
    name, password = f"USER {user.address}", f"PASS {user.password}"
    assert [answer[:3] for answer in await talk(behind_balancer["pop3"], local, name, password)] == ["+OK"] * 3
    assert (await talk(behind_balancer["pop3"], HEADER, name))[-1].startswith("-ERR")
