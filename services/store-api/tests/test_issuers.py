"""Bearer tokens, with an issuer of their own."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mail_proto import sasl
from mail_runtime.auth import Exchange
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import AuthenticationFailed, Unavailable
from mail_testkit.running import RunningPostroom
from store_api.accounts import issuers
from store_api.accounts.issuers import Issuers, check_issuer
from store_api.accounts.logins import Logins
from store_api.accounts.passwords import Passwords
from store_api.db.engine import Database

AUDIENCE = "postroom"


class FakeIssuer:
    """An OpenID Connect server that gives out its keys; `sign` makes tokens."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.fetches = 0
        self.url = ""

    def add_key(self, kind: str) -> str:
        key_id = secrets.token_hex(4)
        self.keys[key_id] = (
            rsa.generate_private_key(65537, 2048) if kind == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )
        return key_id

    async def configuration(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def jwks(self, request: web.Request) -> web.Response:
        self.fetches += 1
        keys: list[dict[str, Any]] = [{"kty": "new-kind", "kid": "x"}, {"kty": "oct", "k": "AAAA", "kid": "shared"}]
        for key_id, key in self.keys.items():
            algorithm = (
                jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
            )
            keys.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": key_id, "use": "sig"})
        return web.json_response({"keys": keys})

    def sign(self, key_id: str, address: str, **claims: Any) -> str:
        algorithm = "RS256" if isinstance(self.keys[key_id], rsa.RSAPrivateKey) else "ES256"
        content = {"iss": self.url, "aud": AUDIENCE, "exp": time.time() + 60, "email": address, **claims}
        content = {name: value for name, value in content.items() if value is not None}
        return jwt.encode(content, self.keys[key_id], algorithm, {"kid": key_id})


@pytest.fixture
async def issuer() -> AsyncIterator[FakeIssuer]:
    fake = FakeIssuer()
    app = web.Application()
    app.add_routes([web.get("/.well-known/openid-configuration", fake.configuration), web.get("/keys", fake.jwks)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def logins(postroom: RunningPostroom, database: Database, issuer: FakeIssuer) -> AsyncIterator[Logins]:
    passwords = Passwords(postroom.service_token)
    yield Logins(database, passwords, Issuers([issuer.url], AUDIENCE))
    passwords.close()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_valid_token_logs_in(logins: Logins, issuer: FakeIssuer, account: Any, algorithm: str) -> None:
    key = issuer.add_key(algorithm)
    token = issuer.sign(key, account.address.upper(), email_verified=True)
    for login in ("", account.address):
        principal = await logins.authenticate_token(login, token, "imap", "192.0.2.1")
        assert principal.account_id == account.id
    with pytest.raises(AuthenticationFailed):
        await logins.authenticate_token("alice@example.test", token, "imap", "192.0.2.1")
    assert issuer.fetches == 1


async def test_tokens_that_are_refused(logins: Logins, issuer: FakeIssuer, account: Any) -> None:
    key = issuer.add_key("RS256")
    good = issuer.sign(key, account.address)
    public = issuer.keys[key].public_key()
    content = jwt.decode(good, options={"verify_signature": False})
    head, body, signature = good.split(".")
    other = FakeIssuer()
    other.url = issuer.url
    other.keys[key] = rsa.generate_private_key(65537, 2048)
    refused = [
        issuer.sign(key, account.address, exp=time.time() - 60),
        issuer.sign(key, account.address, exp=None),
        issuer.sign(key, account.address, aud="another service"),
        issuer.sign(key, account.address, aud=None),
        issuer.sign(key, account.address, iss="https://elsewhere.test"),
        issuer.sign(key, account.address, email_verified=False),
        issuer.sign(key, account.address, email=None),
        issuer.sign(key, "nobody@example.test"),
        other.sign(key, account.address),
        jwt.encode(content, "", "none"),
        jwt.encode(content, public.public_numbers().n.to_bytes(256), "HS256", {"kid": key}),
        jwt.encode(content, b"\0\0\0" + bytes(40), "HS256", {"kid": "shared"}),
        f"{head}.{body}.{signature[:-4]}AAAA",
        "",
        "a.b.c",
        "\ud800",
    ]
    for token in refused:
        with pytest.raises(AuthenticationFailed):
            await logins.authenticate_token("", token, "imap", "192.0.2.1")
    await logins.authenticate_token("", good, "imap", "192.0.2.1")


async def test_a_new_key_is_fetched_but_made_up_ones_do_not_ask_each_time(
    logins: Logins, issuer: FakeIssuer, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await logins.authenticate_token("", issuer.sign(issuer.add_key("ES256"), account.address), "imap", "192.0.2.1")
    new = issuer.sign(issuer.add_key("ES256"), account.address)
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            await logins.authenticate_token("", new, "imap", "192.0.2.1")
    assert issuer.fetches == 1
    monkeypatch.setattr(issuers, "REFRESH_S", 0.0)
    await logins.authenticate_token("", new, "imap", "192.0.2.1")
    assert issuer.fetches == 2


async def test_an_issuer_that_is_away_is_a_temporary_failure(issuer: FakeIssuer, account: Any) -> None:
    token = issuer.sign(issuer.add_key("ES256"), account.address)
    issuer.url = "http://127.0.0.1:1"
    away = Issuers([issuer.url], AUDIENCE)
    with pytest.raises(Unavailable):
        await away.address(issuer.sign(next(iter(issuer.keys)), account.address))
    with pytest.raises(AuthenticationFailed):
        await away.address(token)


async def test_a_refused_token_is_explained_to_the_client(logins: Logins, issuer: FakeIssuer, account: Any) -> None:
    class Accounts:
        async def authenticate_token(self, token: wire.BearerToken) -> wire.Principal:
            return await logins.authenticate_token(token.username, token.token, token.protocol, token.peer)

    offer = sasl.Offer(openid_configuration=f"{issuer.url}/.well-known/openid-configuration")
    good = issuer.sign(issuer.add_key("ES256"), account.address)

    def exchange() -> Exchange:
        return Exchange(Accounts(), offer, "oauthbearer", protocol="imap", peer="192.0.2.1")  # type: ignore[arg-type]

    answer = await exchange().respond(f"n,a={account.address},\x01auth=Bearer {good}\x01\x01".encode())
    assert isinstance(answer, wire.Principal)
    refused = exchange()
    challenge = await refused.respond(b"n,,\x01auth=Bearer abc\x01\x01")
    assert isinstance(challenge, bytes)
    assert json.loads(challenge)["status"] == "invalid_token"
    with pytest.raises(sasl.Denied):
        await refused.respond(b"\x01")


@pytest.mark.parametrize("url", ["http://issuer.test", "issuer.test", "", "ftp://issuer.test"])
def test_keys_come_over_tls(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        check_issuer(url)
