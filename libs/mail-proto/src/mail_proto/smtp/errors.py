"""Faults an SMTP client can cause; each knows the reply it must produce (RFC 5321 §4.2.2, RFC 3463)."""

from __future__ import annotations

from typing import ClassVar

from mail_proto.smtp.replies import Reply


class SmtpFault(Exception):
    """A client's mistake. `str(fault)` is safe to send to that client."""

    code: ClassVar[int] = 500
    status: ClassVar[str] = "5.5.2"

    def reply(self) -> Reply:
        return Reply(self.code, self.status, str(self))


class SyntaxFault(SmtpFault):
    """The line is no command at all."""


class UnknownCommand(SmtpFault):
    """The command isn't offered here."""

    status = "5.5.1"


class ArgumentFault(SmtpFault):
    """The command is known, its arguments don't fit the grammar."""

    code, status = 501, "5.5.4"


class BadSequence(SmtpFault):
    """The command isn't allowed now (RFC 5321 §4.1.4)."""

    code, status = 503, "5.5.1"


class UnknownParameter(SmtpFault):
    """A MAIL or RCPT parameter that was not offered (RFC 5321 §4.1.1.11)."""

    code, status = 555, "5.5.4"


class BadSenderAddress(SmtpFault):
    """The reverse path is not an address."""

    code, status = 553, "5.1.7"


class BadRecipientAddress(SmtpFault):
    """The forward path is not an address."""

    code, status = 553, "5.1.3"


class NonAsciiAddress(SmtpFault):
    """An internationalized address without SMTPUTF8 (RFC 6531 §3.5)."""

    code, status = 553, "5.6.7"


class MessageTooLarge(SmtpFault):
    """RFC 1870 §6."""

    code, status = 552, "5.3.4"


class NoRoomNow(SmtpFault):
    """RFC 1870 §6.1 (2): not enough room at the moment."""

    code, status = 452, "4.3.1"


class BadContent(SmtpFault):
    """Mail data that breaks the rules for lines (RFC 5321 §2.3.8, §4.5.3.1.6)."""

    code, status = 550, "5.6.0"


class EightBitContent(SmtpFault):
    """8-bit octets that MAIL didn't declare (RFC 6152 §3)."""

    code, status = 550, "5.6.1"


class LineTooLong(SmtpFault):
    """A command longer than allowed (RFC 5321 §4.2.2, §4.5.3.1.4)."""


class ResponseTooLong(SmtpFault):
    """A line of a SASL exchange (RFC 4954 §6)."""

    status = "5.5.6"


class TooManyRecipients(SmtpFault):
    """RFC 5321 §4.5.3.1.10."""

    code, status = 452, "4.5.3"


class NotAuthenticated(SmtpFault):
    """RFC 4954 §6."""

    code, status = 530, "5.7.0"


class TlsRequired(SmtpFault):
    """A login in clear (RFC 4954 §6)."""

    code, status = 538, "5.7.11"


class NotPermitted(SmtpFault):
    """XCLIENT from an address that isn't configured."""

    code, status = 550, "5.7.0"


class NotBase64(SmtpFault):
    """RFC 4954 §4."""

    code, status = 501, "5.5.2"


class LoginCancelled(SmtpFault):
    """The client sent `*` (RFC 4954 §4)."""

    code, status = 501, "5.7.0"
