"""The transcript runner, against a peer whose answers are written here."""

from __future__ import annotations

import pytest

from mail_testkit.transcripts import Player, TranscriptFailed, parse


class Canned:
    """Says these lines, keeps what it was told."""

    def __init__(self, *lines: bytes) -> None:
        self._lines = list(lines)
        self.told = b""
        self.is_closed = False

    def send(self, octets: bytes) -> None:
        self.told += octets

    def read_line(self) -> bytes:
        return self._lines.pop(0) if self._lines else b""

    def close(self) -> None:
        self.is_closed = True


def play(text: str, *peers: Canned, **captures: str) -> dict[str, str]:
    return Player(lambda number: peers[number - 1], captures=captures).play(parse("test", text))


def test_captures_and_substitution() -> None:
    peer = Canned(b"+OK 12.34 ready\r\n", b"+OK 12.34\r\n", b"* OK {5} x\r\n")
    text = "# comment\n\nS: +OK {id:[0-9.]+} {_:.*}\nC: GET {id} {name}\\xff\nS: +OK {id}\nS: * OK {5} {_:.*}\n"
    assert play(text + "S: <closed>\n", peer, name="n")["id"] == "12.34"
    assert peer.told == b"GET 12.34 n\xff\r\n"
    assert peer.is_closed


def test_two_connections_and_lines_between() -> None:
    first, second = Canned(b"a\r\n", b"b\r\n", b"end\r\n"), Canned(b"+OK\r\n")
    play("S: ...\n2C:| half\n2C: whole\nS: end\n2S: +OK\n", first, second)
    assert second.told == b"halfwhole\r\n"


def test_actions_get_their_words() -> None:
    done: list[tuple[str, ...]] = []
    player = Player(lambda number: Canned(), {"do": lambda *words: done.append(words)}, {"x": "y"})
    player.play(parse("test", "! do one {x}\n"))
    assert done == [("one", "y")]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("S: +OK\n", [b"+OK more\r\n"]),
        ("S: +OK\n", [b"+OK\n"]),
        ("S: +OK\n", []),
        ("S: <closed>\n", [b"+OK\r\n"]),
        ("S: {a} {a}\n", [b"1 2\r\n"]),
        ("S: {a}\nS: {a}\n", [b"1\r\n", b"2\r\n"]),
        ("S: ...\nS: end\n", [b"a\r\n", b"b\r\n"]),
        ("S: a.c\n", [b"abc\r\n"]),
    ],
)
def test_what_differs_is_told_with_its_place(text: str, lines: list[bytes]) -> None:
    with pytest.raises(TranscriptFailed, match=r"test:[12]: "):
        play(text, Canned(*lines))


def test_a_line_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="test:2"):
        parse("test", "C: x\nD: y\n")
