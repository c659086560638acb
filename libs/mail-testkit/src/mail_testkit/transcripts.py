"""Protocol sessions as text files: what a client says, what the server must answer.

    # A comment. Blank lines mean nothing.
    C: USER alice                   the client's line, sent with CRLF
    S: +OK {text:.*}                the server's next line, matched whole
    C: RETR {n}                     captures are put in
    S: ...                          any lines, until one matches what follows
    ! deliver alice one.eml         an action of the test, by name, with its words
    2C: USER bob                    a second connection; `C:` alone is the first

`{name}` matches non-empty text without spaces, `{name:regex}` what the expression matches; both keep it. A name that
has a value already stands for just that, in `S:` lines too; `{_:regex}` keeps nothing. `{12}` and
`{12+}` are IMAP literals and mean themselves.
`\\xff` in a `C:` line is that octet; `C:| text` sends text without CRLF, so that lines can be cut anywhere.
`S: <closed>` wants the end of the connection. A connection is opened by its first line.

Lines, not octets, are what a transcript is about: contents of messages are compared elsewhere.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

CLOSED: Final = "<closed>"
ANY_LINES: Final = "..."
_LINE: Final = re.compile(r"(?P<number>\d*)(?P<who>[CS]):(?P<cut>\|?) ?(?P<text>.*)")
_CAPTURE: Final = re.compile(r"\{(?P<name>[a-z]\w*|_)(?::(?P<pattern>(?:[^{}]|\{\d+(?:,\d*)?\})+))?\}")
_ESCAPE: Final = re.compile(r"\\x([0-9a-fA-F]{2})")


class Peer(Protocol):
    """A connection to the server under test."""

    def send(self, octets: bytes) -> None: ...

    def read_line(self) -> bytes:
        """The next line with its CRLF; empty at the end of the connection. Raises TimeoutError."""

    def close(self) -> None: ...


Action = Callable[..., None]


class TranscriptFailed(AssertionError):
    """What the server said isn't what the transcript wants; names file and line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a transcript. `who`: C, S or ! for an action."""

    number: int
    who: str
    connection: int
    text: str
    with_crlf: bool = True


@dataclass(frozen=True, slots=True)
class Transcript:
    """A parsed file."""

    name: str
    lines: tuple[Line, ...]


def read(path: Path) -> Transcript:
    """Raises ValueError: a line that is none of the kinds above."""
    return parse(path.name, path.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Transcript:
    """Raises ValueError."""
    return Transcript(
        name,
        tuple(
            _parse_line(name, number, line)
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.startswith("#")
        ),
    )


def _parse_line(name: str, number: int, line: str) -> Line:
    if line.startswith("! "):
        return Line(number, "!", 0, line[2:].strip())
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"{name}:{number}: not a line of a transcript: {line!r}")
    return Line(number, found["who"], int(found["number"] or 1), found["text"], not found["cut"])


