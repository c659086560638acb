"""What a client can do wrong in SASL."""

from __future__ import annotations


class SaslFault(Exception):
    """The client's SASL message is malformed. `str(fault)` says why and is safe to send."""


class UnknownMechanism(SaslFault):
    """It isn't offered (here, now)."""


class Denied(SaslFault):
    """The messages can be read, but they prove nothing: answer as to a wrong password."""


class TokenRefused(Denied):
    """The client has heard why."""


class AuthorizationFault(Denied):
    """The client asks to act for somebody else (RFC 4422 §3.4.1)."""


def check_authzid(authzid: str, username: str) -> None:
    """Raises AuthorizationFault: the identity to act as is another one."""
    if authzid and authzid.lower() != username.lower():
        raise AuthorizationFault("nobody may act for somebody else here")
