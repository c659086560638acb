"""A message as one server takes it: stuffed, and in seven bits where that is all it has (RFC 6152, RFC 6531)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mail_proto.message.seven_bit import NotConvertible, seven_bit
from mail_proto.smtp.client_actions import Envelope, Verdict
from mail_proto.smtp.client_data import has_eight_bit_header, is_eight_bit, stuffed
from mail_proto.smtp.client_dsn import mail_parameters, recipient_parameters
from mail_runtime.contracts.store import Claim, ClaimedDelivery, TlsWish


@dataclass(frozen=True, slots=True)
class Fitted:
    """An envelope and the octets after 354."""

    envelope: Envelope
    octets: bytes


class Letter:
    """One message for several transactions."""

    def __init__(self, claim: Claim, message: bytes) -> None:
        self._claim, self._message = claim, message
        self._eight_bit = is_eight_bit(message)
        self._utf8 = claim.smtputf8 and has_eight_bit_header(message)

    @property
    def tls_wish(self) -> TlsWish:
        """What counts when a host is chosen: a bounce isn't dropped for it (RFC 8689 §5)."""
        return self._claim.tls_wish if self._claim.reverse_path or self._claim.tls_wish != "required" else ""

    def envelope(self, deliveries: Sequence[ClaimedDelivery]) -> Envelope:
        """As it would be sent to a server that can do everything."""
        return Envelope(
            reverse_path=self._claim.reverse_path,
            recipients=tuple(delivery.recipient for delivery in deliveries),
            octets=len(self._message),
            eight_bit=self._eight_bit,
            utf8=self._utf8,
            dsn=mail_parameters(self._claim.ret, self._claim.envid),
            recipients_dsn=tuple(recipient_parameters(delivery.notify, delivery.orcpt) for delivery in deliveries),
        )

    def fitted(
        self, envelope: Envelope, offered: frozenset[str], *, is_authenticated: bool = False
    ) -> Fitted | Verdict:
        """For a server that offers these extensions; a verdict: it can't be sent there.

        `is_authenticated`: its name and certificate are as RFC 8689 §2 wants them where TLS is required.
        """
        envelope = replace(envelope, requires_tls=self._claim.tls_wish == "required" and is_authenticated)
        if "SMTPUTF8" not in offered and not envelope.utf8:
            envelope = replace(
                envelope,
                reverse_path=with_a_labels(envelope.reverse_path),
                recipients=tuple(map(with_a_labels, envelope.recipients)),
            )
        if not self._eight_bit or "8BITMIME" in offered or "SMTPUTF8" in offered:
            return Fitted(envelope, self._whole)
        converted = self._converted
        if isinstance(converted, Verdict):
            return converted
        octets, length = converted
        return Fitted(replace(envelope, eight_bit=False, octets=length), octets)

    @cached_property
    def _whole(self) -> bytes:
        return stuffed(self._message)

    @cached_property
    def _converted(self) -> tuple[bytes, int] | Verdict:
        try:
            message = seven_bit(self._message)
        except NotConvertible as error:
            text = f"the remote server doesn't support 8BITMIME, and the message can't be converted: {error}"
            return Verdict("failed", text, "5.6.3")
        return stuffed(message), len(message)


def with_a_labels(address: str) -> str:
    """The address with its domain in ASCII, where only that isn't (RFC 5891 §4.4); else as it is."""
    local, at, domain = address.rpartition("@")
    if not local.isascii() or domain.isascii():
        return address
    try:
        return f"{local}{at}{domain.encode('idna').decode('ascii')}"
    except UnicodeError:
        return address
