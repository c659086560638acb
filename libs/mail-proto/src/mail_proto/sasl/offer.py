"""Which mechanisms a connection offers, strongest first (clients that don't choose take the first they know)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mail_proto.sasl.bearer import OAuthBearer, XOAuth2
from mail_proto.sasl.errors import UnknownMechanism
from mail_proto.sasl.plain import Login, Plain
from mail_proto.sasl.scram_server import Scram
from mail_proto.sasl.steps import Mechanism


@dataclass(frozen=True, slots=True)
class Offer:
    """For a connection on which a password may cross.

    `bindings`: its channel bindings (RFC 5929, RFC 9266), for -PLUS. `openid_configuration`: where the issuer of
    bearer tokens describes itself; empty: no tokens are taken.
    """

    bindings: Mapping[str, bytes] = field(default_factory=dict)
    openid_configuration: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        plus = ("SCRAM-SHA-256-PLUS",) if self.bindings else ()
        bearer = ("OAUTHBEARER", "XOAUTH2") if self.openid_configuration else ()
        return (*plus, "SCRAM-SHA-256", *bearer, "PLAIN", "LOGIN")

    def mechanism(self, name: str, nonce: str) -> Mechanism:
        """A new exchange; names compare without regard to case. Raises UnknownMechanism: not offered here."""
        name = name.upper()
        if name not in self.names:
            raise UnknownMechanism(f"use one of {' '.join(self.names)}")
        match name:
            case "PLAIN":
                return Plain()
            case "LOGIN":
                return Login()
            case "OAUTHBEARER":
                return OAuthBearer(self.openid_configuration)
            case "XOAUTH2":
                return XOAuth2()
            case _:
                return Scram(nonce, self.bindings, plus=name.endswith("-PLUS"))
