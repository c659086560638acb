"""The server's half of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802 §5, §6; RFC 7677).

state      event      next step             state afterwards
first      Response   ScramStarted          salt
salt       Salt       Challenge(r= s= i=)   final
final      Response   ProofGiven            signature
signature  Signature  Challenge(v=)         end: mail protocols carry no data with success (RFC 4422 §5),
end        Response   Finished              so the client answers with nothing
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping

from mail_proto.sasl.errors import Denied, SaslFault, check_authzid
from mail_proto.sasl.scram import ClientFirst, parse_client_final, parse_client_first
from mail_proto.sasl.steps import Challenge, Event, Finished, ProofGiven, Response, Salt, ScramStarted, Signature, Step


class Scram:
    """`nonce`: this server's part, printable without comma, new for each exchange.

    `bindings`: name → data of the channel bindings that this connection has; empty where -PLUS isn't offered.
    """

    def __init__(self, nonce: str, bindings: Mapping[str, bytes], *, plus: bool) -> None:
        self._nonce, self._bindings, self._plus = nonce, bindings, plus
        self._first: ClientFirst | None = None
        self._server_first = ""
        self._signed = False

    def receive(self, event: Event) -> Step:
        match event:
            case Response(None):
                return Challenge(b"")
            case Response(bytes() as octets) if self._first is None:
                return self._start(octets)
            case Response(bytes() as octets) if not self._signed:
                return self._finish(octets)
            case Response(bytes() as octets):
                if octets:
                    raise SaslFault("the exchange ends with an empty response")
                return Finished()
            case Salt(salt, iterations):
                return self._salted(salt, iterations)
            case Signature(octets):
                self._signed = True
                return Challenge(b"v=" + b64encode(octets))
            case _:
                raise AssertionError(f"SCRAM isn't told {event}")

    def _start(self, octets: bytes) -> Step:
        first = parse_client_first(octets)
        check_authzid(first.authzid, first.username)
        self._check_flag(first)
        self._first = first
        return ScramStarted(first.username)

    def _check_flag(self, first: ClientFirst) -> None:
        """RFC 5802 §6: what the client says of channel binding must fit the mechanism that it chose."""
        if self._plus != (first.flag == "p"):
            raise SaslFault("p= goes with -PLUS, and only with it")
        if first.flag == "y" and self._bindings:
            # The client was shown a list of mechanisms without -PLUS: somebody took it out.
            raise Denied("channel binding is offered here: the list of mechanisms was changed on the way")
        if first.flag == "p" and first.binding not in self._bindings:
            raise SaslFault(f"the channel binding {first.binding} isn't supported")

    def _salted(self, salt: bytes, iterations: int) -> Step:
        assert self._first is not None, "asked for by ScramStarted"
        nonce = self._first.nonce + self._nonce
        self._server_first = f"r={nonce},s={b64encode(salt).decode()},i={iterations}"
        return Challenge(self._server_first.encode())

    def _finish(self, octets: bytes) -> Step:
        first = self._first
        assert first is not None, "checked by receive"
        final = parse_client_final(octets)
        bound = self._bindings[first.binding] if first.flag == "p" else b""
        if not hmac.compare_digest(final.channel, first.gs2_header + bound):
            raise Denied("the channel binding doesn't match: somebody is in between")
        if final.nonce != first.nonce + self._nonce:
            raise Denied("the nonce isn't the one of this exchange")
        auth_message = f"{first.bare},{self._server_first},{final.without_proof}".encode()
        return ProofGiven(first.username, auth_message, final.proof)
