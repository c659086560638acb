"""One mail transaction of a server: sender, recipients, and the octets of the message as they come (RFC 5321 §3.3)."""

from __future__ import annotations

from dataclasses import replace

from mail_proto.smtp.arguments import POSTMASTER, MailArguments, RcptArguments, parse_mail, parse_rcpt
from mail_proto.smtp.content import ContentRules, checked
from mail_proto.smtp.errors import ArgumentFault, BadSequence, MessageTooLarge, SmtpFault, TooManyRecipients
from mail_proto.smtp.message_input import ChunkInput, DataInput
from mail_proto.smtp.offer import Offer


class Transaction:
    """A new one for each message. `mail` is None until the sender was accepted; `input` until octets come."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self.mail: MailArguments | None = None
        self.recipients: list[RcptArguments] = []
        self.input: DataInput | ChunkInput | None = None
        self._asked: MailArguments | RcptArguments | None = None
        self._known: set[str] = set()

    @property
    def held_octets(self) -> int:
        """Octets of the message that are kept in memory."""
        return 0 if self.input is None else self.input.held_octets

    @property
    def replies(self) -> int:
        """How many the end of data has: in LMTP one for each recipient (RFC 2033 §4.2)."""
        return len(self.recipients) if self._offer.lmtp else 1

    def ask_sender(self, argument: str, *, is_secure: bool) -> MailArguments:
        """Read MAIL; `accept_sender` may follow. Raises SmtpFault."""
        mail = parse_mail(argument, self._offer.offered(is_secure=is_secure))
        limit = self._offer.max_message_octets
        if mail.size_octets is not None and mail.size_octets > limit:
            raise MessageTooLarge(f"messages may have {limit} octets")
        self._asked = mail
        return mail

    def accept_sender(self) -> None:
        assert isinstance(self._asked, MailArguments)
        self.mail = self._asked

    def ask_recipient(self, argument: str) -> RcptArguments:
        """Read RCPT; `accept_recipient` may follow. Raises SmtpFault."""
        assert self.mail is not None
        recipient = parse_rcpt(argument, self.mail.smtputf8, self._offer.extensions)
        if recipient.forward_path == POSTMASTER:  # RFC 5321 §4.5.1
            recipient = replace(recipient, forward_path=f"{POSTMASTER}@{self._offer.hostname}")
        if len(self.recipients) >= self._offer.max_recipients:
            raise TooManyRecipients("too many recipients")
        self._asked = recipient
        return recipient

    def accept_recipient(self) -> None:
        assert isinstance(self._asked, RcptArguments)
        recipient = self._asked
        # In LMTP each RCPT has its own answer after the data (RFC 2033 §4.2).
        if self._offer.lmtp or recipient.forward_path not in self._known:
            self.recipients.append(recipient)
            self._known.add(recipient.forward_path)

    def begin_data(self, argument: str) -> None:
        """Read DATA. Raises SmtpFault."""
        assert self.mail is not None
        if argument:
            raise ArgumentFault("DATA takes no argument")
        if not self.recipients:
            # RFC 5321 §3.3; RFC 2033 §4.2 asks LMTP for the same.
            raise BadSequence("no valid recipients")
        if self.mail.body == "BINARYMIME":
            raise BadSequence("BINARYMIME needs BDAT")  # RFC 3030 §3
        self.input = DataInput(self._offer.max_message_octets)

    def begin_chunk(self, size: int, state: str, *, is_last: bool, is_open: bool) -> None:
        """That many octets follow BDAT, which came in this state; dropped unless a message `is_open` for them."""
        chunks = self.input if isinstance(self.input, ChunkInput) else ChunkInput(self._offer.max_message_octets)
        if not is_open or not self.recipients:
            chunks.drop(BadSequence("no valid recipients" if self.mail is not None else "MAIL comes first"))
        chunks.begin(size, state, is_last=is_last)
        self.input = chunks

    def drop(self, fault: SmtpFault) -> None:
        """Keep no octet of what is coming; the fault is what its end is answered by."""
        if self.input is not None:
            self.input.drop(fault)

    def message(self, rules: ContentRules) -> bytes:
        """Call once, when its end has come. Raises SmtpFault."""
        assert self.mail is not None
        assert self.input is not None
        message = self.input.message()
        if self.mail.body == "BINARYMIME":
            return message
        return checked(message, rules, declares_8bit=self.mail.body == "8BITMIME" or self.mail.smtputf8)
