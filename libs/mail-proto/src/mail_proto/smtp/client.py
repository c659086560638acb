"""The client's side of one SMTP transmission, without I/O (RFC 5321 §3, §4; STARTTLS RFC 3207).

The shell connects, then alternates: do the action, feed the reply.

    GREETING ─220→ EHLO ─250→ [STARTTLS ─220→ handshake → EHLO] → MAIL → RCPT … → DATA ─354→ MESSAGE → QUIT
                    └─5xx→ HELO ─────────────────────────────────→ MAIL

A server that offers PIPELINING (RFC 2920) gets MAIL and all RCPT in one write. DATA stays on its own: it would
have to be undone when no recipient is left.

Each recipient ends with one `Verdict`. A temporary failure before the first RCPT leaves the verdicts
provisional (`try_elsewhere`): another MX host may still take the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Literal

from mail_proto.smtp.client_replies import Reply, extensions

# RFC 5321 §4.5.3.2, seconds to wait for the reply.
GREETING_TIMEOUT_S: Final = 300.0
COMMAND_TIMEOUT_S: Final = 300.0
DATA_TIMEOUT_S: Final = 120.0
BLOCK_TIMEOUT_S: Final = 180.0
END_OF_DATA_TIMEOUT_S: Final = 600.0
# Everything is decided by then: the answer to QUIT is only waited for out of politeness.
QUIT_TIMEOUT_S: Final = 5.0

Result = Literal["delivered", "deferred", "failed"]
# Would end or split the command line, or leave the path.
_FORBIDDEN_IN_PATH: Final = re.compile(r"[\x00-\x1f\x7f<>]")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is to be sent. `eight_bit`: the message has octets over 127; `utf8`: it needs SMTPUTF8 (RFC 6531)."""

    reverse_path: str
    recipients: tuple[str, ...]
    octets: int
    eight_bit: bool = False
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it ended for one recipient: the server's words, or ours, and an enhanced status (RFC 3463)."""

    result: Result
    reply: str
    status: str


@dataclass(frozen=True, slots=True)
class Send:
    """Write `octets` (none: the command went out before), then feed the reply that comes within `timeout_s`."""

    octets: bytes
    timeout_s: float


@dataclass(frozen=True, slots=True)
class StartTls:
    """Do the handshake, then call `secured()`."""


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Write the dot-stuffed message, each block within BLOCK_TIMEOUT_S, then feed the reply."""

    timeout_s: float = END_OF_DATA_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing more to say."""


Action = Send | StartTls | SendMessage | Close


class State(Enum):
    GREETING = auto()
    EHLO = auto()
    HELO = auto()
    STARTTLS = auto()
    HANDSHAKE = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    MESSAGE = auto()
    QUIT = auto()
    CLOSED = auto()


BEFORE_RCPT: Final = frozenset({State.GREETING, State.EHLO, State.HELO, State.STARTTLS, State.HANDSHAKE, State.MAIL})


