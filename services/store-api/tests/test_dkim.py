"""DKIM keys by REST, and what the relay gets to send, verified by dkimpy."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import aiohttp
import dkim
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import Unavailable
from mail_runtime.store_client import StoreClient
from store_api.blobs.keyring import Keyring
from store_api.blobs.rewrap import rewrap
from store_api.db.engine import Database, run
from store_api.directory.domains import create_domain
from store_api.dkim import keys as dkim_keys
from store_api.dkim.secrets import Sealed, make, seal, unseal

FIRST = Keyring.parse("a:" + "A" * 43 + "=")
SECOND = Keyring.parse("b:" + "B" * 43 + "=,a:" + "A" * 43 + "=")


@pytest.fixture
async def domain(rest: aiohttp.ClientSession) -> str:
    name = f"d{uuid4().hex[:10]}.test"
    async with rest.post("/v1/domains", json={"name": name}) as response:
        assert response.status == 201
    return name


@pytest.fixture
async def sender(rest: aiohttp.ClientSession, domain: str) -> UUID:
    async with rest.post("/v1/accounts", json={"address": f"x@{domain}", "password": "long enough"}) as response:
        return UUID((await response.json())["id"])


async def call(rest: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with rest.request(method, f"/v1{path}", json=body) as response:
        return response.status, await response.json() if response.status != 204 else None


async def active_key(rest: aiohttp.ClientSession, domain: str, algorithm: str, selector: str) -> dict[bytes, bytes]:
    """Make and activate; returns its record by its name."""
    path = f"/domains/{domain}/dkim-keys"
    status, made = await call(rest, "POST", path, {"algorithm": algorithm, "selector": selector})
    assert (status, made["state"]) == (201, "new")
    assert (await call(rest, "POST", f"{path}/{selector}/activate"))[1]["state"] == "active"
    return {f"{made['record_name']}.".encode(): made["record"].encode()}


async def leaving(store: StoreClient, account_id: UUID, sender: str, message: bytes) -> bytes:
    """What a worker gets to send."""
    sent = wire.Transmission(
        id=uuid4(), reverse_path=sender, recipients=[f"b@n{uuid4().hex[:8]}.broken.test"], submitted_by=account_id
    )
    await store.accept(sent, message)
    return await store.queued_message(sent.id)


def verify(message: bytes, records: dict[bytes, bytes]) -> list[bool]:
    """Each signature, from the top."""
    number = message.count(b"DKIM-Signature: v=1")
    checker = dkim.DKIM(message)
    return [checker.verify(index, dnsfunc=lambda name, timeout=5: records.get(name, b"")) for index in range(number)]


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_mail_leaves_with_both_signatures(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str, sender: UUID, size: int
) -> None:
    message = f"From: X <x@{domain}>\r\nSubject: s\r\n\r\n".encode() + b"line  of text \r\n" * (size // 16 + 1)
    assert await leaving(store, sender, f"x@{domain}", message) == message, "without a key nothing is added"
    records = await active_key(rest, domain, "rsa-sha256", "r1")
    records |= await active_key(rest, domain, "ed25519-sha256", "e1")
    sent = await leaving(store, sender, f"x@{domain}", message)
    assert sent.endswith(b"\r\n" + message), "the message itself is as it was"
    assert verify(sent, records) == [True, True]


async def test_rotation_and_removal(store: StoreClient, rest: aiohttp.ClientSession, domain: str, sender: UUID) -> None:
    path = f"/domains/{domain}/dkim-keys"
    await active_key(rest, domain, "ed25519-sha256", "old")
    records = await active_key(rest, domain, "ed25519-sha256", "next")
    listed = (await call(rest, "GET", path))[1]["items"]
    assert [(key["selector"], key["state"]) for key in listed] == [("old", "retired"), ("next", "active")]
    sent = await leaving(store, sender, f"x@{domain}", f"From: x@{domain}\r\n\r\nx\r\n".encode())
    assert verify(sent, records) == [True]
    assert (await call(rest, "DELETE", f"{path}/next"))[0] == 409
    assert (await call(rest, "DELETE", f"{path}/old"))[0] == 204
    assert (await call(rest, "POST", path, {"selector": "next"}))[0] == 409
    assert (await call(rest, "POST", path, {"selector": "no good"}))[0] == 422
    assert (await call(rest, "POST", f"{path}/next/retire"))[1]["state"] == "retired"
    assert (await call(rest, "DELETE", f"{path}/next"))[0] == 204
    assert (await call(rest, "GET", f"{path}/next"))[0] == 404


async def test_nobody_signs_for_another_tenant(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str, account: Any
) -> None:
    """An account elsewhere that writes `From` a domain with a key gets no signature of that domain."""
    await active_key(rest, domain, "ed25519-sha256", "k")
    message = f"From: ceo@{domain}\r\n\r\nx\r\n".encode()
    assert b"DKIM-Signature" not in await leaving(store, account.id, account.address, message)
    status, _ = await call(rest, "GET", f"/domains/not-{domain}/dkim-keys")
    assert status == 404


async def test_other_names_of_a_domain_sign_for_themselves(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str, sender: UUID
) -> None:
    other = f"other-{domain}"
    assert (await call(rest, "POST", "/domains", {"name": other, "alias_of": domain}))[0] == 201
    records = await active_key(rest, other, "ed25519-sha256", "o")
    records |= await active_key(rest, domain, "ed25519-sha256", "k")
    for name in (other, domain):
        sent = await leaving(store, sender, f"x@{name}", f"From: x@{name}\r\n\r\nx\r\n".encode())
        assert f"d={name};".encode() in sent
        assert verify(sent, records) == [True]


@pytest.fixture
async def forwarder(rest: aiohttp.ClientSession, domain: str) -> str:
    """An account whose mail goes elsewhere."""
    wanted = {"address": f"f@{domain}", "password": "long enough", "forward_to": [f"b@n{uuid4().hex[:8]}.broken.test"]}
    assert (await call(rest, "POST", "/accounts", wanted))[0] == 201
    return wanted["address"]  # type: ignore[return-value]


async def sent_on(store: StoreClient, rest: aiohttp.ClientSession, forwarder: str, message: bytes) -> bytes:
    """What a worker gets to send of a message from elsewhere."""
    sender = f"s{uuid4().hex[:8]}@elsewhere.test"
    await store.accept(wire.Transmission(id=uuid4(), reverse_path=sender, recipients=[forwarder]), message)
    _, queue = await call(rest, "GET", f"/queue?account={forwarder}&limit=1")
    return await store.queued_message(UUID(queue["items"][0]["transmission_id"]))


def chain(message: bytes, records: dict[bytes, bytes]) -> tuple[bytes, int]:
    """The state of a message's ARC chain by dkimpy, and how many sets it has."""
    state, sets, _ = dkim.arc_verify(message, dnsfunc=lambda name, timeout=5: records.get(name, b""))
    return state, len(sets)


