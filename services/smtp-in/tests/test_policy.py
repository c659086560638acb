"""A site's policy as clients of the MX port meet it: a real store, a real DNS server, addresses by PROXY headers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import dkim
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mail_runtime.settings import SettingsError, read_settings
from mail_runtime.store_client import StoreClient
from mail_testkit.clients import TIMEOUT_S, Rest, User
from mail_testkit.running import RunningPostroom
from postroom_cli.demo.dns import dns_server
from smtp_in.connection import Shared
from smtp_in.policy.opening import policy_of
from smtp_in.policy.settings import PolicySettings
from smtp_in.recipients import Recipients
from smtp_in.server import serve
from smtp_in.settings import Settings

KEY = Ed25519PrivateKey.generate()
SECRET = b64encode(KEY.private_bytes_raw())
PUBLIC = b64encode(KEY.public_key().public_bytes_raw()).decode()
RSA = generate_private_key(65537, 1024)
RSA_PUBLIC = b64encode(RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
ZONE = f"""
strict.test. 60 IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.strict.test. 60 IN TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@strict.test"
k._domainkey.strict.test. 60 IN TXT "v=DKIM1; k=ed25519; p={PUBLIC}"
r._domainkey.forwarder.test. 60 IN TXT "v=DKIM1; p={RSA_PUBLIC}"
1.2.0.192.in-addr.arpa. 60 IN PTR mx.strict.test.
mx.strict.test. 60 IN A 192.0.2.1
9.2.0.192.list.test. 60 IN A 127.0.0.2
8.2.0.192.list.test. 60 IN A 127.255.255.254
"""


@pytest.fixture(scope="module")
def dns() -> Iterator[str]:
    with dns_server(ZONE) as (address, _):
        yield address


class Client:
    """One connection, from an address of its own choice."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def reply(self) -> str:
        """The last line of a reply."""
        async with asyncio.timeout(TIMEOUT_S):
            while (line := (await self._reader.readline()).decode())[3:4] == "-":
                pass
        return line.rstrip()

    async def say(self, line: str) -> str:
        self._writer.write(line.encode() + b"\r\n")
        return await self.reply()

    async def send(self, sender: str, recipient: str, message: bytes) -> str:
        """One transaction; the first refusal, or the reply to the end of data."""
        for line in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA"):
            if (reply := await self.say(line))[0] in "45":
                return reply
        self._writer.write(message + b".\r\n")
        return await self.reply()


class Mx:
    """A running smtp-in of this process."""

    def __init__(self, port: int, submission: int, lmtp: int) -> None:
        self.port, self.submission, self.lmtp = port, submission, lmtp

    @asynccontextmanager
    async def connection(
        self, address: str, helo: str = "mx.strict.test", port: int | None = None
    ) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        writer.write(f"PROXY TCP4 {address} 127.0.0.1 40000 25\r\n".encode())
        client = Client(reader, writer)
        try:
            client.greeting = await client.reply()  # type: ignore[attr-defined]
            if helo:
                client.introduced = await client.say(f"EHLO {helo}")  # type: ignore[attr-defined]
            yield client
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def send(self, address: str, sender: str, user: User, message: bytes) -> str:
        async with self.connection(address) as client:
            return await client.send(sender, user.address, message)


@asynccontextmanager
async def mx(postroom: RunningPostroom, dns: str, **environ: str) -> AsyncIterator[Mx]:
    """smtp-in with this policy, in front of the running store."""
    given = {
        "POSTROOM_SERVICE_TOKEN": postroom.service_token,
        "POSTROOM_STORE_URL": postroom.api_url,
        "POSTROOM_HOSTNAME": "mx.example.test",
        "POSTROOM_PROXY_PROTOCOL_FROM": "127.0.0.1",
        **{f"POSTROOM_{name}_PORT": "0" for name in ("SMTP", "SUBMISSION", "SUBMISSIONS", "LMTP")},
        "POSTROOM_DNS_SERVER": dns,
        "POSTROOM_DNS_TIMEOUT_S": "30",
        "POSTROOM_SMTP_TARPIT_S": "0",
        "POSTROOM_REVERSE_DNS": "off",
        **environ,
    }
    settings = read_settings(Settings, given)
    async with (
        StoreClient(postroom.api_url, postroom.service_token) as store,
        StoreClient(settings.store_url, postroom.service_token) as asked,
        policy_of(read_settings(PolicySettings, given), settings.hostname, asked) as policy,
        serve(settings, Shared(settings, store, Recipients(store), policy.screen)) as ports,
    ):
        yield Mx(ports["mx"], ports["submission"], ports["lmtp"])


