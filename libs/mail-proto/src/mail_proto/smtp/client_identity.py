"""Who the client of a session is: what it says in EHLO, and what a proxy says before it (XCLIENT)."""

from __future__ import annotations

from ipaddress import ip_address

from mail_proto.smtp.commands import parse_xclient
from mail_proto.smtp.errors import ArgumentFault


class ClientIdentity:
    """`address` is who counts as the client, behind a proxy too; `name` is empty until it has said EHLO.

    `is_extended`: it said EHLO or LHLO, not HELO.
    """

    def __init__(self, address: str) -> None:
        self.address, self.name, self.is_extended = address, "", True
        self._proxied_name: str | None = None
        self._proxied_extended: bool | None = None

    def greet(self, verb: str, name: str) -> None:
        """The client, or the proxy for it, has said EHLO, LHLO or HELO."""
        self.is_extended = verb != "HELO" if self._proxied_extended is None else self._proxied_extended
        self.name = name if self._proxied_name is None else self._proxied_name

    def introduce(self, argument: str) -> None:
        """A proxy says by XCLIENT for whom it speaks. Raises ArgumentFault."""
        said = parse_xclient(argument)
        if said.address:
            try:
                self.address = str(ip_address(said.address))
            except ValueError as error:
                raise ArgumentFault("ADDR is no address") from error
        elif said.address is not None:
            self.address = "unknown"
        self._proxied_name = said.helo or None
        self._proxied_extended = said.protocol.upper() != "SMTP" if said.protocol else None
        self.name = ""
