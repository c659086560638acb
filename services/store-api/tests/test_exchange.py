"""SASL exchanges with the real store behind them."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from typing import Any

import pytest

from mail_proto import sasl
from mail_runtime.auth import Exchange
from mail_runtime.contracts.errors import AuthenticationFailed
from mail_runtime.contracts.store import Principal
from mail_runtime.store_client import StoreClient
from mail_testkit.scram import client_proof

PASSWORD = "correct horse"
BINDINGS = {"tls-unique": b"finished"}


def _exchange(store: StoreClient, mechanism: str, bindings: dict[str, bytes] | None = None) -> Exchange:
    peer = f"2001:db8:{secrets.randbelow(65536):x}:{secrets.randbelow(65536):x}::1"
    return Exchange(store, sasl.Offer(bindings or {}), mechanism, protocol="imap", peer=peer)


async def _scram(exchange: Exchange, login: str, password: str, gs2: bytes, bound: bytes) -> Principal:
    bare = f"n={login},r=abc"
    server_first = await exchange.respond(gs2 + bare.encode())
    assert isinstance(server_first, bytes)
    nonce, salt, iterations = (part.partition(b"=")[2] for part in server_first.split(b","))
    without_proof = b"c=" + b64encode(gs2 + bound) + b",r=" + nonce
    message = bare.encode() + b"," + server_first + b"," + without_proof
    proof = client_proof(password, b64decode(salt), int(iterations), message)
    server_final = await exchange.respond(without_proof + b",p=" + b64encode(proof))
    assert isinstance(server_final, bytes)
    assert server_final.startswith(b"v=")
    principal = await exchange.respond(b"")
    assert isinstance(principal, Principal)
    return principal


async def test_scram(store: StoreClient, account: Any) -> None:
    exchange = _exchange(store, "SCRAM-SHA-256")
    assert (await _scram(exchange, account.address, PASSWORD, b"n,,", b"")).account_id == account.id
    assert exchange.username == account.address
    with pytest.raises(AuthenticationFailed):
        await _scram(_exchange(store, "SCRAM-SHA-256"), account.address, "wrong", b"n,,", b"")


async def test_scram_bound_to_the_channel(store: StoreClient, account: Any) -> None:
    for bound in (b"finished", b"another"):
        exchange = _exchange(store, "SCRAM-SHA-256-PLUS", BINDINGS)
        try:
            await _scram(exchange, account.address, PASSWORD, b"p=tls-unique,,", bound)
        except sasl.Denied:
            assert bound == b"another"
        else:
            assert bound == b"finished"


async def test_plain_and_login(store: StoreClient, account: Any) -> None:
    plain = _exchange(store, "PLAIN")
    assert await plain.respond(None) == b""
    principal = await plain.respond(f"\0{account.address}\0{PASSWORD}".encode())
    assert isinstance(principal, Principal)
    login = _exchange(store, "LOGIN")
    assert await login.respond(None) == b"Username:"
    assert await login.respond(account.address.encode()) == b"Password:"
    with pytest.raises(AuthenticationFailed):
        await login.respond(b"wrong")
