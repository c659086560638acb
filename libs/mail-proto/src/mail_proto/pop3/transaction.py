"""Answers of the TRANSACTION state that need the maildrop's numbers only (RFC 1939 §5, §7)."""

from __future__ import annotations

from mail_proto.pop3 import replies
from mail_proto.pop3.commands import Command, Dele, List, Rset, Stat, Uidl
from mail_proto.pop3.maildrop import Maildrop


def answer(maildrop: Maildrop, command: Command) -> bytes:
    """The reply; DELE and RSET change the marks. Raises NoSuchMessage."""
    match command:
        case Stat():
            count, octets = maildrop.stat()
            return replies.ok(f"{count} {octets}")
        case List(None):
            count, octets = maildrop.stat()
            lines = [f"{msg} {size}" for msg, size in maildrop.sizes()]
            return replies.listing(f"{count} messages ({octets} octets)", lines)
        case List(int(msg)):
            return replies.ok(f"{msg} {maildrop.size(msg)}")
        case Uidl(None):
            return replies.listing("unique ids", [f"{msg} {maildrop.unique_id(msg)}" for msg in maildrop.remaining()])
        case Uidl(int(msg)):
            return replies.ok(f"{msg} {maildrop.unique_id(msg)}")
        case Dele(msg):
            maildrop.delete(msg)
            return replies.ok(f"message {msg} deleted")
        case Rset():
            maildrop.reset()
            count, octets = maildrop.stat()
            return replies.ok(f"{count} messages ({octets} octets)")
        case _:
            raise AssertionError(f"{type(command).__name__} is not for the maildrop")
