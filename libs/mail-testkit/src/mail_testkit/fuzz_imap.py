"""IMAP's session against random octets: whatever comes in, each command has one answer and the states are kept.

Inputs are sessions of the transcripts that were cut, doubled, swapped and spoilt. What is checked: nothing is raised,
each reply is made of whole lines, commands on mailboxes wait for a login, those on messages for a mailbox, and cutting
the input changes no step. COMPRESS is fed the same octets as if they were DEFLATE.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from mail_proto.imap import commands as c
from mail_proto.imap.capabilities import Offer
from mail_proto.imap.compression import PIECE_OCTETS, Compression, CompressionLost
from mail_proto.imap.errors import Refused
from mail_proto.imap.session import ServerSession
from mail_proto.imap.states import State
from mail_proto.imap.steps import (
    Authenticate,
    Bye,
    Compress,
    Idle,
    LogIn,
    Reply,
    Run,
    SaslResponse,
    StartTls,
    Step,
    Unauthenticate,
)
from mail_testkit import fuzzing, messages
from mail_testkit.fuzzing import cut

TRANSCRIPTS: Final = messages.ROOT / "services" / "imap" / "tests" / "transcripts"
OFFER: Final = Offer("fuzz.test", True, ("PLAIN",), 100_000)
WORDS: Final = (
    b"\r\n", b"\n", b"\0", b" ", b"{5}\r\n", b"{5+}\r\nabcde", b"~{3+}\r\n\0\1\2", b'"', b"\\", b"(" * 60, b")", b"$",
    b"*", b"4294967296", b"\xff\xfe", b"&Jjo!", b"a LOGIN x yy\r\nb SELECT INBOX\r\n", b"a IDLE\r\n", b"DONE\r\n",
    b"x AUTHENTICATE PLAIN\r\n", b"e ENABLE IMAP4rev2 QRESYNC\r\n", b"{99999999999}\r\n",
)  # fmt: skip
SELECTED: Final = (
    c.Fetch | c.StoreFlags | c.Copy | c.Search | c.Sort | c.Thread | c.Expunge | c.CancelUpdate | c.Replace
)


def seeds() -> list[bytes]:
    """What the clients of the transcripts say, a session each."""
    found = []
    for path in sorted(TRANSCRIPTS.glob("*.txt")):
        lines = [line[3:] for line in path.read_text().splitlines() if line.startswith("C: ")]
        found.append(b"a LOGIN x yy\r\nb SELECT INBOX\r\n" + b"".join(line.encode() + b"\r\n" for line in lines))
    return found


def play(pieces: Sequence[bytes]) -> list[Step]:
    """All that happens, up to the end of the session."""
    session = ServerSession(OFFER, is_secure=False, password_may_cross=True)
    steps: list[Step] = [session.greeting()]
    for piece in pieces:
        for step in session.receive(piece):
            steps.append(step)
            check(session, step)
            steps += answer(session, step)
            if isinstance(steps[-1], Bye) or (isinstance(step, Unauthenticate) and _was_compressed(steps)):
                return steps
    return steps


def _was_compressed(steps: Sequence[Step]) -> bool:
    """What came compressed behind UNAUTHENTICATE is dropped, as much as has come: it depends on the cuts."""
    return any(isinstance(step, Compress) for step in steps)


def answer(session: ServerSession, step: Step) -> Iterator[Step]:
    """What the owner of the connection makes of a step; the same each time for the same step."""
    match step:
        case LogIn(tag, _, password) if len(password) % 2:
            yield session.login_failed(tag, Refused("no", "AUTHENTICATIONFAILED"))
        case LogIn(tag):
            yield session.logged_in(tag)
        case Authenticate(tag):
            yield session.challenge(tag, b"")
        case SaslResponse(tag, line):
            yield session.logged_in(tag) if len(line) % 2 else session.failed(tag, Refused("no"))
        case Unauthenticate():
            session.unauthenticated()
        case Run(tag, command):
            if isinstance(command, c.Select):
                session.opened(is_open=True)
            elif isinstance(command, c.Simple) and command.name in {"CLOSE", "UNSELECT"}:
                session.opened(is_open=False)
            yield Reply(session.done(tag, "done"))


def check(session: ServerSession, step: Step) -> None:
    match step:
        case Reply(octets) | Bye(octets) | Idle(octets) | StartTls(octets) | Compress(octets) | Unauthenticate(octets):
            assert octets.endswith(b"\r\n"), octets
            for line in octets.removesuffix(b"\r\n").split(b"\r\n"):
                assert line.isascii(), octets
                assert b"\r" not in line, octets
                assert b"\n" not in line, octets
        case LogIn() | Authenticate() | SaslResponse():
            assert session.state is State.NOT_AUTHENTICATED
        case Run(_, command):
            assert session.state is not State.NOT_AUTHENTICATED or command == c.Simple("NOOP")
            if isinstance(command, SELECTED):
                assert session.state is State.SELECTED


def inflate(octets: bytes) -> None:
    try:
        for piece in Compression().pieces(octets):
            assert len(piece) <= PIECE_OCTETS
    except CompressionLost:
        pass


def check_input(octets: bytes, chance: random.Random) -> None:
    assert play(cut(octets, chance)) == play([octets])
    inflate(octets)


def fuzz(seconds: float, seed: int) -> int:
    """Number of inputs tried. Raises what goes wrong, with the input in a note."""
    return fuzzing.fuzz(seeds(), WORDS, check_input, seconds, seed)


if __name__ == "__main__":
    fuzzing.main("imap", __doc__, fuzz)
