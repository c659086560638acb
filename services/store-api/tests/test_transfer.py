"""Backup and restore: what is exported, deleted and imported again is the same, with its ids."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.contracts.framing import pack_stream, unpack_stream
from mail_runtime.store_client import StoreClient
from store_api.db.engine import Database, run

NDJSON = {"Content-Type": "application/x-ndjson"}
FRAMES = {"Content-Type": "application/vnd.postroom.frames"}


async def export(rest: aiohttp.ClientSession, what: str) -> list[dict[str, Any]]:
    async with rest.get(f"/v1/export/{what}") as response:
        assert (response.status, response.content_type) == (200, "application/x-ndjson")
        lines = [json.loads(line) for line in (await response.text()).splitlines()]
    assert lines[0]["format"] == "postroom-rows"
    assert lines[-1] == {"end": True, "rows": len(lines) - 2}
    return lines[1:-1]


async def import_rows(rest: aiohttp.ClientSession, rows: list[Any]) -> tuple[int, Any]:
    body = "".join(json.dumps(row) + "\n" for row in rows)
    async with rest.post("/v1/import/rows", data=body.encode(), headers=NDJSON) as response:
        return response.status, await response.json()


async def import_blobs(rest: aiohttp.ClientSession, bodies: dict[str, bytes]) -> tuple[int, Any]:
    body = b"".join(pack_stream([json.dumps(list(bodies)).encode(), *bodies.values()]))
    async with rest.post("/v1/import/blobs", data=body, headers=FRAMES) as response:
        return response.status, await response.json()


async def make_mail(store: StoreClient, rest: aiohttp.ClientSession) -> str:
    """A domain with one account that has messages; returns its address."""
    domain = f"d{uuid4().hex[:12]}.test"
    address = f"a@{domain}"
    for path, body in [
        ("domains", {"name": domain, "trash_days": 3}),
        ("accounts", {"address": address, "password": "long enough", "display_name": "Ä"}),
        ("aliases", {"address": f"b@{domain}", "members": [address, "x@elsewhere.test"]}),
        ("tokens", {"name": "t", "scope": "account", "account": address}),
    ]:
        async with rest.post(f"/v1/{path}", json=body) as response:
            assert response.status == 201, await response.text()
    async with rest.get(f"/v1/accounts/{address}") as response:
        account_id = (await response.json())["id"]
    inbox, *_, trash = await store.mailboxes(account_id)
    for number in range(4):
        message = b"Subject: n%d\r\n\r\nbody %d\r\n" % (number, number)
        await store.append(account_id, inbox.id, wire.AppendHeader(flags=["\\Seen"] if number else []), message)
    await store.store_flags(
        account_id, inbox.id, wire.StoreFlags(uids=[2], operation="add", flags=["\\Deleted", "$work"])
    )
    await store.expunge(account_id, inbox.id, wire.Expunge(uids=[2]))
    await store.store_flags(account_id, inbox.id, wire.StoreFlags(uids=[1], operation="add", flags=["\\Flagged"]))
    await store.copy(account_id, inbox.id, wire.CopyMessages(uids=[3], target_id=trash.id))
    return address


async def remove(rest: aiohttp.ClientSession, database: Database, address: str, account_id: str) -> None:
    domain = address.rpartition("@")[2]
    for path in (f"accounts/{address}", f"aliases/b@{domain}"):
        async with rest.delete(f"/v1/{path}") as response:
            assert response.status == 204
    left = True
    while left:
        async with database.transaction() as connection:
            left = bool((await run(connection, "SELECT 1 FROM account WHERE id = :id", id=account_id)).scalar())
        await asyncio.sleep(0.05)
    async with rest.delete(f"/v1/domains/{domain}") as response:
        assert response.status == 204
    async with database.transaction() as connection:
        await run(connection, "DELETE FROM blob b WHERE NOT EXISTS (SELECT FROM message m WHERE m.blob_id = b.id)"
                              " AND NOT EXISTS (SELECT FROM expunged e WHERE e.blob_id = b.id)"
                              " AND NOT EXISTS (SELECT FROM transmission t WHERE t.blob_id = b.id)")  # fmt: skip


def of_domain(rows: list[dict[str, Any]], account_id: str, domain: str) -> list[dict[str, Any]]:
    """The rows that belong to one domain, without those of the past."""
    return [
        line
        for line in rows
        if line["table"] not in {"audit", "statistic"} and (account_id in str(line) or domain in str(line))
    ]


async def test_a_system_comes_back_as_it_was(
    store: StoreClient, rest: aiohttp.ClientSession, database: Database
) -> None:
    address = await make_mail(store, rest)
    domain = address.rpartition("@")[2]
    directory = await export(rest, "directory")
    account_id = next(r["row"]["id"] for r in directory if r["row"].get("address") == address)
    alias_id = next(r["row"]["id"] for r in directory if r["row"].get("address") == f"b@{domain}")
    mine = of_domain(directory, account_id, domain) + [r for r in directory if r["row"].get("alias_id") == alias_id]
    mine = list({json.dumps(line): line for line in mine}.values())
    assert {line["table"] for line in mine} == {"domain", "account", "alias", "alias_target", "api_token"}
    rows = await export(rest, f"accounts/{address}")
    assert {line["table"] for line in rows} >= {"mailbox", "message", "expunged"}
    mailboxes = {m.name: m for m in await store.mailboxes(account_id)}
    inbox = await store.changes(account_id, mailboxes["INBOX"].id)
    since = [await store.changes(account_id, inbox.mailbox.id, modseq) for modseq in range(1, max(inbox.modseqs))]
    ids = sorted({line["row"]["blob_id"] for line in rows if line["row"].get("blob_id")})
    async with rest.post("/v1/export/blobs", json={"ids": ids}) as response:
        bodies = dict(zip(ids, unpack_stream(await response.read()), strict=True))
    async with rest.get(f"/v1/export/blobs/{ids[0]}") as response:
        assert await response.read() == bodies[ids[0]]
    await remove(rest, database, address, account_id)

    assert await import_blobs(rest, bodies) == (200, {"new": len(ids), "present": 0})
    assert await import_blobs(rest, bodies) == (200, {"new": 0, "present": len(ids)})
    status, done = await import_rows(rest, mine)
    assert (status, done["tables"]["account"]) == (200, {"new": 1, "present": 0}), done
    half = [line for line in rows if line["table"] != "message"] + [r for r in rows if r["table"] == "message"][:2]
    assert (await import_rows(rest, half))[0] == 200
    for _ in range(2):
        status, done = await import_rows(rest, rows)
        assert status == 200, done
    assert done["tables"]["message"]["new"] == 0, "a repetition changes nothing"

    restored = {m.name: m for m in await store.mailboxes(account_id)}
    assert restored == mailboxes
    again = await store.changes(account_id, restored["INBOX"].id)
    assert (again.uids, again.flags, again.modseqs) == (inbox.uids, inbox.flags, inbox.modseqs)
    assert (again.internal_dates, again.mailbox) == (inbox.internal_dates, inbox.mailbox)
    assert since == [
        await store.changes(account_id, again.mailbox.id, modseq) for modseq in range(1, max(inbox.modseqs))
    ]
    assert await store.bodies(account_id, again.blob_ids) == [bodies[str(i)] for i in again.blob_ids]
    now = await export(rest, "directory")
    compared = [line for line in mine if line["table"] != "api_token"]
    assert [line for line in compared if line not in now] == []
    async with rest.get(f"/v1/accounts/{address}") as response:
        used = (await response.json())["used"]
    assert used["messages"] == sum(m.messages for m in mailboxes.values())
    created = await store.create_mailbox(account_id, "new")
    assert created.uid_validity > max(m.uid_validity for m in mailboxes.values())


@pytest.mark.usefixtures("no_relay")
async def test_what_waits_to_be_sent_comes_back_held(
    store: StoreClient, rest: aiohttp.ClientSession, account: Any, database: Database
) -> None:
    domain = f"d{uuid4().hex[:10]}.invalid"
    sent = wire.Transmission(
        id=uuid4(), reverse_path=account.address, recipients=[f"a@{domain}"], submitted_by=account.id
    )
    await store.accept(sent, b"Subject: x\r\n\r\n")
    async with database.transaction() as connection:
        rows = (
            await run(connection, "SELECT CAST(to_jsonb(d) AS text) AS row FROM delivery d WHERE domain = :d", d=domain)
        ).scalars().all()  # fmt: skip
        await run(
            connection,
            "DELETE FROM delivery_attempt WHERE delivery_id IN (SELECT id FROM delivery WHERE domain = :d)",
            d=domain,
        )
        await run(connection, "DELETE FROM delivery WHERE domain = :d", d=domain)
    status, done = await import_rows(rest, [{"table": "delivery", "row": json.loads(row)} for row in rows])
    assert (status, done["tables"]["delivery"]["new"]) == (200, 1)
    async with rest.get("/v1/queue", params={"domain": domain}) as response:
        assert [item["state"] for item in (await response.json())["items"]] == ["held"]
    assert isinstance(await export(rest, "queue"), list)


async def test_bad_imports_are_refused(rest: aiohttp.ClientSession) -> None:
    new = {"id": str(uuid4()), "name": f"d{uuid4().hex[:10]}.test"}
    for lines, expected in [
        ([{"table": "pg_class", "row": {}}], 422),
        ([{"table": "domain", "row": {**new, "colour": 1}}], 422),
        ([{"table": "domain", "row": {"name": "x.test"}}], 422),
        ([{"table": "domain", "row": {**new, "name": "example.test"}}], 409),
        (
            [
                {
                    "table": "account",
                    "row": {"id": str(uuid4()), "domain_id": str(uuid4()), "address": "x@y.test", "password_hash": "x"},
                }
            ],
            422,
        ),
        ([{"table": "domain", "row": {**new, "name": None}}], 422),
        ([{"table": "domain", "row": {**new, "id": 5}}], 422),
        ([{"table": "domain"}], 422),
        ([{"table": "message", "row": {"account_id": str(uuid4()), "mailbox_id": str(uuid4()), "uid": 1}}], 422),
        ([{"table": "message", "row": {"account_id": 1, "mailbox_id": "x", "uid": 1}}], 400),
        ([{"format": "other"}], 422),
        ([{"table": "domain", "row": new}, {"table": "message", "row": []}], 422),
    ]:
        status, answer = await import_rows(rest, lines)
        assert (status, answer["status"]) == (expected, expected), answer
    async with rest.get(f"/v1/domains/{new['name']}") as response:
        assert response.status == 404, "all of a request or none"
    for body, headers, expected in [
        (b"\0\0", FRAMES, 400),
        (b"\0\0\0\x02[]" + b"\0\0\0\0", FRAMES, 400),
        (b"", FRAMES, 400),
        (b"x", NDJSON, 415),
    ]:
        async with rest.post("/v1/import/blobs", data=body, headers=headers) as response:
            assert response.status == expected, await response.text()
    async with rest.post("/v1/export/blobs", json={"ids": [str(uuid4())]}) as response:
        assert response.status == 404
