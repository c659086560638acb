"""Mail data for what comes behind SMTP: binary parts become lines (RFC 3030 §4)."""

from __future__ import annotations

import asyncio
from typing import Final

from mail_proto.message.line_based import NotLineBased, line_based
from mail_proto.smtp.arguments import MailArguments
from mail_proto.smtp.errors import SmtpFault

# The loop waits for smaller ones.
INLINE_OCTETS: Final = 262_144


class NotConvertible(SmtpFault):
    """RFC 3463 §3.7: conversion required but not supported."""

    code, status = 554, "5.6.3"


async def in_lines(mail: MailArguments, message: bytes) -> bytes:
    """The message itself, unless it was declared to be binary. Raises NotConvertible."""
    if mail.body != "BINARYMIME":
        return message
    try:
        if len(message) <= INLINE_OCTETS:
            return line_based(message)
        return await asyncio.to_thread(line_based, message)
    except NotLineBased as fault:
        raise NotConvertible(str(fault)) from fault
