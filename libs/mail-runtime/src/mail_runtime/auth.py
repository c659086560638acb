"""SASL exchanges of the frontends: mechanisms from `mail_proto.sasl`, passwords and tokens checked by the store."""

from __future__ import annotations

import secrets
import ssl
from typing import Final, Protocol

from mail_proto import sasl
from mail_runtime.channel_binding import channel_bindings
from mail_runtime.contracts import store as wire
from mail_runtime.contracts.errors import AuthenticationFailed

# RFC 5802 §9 asks for enough that no two are alike.
NONCE_OCTETS: Final = 18


def offer(tls: ssl.SSLObject | None, oauth_issuers: str) -> sasl.Offer:
    """What a connection on which passwords may cross offers.

    `oauth_issuers` as in the setting; the first of them is named to clients.
    """
    first = oauth_issuers.partition(",")[0].strip().rstrip("/")
    configuration = f"{first}/.well-known/openid-configuration" if first else ""
    return sasl.Offer(channel_bindings(tls), configuration)


class Accounts(Protocol):
    """The part of the store client that is used here."""

    async def authenticate(self, credentials: wire.Credentials) -> wire.Principal: ...

    async def scram_start(self, start: wire.ScramStart) -> wire.ScramChallenge: ...

    async def scram_finish(self, finish: wire.ScramFinish) -> wire.ScramFinished: ...

    async def authenticate_token(self, token: wire.BearerToken) -> wire.Principal: ...


class Exchange:
    """One SASL exchange of one connection:

        answer = await exchange.respond(initial)
        while isinstance(answer, bytes):
            answer = await exchange.respond(<send the challenge `answer`, read the response>)

    Challenges and responses are decoded octets. `username` is who the client says it is, once that is known.
    """

    def __init__(
        self, accounts: Accounts, offer: sasl.Offer, mechanism: str, *, protocol: wire.Protocol, peer: str
    ) -> None:
        """Raises sasl.UnknownMechanism: it isn't offered."""
        self._mechanism = offer.mechanism(mechanism, secrets.token_urlsafe(NONCE_OCTETS))
        self._accounts, self._protocol, self._peer = accounts, protocol, peer
        self._principal: wire.Principal | None = None
        self.username = ""

    async def respond(self, octets: bytes | None) -> bytes | wire.Principal:
        """The next challenge, or who has logged in. None: the client sent no initial response.

        Raises sasl.Denied, AuthenticationFailed: answer as to a wrong password. sasl.SaslFault: the message is
        malformed. TooManyLogins, Unavailable. After any of them the exchange is over.
        """
        event: sasl.Event = sasl.Response(octets)
        while True:
            match self._mechanism.receive(event):
                case sasl.Challenge(challenge):
                    return challenge
                case sasl.PasswordGiven(username, password):
                    return await self._check_password(username, password)
                case sasl.ScramStarted(username):
                    self.username = username
                    found = await self._accounts.scram_start(wire.ScramStart(username=username))
                    event = sasl.Salt(found.salt, found.iterations)
                case sasl.ProofGiven() as given:
                    event = await self._check_proof(given)
                case sasl.TokenGiven(username, token):
                    self.username = username
                    try:
                        return await self._check_token(username, token)
                    except AuthenticationFailed:
                        event = sasl.Refused()
                case sasl.Finished():
                    assert self._principal is not None, "set with the right proof"
                    return self._principal

    async def _check_password(self, username: str, password: str) -> wire.Principal:
        self.username = username
        return await self._accounts.authenticate(
            wire.Credentials(username=username, password=password, protocol=self._protocol, peer=self._peer)
        )

    async def _check_proof(self, given: sasl.ProofGiven) -> sasl.Signature:
        finished = await self._accounts.scram_finish(
            wire.ScramFinish(
                username=given.username,
                auth_message=given.auth_message,
                proof=given.proof,
                protocol=self._protocol,
                peer=self._peer,
            )
        )
        self._principal = finished.principal
        return sasl.Signature(finished.signature)

    async def _check_token(self, username: str, token: str) -> wire.Principal:
        return await self._accounts.authenticate_token(
            wire.BearerToken(username=username, token=token, protocol=self._protocol, peer=self._peer)
        )
