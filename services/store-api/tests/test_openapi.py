"""The OpenAPI document against the running store: whatever it allows, and what it doesn't, gets a documented answer.

Requests are made up by schemathesis from the document, half of them valid, with the credentials of an admin, of a
domain's admin, of an account, and with none that count.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mail_testkit.running import RunningPostroom
from store_api.api.openapi import Described
from store_api.api.v1 import routes

# For a longer look: POSTROOM_SPECIFICATION_EXAMPLES=200.
EXAMPLES = int(os.environ.get("POSTROOM_SPECIFICATION_EXAMPLES", "5"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TIMEOUT_S = 30
PASSWORD = "long enough"


@schemathesis.serializer("application/vnd.postroom.frames", "application/x-ndjson", "message/rfc822")
def octets(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Bodies that are no JSON, as they are."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@dataclass
class Tenant:
    """A domain with an account that has something of everything, and credentials for each scope."""

    url: str
    admin: str
    domain: str = field(default_factory=lambda: f"t{uuid4().hex[:10]}.test")
    known: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> requests.Response:
        return requests.request(
            method,
            self.url + path,
            json=body,
            headers={"Authorization": f"Bearer {token or self.admin}"},
            timeout=TIMEOUT_S,
        )

    def made(self, path: str, body: Any) -> Any:
        response = self.call("POST", path, body)
        assert response.status_code in {200, 201, 202}, response.text
        return response.json()

    @property
    def address(self) -> str:
        return f"one@{self.domain}"


def make_tenant(postroom: RunningPostroom) -> Tenant:
    tenant = Tenant(postroom.api_url, postroom.admin_token)
    tenant.made("/v1/domains", {"name": tenant.domain})
    tenant.made("/v1/accounts", {"address": tenant.address, "password": PASSWORD})
    tenant.made("/v1/aliases", {"address": f"both@{tenant.domain}", "members": [tenant.address]})
    for scope, more in [
        ("admin", {}),
        ("domain", {"domain": tenant.domain}),
        ("account", {"account": tenant.address}),
    ]:
        made = tenant.made("/v1/tokens", {"name": scope, "scope": scope, **more})
        tenant.tokens[scope] = made["secret"]
        tenant.known["token_id"] = made["id"]
    hook = tenant.made("/v1/webhooks", {"url": "http://127.0.0.1:9/", "types": ["a.b"], "account": tenant.address})
    requests.put(
        f"{tenant.url}/v1/domains/{tenant.domain}/suppressions/gone@x.test",
        json={"reason": "x"},
        headers={"Authorization": f"Bearer {tenant.admin}"},
        timeout=TIMEOUT_S,
    ).raise_for_status()
    mailbox = tenant.call("GET", f"/v1/accounts/{tenant.address}/mailboxes").json()["items"][0]
    tenant.known |= {
        "domain": tenant.domain,
        "address": tenant.address,
        "member": tenant.address,
        "mailbox_id": mailbox["id"],
        "webhook_id": hook["id"],
    }
    return tenant


@pytest.fixture(scope="module")
def tenant(postroom: RunningPostroom) -> Iterator[Tenant]:
    tenant = make_tenant(postroom)
    yield tenant
    while hooks := tenant.call("GET", "/v1/webhooks?limit=1000").json()["items"]:
        for hook in hooks:
            tenant.call("DELETE", f"/v1/webhooks/{hook['id']}")


@pytest.fixture(scope="module")
def schema(postroom: RunningPostroom) -> Any:
    return schemathesis.openapi.from_url(f"{postroom.api_url}/openapi.json")


def operations(schema: Any) -> Iterator[Any]:
    for result in schema.get_all_operations():
        yield result.ok()


# What would take the ground from under the other requests gets made-up names only.
SPARED = {
    ("DELETE", "/v1/domains/{domain}"),
    ("DELETE", "/v1/accounts/{address}"),
    ("PATCH", "/v1/accounts/{address}"),
    ("PUT", "/v1/accounts/{address}/password"),
}


def known_parameters(data: Any, operation: Any, case: Any, tenant: Tenant) -> None:
    """Let some of the requests be about things that there are."""
    if (operation.method.upper(), operation.path) in SPARED or "/tokens/" in operation.path:
        return
    for name in case.path_parameters or {}:
        if name in tenant.known and data.draw(strategies.booleans(), label=f"known {name}"):
            case.path_parameters[name] = tenant.known[name]


def try_operation(operation: Any, tenant: Tenant, authorization: str, expected: set[int] | None, examples: int) -> None:
    """Raises what schemathesis found, or AssertionError: the status isn't one of those expected."""
    is_stream = operation.path == "/v1/events"

    @hypothesis.given(data=strategies.data())
    @hypothesis.settings(
        max_examples=2 if is_stream else examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def trial(data: Any) -> None:
        mode = data.draw(strategies.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            case = data.draw(strategy)
        except hypothesis.errors.Unsatisfiable:
            hypothesis.reject()
        known_parameters(data, operation, case, tenant)
        if is_stream:
            case.query = {**(case.query or {}), "for_s": 1}
        headers = {**(case.headers or {}), "Authorization": authorization}
        case.headers = headers
        try:
            response = case.call(timeout=TIMEOUT_S)
        except (requests.exceptions.InvalidHeader, UnicodeError, ValueError):
            hypothesis.reject()
        if response.text == "Invalid HTTP request received.":
            hypothesis.reject()  # it never came as far as the application
        if expected is not None:
            assert response.status_code in expected, f"{operation.label}: {response.status_code} {response.text}"
        case.validate_response(response, checks=CHECKS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(hypothesis.errors.Unsatisfiable):
            trial()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("scope", ["admin", "domain", "account", "password"])
def test_every_answer_is_documented(schema: Any, tenant: Tenant, scope: str) -> None:
    found = []
    authorization = (
        requests.auth._basic_auth_str(tenant.address, PASSWORD)
        if scope == "password"
        else f"Bearer {tenant.tokens[scope]}"
    )
    for operation in operations(schema):
        try:
            try_operation(operation, tenant, authorization, None, EXAMPLES)
        except (Exception, FailureGroup) as error:  # all of them, not the first only
            found.append(f"{operation.label}: {error!s}")
    assert not found, "\n\n".join(found)


@pytest.mark.timeout(400)
def test_without_valid_credentials_nothing_is_answered(schema: Any, tenant: Tenant) -> None:
    found = []
    for operation in operations(schema):
        if not operation.path.startswith("/v1/"):
            continue
        try:
            # The form comes first: what isn't JSON, too large, or has a strange Idempotency-Key is refused as such.
            try_operation(operation, tenant, "Bearer postroom_wrong", {400, 401, 411, 413, 422, 429}, 2)
        except (Exception, FailureGroup) as error:
            found.append(f"{operation.label}: {error!s}")
    assert not found, "\n\n".join(found)


def test_documented_query_parameters_are_those_that_are_known() -> None:
    app = Described(title="x", version="1")
    app.include_router(routes.router)
    known = sorted(names for names in map(sorted, app.query_names().values()) if names)
    documented = sorted(
        names
        for item in app.openapi()["paths"].values()
        for operation in item.values()
        if (names := sorted(p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"))
    )
    assert known == documented


async def test_the_document_is_made_once_and_not_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    made_by = []
    make = FastAPI.openapi

    def watched(app: FastAPI) -> dict[str, Any]:
        made_by.append(threading.current_thread())
        return make(app)

    monkeypatch.setattr(FastAPI, "openapi", watched)
    app = Described(title="x", version="1")
    app.include_router(routes.router)
    answers = await asyncio.gather(*(answered(app, "/openapi.json") for _ in range(3)))
    assert answers[0] == answers[1] == answers[2]
    operation = json.loads(answers[0])["paths"]["/v1/accounts/{address}/mailboxes"]["get"]
    assert "application/problem+json" in operation["responses"]["404"]["content"]
    assert len(made_by) == 1
    assert made_by[0] is not threading.current_thread()


async def answered(app: Described, path: str) -> bytes:
    """The body of an answer to a GET."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "http_version": "1.1"}
    await app(scope, receive, send)
    assert sent[0]["status"] == 200
    return b"".join(message.get("body", b"") for message in sent)
