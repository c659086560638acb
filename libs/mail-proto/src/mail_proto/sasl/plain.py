"""PLAIN (RFC 4616) and LOGIN (no RFC; draft-murchison-sasl-login-00): the password crosses as it is."""

from __future__ import annotations

from typing import Final

from mail_proto.sasl.errors import SaslFault, check_authzid
from mail_proto.sasl.steps import Challenge, Event, PasswordGiven, Response, Step

# Longer than any name and password that are kept (RFC 4616 §2 leaves it open).
_MAX_OCTETS: Final = 4096


def parse_plain(message: bytes) -> tuple[str, str, str]:
    """(authzid, authcid, password) of `[authzid] NUL authcid NUL passwd`. Raises SaslFault."""
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise SaslFault("a PLAIN message has three parts")
    authzid, authcid, password = (_text(part) for part in parts)
    if not authcid or not password:
        raise SaslFault("name or password is empty")
    return authzid, authcid, password


def _text(octets: bytes) -> str:
    if len(octets) > _MAX_OCTETS:
        raise SaslFault("name or password is too long")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SaslFault("names and passwords are UTF-8") from error


class Plain:
    """One message from the client; an empty challenge asks for it."""

    def receive(self, event: Event) -> Step:
        assert isinstance(event, Response), "PLAIN asks one question only"
        if event.octets is None:
            return Challenge(b"")
        authzid, username, password = parse_plain(event.octets)
        check_authzid(authzid, username)
        return PasswordGiven(username, password)


class Login:
    """Name and password in a message each. Outlook compares the prompts with these words."""

    def __init__(self) -> None:
        self._username: str | None = None

    def receive(self, event: Event) -> Step:
        assert isinstance(event, Response), "LOGIN asks one question only"
        if event.octets is None:
            return Challenge(b"Username:")
        text = _text(event.octets)
        if not text or "\0" in text:
            raise SaslFault("name or password is empty, or has a NUL")
        if self._username is None:
            self._username = text
            return Challenge(b"Password:")
        return PasswordGiven(self._username, text)