class ClientSession:
    """One connection's dialogue for one envelope. `starttls` False never asks for TLS."""

    def __init__(self, hostname: str, envelope: Envelope, *, starttls: bool = True) -> None:
        self.state = State.GREETING
        self.envelope = envelope
        self.secure = False
        # True: all verdicts are temporary and no recipient was offered yet (RFC 5321 §5.1).
        self.try_elsewhere = False
        self._hostname = hostname
        self._starttls = starttls
        self._offered: Mapping[str, str] = {}
        self._verdicts: list[Verdict | None] = [None] * len(envelope.recipients)
        self._next = 0
        self._accepted: list[int] = []
        self._pipelined = False
        # Replies still to come to commands that don't matter any more.
        self._ignored = 0
        self._on_reply: dict[State, Callable[[Reply], Action]] = {
            State.GREETING: self._greeting,
            State.EHLO: self._ehlo,
            State.HELO: self._helo,
            State.STARTTLS: self._tls_answer,
            State.MAIL: self._mail,
            State.RCPT: self._rcpt,
            State.DATA: self._data,
            State.MESSAGE: self._end_of_data,
            State.QUIT: self._quit_answer,
        }

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One per recipient, in the envelope's order. Call when closed or after `lost`."""
        assert all(verdict is not None for verdict in self._verdicts)
        return tuple(verdict for verdict in self._verdicts if verdict is not None)

    def receive(self, reply: Reply) -> Action:
        """What to do after this reply."""
        if reply.code == 421 and self.state is not State.QUIT:
            # The server is closing the channel, whatever was asked (RFC 5321 §4.2.3).
            self._settle("deferred", str(reply), reply.status)
            return self._close()
        return self._on_reply[self.state](reply)

    def secured(self) -> Action:
        """TLS is up: everything learnt before is forgotten (RFC 3207 §4.2)."""
        assert self.state is State.HANDSHAKE
        self.secure = True
        return self._say_ehlo()

    def lost(self, reason: str, status: str = "4.4.2") -> None:
        """The connection failed or was too slow: recipients without a verdict are deferred."""
        self._settle("deferred", reason, status)
        self.state = State.CLOSED

    # --- what each reply leads to

    def _greeting(self, reply: Reply) -> Action:
        return self._say_ehlo() if reply.positive else self._refused(reply)

    def _ehlo(self, reply: Reply) -> Action:
        if reply.permanent and not self.secure:
            self.state = State.HELO
            return self._command(f"HELO {self._hostname}")
        if not reply.positive:
            return self._refused(reply)
        self._offered = extensions(reply)
        if self._starttls and not self.secure and "STARTTLS" in self._offered:
            self.state = State.STARTTLS
            return self._command("STARTTLS")
        return self._begin()

    def _helo(self, reply: Reply) -> Action:
        return self._begin() if reply.positive else self._refused(reply)

    def _tls_answer(self, reply: Reply) -> Action:
        if reply.positive:
            self.state = State.HANDSHAKE
            return StartTls()
        # Opportunistic: a server that changes its mind still gets the mail (RFC 7435).
        return self._begin()

    def _mail(self, reply: Reply) -> Action:
        if not reply.positive:
            if self._pipelined:
                self._ignored = len(self.envelope.recipients)
            return self._refused(reply)
        return self._next_recipient()

    def _rcpt(self, reply: Reply) -> Action:
        if reply.positive:
            self._accepted.append(self._next)
        elif reply.code == 552 and self._accepted and not reply.status.startswith("5.2."):
            # "Too many recipients" of old servers: a temporary condition (RFC 5321 §4.5.3.1.10).
            self._verdicts[self._next] = Verdict("deferred", str(reply), "4.5.3")
        else:
            self._verdicts[self._next] = _verdict(reply)
        self._next += 1
        return self._next_recipient()

    def _data(self, reply: Reply) -> Action:
        if reply.code == 354:
            self.state = State.MESSAGE
            return SendMessage()
        return self._refused(reply)

    def _end_of_data(self, reply: Reply) -> Action:
        if not reply.positive:
            return self._refused(reply)
        self._settle("delivered", str(reply), reply.status)
        return self._quit()

    def _quit_answer(self, reply: Reply) -> Action:
        if self._ignored:
            self._ignored -= 1
            return Send(b"", QUIT_TIMEOUT_S)
        return self._close()

    # --- steps

    def _say_ehlo(self) -> Action:
        self.state = State.EHLO
        return self._command(f"EHLO {self._hostname}")

    def _begin(self) -> Action:
        """MAIL with the parameters that are needed and offered, or a refusal that needs no asking."""
        envelope = self.envelope
        paths = (envelope.reverse_path, *envelope.recipients)
        if any(_FORBIDDEN_IN_PATH.search(path) for path in paths):
            return self._give_up("5.1.3", "an address of the envelope can't be written in SMTP")
        utf8 = envelope.utf8 or not all(path.isascii() for path in paths)
        if utf8 and "SMTPUTF8" not in self._offered:
            return self._give_up("5.6.7", "the remote server doesn't support SMTPUTF8, which this message needs")
        limit = self._offered.get("SIZE", "")
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < envelope.octets:
            return self._give_up("5.3.4", f"the message has {envelope.octets} octets, the remote server takes {limit}")
        line = f"MAIL FROM:<{envelope.reverse_path}>"
        if "SIZE" in self._offered:
            line += f" SIZE={envelope.octets}"
        # Without 8BITMIME the octets are sent as they are: practically every server takes them,
        # and re-encoding would break signatures (listed as a liberty).
        if "8BITMIME" in self._offered and (envelope.eight_bit or utf8):
            line += " BODY=8BITMIME"
        if utf8:
            line += " SMTPUTF8"
        self.state = State.MAIL
        if "PIPELINING" in self._offered:
            self._pipelined = True
            line = "\r\n".join([line, *(f"RCPT TO:<{recipient}>" for recipient in envelope.recipients)])
        return self._command(line)

    def _next_recipient(self) -> Action:
        if self._next < len(self.envelope.recipients):
            self.state = State.RCPT
            if self._pipelined:
                return Send(b"", COMMAND_TIMEOUT_S)
            return self._command(f"RCPT TO:<{self.envelope.recipients[self._next]}>")
        if not self._accepted:
            return self._quit()
        self.state = State.DATA
        return self._command("DATA", DATA_TIMEOUT_S)

    def _refused(self, reply: Reply) -> Action:
        verdict = _verdict(reply)
        self._settle(verdict.result, verdict.reply, verdict.status)
        return self._quit()

    def _give_up(self, status: str, text: str) -> Action:
        self._settle("failed", text, status)
        return self._quit()

    def _settle(self, result: Result, text: str, status: str) -> None:
        """The verdict of all recipients that have none yet."""
        if self.state in BEFORE_RCPT and result == "deferred":
            self.try_elsewhere = True
        self._verdicts = [known or Verdict(result, text, status) for known in self._verdicts]

    def _quit(self) -> Action:
        self.state = State.QUIT
        return self._command("QUIT", QUIT_TIMEOUT_S)

    def _close(self) -> Action:
        self.state = State.CLOSED
        return Close()

    @staticmethod
    def _command(line: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Send:
        return Send(line.encode("utf-8") + b"\r\n", timeout_s)


def _verdict(reply: Reply) -> Verdict:
    """Of a refusal. A reply that doesn't belong there (a 250 to DATA) is no refusal for good: try again later."""
    if reply.permanent:
        return Verdict("failed", str(reply), reply.status)
    status = reply.status if reply.temporary else "4.5.0"
    return Verdict("deferred", str(reply), status)
