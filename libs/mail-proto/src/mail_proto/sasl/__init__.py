"""SASL (RFC 4422), the server's side: mechanisms as state machines over decoded messages; no I/O, no secrets kept.

A frontend asks `Offer` which mechanisms it may name and for the one that the client chose, then passes on what each
`Step` asks for: a challenge for the client, or a question for whoever keeps the passwords (`mail_runtime.auth`).
"""

from mail_proto.sasl.bearer import OAuthBearer, XOAuth2
from mail_proto.sasl.errors import AuthorizationFault, Denied, SaslFault, TokenRefused, UnknownMechanism
from mail_proto.sasl.lines import MAX_MESSAGE_OCTETS, decode_response
from mail_proto.sasl.offer import Offer
from mail_proto.sasl.plain import Login, Plain, parse_plain
from mail_proto.sasl.prep import saslprep
from mail_proto.sasl.scram_server import Scram
from mail_proto.sasl.steps import (
    Challenge,
    Event,
    Finished,
    Mechanism,
    PasswordGiven,
    ProofGiven,
    Refused,
    Response,
    Salt,
    ScramStarted,
    Signature,
    Step,
    TokenGiven,
)

__all__ = [
    "MAX_MESSAGE_OCTETS",
    "AuthorizationFault",
    "Challenge",
    "Denied",
    "Event",
    "Finished",
    "Login",
    "Mechanism",
    "OAuthBearer",
    "Offer",
    "PasswordGiven",
    "Plain",
    "ProofGiven",
    "Refused",
    "Response",
    "Salt",
    "SaslFault",
    "Scram",
    "ScramStarted",
    "Signature",
    "Step",
    "TokenGiven",
    "TokenRefused",
    "UnknownMechanism",
    "XOAuth2",
    "decode_response",
    "parse_plain",
    "saslprep",
]
