"""Nobody sees another's: every route is called for one tenant's things with another tenant's credentials."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from mail_runtime.contracts import store as wire
from mail_runtime.store_client import StoreClient

SECRET = "xyzzy"
PASSWORD = "long enough"


@dataclass
class Tenant:
    """A domain with an account that has something of everything. `SECRET` stands in all of its things."""

    domain: str = field(default_factory=lambda: f"{SECRET}{uuid4().hex[:10]}.test")
    known: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"one@{self.domain}"


async def made(rest: aiohttp.ClientSession, path: str, body: Any) -> Any:
    async with rest.post(path, json=body) as response:
        assert response.status in {200, 201, 202}, await response.text()
        return await response.json()


async def make_tenant(store: StoreClient, rest: aiohttp.ClientSession) -> Tenant:
    tenant = Tenant()
    await made(rest, "/v1/domains", {"name": tenant.domain})
    account = await made(rest, "/v1/accounts", {"address": tenant.address, "password": PASSWORD})
    await made(rest, "/v1/aliases", {"address": f"both@{tenant.domain}", "members": [tenant.address]})
    for scope, more in (("domain", {"domain": tenant.domain}), ("account", {"account": tenant.address})):
        token = await made(rest, "/v1/tokens", {"name": SECRET, "scope": scope, **more})
        tenant.tokens[scope] = token["secret"]
        tenant.known["token_id"] = token["id"]
    hook = await made(
        rest, "/v1/webhooks", {"url": f"http://127.0.0.1:9/{SECRET}", "types": ["a.b"], "account": tenant.address}
    )
    app_password = await made(
        rest, f"/v1/accounts/{tenant.address}/app-passwords", {"name": SECRET, "scopes": ["imap"]}
    )
    wanted = {"algorithm": "ed25519-sha256", "selector": "key"}
    await made(rest, f"/v1/domains/{tenant.domain}/dkim-keys", wanted)
    ping = await made(rest, f"/v1/webhooks/{hook['id']}/ping", None)
    async with rest.put(f"/v1/domains/{tenant.domain}/suppressions/gone@{SECRET}.test", json={}) as response:
        assert response.status == 201
    inbox = (await store.mailboxes(account["id"]))[0]
    message = f"Subject: {SECRET}\r\n\r\n{SECRET}\r\n".encode()
    await store.append(account["id"], inbox.id, wire.AppendHeader(), message)
    sent = wire.Transmission(
        id=uuid4(),
        reverse_path=tenant.address,
        recipients=[f"a@{SECRET}.broken.test"],  # no bounce comes meanwhile
        submitted_by=account["id"],
    )
    await store.accept(sent, message)
    async with rest.get("/v1/queue", params={"sender": tenant.address}) as response:
        delivery = (await response.json())["items"][0]["id"]
    async with rest.get(f"/v1/accounts/{tenant.address}/mailboxes/{inbox.id}/messages") as response:
        listed = (await response.json())["items"][0]
    changes = await store.changes(account["id"], inbox.id)
    tenant.known |= {
        "domain": tenant.domain,
        "address": tenant.address,
        "member": tenant.address,
        "mailbox_id": str(inbox.id),
        "message_id": listed["id"],
        "blob_id": str(changes.blob_ids[0]),
        "webhook_id": hook["id"],
        "app_password_id": app_password["id"],
        "event_id": ping["event_id"],
        "delivery_id": delivery,
        "action": "hold",
        "selector": "key",
        "part": "1",
        "identifier": "anyone",
        "name": f"{SECRET}.invalid",
    }
    return tenant


@pytest.fixture
async def victim(store: StoreClient, rest: aiohttp.ClientSession) -> Tenant:
    return await make_tenant(store, rest)


async def specification(rest: aiohttp.ClientSession) -> Any:
    async with rest.get("/openapi.json") as response:
        return await response.json()


def resolved(schema: Any, document: Any) -> Any:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def sample(schema: Any, document: Any, known: dict[str, str]) -> Any:
    """A body that fits, about the things of `known` where it can be."""
    schema = resolved(schema, document)
    if "properties" in schema:
        wanted = set(schema.get("required", ())) | (set(schema["properties"]) & {"domain", "account", "ids"})
        return {
            name: known.get({"account": "address"}.get(name, name)) or sample(each, document, known)
            for name, each in schema["properties"].items()
            if name in wanted
        }
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return sample(schema[choice][0], document, known)
    if schema.get("examples") and schema["examples"][0] is not None:
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    kinds = {"string": str(uuid4()) if schema.get("format") == "uuid" else "x" * 10, "integer": 1, "boolean": True}
    if schema.get("type") == "array":
        return [sample(schema["items"], document, known)]
    return kinds.get(schema.get("type", ""), {})


def walk(document: Any, known: dict[str, str]) -> Any:
    """(method, path with known things in it, its template, JSON body or None, content type) of every operation."""
    for template, item in document["paths"].items():
        for method, operation in item.items():
            path = re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], str(uuid4())), template)
            body, kind = None, None
            if "requestBody" in operation:
                kind, content = next(iter(operation["requestBody"]["content"].items()))
                body = sample(content.get("schema", {}), document, known) if kind == "application/json" else "x"
            yield method.upper(), path, template, body, kind


async def snapshot(rest: aiohttp.ClientSession, victim: Tenant) -> list[Any]:
    """What the victim has, as its admin sees it."""
    seen = []
    for path in (
        f"/v1/domains/{victim.domain}",
        f"/v1/accounts/{victim.address}",
        f"/v1/accounts/{victim.address}/mailboxes",
        f"/v1/accounts/{victim.address}/mailboxes/{victim.known['mailbox_id']}/rights",
        f"/v1/accounts/{victim.address}/mailboxes/{victim.known['mailbox_id']}/messages",
        f"/v1/aliases/both@{victim.domain}",
        f"/v1/aliases/both@{victim.domain}/members",
        f"/v1/domains/{victim.domain}/suppressions",
        f"/v1/domains/{victim.domain}/dkim-keys",
        f"/v1/webhooks/{victim.known['webhook_id']}",
        f"/v1/audit?domain={victim.domain}",
    ):
        async with rest.get(path) as response:
            assert response.status == 200, path
            seen.append(await response.json())
    return seen


@pytest.mark.parametrize("scope", ["domain", "account"])
async def test_every_route_with_anothers_credentials(
    store: StoreClient, rest: aiohttp.ClientSession, victim: Tenant, scope: str
) -> None:
    stranger = Tenant(domain=f"stranger{uuid4().hex[:10]}.test")
    await made(rest, "/v1/domains", {"name": stranger.domain})
    await made(rest, "/v1/accounts", {"address": stranger.address, "password": PASSWORD})
    holder = {"domain": stranger.domain} if scope == "domain" else {"account": stranger.address}
    token = (await made(rest, "/v1/tokens", {"name": "s", "scope": scope, **holder}))["secret"]
    document = await specification(rest)
    before = await snapshot(rest, victim)
    leaks = []
    assert {name for path in document["paths"] for name in re.findall(r"\{(\w+)\}", path)} - {"kind"} <= set(
        victim.known
    )
    # First what only reads: later the stranger's own audit log tells what it asked for.
    for method, path, template, body, kind in sorted(walk(document, victim.known), key=lambda each: each[0] != "GET"):
        data = json.dumps(body).encode() if kind == "application/json" else (body or "").encode()
        headers = {"Authorization": f"Bearer {token}", **({"Content-Type": kind} if kind else {})}
        if "If-Match" in json.dumps(document["paths"][template][method.lower()].get("parameters", [])):
            headers["If-Match"] = "*"
        query = {"for_s": "1", "after": "0"} if template == "/v1/events" else {}
        async with rest.request(method, path, data=data if kind else None, headers=headers, params=query) as response:
            answer = await response.read()
        of_victim = any(f"{{{name}}}" in template for name in victim.known if name != "action")
        if of_victim and response.status not in {403, 404, 422}:
            leaks.append(f"{method} {path}: {response.status} {answer[:200]!r}")
        asked = path + json.dumps(body)
        if SECRET.encode() in answer.replace(asked.encode(), b"") and response.status < 400:
            leaks.append(f"{method} {path} shows {answer[:300]!r}")
    assert not leaks, "\n".join(leaks)
    assert await snapshot(rest, victim) == before, "nothing of it changed"


async def test_routes_need_credentials(rest: aiohttp.ClientSession, victim: Tenant) -> None:
    document = await specification(rest)
    for method, path, template, body, kind in walk(document, victim.known):
        if not template.startswith("/v1/"):
            continue
        data = json.dumps(body).encode() if kind == "application/json" else (body or "").encode()
        for credentials in ("Bearer wrong", "Bearer postroom_wrong", "Basic d3Jvbmc6d3Jvbmc="):
            headers = {"Authorization": credentials, **({"Content-Type": kind} if kind else {})}
            async with rest.request(method, path, data=data if kind else None, headers=headers) as response:
                # Who guesses names and passwords is stopped at some point.
                allowed = {401, 429} if credentials.startswith("Basic") else {401}
                assert response.status in allowed, (method, path, await response.text())
                assert response.status == 429 or "WWW-Authenticate" in response.headers


async def test_every_route_is_documented_completely(rest: aiohttp.ClientSession) -> None:
    document = await specification(rest)
    lacking = []
    for template, item in document["paths"].items():
        for method, operation in item.items():
            where = f"{method.upper()} {template}"
            if not (operation.get("tags") and operation.get("description") and operation.get("operationId")):
                lacking.append(f"{where} has no tag or description")
            if not any(status.startswith("2") for status in operation["responses"]):
                lacking.append(f"{where} succeeds in no way")
            if template.startswith("/v1/") and not {"401", "403", "422", "429", "503"} <= operation["responses"].keys():
                lacking.append(f"{where} lacks problems")
            for status, response in operation["responses"].items():
                if status >= "400" and list(response.get("content", {})) != ["application/problem+json"]:
                    lacking.append(f"{where} answers {status} in another form")
    assert not lacking, "\n".join(lacking)


async def test_every_body_refuses_unknown_fields_and_has_examples(rest: aiohttp.ClientSession) -> None:
    document = await specification(rest)
    lacking = []
    for template, item in document["paths"].items():
        for method, operation in item.items():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                if kind != "application/json":
                    continue
                schema = resolved(content["schema"], document)
                if schema.get("additionalProperties") is not False:
                    lacking.append(f"{method.upper()} {template} takes unknown fields")
                lacking += [
                    f"{method.upper()} {template}: {name} has no example"
                    for name, each in schema.get("properties", {}).items()
                    if not _has_example(each, document)
                ]
    assert not lacking, "\n".join(lacking)


def _has_example(schema: Any, document: Any) -> bool:
    """What is one of a few values, a yes or no, an id or a time shows itself."""
    schema = resolved(schema, document)
    if "examples" in schema or "enum" in schema or "const" in schema or schema.get("type") in {"boolean", "null"}:
        return True
    if schema.get("format") in {"uuid", "date", "date-time"} or "properties" in schema:
        return True
    if schema.get("type") == "array":
        return _has_example(schema["items"], document)
    return any(_has_example(each, document) for choice in ("anyOf", "oneOf") for each in schema.get(choice, ()))
