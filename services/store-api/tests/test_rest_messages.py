"""Messages in the public REST API: lists, contents, parts, changes."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient
from mail_testkit import messages
from store_api.api.v1.message_models import Messages, ReadMessage

LETTER = (
    b'From: =?utf-8?q?Zo=C3=AB?= <zoe@remote.test>\r\nTo: team: a@x.test, "b, c" <b@x.test>;\r\nCc: c@x.test\r\n'
    b"Reply-To: reply@x.test\r\nSubject: =?utf-8?q?h=C3=A9?=\r\nMessage-ID: <1@x>\r\nReferences: <0@x>\r\n"
    b"Date: Sun, 01 Mar 2026 11:59:58 +0100\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"
    b"--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n"
    b"--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
    b"--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe\r\n"
    b'--a\r\nContent-Type: text/html\r\n\r\n<p onclick=evil()>Hello<script>evil()</script><img src="cid:logo@x">'
    b'<img src="https://tracker.test/x.gif"></p>\r\n--a--\r\n'
    b"--r\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"AAEC\r\n--r--\r\n"
    b"--m\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename*=utf-8''%e2%82%ac%22.html\r\n\r\n"
    b"<script>evil()</script>\r\n--m--\r\n"
)
PLAIN = b"From: a@x.test\r\nSubject: plain\r\n\r\nbody\r\n"


async def put(store: StoreClient, account: Any, octets: bytes, *flags: str, mailbox: str = "INBOX") -> None:
    await store.append(account.id, account.mailboxes[mailbox].id, wire.AppendHeader(flags=list(flags)), octets)


async def items(rest: aiohttp.ClientSession, account: Any, **params: str) -> list[dict[str, Any]]:
    async with rest.get(f"/v1/accounts/{account.address}/messages", params=params) as response:
        assert response.status == 200, await response.text()
        found: list[dict[str, Any]] = (await response.json())["items"]
        return found


async def status_of(call: Any) -> int:
    async with call as response:
        await response.read()
        status: int = response.status
        return status


async def test_a_message_is_read_as_json(rest: aiohttp.ClientSession, store: StoreClient, account: Any) -> None:
    await put(store, account, LETTER, "\\Seen")
    (listed,) = await items(rest, account)
    assert listed["from"] == [{"name": "Zoë", "address": "zoe@remote.test"}]
    assert [one["address"] for one in listed["to"]] == ["a@x.test", "b@x.test"]
    assert (listed["subject"], listed["preview"], listed["attachments"]) == ("hé", "Grüße", 1)
    assert (listed["sent_at"], listed["references"], listed["message_id"]) == ("2026-03-01T10:59:58Z", ["0@x"], "1@x")
    path = f"/v1/accounts/{account.address}/messages/{listed['id']}"
    async with rest.get(path) as response:
        shown = await response.json()
        tag = response.headers["ETag"]
    assert listed.items() <= shown.items()
    assert shown["text"].strip() == "Grüße"
    assert shown["html"] == f'<p>Hello<img src="{path}/parts/1.2"><img></p>'
    assert shown["remote_images_blocked"]
    assert shown["reply_to"] == [{"name": "", "address": "reply@x.test"}]
    assert {"name": "Subject", "value": "hé"} in shown["headers"]
    assert [(part["part"], part["disposition"], part["name"], part["octets"]) for part in shown["parts"]] == [
        ("1.2", "inline", "", 3),
        ("2", "attachment", '€".html', 23),
    ]
    ReadMessage.model_validate(shown, strict=False, extra="forbid")
    async with rest.get(path, params={"remote_images": "true"}) as response:
        loaded = await response.json()
    assert "https://tracker.test/x.gif" in loaded["html"]
    assert not loaded["remote_images_blocked"]
    assert await status_of(rest.get(path, headers={"If-None-Match": tag})) == 304


async def test_parts_are_harmless(rest: aiohttp.ClientSession, store: StoreClient, account: Any) -> None:
    await put(store, account, LETTER)
    path = f"/v1/accounts/{account.address}/messages/{(await items(rest, account))[0]['id']}"
    expected = {
        "1.2": (b"\x00\x01\x02", "image/png", "inline"),
        "1.1.1": ("Grüße".encode("latin-1"), "text/plain; charset=iso-8859-1", "inline"),
        "2": (b"<script>evil()</script>", "text/html", "attachment; filename*=UTF-8''%E2%82%AC%22.html"),
    }
    for part, (octets, content_type, disposition) in expected.items():
        async with rest.get(f"{path}/parts/{part}") as response:
            assert (await response.read()).strip() == octets
            assert response.headers["Content-Type"] == content_type
            assert response.headers["Content-Disposition"] == disposition
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    async with rest.get(f"{path}/raw") as response:
        assert await response.read() == LETTER
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for part, status in {"1": 404, "9": 404, "1.2.1": 404, "0": 422, "x": 422, "1." + "1." * 200 + "1": 422}.items():
        assert await status_of(rest.get(f"{path}/parts/{part}")) == status, part


@pytest.mark.parametrize("size", [3_000_001, 100])
async def test_a_large_part_is_decoded_as_it_is_read(
    rest: aiohttp.ClientSession, store: StoreClient, account: Any, size: int
) -> None:
    octets = bytes(range(256)) * (size // 256 + 1)
    encoded = base64.encodebytes(octets[:size])
    await put(store, account, b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded)
    message = (await items(rest, account))[0]
    async with rest.get(f"/v1/accounts/{account.address}/messages/{message['id']}/parts/1") as response:
        assert await response.read() == octets[:size]


async def test_real_messages_are_as_documented(rest: aiohttp.ClientSession, store: StoreClient, account: Any) -> None:
    paths = messages.paths()[:: max(1, len(messages.paths()) // 40)]
    for path in paths:
        await put(store, account, path.read_bytes())
    async with rest.get(f"/v1/accounts/{account.address}/messages", params={"limit": "1000"}) as response:
        page = await response.json()
    Messages.model_validate(page, strict=False, extra="forbid")
    assert len(page["items"]) == len(paths)
    for message in page["items"]:
        async with rest.get(f"/v1/accounts/{account.address}/messages/{message['id']}") as response:
            assert response.status == 200
            ReadMessage.model_validate(await response.json(), strict=False, extra="forbid")


async def test_filters(rest: aiohttp.ClientSession, store: StoreClient, account: Any) -> None:
    await put(store, account, PLAIN, "\\Seen", "\\Flagged")
    await put(store, account, LETTER)
    await put(store, account, PLAIN, mailbox="Archive")
    archive, letter, plain = await items(rest, account)
    assert archive["mailbox_id"] == str(account.mailboxes["Archive"].id)
    cases = {
        ("seen", "true"): [plain],
        ("seen", "false"): [archive, letter],
        ("flagged", "true"): [plain],
        ("has_attachment", "true"): [letter],
        ("has_attachment", "false"): [archive, plain],
        ("mailbox_id", str(account.inbox.id)): [letter, plain],
        ("since", "2000-01-01T00:00:00Z"): [archive, letter, plain],
        ("before", "2000-01-01T00:00:00Z"): [],
        ("thread_id", str(uuid4())): [],
    }
    for (name, value), expected in cases.items():
        assert await items(rest, account, **{name: value}) == expected, name
    url = f"/v1/accounts/{account.address}/messages"
    for params in ({"seen": "perhaps"}, {"since": "2000-01-01T00:00:00"}, {"sene": "true"}, {"limit": "0"}):
        assert await status_of(rest.get(url, params=params)) == 422, params
    assert await status_of(rest.get(url, params={"mailbox_id": str(uuid4())})) == 404
    assert await status_of(rest.get(url, params={"cursor": "tampered"})) == 400


@pytest.mark.parametrize("received_at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_any_date_of_arrival_can_be_shown(rest: aiohttp.ClientSession, account: Any, received_at: str) -> None:
    url = f"/v1/accounts/{account.address}/mailboxes/{account.inbox.id}/messages"
    headers = {"Content-Type": "message/rfc822"}
    async with rest.post(url, data=PLAIN, headers=headers, params={"received_at": received_at}) as response:
        assert response.status == 201
    (message,) = await items(rest, account)
    assert message["received_at"][:4] == received_at[:4]
    assert await items(rest, account, since=received_at) == [message]
    assert await status_of(rest.get(f"/v1/accounts/{account.address}/messages/{message['id']}")) == 200


@pytest.mark.parametrize("place", ["messages", "mailboxes/{}/messages"])
async def test_pages(rest: aiohttp.ClientSession, store: StoreClient, account: Any, place: str) -> None:
    for number in range(5):
        await put(store, account, PLAIN, *(["\\Seen"] if number % 2 else []))
    url = f"/v1/accounts/{account.address}/" + place.format(account.inbox.id)
    found: list[int] = []
    params = {"limit": "2", "seen": "false"}
    while True:
        async with rest.get(url, params=params) as response:
            page = await response.json()
        found += [item["uid"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert found == [5, 3, 1]
    cursor = params["cursor"]
    assert await status_of(rest.get(url, params={"limit": "2", "cursor": cursor})) == 400  # of other filters


async def test_flags(rest: aiohttp.ClientSession, store: StoreClient, account: Any) -> None:
    await put(store, account, PLAIN, "\\Flagged")
    (message,) = await items(rest, account)
    path = f"/v1/accounts/{account.address}/messages/{message['id']}"
    async with rest.get(path) as response:
        tag = response.headers["ETag"]
    change = {"add": ["\\Seen", "todo"], "remove": ["\\flagged"]}
    assert await status_of(rest.patch(path, json=change, headers={"If-Match": tag})) == 204
    assert sorted((await items(rest, account))[0]["flags"]) == ["\\Seen", "todo"]
    assert await status_of(rest.patch(path, json=change, headers={"If-Match": tag})) == 412
    assert await status_of(rest.patch(path, json=change, headers={"If-Match": "*"})) == 204
    assert await status_of(rest.patch(path, json={"flags": []})) == 204
    assert (await items(rest, account))[0]["flags"] == []
    wrong: list[dict[str, Any]] = [
        {}, {"flags": ["a"], "add": ["b"]}, {"add": ["no flag"]}, {"add": ["\\Unknown"]}, {"ad": ["x"]},
        {"add": ["x" * 300]}, {"add": "x"},
    ]  # fmt: skip
    for body in wrong:
        assert await status_of(rest.patch(path, json=body)) == 422, body
    assert (await items(rest, account))[0]["flags"] == []


async def test_copy_move_delete(rest: aiohttp.ClientSession, store: StoreClient, account: Any) -> None:
    await put(store, account, PLAIN)
    (message,) = await items(rest, account)
    path = f"/v1/accounts/{account.address}/messages/{message['id']}"
    archive, inbox, trash = (str(account.mailboxes[name].id) for name in ("Archive", "INBOX", "Trash"))

    async def places() -> list[str]:
        return sorted(item["mailbox_id"] for item in await items(rest, account))

    assert await status_of(rest.post(f"{path}/copy", json={"mailbox_id": archive})) == 204
    assert await places() == sorted([archive, inbox])
    assert await status_of(rest.delete(path)) == 409  # from which of them?
    assert await status_of(rest.delete(path, params={"mailbox_id": archive, "permanently": "true"})) == 204
    assert await places() == [inbox]
    assert await status_of(rest.post(f"{path}/move", json={"mailbox_id": str(uuid4())})) == 404
    assert await status_of(rest.post(f"{path}/move", json={"mailbox_id": archive}, headers={"If-Match": '"x"'})) == 412
    assert await status_of(rest.post(f"{path}/move", json={"mailbox_id": archive})) == 204
    assert await places() == [archive]
    assert await status_of(rest.delete(path)) == 204
    assert await places() == [trash]
    assert await status_of(rest.delete(path)) == 204
    assert await places() == []
    for call in (rest.get(path), rest.delete(path), rest.patch(path, json={"add": ["x"]}), rest.get(f"{path}/raw")):
        assert await status_of(call) == 404


async def test_many_at_once(rest: aiohttp.ClientSession, store: StoreClient, account: Any) -> None:
    for _ in range(3):
        await put(store, account, PLAIN)
    ids = [item["id"] for item in await items(rest, account)]
    gone = str(uuid4())
    base = f"/v1/accounts/{account.address}/mailboxes/{account.inbox.id}/messages"
    archive = str(account.mailboxes["Archive"].id)

    async def done(action: str, **body: Any) -> dict[str, Any]:
        async with rest.post(f"{base}/{action}", json=body) as response:
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    assert await done("flags", ids=[*ids, gone], add=["\\Seen"]) == {"changed": ids, "missing": [gone]}
    assert all(item["flags"] == ["\\Seen"] for item in await items(rest, account))
    assert await done("copy", ids=ids[:1], mailbox_id=archive) == {"changed": ids[:1], "missing": []}
    assert await done("move", ids=ids[1:2], mailbox_id=archive) == {"changed": ids[1:2], "missing": []}
    assert sorted(item["id"] for item in await items(rest, account, mailbox_id=archive)) == sorted(ids[:2])
    assert await done("delete", ids=ids) == {"changed": [ids[0], ids[2]], "missing": [ids[1]]}
    trash = await items(rest, account, mailbox_id=str(account.mailboxes["Trash"].id))
    assert sorted(item["id"] for item in trash) == sorted([ids[0], ids[2]])
    counted = {mailbox.name: mailbox.messages for mailbox in await store.mailboxes(account.id)}
    assert (counted["INBOX"], counted["Archive"], counted["Trash"]) == (0, 2, 2)
    for body in ({"ids": []}, {"ids": ids, "extra": 1}, {"ids": [str(uuid4()) for _ in range(10_001)], "add": ["x"]}):
        assert await status_of(rest.post(f"{base}/flags", json=body)) in (413, 422)


async def test_nothing_of_another_account(
    rest: aiohttp.ClientSession, store: StoreClient, account: Any, other_account: Any
) -> None:
    await put(store, other_account, PLAIN)
    (message,) = await items(rest, other_account)
    mine, other_inbox = f"/v1/accounts/{account.address}", other_account.inbox.id
    path = f"{mine}/messages/{message['id']}"
    target = {"mailbox_id": str(account.inbox.id)}
    calls = [
        rest.get(path), rest.get(f"{path}/raw"), rest.get(f"{path}/parts/1"), rest.delete(path),
        rest.patch(path, json={"add": ["x"]}), rest.post(f"{path}/copy", json=target),
        rest.post(f"{path}/move", json=target), rest.get(f"{mine}/mailboxes/{other_inbox}/messages"),
        rest.post(f"{mine}/mailboxes/{other_inbox}/messages/flags", json={"ids": [message["id"]], "add": ["x"]}),
        rest.post(f"{mine}/mailboxes/{other_inbox}/messages/copy", json={"ids": [message["id"]], **target}),
        rest.post(f"{mine}/mailboxes/{other_inbox}/messages/move", json={"ids": [message["id"]], **target}),
        rest.post(f"{mine}/mailboxes/{other_inbox}/messages/delete", json={"ids": [message["id"]]}),
    ]  # fmt: skip
    for call in calls:
        assert await status_of(call) == 404
    own = f"/v1/accounts/{other_account.address}/messages/{message['id']}"
    assert await status_of(rest.post(f"{own}/move", json=target)) == 404  # into a mailbox of mine
    assert await items(rest, account) == []
    assert await items(rest, other_account) == [message]
    assert UUID(message["mailbox_id"]) == other_inbox