class Player:
    """Plays transcripts. `connect(number)` opens a connection; `actions` are what `!` lines may name."""

    def __init__(
        self,
        connect: Callable[[int], Peer],
        actions: Mapping[str, Action] | None = None,
        captures: Mapping[str, str] | None = None,
    ) -> None:
        self._connect = connect
        self._actions = {"close": self._close, **(actions or {})}
        self.captures = dict(captures or {})
        self._peers: dict[int, Peer] = {}
        self._skipping: set[int] = set()

    def peer(self, number: int = 1) -> Peer:
        """The connection with that number, opened when it is asked for first."""
        if number not in self._peers:
            self._peers[number] = self._connect(number)
        return self._peers[number]

    def play(self, transcript: Transcript) -> dict[str, str]:
        """Play it to the end and close; returns what was captured. Raises TranscriptFailed."""
        try:
            self.go_on(transcript)
        finally:
            for peer in self._peers.values():
                peer.close()
        return self.captures

    def go_on(self, transcript: Transcript) -> None:
        """Play its lines and leave the connections open: for actions that are transcripts. Raises TranscriptFailed."""
        for line in transcript.lines:
            try:
                self._step(line)
            except (AssertionError, TimeoutError, OSError) as error:
                said = str(error) or type(error).__name__
                raise TranscriptFailed(f"{transcript.name}:{line.number}: {said}") from error

    def adopt(self, number: int, peer: Peer) -> None:
        """Take a connection that an action has opened."""
        self._peers[number] = peer

    def _step(self, line: Line) -> None:
        match line.who:
            case "C":
                octets = _octets(_put_in(line.text, self.captures))
                self.peer(line.connection).send(octets + b"\r\n" if line.with_crlf else octets)
            case "S" if line.text == ANY_LINES:
                self._skipping.add(line.connection)
            case "S":
                self._expect(line)
            case _:
                name, *words = _put_in(line.text, self.captures).split()
                self._actions[name](*words)

    def _expect(self, line: Line) -> None:
        peer = self.peer(line.connection)
        skips = line.connection in self._skipping
        self._skipping.discard(line.connection)
        pattern = _pattern(line.text, self.captures)
        while True:
            received = peer.read_line()
            if line.text == CLOSED and not received:
                return
            assert received, f"the connection was closed; wanted {line.text!r}"
            said = received.removesuffix(b"\r\n").decode("utf-8", "backslashreplace")
            found = pattern.fullmatch(said)
            if found is not None and received.endswith(b"\r\n"):
                self.captures |= found.groupdict()
                return
            assert skips, f"wanted {line.text!r}, the server said {received!r}"

    def _close(self, number: str = "1") -> None:
        """`! close 2`: the client breaks off."""
        self._peers.pop(int(number)).close()


class SocketPeer:
    """A connection over TCP; with `tls` the handshake comes first."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, timeout_s: float = 30.0) -> None:
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        self._host = host
        if tls is not None:
            self.start_tls(tls)
        self._received = b""

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def read_some(self) -> bytes:
        """Octets as they come, those first that were read already; empty at the end of the connection."""
        if self._received:
            octets, self._received = self._received, b""
            return octets
        try:
            return self._socket.recv(65_536)
        except ConnectionError:
            return b""

    def put_back(self, octets: bytes) -> None:
        """To be read again, before anything else."""
        self._received = octets + self._received

    def read_line(self) -> bytes:
        while b"\n" not in self._received:
            kept, self._received = self._received, b""
            octets = self.read_some()
            self._received = kept + octets
            if not octets:
                break
        line, end, self._received = self._received.partition(b"\n")
        return line + end

    def start_tls(self, context: ssl.SSLContext) -> None:
        """The handshake on a connection in clear."""
        self._socket = context.wrap_socket(self._socket, server_hostname=self._host)

    def close(self) -> None:
        self._socket.close()


def _put_in(text: str, captures: Mapping[str, str]) -> str:
    return _CAPTURE.sub(lambda found: captures[found["name"]], text)


def _octets(text: str) -> bytes:
    """Text with its escapes, as UTF-8; `\\xff` is just that octet."""
    pieces: list[bytes] = []
    at = 0
    for found in _ESCAPE.finditer(text):
        pieces.append(text[at : found.start()].encode())
        pieces.append(bytes.fromhex(found[1]))
        at = found.end()
    return b"".join([*pieces, text[at:].encode()])


def _pattern(text: str, captures: Mapping[str, str]) -> re.Pattern[str]:
    pieces: list[str] = []
    known = set(captures)
    at = 0
    for found in _CAPTURE.finditer(text):
        pieces.append(re.escape(text[at : found.start()]))
        name = found["name"]
        if name == "_":
            pieces.append(f"(?:{found['pattern'] or r'[^ ]+'})")
        elif name in captures:
            pieces.append(re.escape(captures[name]))
        elif name in known:
            pieces.append(f"(?P={name})")
        else:
            known.add(name)
            pieces.append(f"(?P<{name}>{found['pattern'] or r'[^ ]+'})")
        at = found.end()
    return re.compile("".join([*pieces, re.escape(text[at:])]))
