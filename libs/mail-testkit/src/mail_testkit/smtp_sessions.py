"""SMTP sessions without a network: a stand-in for the connection that answers each step by simple rules.

Recipients `unknown…` are refused with 550, `later…` with 450; senders `spammer…` with 550. Anybody logs in by PLAIN
whose password is `right`. A message with `reject` in it is refused.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from mail_proto.smtp.content import ContentRules
from mail_proto.smtp.offer import Offer
from mail_proto.smtp.replies import Reply
from mail_proto.smtp.session import ServerSession
from mail_proto.smtp.steps import (
    Authenticate,
    CheckRecipient,
    CheckSender,
    Close,
    Deliver,
    Envelope,
    Greeted,
    Introduced,
    Respond,
    StartTls,
    Step,
)

OFFERS: Final = {
    "mx": Offer("mx.test", 1000, tls=True, extensions=frozenset({"DSN", "BINARYMIME"}), max_recipients=5),
    "submission": Offer("mx.test", 1000, tls=True, submission=True, mechanisms=("PLAIN",)),
    "lmtp": Offer("mx.test", 1000, lmtp=True),
    "proxied": Offer("mx.test", 1000, is_proxied=True),
}


@dataclass(slots=True)
class Played:
    """What came of a session."""

    replies: bytes = b""
    messages: list[bytes] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    is_closed: bool = False
    most_held_octets: int = 0

    def __eq__(self, other: object) -> bool:
        """How much was held depends on how it came."""
        return isinstance(other, Played) and (self.replies, self.messages, self.envelopes, self.is_closed) == (
            other.replies, other.messages, other.envelopes, other.is_closed
        )  # fmt: skip


def _verdict(deliver: Deliver) -> Reply:
    if b"reject" in deliver.message:
        return Reply(550, "5.7.1", "rejected")
    return Reply(250, "2.0.0", "stored")


class Desk:
    """Carries out the steps of one session."""

    def __init__(self, offer: Offer, rules: ContentRules) -> None:
        self.session = ServerSession(offer, rules, "192.0.2.1")
        self.played = Played()
        self.starts_tls = False

    def receive(self, octets: bytes) -> bytes:
        """Feed them; the replies that came of it."""
        self.session.feed(octets)
        while (step := self.session.next()) is not None:
            if isinstance(step, Close):
                self.played.is_closed = True
                break
            self._answer(step)
        self.played.most_held_octets = max(self.played.most_held_octets, self.session.held_octets)
        said = bytes(self.session.output)
        self.session.output.clear()
        self.played.replies += said
        return said

    def _answer(self, step: Step) -> None:
        session = self.session
        match step:
            case Greeted():
                session.greeted()
            case CheckSender(mail) if mail.reverse_path.startswith("spammer"):
                session.refused(Reply(550, "5.7.1", "no"))
            case CheckSender():
                session.sender_accepted()
            case CheckRecipient(recipient) if recipient.forward_path.startswith("unknown"):
                session.refused(Reply(550, "5.1.1", "no such user here"))
            case CheckRecipient(recipient) if recipient.forward_path.startswith("later"):
                session.refused(Reply(450, "4.2.0", "later"))
            case CheckRecipient():
                session.recipient_accepted()
            case Deliver():
                self.played.messages.append(step.message)
                self.played.envelopes.append(step.envelope)
                count = len(step.envelope.recipients) if session.offer.lmtp else 1
                session.delivered([_verdict(step)] * count)
            case StartTls():
                session.secured(replace(session.offer, hostname="secure.test"))
            case Authenticate(_, None):
                session.challenge("")
            case Authenticate(_, response) | Respond(response):
                assert response is not None
                if response.endswith(b"\0right"):
                    session.logged_in()
                else:
                    session.refused(Reply(535, "5.7.8", "wrong name or password"))
            case Introduced():
                session.greet()


def play(offer: Offer, pieces: Iterable[bytes], rules: ContentRules | None = None) -> Played:
    """All that comes of octets that a client sends without waiting."""
    desk = Desk(offer, rules or ContentRules())
    for piece in pieces:
        if not desk.played.is_closed:
            desk.receive(piece)
    return desk.played


class SessionPeer:
    """A session as a transcript sees it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.session.greet()
        self._received = desk.receive(b"")

    def send(self, octets: bytes) -> None:
        self._received += self._desk.receive(octets)

    def read_line(self) -> bytes:
        line, end, self._received = self._received.partition(b"\n")
        if not end and not self._desk.played.is_closed:
            raise TimeoutError("the server says nothing")
        return line + end

    def close(self) -> None:
        """Nothing is open."""


class Sessions:
    """What a transcript connects to: an MX, unless `! listener` names another one."""

    def __init__(self) -> None:
        self._offer = OFFERS["mx"]
        self._desks: list[Desk] = []

    def connect(self, number: int) -> SessionPeer:
        self._desks.append(Desk(self._offer, ContentRules()))
        return SessionPeer(self._desks[-1])

    def actions(self) -> dict[str, Callable[..., None]]:
        return {"listener": self._listener, "came": self._came, "client": self._client, "recipients": self._recipients}

    def captures(self) -> dict[str, str]:
        long = {f"x{size}": "x" * size for size in (500, 2100, 13000)}
        right = b64encode(b"\0alice\0right").decode()
        return {**long, "right": right, "wrong": b64encode(b"\0alice\0wrong").decode()}

    def _listener(self, name: str) -> None:
        self._offer = OFFERS[name]

    def _came(self, *octets: str) -> None:
        """The messages that came over the last connection, as Python writes them."""
        found = " ".join(repr(message)[2:-1].replace(" ", "_") for message in self._desks[-1].played.messages)
        assert found == " ".join(octets), found

    def _client(self, address: str, name: str) -> None:
        session = self._desks[-1].session
        assert (session.client.address, session.client.name) == (address, name), session.client.address

    def _recipients(self, *paths: str) -> None:
        found = [recipient.forward_path for recipient in self._desks[-1].played.envelopes[-1].recipients]
        assert " ".join(found) == " ".join(paths), found
