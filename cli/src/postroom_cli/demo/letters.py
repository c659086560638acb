"""The two messages of the demo: what real mail has and careless servers break."""

from __future__ import annotations

import struct
import zlib
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, make_msgid


def letter(sender: Address, recipient: Address) -> bytes:
    """A message with a non-ASCII subject, 8-bit text, lines that begin with a dot, and a picture."""
    message = _message(sender, recipient, "Grüße aus der Poststelle — 你好 ✉")
    message.set_content(
        "Dear Bill,\n\n"
        ".this line begins with a dot,\n"
        "..this one with two, and the next is only a dot:\n"
        ".\n"
        "Zürich, Łódź and Αθήνα send 8-bit regards.\n\n"
        "Alice\n",
        cte="8bit",
    )
    message.add_attachment(_picture(), maintype="image", subtype="png", filename="Postkarte – grün.png")
    return message.as_bytes()


def answer(sender: Address, recipient: Address, original_id: str) -> bytes:
    """The reply to it."""
    message = _message(sender, recipient, "Re: Grüße aus der Poststelle — 你好 ✉")
    message["In-Reply-To"] = original_id
    message["References"] = original_id
    message.set_content("Dear Alice,\n\nall of it arrived: ümläuts, dots and picture.\n\nBill\n", cte="8bit")
    return message.as_bytes()


def _message(sender: Address, recipient: Address, subject: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = localtime()
    message["Message-ID"] = make_msgid(domain=sender.domain)
    return message


def _picture(size: int = 64) -> bytes:
    """A PNG of `size` by `size` pixels in shades of green (ISO/IEC 15948)."""
    rows = b"".join(b"\0" + b"".join(bytes((x * 3 % 256, 160, y * 3 % 256)) for x in range(size)) for y in range(size))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
