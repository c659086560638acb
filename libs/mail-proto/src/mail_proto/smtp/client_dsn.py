"""What a sender asked about notifications, passed on to a server that offers DSN (RFC 3461 §5.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from mail_proto.smtp.xtext import encode_xtext

# xchar = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "=" (RFC 3461 §4)


def mail_parameters(ret: str, envid: str) -> str:
    """For the end of MAIL: empty, or with a space in front."""
    return (f" RET={ret.upper()}" if ret else "") + (f" ENVID={encode_xtext(envid)}" if envid else "")


def recipient_parameters(notify: Sequence[str] | None, orcpt: str) -> str:
    """For the end of RCPT. `orcpt` is `addr-type ";" address`; one that isn't ASCII needs RFC 6533, and is left out."""
    kind, semicolon, address = orcpt.partition(";")
    asked = f" NOTIFY={','.join(word.upper() for word in notify)}" if notify else ""
    return asked + (f" ORCPT={kind};{encode_xtext(address)}" if semicolon and orcpt.isascii() else "")
