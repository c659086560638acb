"""The SMTP client's grammar and dialogue (RFC 5321)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto.smtp.client import ClientSession, State
from mail_proto.smtp.client_actions import (
    Action,
    Close,
    Envelope,
    Idle,
    Login,
    Manner,
    Send,
    SendMessage,
    StartTls,
    StartTlsUse,
    Verdict,
)
from mail_proto.smtp.client_data import has_eight_bit_header, is_eight_bit, stuffed
from mail_proto.smtp.client_dsn import mail_parameters, recipient_parameters
from mail_proto.smtp.client_replies import (
    REPLY_LINE_LIMIT_OCTETS,
    REPLY_LINES_LIMIT,
    Reply,
    ReplyFault,
    ReplyReader,
    extensions,
)

EHLO = b"250-mx.test greets you\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n"


def one(octets: bytes) -> Reply:
    replies = ReplyReader().feed(octets)
    assert len(replies) == 1
    return replies[0]


class OneMessage:
    """A connection for one envelope: it begins when the session is idle, and quits afterwards."""

    def __init__(self, hostname: str, envelope: Envelope, *, starttls: StartTlsUse = "may") -> None:
        self.session = ClientSession(Manner(hostname, starttls))
        self._envelopes = [envelope]

    def receive(self, reply: Reply) -> Action:
        return self.go_on(self.session.receive(reply))

    def go_on(self, action: Action) -> Action:
        if isinstance(action, Idle) and self._envelopes:
            action = self.session.begin(self._envelopes.pop())
        if isinstance(action, Idle):
            action = self.session.quit()
        return action

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return (self.session.refusal,) if self.session.refusal else self.session.verdicts


def talk(session: OneMessage, *replies: bytes) -> list[str]:
    """Feed the replies; what the session did, in words."""
    return [words(session.receive(one(reply))) for reply in replies]


def words(action: Action) -> str:
    match action:
        case Send(octets):
            return octets.decode().removesuffix("\r\n")
        case SendMessage():
            return "(message)"
        case StartTls():
            return "(tls)"
        case Idle():
            return "(idle)"
        case Close():
            return "(close)"


# --- replies


def test_single_and_multi_line_replies() -> None:
    assert one(b"250 OK\r\n") == Reply(250, ("OK",))
    assert one(b"250\r\n") == Reply(250, ("",))
    assert one(b"123"[:0] + b"250-a\r\n250-\r\n250 b\r\n") == Reply(250, ("a", "", "b"))
    assert one(b"250 lf only\n") == Reply(250, ("lf only",))


@given(st.lists(st.integers(0, len(EHLO)), max_size=8))
def test_replies_are_the_same_however_the_octets_are_cut(cuts: list[int]) -> None:
    octets = EHLO + b"354 go\r\n"
    edges = [0, *sorted(cuts), len(octets)]
    reader, replies = ReplyReader(), []
    for start, end in itertools.pairwise(edges):
        replies += reader.feed(octets[start:end])
    assert replies == ReplyReader().feed(octets)
    assert reader.empty


@given(st.binary(max_size=200))
def test_any_octets_give_replies_or_a_fault(octets: bytes) -> None:
    try:
        for reply in ReplyReader().feed(octets):
            assert 200 <= reply.code <= 599
            assert "\n" not in str(reply)
    except ReplyFault:
        pass


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\r\n",
        b"25 OK\r\n",
        b"2500 OK\r\n",
        b"150 OK\r\n",
        b"650 OK\r\n",
        b"250_OK\r\n",
        b"\r\n",
        b"250-a\r\n251 b\r\n",
        b"250 " + b"x" * REPLY_LINE_LIMIT_OCTETS + b"\r\n",
        b"x" * (REPLY_LINE_LIMIT_OCTETS + 1),
        b"250-x\r\n" * (REPLY_LINES_LIMIT + 1),
    ],
)
def test_what_is_no_reply_is_refused(octets: bytes) -> None:
    with pytest.raises(ReplyFault):
        ReplyReader().feed(octets)


def test_enhanced_status() -> None:
    assert one(b"550 5.1.1 no such user\r\n").status == "5.1.1"
    assert one(b"250 2.0.0\r\n").status == "2.0.0"
    assert one(b"550 no such user\r\n").status == "5.0.0"
    assert one(b"450 5.1.1 contradicts its code\r\n").status == "4.0.0"
    assert one(b"550 5.1.1.2 is no status\r\n").status == "5.0.0"


def test_control_characters_never_leave_a_reply() -> None:
    assert str(one(b"550 a\x00b\rc\r\n")) == "550 a?b?c"
    assert str(one(b"550-one\r\n550 two\r\n")) == "550 one two"


def test_extensions() -> None:
    assert extensions(one(b"250-mx\r\n250-size 10\r\n250 STARTTLS\r\n")) == {"SIZE": "10", "STARTTLS": ""}


# --- message


def test_stuffing_of_dots() -> None:
    assert stuffed(b".a\r\n..b\r\nc.\r\n.\r\n") == b"..a\r\n...b\r\nc.\r\n..\r\n.\r\n"
    assert stuffed(b"no end") == b"no end\r\n.\r\n"
    assert stuffed(b"") == b"\r\n.\r\n"


def test_smuggling_is_impossible_with_bare_line_ends() -> None:
    sent = stuffed(b"a\r\n\r\nb\n.\nMAIL FROM:<x@y>\r\nc\r.\r\n")
    assert sent == b"a\r\n\r\nb\r\n..\r\nMAIL FROM:<x@y>\r\nc\r\n..\r\n.\r\n"


@given(st.binary(max_size=60))
def test_only_the_end_is_the_end(message: bytes) -> None:
    sent = stuffed(message)
    assert (b"\r\n" + sent).find(b"\r\n.\r\n") == len(sent) - 3
    assert b"\n" not in sent.replace(b"\r\n", b"")
    assert b"\r" not in sent.replace(b"\r\n", b"")


def test_what_a_message_needs() -> None:
    body = "Subject: x\r\n\r\nä".encode()
    header = "Subject: ä\r\n\r\nx".encode()
    assert (is_eight_bit(body), has_eight_bit_header(body)) == (True, False)
    assert (is_eight_bit(header), has_eight_bit_header(header)) == (True, True)
    assert not is_eight_bit(b"plain")


# --- dialogue


def envelope(*recipients: str, octets: int = 100, eight_bit: bool = False, utf8: bool = False) -> Envelope:
    return Envelope("a@here.test", recipients or ("b@there.test",), octets, eight_bit, utf8)


def test_whole_dialogue_with_tls() -> None:
    session = OneMessage("here.test", envelope(eight_bit=True))
    assert talk(session, b"220 hi\r\n", EHLO, b"220 go\r\n") == ["EHLO here.test", "STARTTLS", "(tls)"]
    assert words(session.go_on(session.session.secured())) == "EHLO here.test"
    assert talk(
        session,
        EHLO,
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"354 go\r\n",
        b"250 2.0.0 queued as 1\r\n",
        b"221 bye\r\n",
    ) == [
        "MAIL FROM:<a@here.test> SIZE=100 BODY=8BITMIME",
        "RCPT TO:<b@there.test>",
        "DATA",
        "(message)",
        "QUIT",
        "(close)",
    ]
    (verdict,) = session.verdicts
    assert (verdict.result, verdict.status, verdict.reply) == ("delivered", "2.0.0", "250 2.0.0 queued as 1")


def test_falls_back_to_helo_without_parameters() -> None:
    session = OneMessage("here.test", envelope(eight_bit=True))
    assert talk(session, b"220 hi\r\n", b"502 what\r\n", b"250 hi\r\n") == [
        "EHLO here.test",
        "HELO here.test",
        "MAIL FROM:<a@here.test>",
    ]


def test_starttls_refused_goes_on_in_plaintext() -> None:
    session = OneMessage("h", envelope())
    assert talk(session, b"220 hi\r\n", EHLO, b"454 no\r\n")[-1] == "MAIL FROM:<a@here.test> SIZE=100"


def test_each_recipient_has_its_own_verdict() -> None:
    session = OneMessage("h", envelope("a@t", "b@t", "c@t", "d@t"), starttls="never")
    talk(
        session,
        b"220 hi\r\n",
        EHLO,
        b"250 ok\r\n",
        b"250 ok\r\n",
        b"550 5.1.1 no\r\n",
        b"450 4.2.1 later\r\n",
    )
    assert talk(session, b"552 too many\r\n", b"354 go\r\n", b"250 done\r\n") == ["DATA", "(message)", "QUIT"]
    assert [(v.result, v.status) for v in session.verdicts] == [
        ("delivered", "2.0.0"),
        ("failed", "5.1.1"),
        ("deferred", "4.2.1"),
        ("deferred", "4.5.3"),
    ]
    assert not session.session.try_elsewhere


def test_no_data_when_no_recipient_is_left() -> None:
    session = OneMessage("h", envelope(), starttls="never")
    assert talk(session, b"220 hi\r\n", EHLO, b"250 ok\r\n", b"550 no\r\n")[-1] == "QUIT"


@pytest.mark.parametrize(
    ("replies", "result", "elsewhere"),
    [
        ([b"421 busy\r\n"], "deferred", True),
        ([b"450 busy\r\n"], "deferred", True),
        ([b"554 go away\r\n"], "failed", True),
        ([b"220 hi\r\n", b"451 x\r\n"], "deferred", True),
        ([b"220 hi\r\n", b"500 x\r\n", b"500 x\r\n"], "failed", True),
        ([b"220 hi\r\n", EHLO, b"451 4.7.1 grey\r\n"], "deferred", True),
        ([b"220 hi\r\n", EHLO, b"550 5.7.1 no\r\n"], "failed", False),
        ([b"220 hi\r\n", EHLO, b"250 ok\r\n", b"421 bye\r\n"], "deferred", False),
        ([b"220 hi\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n", b"250 odd\r\n"], "deferred", False),
        (
            [b"220 hi\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"554 spam\r\n"],
            "failed",
            False,
        ),
    ],
)
def test_refusals_at_each_step(replies: list[bytes], result: str, elsewhere: bool) -> None:
    session = OneMessage("h", envelope(), starttls="never")
    talk(session, *replies)
    assert session.verdicts[0].result == result
    assert (session.session.try_elsewhere or session.session.refusal is not None) is elsewhere
    assert session.state in {State.QUIT, State.CLOSED}


def test_smtputf8_is_needed_but_not_offered() -> None:
    session = OneMessage("h", envelope("jürgen@t"), starttls="never")
    talk(session, b"220 hi\r\n", b"250 mx\r\n")
    assert (session.verdicts[0].result, session.verdicts[0].status) == ("failed", "5.6.7")


def test_smtputf8_offered() -> None:
    session = OneMessage("h", envelope("jürgen@t", utf8=True), starttls="never")
    assert talk(session, b"220 hi\r\n", EHLO, b"250 ok\r\n")[1:] == [
        "MAIL FROM:<a@here.test> SIZE=100 BODY=8BITMIME SMTPUTF8",
        "RCPT TO:<jürgen@t>",
    ]


def test_larger_than_the_server_takes() -> None:
    session = OneMessage("h", envelope(octets=1001), starttls="never")
    assert talk(session, b"220 hi\r\n", EHLO)[-1] == "QUIT"
    assert (session.verdicts[0].result, session.verdicts[0].status) == ("failed", "5.3.4")


def test_an_address_cant_end_its_command() -> None:
    session = OneMessage("h", envelope("x@t>\r\nRSET"), starttls="never")
    assert talk(session, b"220 hi\r\n", EHLO)[-1] == "QUIT"
    assert session.verdicts[0].status == "5.1.3"


def test_lost_connection_defers_what_is_open() -> None:
    session = OneMessage("h", envelope("a@t", "b@t"), starttls="never")
    talk(session, b"220 hi\r\n", EHLO, b"250 ok\r\n", b"550 no\r\n")
    session.session.lost("connection closed")
    assert [v.result for v in session.verdicts] == ["failed", "deferred"]


def test_lost_while_quitting_changes_nothing() -> None:
    session = OneMessage("h", envelope(), starttls="never")
    talk(session, b"220 hi\r\n", EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 done\r\n")
    session.session.lost("connection closed")
    assert session.verdicts[0].result == "delivered"


PIPELINING = b"250-mx.test\r\n250 PIPELINING\r\n"


def test_pipelining_sends_the_envelope_at_once() -> None:
    session = OneMessage("h", envelope("a@t", "b@t"), starttls="never")
    assert talk(
        session, b"220 hi\r\n", PIPELINING, b"250 ok\r\n", b"550 no\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n"
    ) == [
        "EHLO h",
        "MAIL FROM:<a@here.test>\r\nRCPT TO:<a@t>\r\nRCPT TO:<b@t>\r\nDATA",
        "",
        "",
        "",
        "(message)",
        "QUIT",
    ]
    assert [v.result for v in session.verdicts] == ["failed", "delivered"]


def test_pipelined_replies_after_a_refused_mail_change_nothing() -> None:
    session = OneMessage("h", envelope("a@t", "b@t"), starttls="never")
    talk(session, b"220 hi\r\n", PIPELINING)
    assert talk(session, b"451 busy\r\n", b"250 x\r\n", b"503 x\r\n", b"503 x\r\n", b"221 bye\r\n") == [
        "",
        "",
        "",
        "QUIT",
        "(close)",
    ]
    assert [v.reply for v in session.verdicts] == ["451 busy", "451 busy"]
    assert session.session.try_elsewhere


def test_354_without_recipients_is_answered_with_nothing() -> None:
    session = OneMessage("h", envelope("a@t"), starttls="never")
    talk(session, b"220 hi\r\n", PIPELINING)
    assert talk(session, b"250 ok\r\n", b"550 no\r\n", b"354 go\r\n", b"250 odd\r\n") == ["", "", ".", "QUIT"]
    assert [v.result for v in session.verdicts] == ["failed"]


def test_a_second_message_and_what_undoes_a_broken_transaction() -> None:
    session = ClientSession(Manner("h", "never"))

    def words_after(*replies: bytes) -> list[str]:
        return [words(session.receive(one(reply))) for reply in replies]

    assert words_after(b"220 hi\r\n", b"250 mx\r\n") == ["EHLO h", "(idle)"]
    assert words(session.begin(envelope("a@t"))) == "MAIL FROM:<a@here.test>"
    assert words_after(b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 ok\r\n")[-1] == "(idle)"
    assert words(session.begin(envelope("b@t"))) == "MAIL FROM:<a@here.test>"
    assert words_after(b"250 ok\r\n", b"550 no\r\n")[-1] == "(idle)"
    assert [v.result for v in session.verdicts] == ["failed"]
    assert words(session.begin(envelope("c@t"))) == "RSET"
    assert words_after(b"250 ok\r\n", b"421 enough\r\n") == ["MAIL FROM:<a@here.test>", "(close)"]
    assert session.try_elsewhere


def test_lmtp_answers_for_each_recipient() -> None:
    session = ClientSession(Manner("h", "never", lmtp=True))
    assert words(session.receive(one(b"220 hi\r\n"))) == "LHLO h"
    session.receive(one(b"250-x\r\n250 PIPELINING\r\n"))
    session.begin(envelope("a@t", "b@t", "c@t"))
    for reply in (b"250 ok\r\n", b"250 ok\r\n", b"550 no\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 kept\r\n"):
        action = session.receive(one(reply))
    assert isinstance(action, Send)
    assert words(session.receive(one(b"452 4.2.2 full\r\n"))) == "(idle)"
    assert [(v.result, v.reply) for v in session.verdicts] == [
        ("delivered", "250 kept"),
        ("failed", "550 no"),
        ("deferred", "452 4.2.2 full"),
    ]


AUTH = Login("bob", "s3cret")


@pytest.mark.parametrize(
    ("ehlo", "replies", "said"),
    [
        (b"250-x\r\n250 AUTH LOGIN PLAIN\r\n", [b"235 ok\r\n"], ["AUTH PLAIN AGJvYgBzM2NyZXQ=", "(idle)"]),
        (
            b"250-x\r\n250 AUTH LOGIN\r\n",
            [b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 ok\r\n"],
            ["AUTH LOGIN", "Ym9i", "czNjcmV0", "(idle)"],
        ),
        (b"250-x\r\n250 AUTH PLAIN\r\n", [b"535 no\r\n"], ["AUTH PLAIN AGJvYgBzM2NyZXQ=", "QUIT"]),
        (b"250-x\r\n250 AUTH GSSAPI\r\n", [], ["QUIT"]),
    ],
)
def test_login(ehlo: bytes, replies: list[bytes], said: list[str]) -> None:
    session = ClientSession(Manner("h", "never", login=AUTH), secure=True)
    session.receive(one(b"220 hi\r\n"))
    assert [words(session.receive(one(reply))) for reply in (ehlo, *replies)] == said
    assert session.refusal is None or session.refusal.result == "deferred"


def test_a_password_is_never_sent_in_clear() -> None:
    session = ClientSession(Manner("h", login=AUTH))
    session.receive(one(b"220 hi\r\n"))
    assert words(session.receive(one(b"250-x\r\n250 AUTH PLAIN\r\n"))) == "QUIT"
    assert session.refusal is not None
    assert "s3cret" not in repr(AUTH)


@pytest.mark.parametrize("replies", [[b"250 x\r\n"], [b"502 x\r\n"], [EHLO, b"454 no\r\n"]])
def test_tls_that_must_be_isnt_given_up(replies: list[bytes]) -> None:
    session = OneMessage("h", envelope(), starttls="must")
    assert talk(session, b"220 hi\r\n", *replies)[-1] == "QUIT"
    assert session.verdicts[0].result in {"deferred", "failed"}


def test_dsn_parameters_for_a_server_that_offers_dsn() -> None:
    asked = Envelope(
        "a@here.test",
        ("b@t", "c@t"),
        1,
        dsn=mail_parameters("hdrs", "id=1+2"),
        recipients_dsn=(recipient_parameters(["success", "delay"], "rfc822;b+x@t"), recipient_parameters(None, "")),
    )
    session = ClientSession(Manner("h", "never"))
    session.receive(one(b"220 hi\r\n"))
    session.receive(one(b"250-x\r\n250-DSN\r\n250 PIPELINING\r\n"))
    assert words(session.begin(asked)).split("\r\n") == [
        "MAIL FROM:<a@here.test> RET=HDRS ENVID=id+3D1+2B2",
        "RCPT TO:<b@t> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bx@t",
        "RCPT TO:<c@t>",
        "DATA",
    ]
    session = ClientSession(Manner("h", "never"))
    session.receive(one(b"220 hi\r\n"))
    session.receive(one(b"250 x\r\n"))
    assert words(session.begin(asked)) == "MAIL FROM:<a@here.test>"


def test_a_server_that_calls_itself_by_our_name() -> None:
    session = ClientSession(Manner("here.test", never_ourselves=True))
    session.receive(one(b"220 hi\r\n"))
    assert words(session.receive(one(b"250-HERE.test hello\r\n250 SIZE\r\n"))) == "QUIT"
    assert session.refusal is not None
    assert session.refusal.status == "5.4.6"
