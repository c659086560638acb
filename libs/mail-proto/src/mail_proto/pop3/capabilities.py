"""What a POP3 server says that it can: CAPA (RFC 2449 §6) and LANG (RFC 6856 §3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mail_proto.pop3 import replies
from mail_proto.pop3.errors import Pop3Fault

# The one language that our replies are written in.
LANGUAGE: Final = "en"


@dataclass(frozen=True, slots=True)
class Offer:
    """What this server offers to every client.

    `mechanisms`: those of SASL as the connection is now; TLS may bring more. `login_delay_s` 0: none.
    """

    hostname: str
    tls: bool
    mechanisms: tuple[str, ...]
    login_delay_s: int = 0


def capabilities(
    offer: Offer, *, mechanisms: Sequence[str], may_start_tls: bool, expire_days: int | None, is_logged_in: bool
) -> list[str]:
    """Lines of CAPA.

    Before login EXPIRE is the least that any mailbox may have: retention is set by mailbox, so that is a day, and
    `USER` says that the answer after login is the exact one (RFC 2449 §6.7).
    """
    lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8 USER", "LANG"]
    if mechanisms:
        lines += ["USER", "SASL " + " ".join(mechanisms)]
    if may_start_tls:
        lines.append("STLS")
    if is_logged_in:
        lines.append(f"EXPIRE {'NEVER' if expire_days is None else expire_days}")
    else:
        lines.append("EXPIRE 1 USER")
    if offer.login_delay_s:
        lines.append(f"LOGIN-DELAY {offer.login_delay_s}")
    return [*lines, "IMPLEMENTATION Postroom"]


def languages(wanted: str | None) -> bytes:
    """The reply to LANG (RFC 6856 §3.2): by basic filtering, a range matches what it is a prefix of (RFC 4647 §3.3.1).

    Raises Pop3Fault: none of ours matches.
    """
    if wanted is None:
        return replies.listing("languages", [f"{LANGUAGE} English"])
    if wanted not in {LANGUAGE, "*"}:
        raise Pop3Fault("only English is spoken here")
    return replies.ok(f"{LANGUAGE} English it is")
