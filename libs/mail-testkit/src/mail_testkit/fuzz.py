"""Mutated real messages for the parsers of `mail_proto.message`: `make fuzz`, or `python -m mail_testkit.fuzz`.

Each message is cut, joined, repeated and sprinkled with what parsers look for; what is read must keep the promises of
`check`. A failure prints the seed that makes it again, and keeps the octets in a file.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mail_proto.message.address_list import displayed, parse_list
from mail_proto.message.body_structure import describe
from mail_proto.message.headers import decode, fields
from mail_proto.message.html_text import html_text
from mail_proto.message.leaves import leaves
from mail_proto.message.sections import find_part, section
from mail_proto.message.structure import walk
from mail_proto.message.summary import MessageSummary, summarize
from mail_proto.message.text import searchable
from mail_proto.message.transfer import Decoder, decoded, decoded_length
from mail_testkit import messages
from mail_testkit.imap_values import read_value

MAX_OCTETS: Final = 200_000
_TOKENS: Final = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"--", b"\n--", b":", b";", b"=", b'"', b"\\", b"(", b")", b"<", b">", b",",
    b"@", b"\x00", b"\xff", b"\xc3", b"\t", b" ", b"=?utf-8?q?", b"?=", b"=?x?b?", b"*0*=", b"*1=", b"utf-8''%",
    b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: message/rfc822\r\n", b"boundary=", b"charset=",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Disposition: attachment; filename=", b"<!--", b"<script>",
    b"&#",
    b"References: <", b"Subject: re: [x] ", b"From: a:", b"begin 644 x\n", b"[fwd:", b"\r\n ", b"--b\r\n", b"--b--\r\n",
)  # fmt: skip


def mutate(octets: bytes, others: Sequence[bytes], dice: random.Random) -> bytes:
    """A few changes, at random places."""
    mutated = bytearray(octets[:MAX_OCTETS])
    for _ in range(dice.choice((1, 2, 4, 8, 32))):
        at = dice.randrange(len(mutated) + 1)
        end = min(len(mutated), at + dice.choice((1, 2, 8, 64, 1_024)))
        match dice.randrange(7):
            case 0:
                mutated[at:at] = dice.choice(_TOKENS) * dice.choice((1, 1, 1, 2, 50))
            case 1:
                del mutated[at:end]
            case 2:
                mutated[at:end] = dice.randbytes(end - at)
            case 3:
                mutated[at:at] = mutated[at:end] * dice.choice((1, 2, 20))
            case 4:
                other = dice.choice(others)
                start = dice.randrange(len(other) + 1)
                mutated[at:at] = other[start : start + dice.choice((10, 100, 5_000))]
            case 5:
                del mutated[at:]
            case _:
                mutated[at:end] = dice.choice(_TOKENS)
    return bytes(mutated[:MAX_OCTETS])


def check(octets: bytes) -> None:
    """The promises of the message parsers, for any octets. Raises AssertionError: one is broken."""
    summary = summarize(octets)
    _check_tree(octets, summary)
    for rendered in (summary.envelope, summary.body, summary.bodystructure):
        read_value(rendered)
    _check_texts(octets, summary)
    described = describe(octets, summary.root)
    for leaf in leaves(described):
        path = tuple(int(number) for number in leaf.path.split("."))
        assert find_part(summary.root, path) == leaf.part
        assert section(octets, summary.root, path, None) == octets[leaf.part.body_start : leaf.part.body_end]
        assert "/" not in leaf.name
        assert "\n" not in leaf.name


def _check_tree(octets: bytes, summary: MessageSummary) -> None:
    root = summary.root
    assert root.header_start == 0
    assert root.body_end == len(octets) == summary.octets
    for part in walk(root):
        assert 0 <= part.header_start <= part.body_start <= part.body_end <= len(octets)
        assert part.lines == octets.count(b"\n", part.body_start, part.body_end)
        position = part.body_start
        for child in part.children:
            assert position <= child.header_start
            position = child.body_end
        assert position <= part.body_end


def _check_texts(octets: bytes, summary: MessageSummary) -> None:
    text = searchable(octets, summary.root)
    texts = [
        text,
        summary.subject,
        summary.base_subject,
        summary.preview,
        summary.message_id,
        *summary.references,
    ]
    texts += [part for pairs in (summary.senders, summary.to, summary.cc) for pair in pairs for part in pair]
    for name, value in fields(octets[: summary.root.body_start])[:50]:
        texts += (decode(value), name.decode("latin-1"))
        texts += [part for pair in displayed(parse_list(value)) for part in pair]
    texts.append(html_text(text[:20_000]))
    for each in texts:
        each.encode()  # no lone surrogates
        assert "\0" not in each
    assert len(summary.preview) <= 256
    assert summary.references == list(dict.fromkeys(summary.references))
    for encoding in ("base64", "quoted-printable"):
        decoder = Decoder(encoding)
        pieces = [decoder.add(octets[at : at + 1_000]) for at in range(0, min(len(octets), 10_000), 1_000)]
        whole = b"".join(pieces) + decoder.end()
        assert whole == decoded(octets[:10_000], encoding), encoding
        assert decoded_length(octets, 0, len(octets), encoding) == len(decoded(octets, encoding))


def run(seed: int, seconds: float, checked: Callable[[bytes], None] = check) -> int:
    """How many mutations kept the promises within that time. Raises AssertionError, or what a parser raised."""
    originals = [path.read_bytes() for path in messages.paths()]
    until = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until:
        octets = mutation(originals, seed, number)
        try:
            checked(octets)
        except Exception:
            kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}.eml"
            kept.write_bytes(octets)
            print(f"seed {seed}, mutation {number}: {kept}", file=sys.stderr)
            raise
        number += 1
    return number


def mutation(originals: Sequence[bytes], seed: int, number: int) -> bytes:
    """The same for the same numbers."""
    dice = random.Random(seed * 1_000_003 + number)
    return mutate(dice.choice(originals), originals, dice)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    number = run(arguments.seed, arguments.seconds)
    print(f"seed {arguments.seed}: {number} mutated messages kept all promises")


if __name__ == "__main__":
    main()
