"""Sealing by ARC: what a server that sends mail on says it saw, signed (RFC 8617 §4, §5.1).

What was seen stands in our own Authentication-Results, the state of the chain (cv=) among it: without that field nobody
has checked, and nothing is sealed. As for DKIM the keys stay outside: the message signature is made first, the seal
covers it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mail_proto.authentication.arc import MAX_INSTANCES
from mail_proto.authentication.content import relaxed_field
from mail_proto.authentication.results import authserv_of
from mail_proto.dkim import Reading, Signer, Unsigned, signature_field
from mail_proto.message.headers import lines, unfold

ChainState = Literal["none", "pass", "fail"]

# In the order in which a seal covers them (§5.1.1).
_NAMES: Final = (b"arc-authentication-results", b"arc-message-signature", b"arc-seal")
_INSTANCE: Final = re.compile(rb"(?:^|;)[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*(\d{1,2})[ \t\r\n]*;")
_FAILED: Final = re.compile(rb"(?:^|;)[ \t\r\n]*cv[ \t\r\n]*=[ \t\r\n]*fail\b", re.IGNORECASE)
_ARC_PASSED: Final = re.compile(rb";[ \t]*arc[ \t]*=[ \t]*pass\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Chain:
    """What a new set is added to. `results` is the payload of our Authentication-Results, `earlier` the fields of the
    sets before, raw and in the order that a seal covers; those of a chain that failed don't count (§5.1.2).
    """

    instance: int
    state: ChainState
    results: bytes
    earlier: tuple[bytes, ...]

    @property
    def results_field(self) -> bytes:
        """ARC-Authentication-Results, with CRLF (§4.1.1)."""
        return b"ARC-Authentication-Results: i=%d; %s\r\n" % (self.instance, self.results)


def chain_of(header: bytes, authserv_id: str) -> Chain | None:
    """The chain of a message; None: it isn't to be sealed: nobody here checked it, it broke before, or is too long."""
    found: dict[bytes, dict[int, bytes]] = {name: {} for name in _NAMES}
    results, sets = None, 0
    for line in lines(header):
        name, value = line.name.strip().lower(), header[line.value_start : line.value_end]
        if name in found:
            instance = int(stated[1]) if (stated := _INSTANCE.search(value)) else 0
            found[name].setdefault(instance, header[line.start : line.end].removesuffix(b"\r\n"))
            sets = max(sets, instance)
        elif name == b"authentication-results" and results is None:
            author = authserv_of(value.decode("latin-1"))
            results = value.strip() if author is not None and author.lower() == authserv_id.lower() else None
    if results is None or sets >= MAX_INSTANCES or _FAILED.search(found[b"arc-seal"].get(sets, b"").partition(b":")[2]):
        return None
    if not any(found.values()):
        return Chain(1, "none", results, ())
    numbers = range(1, sets + 1)
    is_whole = all(sorted(found[name]) == list(numbers) for name in _NAMES)
    if not is_whole or not _ARC_PASSED.search(unfold(results)):
        return Chain(sets + 1, "fail", results, ())
    return Chain(sets + 1, "pass", results, tuple(found[name][number] for number in numbers for name in _NAMES))


def message_signature(chain: Chain, signer: Signer, reading: Reading, added: bytes, now_s: int) -> Unsigned | None:
    """ARC-Message-Signature (§4.1.2) of a message with the fields `added` on top; None: it has no From."""
    return reading.unsigned_field(
        b"ARC-Message-Signature",
        f"i={chain.instance}; a={signer.algorithm}; c=relaxed/relaxed; d={signer.domain};",
        f"s={signer.selector}; t={now_s};",
        added,
    )


def seal(chain: Chain, signer: Signer, message_signature_field: bytes, now_s: int) -> Unsigned:
    """ARC-Seal (§4.1.3) over all sets, or the new one alone where the chain failed."""
    tags = (
        f"i={chain.instance}; a={signer.algorithm}; cv={chain.state}; d={signer.domain};",
        f"s={signer.selector}; t={now_s};",
    )
    head = signature_field(b"ARC-Seal", tags)
    covered = (*chain.earlier, chain.results_field.removesuffix(b"\r\n"), message_signature_field.removesuffix(b"\r\n"))
    return Unsigned(head, _relaxed(covered) + relaxed_field(head).removesuffix(b"\r\n"))


def _relaxed(fields: Sequence[bytes]) -> bytes:
    return b"".join(relaxed_field(field) for field in fields)
