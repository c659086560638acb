"""A mail server elsewhere: takes all mail and writes down whose Message-ID came for whom. Runs in an image of ours."""

from __future__ import annotations

import asyncio
import re

from aiosmtpd.smtp import SMTP, Envelope, Session


class Inbox:
    """aiosmtpd's handler."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.original_content, bytes)
        found = re.search(rb"(?im)^Message-ID:\s*<([^>]*)>", envelope.original_content)
        with open("/sink/received", "a") as received:  # noqa: ASYNC230 (a line or two)
            for recipient in envelope.rcpt_tos:
                received.write(f"{found[1].decode() if found else '?'} {recipient}\n")
        return "250 2.0.0 kept"


async def main() -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Inbox(), loop=loop, hostname="sink"), "0.0.0.0", 2525)
    await server.serve_forever()


asyncio.run(main())
