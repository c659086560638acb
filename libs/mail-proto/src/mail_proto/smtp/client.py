"""The client's side of one SMTP or LMTP connection, without I/O (RFC 5321 §3, §4; RFC 3207, RFC 4954, RFC 2033).

The shell connects, then alternates: do the action, feed the reply.

    GREETING ─220→ EHLO ─250→ [STARTTLS ─220→ HANDSHAKE → EHLO] → [AUTH ─235→] IDLE ── quit() → QUIT → CLOSED
                    └─5xx→ HELO ─250→ IDLE                                      │ ▲
                                                     [RSET ─250→] MAIL ← begin()┘ └─ MESSAGE ←354─ DATA ← RCPT …

Any number of transactions follow one another; one that broke off is undone with RSET before the next. A server that
offers PIPELINING gets MAIL, all RCPT and DATA in one write (RFC 2920 §3.1); when it answers 354 although no recipient
is left, it gets an empty message, which it must refuse.

A connection that never becomes idle leaves a `refusal`; each recipient of a transaction ends with one `Verdict`.
A temporary failure before the first RCPT is provisional (`try_elsewhere`): another MX host may still take the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from mail_proto.smtp.client_actions import (
    COMMAND_TIMEOUT_S,
    DATA_TIMEOUT_S,
    END_OF_DATA_TIMEOUT_S,
    QUIT_TIMEOUT_S,
    Action,
    Close,
    Envelope,
    Idle,
    Manner,
    Result,
    Send,
    SendMessage,
    StartTls,
    Verdict,
)
from mail_proto.smtp.client_replies import Reply, extensions

# Would end or split the command line, or leave the path.
_FORBIDDEN_IN_PATH: Final = re.compile(r"[\x00-\x1f\x7f<>]")


class State(Enum):
    GREETING = auto()
    EHLO = auto()
    HELO = auto()
    STARTTLS = auto()
    HANDSHAKE = auto()
    AUTH = auto()
    IDLE = auto()
    RSET = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()
    MESSAGE = auto()
    QUIT = auto()
    CLOSED = auto()


CONNECTING: Final = frozenset({State.GREETING, State.EHLO, State.HELO, State.STARTTLS, State.HANDSHAKE, State.AUTH})
BEFORE_RCPT: Final = frozenset({State.IDLE, State.RSET, State.MAIL})


class ClientSession:
    """One connection's dialogue."""

    def __init__(self, manner: Manner, *, secure: bool = False) -> None:
        self.state = State.GREETING
        # TLS is up; given as True when it was from the first octet on (RFC 8314 §3).
        self.secure = secure
        # Why no transaction is possible.
        self.refusal: Verdict | None = None
        # True: all verdicts are temporary and no recipient was offered yet (RFC 5321 §5.1).
        self.try_elsewhere = False
        self.envelope = Envelope("", (), 0)
        self.offered: Mapping[str, str] = {}
        self._manner = manner
        self._verdicts: list[Verdict | None] = []
        self._next = 0
        self._accepted: list[int] = []
        # A transaction was begun and didn't end with an answer to its message.
        self._open = False
        self._login_steps: list[str] = []
        self._on_reply: dict[State, Callable[[Reply], Action]] = {
            State.GREETING: self._greeting,
            State.EHLO: self._ehlo,
            State.HELO: self._helo,
            State.STARTTLS: self._tls_answer,
            State.AUTH: self._auth_answer,
            State.RSET: self._rset_answer,
            State.MAIL: self._mail,
            State.RCPT: self._rcpt,
            State.DATA: self._data,
            State.MESSAGE: self._end_of_data,
            State.QUIT: self._quit_answer,
        }

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One per recipient, in the envelope's order. Call when idle or closed after `begin`."""
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
        return self._say_hello()

    def lost(self, reason: str, status: str = "4.4.2") -> None:
        """The connection failed or was too slow: recipients without a verdict are deferred."""
        self._settle("deferred", reason, status)
        self._close()

    def begin(self, envelope: Envelope) -> Action:
        """Start a transaction: MAIL with the parameters that are needed and offered, or a refusal without asking."""
        assert self.state is State.IDLE
        self.envelope, self.try_elsewhere = envelope, False
        self._verdicts = [None] * len(envelope.recipients)
        self._next, self._accepted = 0, []
        if (impossible := self._impossible(envelope)) is not None:
            self._verdicts = [impossible] * len(envelope.recipients)
            return Idle()
        if self._open:
            self.state = State.RSET
            return self._command("RSET")
        return self._say_mail()

    def quit(self) -> Action:
        """Say good-bye."""
        self.state = State.QUIT
        return self._command("QUIT", QUIT_TIMEOUT_S)

    # --- from the connection to idle

    def _greeting(self, reply: Reply) -> Action:
        return self._say_hello() if reply.positive else self._refused(reply)

    def _ehlo(self, reply: Reply) -> Action:
        if reply.permanent and not self.secure and not self._manner.lmtp and self._manner.starttls != "must":
            self.state = State.HELO
            return self._command(f"HELO {self._manner.hostname}")
        if not reply.positive:
            return self._refused(reply)
        if self._manner.never_ourselves and _same_name(reply.lines[0], self._manner.hostname):
            self.refusal = Verdict("failed", "mail loops back to this server, which doesn't hold it", "5.4.6")
            return self.quit()
        self.offered = extensions(reply)
        if self._manner.starttls != "never" and not self.secure:
            if "STARTTLS" in self.offered:
                self.state = State.STARTTLS
                return self._command("STARTTLS")
            if self._manner.starttls == "must":
                return self._unfit("4.7.0", "the remote server offers no TLS, which is required")
        return self._greeted()

    def _helo(self, reply: Reply) -> Action:
        return self._greeted() if reply.positive else self._refused(reply)

    def _tls_answer(self, reply: Reply) -> Action:
        if reply.positive:
            self.state = State.HANDSHAKE
            return StartTls()
        if self._manner.starttls == "must":
            return self._unfit("4.7.0", f"TLS is required, the remote server said: {reply}")
        # Opportunistic: a server that changes its mind still gets the mail (RFC 7435).
        return self._greeted()

    def _greeted(self) -> Action:
        login = self._manner.login
        if login is None:
            return self._idle()
        if not self.secure:
            return self._unfit("4.7.0", "the password isn't sent without TLS, which the remote server lacks")
        mechanisms = self.offered.get("AUTH", "").upper().split()
        self.state = State.AUTH
        if "PLAIN" in mechanisms:
            return self._command(f"AUTH PLAIN {login.plain()}")
        if "LOGIN" in mechanisms:
            self._login_steps = list(login.steps())
            return self._command("AUTH LOGIN")
        return self._unfit("4.7.0", "the remote server offers neither AUTH PLAIN nor LOGIN")

    def _auth_answer(self, reply: Reply) -> Action:
        if reply.code == 334 and self._login_steps:
            return self._command(self._login_steps.pop(0))
        if reply.positive:
            return self._idle()
        # A wrong password is a mistake of ours, which somebody may correct: no reason to bounce mail.
        return self._unfit("4.7.8", f"login refused: {reply}")

    # --- transactions

    def _impossible(self, envelope: Envelope) -> Verdict | None:
        """Why this server can't be given that envelope."""
        paths = (envelope.reverse_path, *envelope.recipients)
        if any(_FORBIDDEN_IN_PATH.search(path) for path in paths):
            return Verdict("failed", "an address of the envelope can't be written in SMTP", "5.1.3")
        if _needs_utf8(envelope) and "SMTPUTF8" not in self.offered:
            text = "the remote server doesn't support SMTPUTF8, which this message needs"
            return Verdict("failed", text, "5.6.7")
        limit = self.offered.get("SIZE", "")
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < envelope.octets:
            text = f"the message has {envelope.octets} octets, the remote server takes {limit}"
            return Verdict("failed", text, "5.3.4")
        return None

    def _say_mail(self) -> Action:
        envelope, self._open = self.envelope, True
        line = f"MAIL FROM:<{envelope.reverse_path}>"
        if "SIZE" in self.offered:
            line += f" SIZE={envelope.octets}"
        utf8 = _needs_utf8(envelope)
        if "8BITMIME" in self.offered and (envelope.eight_bit or utf8):
            line += " BODY=8BITMIME"
        if utf8:
            line += " SMTPUTF8"
        if "DSN" in self.offered:
            line += envelope.dsn
        if envelope.requires_tls and self.secure and "REQUIRETLS" in self.offered:
            line += " REQUIRETLS"
        self.state = State.MAIL
        if self._pipelining:
            line = "\r\n".join([line, *map(self._rcpt_line, range(len(envelope.recipients))), "DATA"])
        return self._command(line)

    def _rcpt_line(self, number: int) -> str:
        line = f"RCPT TO:<{self.envelope.recipients[number]}>"
        if "DSN" in self.offered and self.envelope.recipients_dsn:
            line += self.envelope.recipients_dsn[number]
        return line

    @property
    def _pipelining(self) -> bool:
        return "PIPELINING" in self.offered

    def _rset_answer(self, reply: Reply) -> Action:
        return self._say_mail() if reply.positive else self._broken_off(reply)

    def _mail(self, reply: Reply) -> Action:
        if reply.positive:
            return self._next_recipient()
        return self._broken_off(reply)

    def _rcpt(self, reply: Reply) -> Action:
        if self._verdicts[self._next] is not None:
            pass  # MAIL was refused; this is the echo of a pipelined RCPT
        elif reply.positive:
            self._accepted.append(self._next)
        elif reply.code == 552 and self._accepted and not reply.status.startswith("5.2."):
            # "Too many recipients" of old servers: a temporary condition (RFC 5321 §4.5.3.1.10).
            self._verdicts[self._next] = Verdict("deferred", str(reply), "4.5.3")
        else:
            self._verdicts[self._next] = _verdict(reply)
        self._next += 1
        return self._next_recipient()

    def _next_recipient(self) -> Action:
        if self._next < len(self.envelope.recipients):
            self.state = State.RCPT
            if self._pipelining:
                return Send(b"", COMMAND_TIMEOUT_S)
            return self._command(self._rcpt_line(self._next))
        if self._pipelining:
            self.state = State.DATA
            return Send(b"", DATA_TIMEOUT_S)
        if not self._accepted:
            return self._idle()
        self.state = State.DATA
        return self._command("DATA", DATA_TIMEOUT_S)

    def _data(self, reply: Reply) -> Action:
        if reply.code == 354:
            self.state = State.MESSAGE
            # Nobody to send it to: an empty message, which can't be accepted (RFC 2920 §3.1).
            return SendMessage() if self._accepted else Send(b".\r\n", END_OF_DATA_TIMEOUT_S)
        verdict = _verdict(reply)
        self._settle(verdict.result, verdict.reply, verdict.status)
        return self._idle()

    def _end_of_data(self, reply: Reply) -> Action:
        verdict = Verdict("delivered", str(reply), reply.status) if reply.positive else _verdict(reply)
        if self._manner.lmtp and self._accepted:
            # One answer for each accepted recipient, in their order (RFC 2033 §4.2).
            self._verdicts[self._accepted.pop(0)] = verdict
            if self._accepted:
                return Send(b"", END_OF_DATA_TIMEOUT_S)
        self._open = False
        self._settle(verdict.result, verdict.reply, verdict.status)
        return self._idle()

    def _quit_answer(self, reply: Reply) -> Action:
        return self._close()

    # --- steps

    def _say_hello(self) -> Action:
        self.state = State.EHLO
        return self._command(f"{'LHLO' if self._manner.lmtp else 'EHLO'} {self._manner.hostname}")

    def _broken_off(self, reply: Reply) -> Action:
        """No recipient was offered. What was pipelined after a refused MAIL is answered all the same."""
        verdict = _verdict(reply)
        self._settle(verdict.result, verdict.reply, verdict.status)
        if self.state is State.MAIL and self._pipelining:
            return self._next_recipient()
        return self._idle() if self.state is State.MAIL else self.quit()

    def _refused(self, reply: Reply) -> Action:
        self.refusal = _verdict(reply)
        return self.quit()

    def _unfit(self, status: str, text: str) -> Action:
        self.refusal = Verdict("deferred", text, status)
        return self.quit()

    def _settle(self, result: Result, text: str, status: str) -> None:
        """The verdict of all recipients that have none yet, or of the connection."""
        if self.state in CONNECTING:
            self.refusal = self.refusal or Verdict(result, text, status)
        if self.state in BEFORE_RCPT and result == "deferred":
            self.try_elsewhere = True
        self._verdicts = [known or Verdict(result, text, status) for known in self._verdicts]

    def _idle(self) -> Action:
        self.state = State.IDLE
        return Idle()

    def _close(self) -> Action:
        self.state = State.CLOSED
        return Close()

    @staticmethod
    def _command(line: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Send:
        return Send(line.encode("utf-8") + b"\r\n", timeout_s)


def _same_name(greeting: str, hostname: str) -> bool:
    """ehlo-greet starts with the server's domain; a name without a dot is nobody's own (RFC 5321 §4.1.1.1)."""
    return "." in hostname and greeting.split(" ")[0].lower().rstrip(".") == hostname.lower().rstrip(".")


def _needs_utf8(envelope: Envelope) -> bool:
    return envelope.utf8 or not all(path.isascii() for path in (envelope.reverse_path, *envelope.recipients))


def _verdict(reply: Reply) -> Verdict:
    """Of a refusal. A reply that doesn't belong there (a 250 to DATA) is no refusal for good: try again later."""
    if reply.permanent:
        return Verdict("failed", str(reply), reply.status)
    status = reply.status if reply.temporary else "4.5.0"
    return Verdict("deferred", str(reply), status)
