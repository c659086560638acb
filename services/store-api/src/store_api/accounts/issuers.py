"""Bearer tokens of the operator's OAuth 2.0 / OpenID Connect servers: JWTs (RFC 7519), checked with the issuer's keys.

The keys are found by discovery (OpenID Connect Discovery 1.0 §4), kept for an hour, and fetched again when a token
names one that isn't there: issuers change them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import jwt
import msgspec
import structlog

from mail_runtime.contracts.errors import AuthenticationFailed, Unavailable

log = structlog.get_logger()

# Asymmetric ones only: with HS256 the public key would be the secret (RFC 8725 §2.1).
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
FETCH_TIMEOUT_S: Final = 5.0
MAX_DOCUMENT_OCTETS: Final = 262_144
KEPT_S: Final = 3_600.0
# Tokens with made-up key ids can't make us ask more often.
REFRESH_S: Final = 30.0
# Clocks of two servers.
LEEWAY_S: Final = 30
_REFUSED: Final = "the token isn't valid here"


def check_issuer(url: str) -> None:
    """Raises ValueError with what to change: keys must come over TLS, except from this machine."""
    parts = urlsplit(url)
    is_local = parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_local)):
        raise ValueError(f"POSTROOM_OAUTH_ISSUERS: {url!r} is not an https:// URL")


class _Document(msgspec.Struct):
    """What is needed of `/.well-known/openid-configuration`."""

    issuer: str
    jwks_uri: str


class Issuer:
    """One issuer and its keys. Safe for concurrent use."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched = -KEPT_S
        self._fetching = asyncio.Lock()

    async def key(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key of that id; None: the issuer has none. Raises Unavailable: its keys can't be had."""
        async with self._fetching:
            age_s = time.monotonic() - self._fetched
            if age_s >= KEPT_S or (key_id not in self._keys and age_s >= REFRESH_S):
                await self._refresh()
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        try:
            timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
            async with aiohttp.ClientSession(timeout=timeout) as http:
                found = await _get(http, f"{self.url.rstrip('/')}/.well-known/openid-configuration")
                document = msgspec.json.decode(found, type=_Document)
                check_issuer(document.jwks_uri)
                if document.issuer != self.url:
                    raise ValueError(f"it calls itself {document.issuer}")
                self._keys = _read_keys(msgspec.json.decode(await _get(http, document.jwks_uri)))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            log.warning("issuer_unavailable", issuer=self.url, error=repr(error))
            raise Unavailable("the keys of the token's issuer can't be fetched; try again later") from error
        self._fetched = time.monotonic()


async def _get(http: aiohttp.ClientSession, url: str) -> bytes:
    async with http.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"{url} answers {response.status}")
        octets = await response.content.read(MAX_DOCUMENT_OCTETS)
        while piece := await response.content.read(MAX_DOCUMENT_OCTETS):
            octets += piece
            if len(octets) > MAX_DOCUMENT_OCTETS:
                raise ValueError(f"{url} is too large")
        return octets


def _read_keys(document: Any) -> dict[str | None, jwt.PyJWK]:
    """Keys for signatures by id (RFC 7517 §4); those of unknown kinds are left out. A lone key needs no id."""
    found = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise ValueError("there is no list of keys")
    keys: dict[str | None, jwt.PyJWK] = {}
    for each in found:
        if isinstance(each, dict) and each.get("use", "sig") == "sig" and each.get("kty") != "oct":
            try:
                keys[each.get("kid")] = jwt.PyJWK.from_dict(each)
            except (jwt.PyJWTError, TypeError, ValueError) as error:
                log.info("key_left_out", error=repr(error))
    if len(keys) == 1:
        keys[None] = next(iter(keys.values()))
    return keys


class Issuers:
    """Those whose tokens log in. `audience`: what their `aud` must name, so that tokens for others don't."""

    def __init__(self, urls: Sequence[str], audience: str) -> None:
        self._issuers = {url: Issuer(url) for url in urls}
        self._audience = audience

    async def address(self, token: str) -> str:
        """The `email` of a valid token. Raises AuthenticationFailed, Unavailable."""
        try:
            header = jwt.get_unverified_header(token)
            claimed = jwt.decode(token, options={"verify_signature": False}).get("iss")
            issuer = self._issuers.get(claimed) if isinstance(claimed, str) else None
            if issuer is None or header.get("alg") not in ALGORITHMS:
                raise AuthenticationFailed(_REFUSED)
            key = await issuer.key(header.get("kid"))
            if key is None:
                raise AuthenticationFailed(_REFUSED)
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                audience=self._audience,
                issuer=issuer.url,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise AuthenticationFailed(_REFUSED) from error
        email = claims.get("email")
        if not isinstance(email, str) or claims.get("email_verified", True) is not True:
            raise AuthenticationFailed(_REFUSED)
        return email
