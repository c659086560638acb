"""SMTP's session against random octets: whatever comes in, every reply is one, nothing is raised, memory is bounded.

Inputs are the clients' lines of the transcripts, cut, doubled, swapped and spoilt; cutting them elsewhere must change
nothing, and no message may hold CR or LF alone unless it was declared to be binary.
"""

from __future__ import annotations

import random
import re
from typing import Final

from mail_proto.smtp.content import has_bare_line_ends
from mail_testkit import fuzzing, messages
from mail_testkit.fuzzing import cut
from mail_testkit.smtp_sessions import OFFERS, play

TRANSCRIPTS: Final = messages.ROOT / "libs" / "mail-proto" / "tests" / "smtp"
_REPLIES: Final = re.compile(rb"(?:[2-5]\d\d[ -][ -~]{0,506}\r\n)*")
_ESCAPE: Final = re.compile(rb"\\x([0-9a-fA-F]{2})")
MAX_HELD_OCTETS: Final = 300_000
WORDS: Final = (
    b"\r", b"\n", b"\r\n", b"\0", b" ", b".\r\n", b"\r\n.\r\n", b"\n.\n", b"RSET\r\n", b"STARTTLS\r\n", b"\xff",
    b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n", b"BDAT 3 LAST\r\n", b"BDAT 99999999999\r\n", b"*\r\n",
    b"AUTH PLAIN AGEAcmlnaHQ=\r\n", b"AUTH LOGIN\r\n", b" NOTIFY=NEVER", b" SMTPUTF8", b" SIZE=9", b"<@a.test:c@d>",
)  # fmt: skip


def seeds() -> list[bytes]:
    """What the clients of the transcripts say, a session each."""
    found = []
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        said = b""
        for line in path.read_bytes().splitlines():
            who, colon, text = line.partition(b":")
            if who.endswith(b"C") and colon:
                end = b"" if text.startswith(b"|") else b"\r\n"
                said += _ESCAPE.sub(lambda code: bytes.fromhex(code[1].decode()), text[2 - bool(end) :]) + end
        found.append(said)
    return [seed for seed in found if seed]


def check_input(octets: bytes, chance: random.Random) -> None:
    offer = OFFERS[chance.choice(("lmtp", "proxied"))]
    whole = play(offer, [octets])
    assert play(offer, cut(octets, chance)) == whole
    for played in (whole, play(chance.choice(list(OFFERS.values())), [octets])):
        assert _REPLIES.fullmatch(played.replies), played.replies
        assert played.most_held_octets < MAX_HELD_OCTETS
        for envelope, message in zip(played.envelopes, played.messages, strict=True):
            assert envelope.mail.body == "BINARYMIME" or not has_bare_line_ends(message)


def fuzz(seconds: float, seed: int) -> int:
    """Number of inputs tried. Raises what goes wrong, with the input in a note."""
    return fuzzing.fuzz(seeds(), WORDS, check_input, seconds, seed)


if __name__ == "__main__":
    fuzzing.main("smtp", __doc__, fuzz)
