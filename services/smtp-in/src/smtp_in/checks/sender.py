"""All that can be known of a message's sender: SPF, DKIM, ARC and DMARC, of one message at the end of its data."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from publicsuffixlist import PublicSuffixList

from mail_proto.authentication import arc, dkim, dmarc, spf
from mail_proto.authentication.content import Content
from mail_proto.authentication.results import Result, of_arc, of_dkim, of_dmarc, of_spf
from smtp_in.checks.dns import Dns
from smtp_in.checks.keys import check_signature

# A scan of a message larger than this goes to a thread: it would hold up the others.
INLINE_OCTETS: Final = 256 * 1024
# Whoever sends waits ten minutes for the reply to its data (RFC 5321 §4.5.3.2.6); this is for all look-ups.
PATIENCE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found; `content` is the message that it was found of."""

    content: Content
    spf: spf.Spf
    dkim: list[dkim.Dkim]
    arc: arc.Arc
    dmarc: dmarc.Dmarc

    def results(self) -> list[Result]:
        """For Authentication-Results. RFC 8617 has no word for a chain that nobody could look up."""
        found = [of_spf(self.spf), *of_dkim(self.dkim), of_dmarc(self.dmarc)]
        return found if self.arc.result in {"none", "temperror"} else [*found, of_arc(self.arc)]


@lru_cache(1)
def _suffixes() -> PublicSuffixList:
    """Read once: 10,000 rules take 50 ms."""
    return PublicSuffixList()


@lru_cache(10_000)
def organizational(domain: str) -> str:
    """The registered domain (RFC 7489 §3.2); a public suffix is its own."""
    return _suffixes().privatesuffix(domain) or domain


async def examine(looked_up: Dns, client: str, helo: str, reverse_path: str, message: bytes) -> Findings:
    """Never raises: what the DNS doesn't say in time is a temporary error of that check."""
    until = asyncio.get_running_loop().time() + PATIENCE_S
    content = await _prepared(message)
    now = int(time.time())
    spf_found, dkim_found, arc_found = await asyncio.gather(
        looked_up.conclude(spf.check(client, helo, reverse_path), until=until),
        looked_up.conclude(dkim.verify(content, now, check_signature), until=until),
        looked_up.conclude(arc.validate(content, now, check_signature), until=until),
    )
    # A sample (RFC 7489 §6.6.4), no secret.
    chance = random.randrange(100)  # noqa: S311
    judging = dmarc.evaluate(content, spf_found, dkim_found, organizational, chance)
    dmarc_found = await looked_up.conclude(judging, until=until)
    return Findings(content, spf_found, dkim_found, arc_found, dmarc_found)


async def _prepared(message: bytes) -> Content:
    if len(message) <= INLINE_OCTETS:
        return _content(message)
    return await asyncio.to_thread(_content, message)


def _content(message: bytes) -> Content:
    content = Content(message)
    dkim.body_hashes(content)
    return content
