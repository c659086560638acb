"""POP3's session against random octets: whatever comes in, each line has one answer and the states are kept.

Inputs are sessions that were cut, doubled, swapped and spoilt. What is checked: nothing but Garbage is raised, replies
are lines within 512 octets, a session in AUTHORIZATION asks for no message, and cutting the input changes no step.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from mail_proto.pop3.capabilities import Offer
from mail_proto.pop3.errors import Garbage, LoginRefused
from mail_proto.pop3.maildrop import Maildrop
from mail_proto.pop3.outgoing import Outgoing, whole
from mail_proto.pop3.session import ServerSession, State
from mail_proto.pop3.steps import Authenticate, Bye, LogIn, Reply, SaslResponse, Send, StartTls, Step, Update
from mail_testkit import fuzzing, messages
from mail_testkit.fuzzing import cut

TRANSCRIPTS: Final = messages.ROOT / "services" / "pop3" / "tests" / "transcripts"
OFFER: Final = Offer("fuzz.test", True, ("PLAIN",))
SIZES: Final = (120, 200, 300)
WORDS: Final = (b"\r", b"\n", b"\r\n", b"\0", b" ", b"USER a\r\nPASS b\r\n", b"AUTH PLAIN\r\n", b"UTF8\r\n")


def seeds() -> list[bytes]:
    """What the clients of the transcripts say, a session each."""
    found = []
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        lines = [line[3:] for line in path.read_text().splitlines() if line.startswith("C: ")]
        found.append(b"".join(line.encode() + b"\r\n" for line in lines))
    return [seed for seed in found if seed]


def play(pieces: Sequence[bytes]) -> list[Step | str]:
    """All that happens, up to the end of the session."""
    session = ServerSession(OFFER, is_secure=False, password_may_cross=True)
    ids = [UUID(int=size) for size in SIZES]
    steps: list[Step | str] = []
    try:
        for piece in pieces:
            for step in session.receive(piece):
                steps.append(step)
                check(session, step)
                match step:
                    case Bye():
                        return steps
                    case Update():
                        return [*steps, session.updated()]
                    case LogIn() if len(step.password) % 2:
                        steps.append(session.refused(LoginRefused("no")))
                    case LogIn() | SaslResponse():
                        steps.append(session.logged_in(Maildrop((1, 2, 3), SIZES, ids, ids)))
                    case Authenticate():
                        steps.append(session.challenge())
                if isinstance(steps[-1], Bye):
                    return steps
    except Garbage:
        steps.append("garbage")
    return steps


def check(session: ServerSession, step: Step) -> None:
    match step:
        case Reply(octets) | Bye(octets) | StartTls(octets):
            first, end, _ = octets.partition(b"\r\n")
            assert end, octets
            assert len(first) <= 510, octets
            assert first[:3] in {b"+OK", b"-ER", b"+ "}, octets
        case Send():
            assert session.state is State.TRANSACTION
            assert step.entry.octets == SIZES[step.msg - 1]
        case LogIn() | Authenticate() | SaslResponse():
            assert session.state is State.AUTHORIZATION


def check_input(octets: bytes, chance: random.Random) -> None:
    whole_steps, cut_steps = play([octets]), play(cut(octets, chance))
    assert cut_steps[: len(whole_steps) - 1] == whole_steps[:-1]
    lines = chance.choice((None, 0, 1, 5))
    outgoing = Outgoing(lines)
    sent = b"".join(outgoing.feed(piece) for piece in cut(octets, chance)) + outgoing.finish()
    assert sent == whole(octets, lines)


def fuzz(seconds: float, seed: int) -> int:
    """Number of inputs tried. Raises what goes wrong, with the input in a note."""
    return fuzzing.fuzz(seeds(), WORDS, check_input, seconds, seed)


if __name__ == "__main__":
    fuzzing.main("pop3", __doc__, fuzz)