def judged(words: str) -> bytes:
    """What smtp-in writes on top of what it has checked."""
    return f"Authentication-Results: localhost;\r\n\tspf=pass smtp.mailfrom=a.test;\r\n\tarc={words}\r\n".encode()


ELSEWHERE = b"From: A <a@a.test>\r\nSubject: s\r\n\r\nline  of text \r\n"


async def test_what_is_sent_on_is_sealed(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str, forwarder: str
) -> None:
    """RFC 8617 §5.1: the first set, another one on top of it, and the end of a chain that broke."""
    records = await active_key(rest, domain, "ed25519-sha256", "e1")
    records |= await active_key(rest, domain, "rsa-sha256", "r1")
    once = await sent_on(store, rest, forwarder, judged("none") + ELSEWHERE)
    assert once.startswith(b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=" + domain.encode())
    assert b"ARC-Authentication-Results: i=1; localhost;\r\n\tspf=pass smtp.mailfrom=a.test" in once
    assert verify(once[once.index(b"DKIM-Signature: v=1") :], records) == [True, True]
    assert chain(once, records) == (b"pass", 1)
    without_loop = once.replace(b"Delivered-To: " + forwarder.encode() + b"\r\n", b"")
    twice = await sent_on(store, rest, forwarder, judged("pass") + without_loop)
    assert twice.startswith(b"ARC-Seal: i=2; a=rsa-sha256; cv=pass;")
    assert chain(twice, records) == (b"pass", 2)
    assert chain(twice.replace(b"line  of text", b"other text"), records)[0] == b"fail"
    broken = await sent_on(store, rest, forwarder, judged("fail") + without_loop)
    assert broken.startswith(b"ARC-Seal: i=2; a=rsa-sha256; cv=fail;")
    assert chain(broken, records)[0] != b"pass", "dkimpy has no word for what says so itself"
    again = broken.replace(b"Delivered-To: " + forwarder.encode() + b"\r\n", b"")
    assert not (await sent_on(store, rest, forwarder, judged("fail") + again)).startswith(b"ARC-"), "it stays broken"


async def test_what_nobody_checked_is_not_sealed(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str, forwarder: str
) -> None:
    await active_key(rest, domain, "ed25519-sha256", "e1")
    theirs = judged("pass").replace(b"localhost", b"mx.other.test")
    for message in (ELSEWHERE, theirs + ELSEWHERE):
        sent = await sent_on(store, rest, forwarder, message)
        assert b"ARC-" not in sent
        assert sent.startswith(b"DKIM-Signature: ")


async def test_what_an_account_writes_is_not_sealed(
    store: StoreClient, rest: aiohttp.ClientSession, domain: str, sender: UUID
) -> None:
    """Results in it could be its author's invention."""
    await active_key(rest, domain, "ed25519-sha256", "e1")
    assert b"ARC-" not in await leaving(store, sender, f"x@{domain}", judged("pass") + ELSEWHERE)


def test_private_keys_are_sealed_to_their_row() -> None:
    identifier = uuid4()
    key, _ = make("ed25519-sha256")
    sealed = seal(FIRST, identifier, key)
    assert unseal(FIRST, identifier, sealed).private_bytes_raw() == key.private_bytes_raw()  # type: ignore[union-attr]
    assert key.private_bytes_raw() not in sealed.octets  # type: ignore[union-attr]
    for keyring, row in ((FIRST, uuid4()), (Keyring({}), identifier)):
        with pytest.raises(Unavailable):
            unseal(keyring, row, sealed)


async def test_rotating_the_master_key_keeps_dkim_keys(fresh_database: Database) -> None:
    domain_id = await create_domain(fresh_database, "a.test")
    await dkim_keys.create_key(fresh_database, FIRST, domain_id, "k", "ed25519-sha256")
    assert await rewrap(fresh_database, SECOND) == 1
    async with fresh_database.transaction() as connection:
        row = (await run(connection, "SELECT id, private_key, data_key, key_id FROM dkim_key")).one()
    assert row.key_id == "b"
    unseal(SECOND, row.id, Sealed(row.private_key, row.data_key, row.key_id))


async def test_keys_go_with_their_domain(rest: aiohttp.ClientSession, domain: str, database: Database) -> None:
    await active_key(rest, domain, "ed25519-sha256", "k")
    assert (await call(rest, "DELETE", f"/domains/{domain}"))[0] == 204
    async with database.transaction() as connection:
        left = await run(connection, "SELECT id FROM dkim_key WHERE domain_id NOT IN (SELECT id FROM domain)")
    assert left.all() == []
