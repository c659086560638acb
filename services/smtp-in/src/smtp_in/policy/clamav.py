"""ClamAV's clamd: the command INSTREAM (clamd(8)).

zINSTREAM\\0  then chunks: length (4 octets, network order), octets; a length of 0 ends them
reply: stream: OK\\0   stream: <name> FOUND\\0   <words> ERROR\\0
"""

from __future__ import annotations

import asyncio
import re
import struct
from typing import Final

from smtp_in.policy.filters import FilterDown, Opinion
from smtp_in.policy.letter import Letter

CHUNK_OCTETS: Final = 65_536
MAX_REPLY_OCTETS: Final = 4_096
_FOUND: Final = re.compile(r"stream: (.+) FOUND")


class Clamav:
    """`address`: host:port, or the path of a socket. A connection for each message, as clamd wants it."""

    name = "clamav"

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address, self._timeout_s = address, timeout_s

    async def judge(self, letter: Letter) -> Opinion:
        """Raises FilterDown."""
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await self._scan(letter.message)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise FilterDown(f"clamav: {error!r}") from error
        if reply == "stream: OK":
            return Opinion()
        found = _FOUND.fullmatch(reply)
        if found is None:
            raise FilterDown(f"clamav: {reply[:200]}")
        return Opinion("reject", f"a virus was found: {found[1][:100]}")

    async def _scan(self, message: bytes) -> str:
        reader, writer = await self._connect()
        try:
            writer.write(b"zINSTREAM\0")
            for start in range(0, len(message), CHUNK_OCTETS):
                chunk = message[start : start + CHUNK_OCTETS]
                writer.write(struct.pack("!L", len(chunk)) + chunk)
                await writer.drain()
            writer.write(struct.pack("!L", 0))
            await writer.drain()
            return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace").strip()
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._address.startswith("/"):
            return await asyncio.open_unix_connection(self._address, limit=MAX_REPLY_OCTETS)
        host, _, port = self._address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), limit=MAX_REPLY_OCTETS)
