"""OAUTHBEARER (RFC 7628) and XOAUTH2 (Google, Microsoft): an OAuth 2.0 access token instead of a password."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from typing import Final

from mail_proto.sasl.errors import SaslFault, TokenRefused
from mail_proto.sasl.scram import parse_saslname
from mail_proto.sasl.steps import Challenge, Event, Refused, Response, Step, TokenGiven

_KVSEP: Final = "\x01"
# RFC 6750 §2.1: b64token
_BEARER: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")


def _token(authorization: str) -> str:
    found = _BEARER.fullmatch(authorization)
    if found is None:
        raise SaslFault("auth is not a bearer token")
    return found[1]


def _pairs(text: str) -> dict[str, str]:
    """kvpairs up to the second of two separators (RFC 7628 §3.1). Raises SaslFault."""
    if not text.endswith(_KVSEP * 2) and text != _KVSEP:
        raise SaslFault("the message ends with two separators")
    pairs: dict[str, str] = {}
    for pair in text.strip(_KVSEP).split(_KVSEP):
        key, equals, value = pair.partition("=")
        if not equals or not key.isascii() or not key.isalpha() or key in pairs:
            raise SaslFault("a pair is key, =, value; each key once")
        pairs[key] = value
    return pairs


def _text(octets: bytes) -> str:
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SaslFault("the message is UTF-8") from error


class _Bearer(ABC):
    """After a refusal the reason is a challenge; the client's empty answer to it ends the exchange."""

    def __init__(self, error: bytes) -> None:
        self._error, self._refused = error, False

    def receive(self, event: Event) -> Step:
        match event:
            case Refused():
                return self._refuse()
            case Response(None):
                return Challenge(b"")
            case Response(bytes()) if self._refused:
                raise TokenRefused("the token was refused")
            case Response(bytes() as octets):
                return self._given(_text(octets))
            case _:
                raise AssertionError(f"a bearer token isn't told {event}")

    def _refuse(self) -> Challenge:
        self._refused = True
        return Challenge(self._error)

    @abstractmethod
    def _given(self, text: str) -> Step:
        """What the message of the client leads to."""


class OAuthBearer(_Bearer):
    """`gs2-header kvsep *kvpair kvsep`; the name may be left to the token (RFC 7628 §3.1)."""

    def __init__(self, openid_configuration: str) -> None:
        error = {"status": "invalid_token", "openid-configuration": openid_configuration}
        super().__init__(json.dumps(error).encode())

    def _given(self, text: str) -> Step:
        header, separator, rest = text.partition(_KVSEP)
        parts = header.split(",")
        if not separator or len(parts) != 3 or parts[2] or parts[0] not in {"n", "y"}:
            raise SaslFault("the message begins with a GS2 header, without channel binding")
        if parts[1] and not parts[1].startswith("a="):
            raise SaslFault("the GS2 header names somebody with a=")
        username = parse_saslname(parts[1][2:]) if parts[1] else ""
        authorization = _pairs(rest).get("auth", "")
        if not authorization:  # RFC 7628 §4.3: how a client asks what it needs
            return self._refuse()
        return TokenGiven(username, _token(authorization))


class XOAuth2(_Bearer):
    """`user=` name ^A `auth=Bearer ` token ^A ^A."""

    def __init__(self) -> None:
        super().__init__(json.dumps({"status": "401", "schemes": "bearer", "scope": "mail"}).encode())

    def _given(self, text: str) -> Step:
        pairs = _pairs(text)
        if not pairs.get("user"):
            raise SaslFault("user is missing")
        return TokenGiven(pairs["user"], _token(pairs.get("auth", "")))