def letter(author: str = "a@strict.test", fields: bytes = b"") -> bytes:
    return fields + f"From: {author}\r\nTo: b@example.test\r\nSubject: s\r\n\r\nbody\r\n".encode()


async def user_of(postroom: RunningPostroom) -> User:
    return await asyncio.to_thread(Rest(postroom).make_user)


async def found(postroom: RunningPostroom, user: User, mailbox: str = "INBOX") -> list[bytes]:
    rest = Rest(postroom)
    messages = await asyncio.to_thread(rest.messages, user, mailbox)
    return [await asyncio.to_thread(rest.raw, user, message["id"]) for message in messages]


async def test_marking(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    forged = b"Authentication-Results: mx.example.test; dmarc=pass\r\nAuthentication-Results: other.test; none\r\n"
    async with mx(postroom, dns, POSTROOM_REVERSE_DNS="mark") as server:
        assert (await server.send("192.0.2.1", "a@strict.test", user, letter(fields=forged))).startswith("250 ")
        assert (await server.send("192.0.2.7", "a@strict.test", user, letter())).startswith("250 ")
    good, bad = await found(postroom, user)
    assert b"dmarc=pass\r\nAuth" not in good
    assert b"\r\nAuthentication-Results: other.test; none\r\n" in good
    assert (
        b"\r\nAuthentication-Results: mx.example.test;\r\n"
        b'\tiprev=pass reason="mx.strict.test" policy.iprev=192.0.2.1;\r\n'
        b"\tspf=pass smtp.mailfrom=strict.test;\r\n\tdkim=none;\r\n\tdmarc=pass header.from=strict.test\r\n"
    ) in good
    assert b"\tiprev=permerror policy.iprev=192.0.2.7;\r\n\tspf=fail" in bad
    assert b"\tdmarc=fail header.from=strict.test policy.dmarc=reject\r\n" in bad


async def test_policies_are_done(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    signed = dkim.sign(letter(), b"k", b"strict.test", SECRET, signature_algorithm=b"ed25519-sha256") + letter()
    async with mx(postroom, dns, POSTROOM_SENDER_CHECKS="enforce") as server:
        assert (await server.send("192.0.2.1", "a@strict.test", user, letter())).startswith("250 ")
        assert (await server.send("192.0.2.7", "a@elsewhere.test", user, signed)).startswith("250 ")
        refused = await server.send("192.0.2.7", "a@strict.test", user, letter())
        assert refused == "550 5.7.1 refused by the DMARC policy of strict.test"
        two = letter(fields=b"From: x@elsewhere.test\r\n")
        assert (await server.send("192.0.2.1", "a@strict.test", user, two)).startswith("550 5.7.1 a message has one")
        sub = await server.send("192.0.2.7", "a@strict.test", user, letter("a@news.strict.test"))
        assert sub.startswith("250 ")
    assert len(await found(postroom, user)) == 2
    (junk,) = await found(postroom, user, "Junk")
    assert b"policy.dmarc=quarantine" in junk


async def test_trusted_sealers(postroom: RunningPostroom, dns: str) -> None:
    """RFC 8617 §7.2.1: what a known forwarder saw pass isn't refused though it was forwarded."""
    user = await user_of(postroom)
    seen = b"Authentication-Results: forwarder.test; dmarc=pass header.from=strict.test\r\n" + letter()
    pem = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    sealed = dkim.arc_sign(seen, b"r", b"forwarder.test", pem, b"forwarder.test", linesep=b"\r\n")
    message = b"".join(sealed) + letter()
    async with mx(postroom, dns, POSTROOM_SENDER_CHECKS="enforce") as server:
        assert (await server.send("192.0.2.7", "a@forwarder.test", user, message)).startswith("550 5.7.1 ")
    trusting = {"POSTROOM_SENDER_CHECKS": "enforce", "POSTROOM_TRUSTED_SEALERS": "forwarder.test"}
    async with mx(postroom, dns, **trusting) as server:
        assert (await server.send("192.0.2.7", "a@forwarder.test", user, message)).startswith("250 ")
        damaged = message.replace(b"body", b"other")
        assert (await server.send("192.0.2.7", "a@forwarder.test", user, damaged)).startswith("550 5.7.1 ")


async def test_without_dns(postroom: RunningPostroom) -> None:
    """Temporary where something depends on it, never a crash."""
    user, nowhere = await user_of(postroom), "127.0.0.1:1"
    options = {"POSTROOM_DNS_TIMEOUT_S": "0.2"}
    async with mx(postroom, nowhere, POSTROOM_SENDER_CHECKS="enforce", **options) as server:
        assert (await server.send("192.0.2.1", "a@strict.test", user, letter())).startswith("451 4.7.0 ")
    async with mx(postroom, nowhere, POSTROOM_REVERSE_DNS="require", **options) as server:
        assert (await server.send("192.0.2.1", "a@strict.test", user, letter())).startswith("451 4.7.25 ")
    async with mx(postroom, nowhere, POSTROOM_DNS_BLOCKLISTS="list.test", **options) as server:
        assert (await server.send("192.0.2.9", "a@strict.test", user, letter())).startswith("250 ")
    (marked,) = await found(postroom, user)
    assert b"\tspf=temperror" in marked
    assert b"\tdmarc=temperror" in marked


async def test_results_are_told_as_events(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    reader, writer = await asyncio.open_connection(*postroom.api_url.removeprefix("http://").split(":"))
    writer.write(
        b"GET /v1/events?type=dmarc.failed HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: Bearer %s\r\n\r\n" % postroom.admin_token.encode()
    )
    assert b" 200 " in await reader.readline(), "from here on it is told"
    async with mx(postroom, dns) as server:
        assert (await server.send("192.0.2.77", "a@elsewhere.test", user, letter())).startswith("250 ")
        async with asyncio.timeout(TIMEOUT_S):
            while not (line := await reader.readline()).startswith(b"data:") or b"192.0.2.77" not in line:
                assert line
    writer.close()
    row = json.loads(line.removeprefix(b"data:"))["data"]
    assert row["policy_evaluated"] == {"disposition": "none", "dkim": "fail", "spf": "fail", "reason": "local_policy"}
    assert row["policy_published"]["rua"] == "mailto:d@strict.test"
    assert row["identifiers"] == {"header_from": "strict.test", "envelope_from": "elsewhere.test"}
    assert row["auth_results"]["spf"] == {"domain": "elsewhere.test", "scope": "mfrom", "result": "none"}


async def test_lists(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    async with mx(postroom, dns, POSTROOM_DNS_BLOCKLISTS="empty.test, list.test") as server:
        refused = await server.send("192.0.2.9", "a@x.test", user, letter())
        assert refused == "550 5.7.1 your address is listed by list.test"
        # 127.255.255.x: the list refuses to answer us
        assert (await server.send("192.0.2.8", "a@x.test", user, letter())).startswith("250 ")
        async with server.connection("192.0.2.9") as client:
            await client.say("MAIL FROM:<a@x.test>")
            assert "listed" not in await client.say("RCPT TO:<postmaster@example.test>")


async def test_names(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    async with mx(postroom, dns, POSTROOM_REVERSE_DNS="require", POSTROOM_STRICT_HELO="1") as server:
        assert (await server.send("192.0.2.1", "a@x.test", user, letter())).startswith("250 ")
        assert (await server.send("192.0.2.2", "a@x.test", user, letter())).startswith("550 5.7.25 ")
        for name, code in (
            ("localhost", "550"),
            ("192.0.2.1", "550"),
            ("mx.example.test", "550"),
            ("[192.0.2.1]", "250"),
            ("host.x.test", "250"),
        ):
            async with server.connection("192.0.2.1", helo="") as client:
                assert (await client.say(f"EHLO {name}")).startswith(code), name


async def test_greylisting(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    async with (
        mx(postroom, dns, POSTROOM_GREYLIST_S="1") as server,
        mx(postroom, dns, POSTROOM_GREYLIST_S="1") as other,
    ):
        first = await server.send("192.0.2.5", "a@x.test", user, letter())
        assert first == "451 4.7.1 greylisted: come again in 1 seconds"
        async with asyncio.timeout(TIMEOUT_S):
            while (await other.send("192.0.2.6", "a@x.test", user, letter())).startswith("451"):
                pass
        assert (await server.send("192.0.2.5", "A@x.test", user, letter())).startswith("250 ")


async def test_limits_of_an_address(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    limits = {"POSTROOM_SMTP_CLIENT_CONNECTIONS": "2", "POSTROOM_SMTP_CLIENT_MESSAGES_PER_MINUTE": "3"}
    async with mx(postroom, dns, **limits) as server:
        async with server.connection("192.0.2.1"), server.connection("192.0.2.1"):
            async with server.connection("192.0.2.1", helo="") as third:
                assert third.greeting.startswith("421 4.7.0 ")  # type: ignore[attr-defined]
            async with server.connection("192.0.2.2", helo="") as another:
                assert another.greeting.startswith("220 ")  # type: ignore[attr-defined]
        async with asyncio.timeout(TIMEOUT_S):
            while True:  # until the server has noticed that the two have left
                async with server.connection("192.0.2.1", helo="") as client:
                    if client.greeting.startswith("220 "):  # type: ignore[attr-defined]
                        break
        codes = [(await server.send("192.0.2.3", "a@x.test", user, letter()))[:3] for _ in range(4)]
        assert codes == ["250", "250", "250", "451"]


FORGED = b"Authentication-Results: mx.example.test; dmarc=pass\r\n"


async def test_an_account_may_write_to_so_many(postroom: RunningPostroom, dns: str) -> None:
    """Counted for all replicas; what users claim of themselves is removed too."""
    user, other = await user_of(postroom), await user_of(postroom)
    options = {"POSTROOM_ACCOUNT_RECIPIENTS_PER_DAY": "2", "POSTROOM_PLAINTEXT_LOGIN_ON_LOOPBACK": "1"}
    login = b64encode(f"\0{user.address}\0{user.password}".encode()).decode()
    replies = []
    for _ in range(3):
        async with (
            mx(postroom, dns, **options) as server,
            server.connection("127.0.0.1", port=server.submission) as client,
        ):
            assert (await client.say(f"AUTH PLAIN {login}")).startswith("235 ")
            replies.append(await client.send(user.address, other.address, letter(user.address, FORGED)))
    assert [reply[:9] for reply in replies] == ["250 2.0.0", "250 2.0.0", "452 4.7.1"]
    assert all(FORGED not in message for message in await found(postroom, other))


async def test_mail_by_lmtp_passes_as_it_is(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    options = {"POSTROOM_SENDER_CHECKS": "enforce", "POSTROOM_CLAMAV": "127.0.0.1:1"}
    async with (
        mx(postroom, dns, **options) as server,
        server.connection("192.0.2.7", helo="", port=server.lmtp) as client,
    ):
        assert (await client.say("LHLO relay.test")).startswith("250 ")
        reply = await client.send("a@strict.test", user.address, letter(fields=FORGED))
        assert reply.startswith("250 ")
    (message,) = await found(postroom, user)
    assert message.endswith(letter(fields=FORGED))


async def test_without_store(postroom: RunningPostroom, dns: str) -> None:
    """Greylisting that can't be asked defers; nothing hangs or breaks off."""
    options = {"POSTROOM_GREYLIST_S": "5", "POSTROOM_STORE_URL": "http://127.0.0.1:1"}
    async with mx(postroom, dns, **options) as server:
        assert (await server.send("192.0.2.1", "a@x.test", await user_of(postroom), letter())).startswith("451 4.3.0 ")


async def test_notifications_have_one_recipient(postroom: RunningPostroom, dns: str) -> None:
    user, other = await user_of(postroom), await user_of(postroom)
    async with mx(postroom, dns) as server, server.connection("192.0.2.1") as client:
        await client.say("MAIL FROM:<>")
        assert (await client.say(f"RCPT TO:<{user.address}>")).startswith("250 ")
        assert (await client.say(f"RCPT TO:<{other.address}>")).startswith("452 4.5.3 ")
        await client.say("RSET")
        assert (await client.send("", other.address, letter())).startswith("250 ")


async def test_tarpit(postroom: RunningPostroom, dns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("smtp_in.policy.screen.asyncio.sleep", sleep)
    async with mx(postroom, dns, POSTROOM_SMTP_TARPIT_S="8") as server, server.connection("192.0.2.1") as client:
        await client.say("MAIL FROM:<a@x.test>")
        for _ in range(8):
            assert (await client.say("RCPT TO:<nobody-at-all@example.test>")).startswith("550 5.1.1 ")
    assert [seconds for seconds in slept if seconds >= 8] == [8.0, 16.0, 20.0, 20.0]


async def test_trusted_networks_pass_unasked(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    options = {"POSTROOM_SENDER_CHECKS": "enforce", "POSTROOM_TRUSTED_NETWORKS": "192.0.2.0/28"}
    async with mx(postroom, dns, POSTROOM_GREYLIST_S="300", **options) as server:
        assert (await server.send("192.0.2.7", "a@strict.test", user, letter())).startswith("250 ")
        assert (await server.send("192.0.2.77", "a@strict.test", user, letter())).startswith("451 ")


JUNK = {"action": "add header", "milter": {"add_headers": {"X-Score": "9"}}}


@asynccontextmanager
async def rspamd(reply: dict[str, Any]) -> AsyncIterator[str]:
    """Says the same of every message."""

    async def check(request: web.Request) -> web.Response:
        assert b"Authentication-Results: mx.example.test" in await request.read()
        return web.json_response(reply)

    app = web.Application()
    app.router.add_post("/checkv2", check)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_what_a_filter_says_is_done(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    expected = {"reject": "550 5.7.1 said", "soft reject": "451 4.7.1 said", "greylist": "451 4.7.1 greylisted"}
    for action, reply in {**expected, "add header": "250 "}.items():
        said = {"action": action, "messages": {"smtp_message": "said"}, **(JUNK if action == "add header" else {})}
        async with rspamd(said) as url, mx(postroom, dns, POSTROOM_RSPAMD_URL=url) as server:
            assert (await server.send("192.0.2.1", "a@strict.test", user, letter())).startswith(reply), action
    assert await found(postroom, user) == []
    (junk,) = await found(postroom, user, "Junk")
    assert b"\r\nX-Spam: Yes\r\nX-Score: 9\r\nAuthentication-Results: mx.example.test;" in junk


async def test_a_filter_that_is_down(postroom: RunningPostroom, dns: str) -> None:
    user = await user_of(postroom)
    for filters in ({"POSTROOM_RSPAMD_URL": "http://127.0.0.1:1"}, {"POSTROOM_CLAMAV": "127.0.0.1:1"}):
        async with mx(postroom, dns, **filters) as server:
            assert (await server.send("192.0.2.1", "a@x.test", user, letter())).startswith("451 4.7.1 ")
        async with mx(postroom, dns, POSTROOM_FILTER_FAILURE="accept", **filters) as server:
            assert (await server.send("192.0.2.1", "a@x.test", user, letter())).startswith("250 ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTROOM_SENDER_CHECKS", "maybe"),
        ("POSTROOM_TRUSTED_NETWORKS", "here"),
        ("POSTROOM_DNS_SERVER", "dns"),
        ("POSTROOM_FILTER_FAILURE", "panic"),
    ],
)
def test_wrong_settings_stop_the_start(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings(PolicySettings, {name: value})
