"""SMTP's session against random octets: whatever comes in, every reply is one, nothing is raised, memory is bounded.

Inputs are the clients' lines of the transcripts, cut, doubled, swapped and spoilt; cutting them elsewhere must change
nothing, and no message may hold CR or LF alone unless it was declared to be binary.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from typing import Final

from mail_proto.smtp.content import has_bare_line_ends
from mail_testkit import messages
from mail_testkit.fuzz_pop3 import cut, spoilt
from mail_testkit.smtp_sessions import OFFERS, play

TRANSCRIPTS: Final = messages.ROOT / "libs" / "mail-proto" / "tests" / "smtp"
_REPLIES: Final = re.compile(rb"(?:[2-5]\d\d[ -][ -~]{0,506}\r\n)*")
_ESCAPE: Final = re.compile(rb"\\x([0-9a-fA-F]{2})")
MAX_HELD_OCTETS: Final = 300_000


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


def fuzz(seconds: float, seed: int) -> int:
    """Number of inputs tried. Raises what goes wrong, with the input in a note."""
    pool, until, tried = seeds(), time.monotonic() + seconds, 0
    offers = [OFFERS[name] for name in ("lmtp", "proxied")]
    while time.monotonic() < until:
        chance = random.Random(seed + tried)
        octets, offer = spoilt(pool, chance), chance.choice(offers)
        try:
            whole = play(offer, [octets])
            assert play(offer, cut(octets, chance)) == whole
            for played in (whole, play(chance.choice(list(OFFERS.values())), [octets])):
                assert _REPLIES.fullmatch(played.replies), played.replies
                assert played.most_held_octets < MAX_HELD_OCTETS
                for envelope, message in zip(played.envelopes, played.messages, strict=True):
                    assert envelope.mail.body == "BINARYMIME" or not has_bare_line_ends(message)
        except BaseException as error:
            error.add_note(f"seed {seed + tried}: {octets[:2000]!r}")
            raise
        tried += 1
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 40))
    arguments = parser.parse_args()
    print(f"smtp: {fuzz(arguments.seconds, arguments.seed)} inputs from seed {arguments.seed}")


if __name__ == "__main__":
    main()
