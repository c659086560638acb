"""The quick way to pick header fields gives what a look at each line gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mail_proto.message.headers import lines
from mail_proto.message.sections import MAX_SEARCHED, header_fields
from mail_testkit import messages

_NAMES = st.sampled_from([b"To", b"tO", b"XTo", b"Subject", b"a b", b"", b"\xff", b"To:", b"[", b"("])
_VALUES = st.sampled_from([b"", b"x", b" x\r\n y", b"To: x", b"\ty\n z", b"\xff"])
_LINES = st.tuples(_NAMES, st.sampled_from([b":", b" :", b"\t:", b""]), _VALUES, st.sampled_from([b"\r\n", b"\n", b""]))


def by_lines(header: bytes, names: list[bytes]) -> bytes:
    wanted = {name.lower() for name in names}
    kept = b"".join(
        header[line.start : line.end] for line in lines(header) if line.name and line.name.lower() in wanted
    )
    return kept + (b"\r\n\r\n" if kept and not kept.endswith(b"\n") else b"\r\n")


def up_to_the_empty_line(octets: bytes) -> bytes:
    """As headers are cut: what follows an empty line is none."""
    end = max((line.end for line in lines(octets)), default=0)
    return octets[:end]


@given(st.lists(_LINES, max_size=8), st.lists(_NAMES, min_size=1, max_size=4))
def test_any_header(pieces: list[tuple[bytes, bytes, bytes, bytes]], names: list[bytes]) -> None:
    header = up_to_the_empty_line(b"".join(b"".join(piece) for piece in pieces))
    assert header_fields(header, names) == by_lines(header, names)


def test_real_headers() -> None:
    for path in messages.paths():
        header = up_to_the_empty_line(messages.as_sent(path))
        names = [line.name for line in lines(header) if line.name]
        for some in (
            names[::2],
            names[:1],
            [b"from", b"SUBJECT"],
            [*names, *(b"x%d" % n for n in range(MAX_SEARCHED))],
        ):
            assert header_fields(header, some) == by_lines(header, some), path
