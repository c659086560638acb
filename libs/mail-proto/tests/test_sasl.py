"""SASL mechanisms: the exchanges of the RFCs, and what must not pass."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_proto import sasl
from mail_proto.sasl.scram import Verifier, make_verifier

# RFC 7677 §3
USER, PASSWORD = "user", "pencil"
SALT, ITERATIONS = b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
BINDINGS = {"tls-server-end-point": b"\x01" * 32}


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return make_verifier(PASSWORD, SALT, ITERATIONS)


def test_scram_as_in_rfc_7677(verifier: Verifier) -> None:
    scram = sasl.Offer().mechanism("scram-sha-256", SERVER_NONCE)
    assert scram.receive(sasl.Response(None)) == sasl.Challenge(b"")
    assert scram.receive(sasl.Response(CLIENT_FIRST)) == sasl.ScramStarted(USER)
    assert scram.receive(sasl.Salt(SALT, ITERATIONS)) == sasl.Challenge(SERVER_FIRST)
    given = scram.receive(sasl.Response(CLIENT_FINAL))
    assert isinstance(given, sasl.ProofGiven)
    signature = verifier.check(given.auth_message, given.proof)
    assert signature is not None
    assert scram.receive(sasl.Signature(signature)) == sasl.Challenge(SERVER_FINAL)
    assert scram.receive(sasl.Response(b"")) == sasl.Finished()


def test_a_proof_of_another_password_or_exchange_is_wrong(verifier: Verifier) -> None:
    proof = b64decode(CLIENT_FINAL.rpartition(b"p=")[2])
    assert verifier.check(b"another exchange", proof) is None
    assert make_verifier("pencils", SALT, ITERATIONS).check(b"", proof) is None
    assert verifier.check(b"", b"") is None


def _final(scram: sasl.Mechanism, first: bytes, channel: bytes) -> sasl.Step:
    scram.receive(sasl.Response(first))
    scram.receive(sasl.Salt(SALT, ITERATIONS))
    final = b"c=" + b64encode(channel) + b",r=abcXYZ,p=" + b64encode(bytes(32))
    return scram.receive(sasl.Response(final))


def test_channel_binding() -> None:
    offer = sasl.Offer(BINDINGS)
    first = b"p=tls-server-end-point,,n=user,r=abc"
    bound = b"p=tls-server-end-point,," + BINDINGS["tls-server-end-point"]
    plus = offer.mechanism("SCRAM-SHA-256-PLUS", "XYZ")
    assert isinstance(_final(plus, first, bound), sasl.ProofGiven)
    with pytest.raises(sasl.Denied, match="somebody is in between"):
        _final(offer.mechanism("SCRAM-SHA-256-PLUS", "XYZ"), first, bound[:-1] + b"\x02")
    for name, opening in [
        ("SCRAM-SHA-256-PLUS", b"n,,n=user,r=abc"),
        ("SCRAM-SHA-256-PLUS", b"p=tls-unique,,n=user,r=abc"),
        ("SCRAM-SHA-256", first),
    ]:
        with pytest.raises(sasl.SaslFault):
            offer.mechanism(name, "XYZ").receive(sasl.Response(opening))


def test_a_list_of_mechanisms_that_was_shortened_on_the_way_is_noticed() -> None:
    first = b"y,,n=user,r=abc"
    with pytest.raises(sasl.Denied, match="changed on the way"):
        sasl.Offer(BINDINGS).mechanism("SCRAM-SHA-256", "XYZ").receive(sasl.Response(first))
    assert isinstance(_final(sasl.Offer().mechanism("SCRAM-SHA-256", "XYZ"), first, b"y,,"), sasl.ProofGiven)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n",
        b"n,,n=user",
        b"n,,m=ext,n=user,r=abc",
        b"n,,n=us=er,r=abc",
        b"n,,n=,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a\x00c",
        b"n,,r=abc,n=user",
        b"x,,n=user,r=abc",
        b"n,a,n=user,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,a=other,n=user,r=abc",
    ],
)
def test_first_messages_that_are_refused(first: bytes) -> None:
    with pytest.raises(sasl.SaslFault):
        sasl.Offer().mechanism("SCRAM-SHA-256", "XYZ").receive(sasl.Response(first))


def test_quoted_names_and_the_own_authorization_identity() -> None:
    scram = sasl.Offer().mechanism("SCRAM-SHA-256", "XYZ")
    step = scram.receive(sasl.Response(b"n,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=abc,ext=1"))
    assert step == sasl.ScramStarted("a,b=c")


@pytest.mark.parametrize(
    ("final", "fault"),
    [
        (b"c=biws,r=abcXYZ,p=AAAA", "length"),
        (b"c=biws,r=abcXYz,p=" + b64encode(bytes(32)), "nonce"),
        (b"c=eSws,r=abcXYZ,p=" + b64encode(bytes(32)), "channel binding"),
        (b"c=biws,r=abcXYZ,p=" + b64encode(bytes(32)) + b",x=1", "p is missing"),
        (b"c=!,r=abcXYZ,p=" + b64encode(bytes(32)), "Base64"),
        (b"p=" + b64encode(bytes(32)), "three parts"),
    ],
)
def test_final_messages_that_are_refused(final: bytes, fault: str) -> None:
    scram = sasl.Offer().mechanism("SCRAM-SHA-256", "XYZ")
    scram.receive(sasl.Response(b"n,,n=user,r=abc"))
    scram.receive(sasl.Salt(SALT, ITERATIONS))
    with pytest.raises(sasl.SaslFault, match=fault):
        scram.receive(sasl.Response(final))


def test_plain_and_login() -> None:
    plain = sasl.Offer().mechanism("PLAIN", "")
    assert plain.receive(sasl.Response(None)) == sasl.Challenge(b"")
    # RFC 4616 §4, the first example
    assert plain.receive(sasl.Response(b"\0tim\0tanstaaftanstaaf")) == sasl.PasswordGiven("tim", "tanstaaftanstaaf")
    with pytest.raises(sasl.AuthorizationFault):  # the second
        sasl.Plain().receive(sasl.Response(b"Ursel\0Kurt\0xipj3plmq"))
    login = sasl.Offer().mechanism("login", "")
    assert login.receive(sasl.Response(None)) == sasl.Challenge(b"Username:")
    assert login.receive(sasl.Response(b"tim")) == sasl.Challenge(b"Password:")
    assert login.receive(sasl.Response(b"pw")) == sasl.PasswordGiven("tim", "pw")


# RFC 7628 §4.1 and §4.3
BEARER = (
    "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
    "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
)
PROBE = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9AQE="
OFFER = sasl.Offer(openid_configuration="https://example.com/.well-known/openid-configuration")


def test_oauthbearer_as_in_rfc_7628() -> None:
    step = OFFER.mechanism("OAUTHBEARER", "").receive(sasl.Response(sasl.decode_response(BEARER.encode())))
    assert step == sasl.TokenGiven("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")


def test_a_refused_token_is_explained_and_then_denied() -> None:
    for mechanism, message in [
        (OFFER.mechanism("OAUTHBEARER", ""), b64decode(BEARER)),
        (OFFER.mechanism("XOAUTH2", ""), b"user=user@example.com\x01auth=Bearer abc\x01\x01"),
    ]:
        assert isinstance(mechanism.receive(sasl.Response(message)), sasl.TokenGiven)
        challenge = mechanism.receive(sasl.Refused())
        assert isinstance(challenge, sasl.Challenge)
        assert "status" in json.loads(challenge.octets)
        with pytest.raises(sasl.TokenRefused):
            mechanism.receive(sasl.Response(b"\x01"))


def test_an_empty_authorization_asks_what_is_needed() -> None:
    mechanism = OFFER.mechanism("OAUTHBEARER", "")
    challenge = mechanism.receive(sasl.Response(b64decode(PROBE)))
    assert isinstance(challenge, sasl.Challenge)
    assert json.loads(challenge.octets) == {
        "status": "invalid_token",
        "openid-configuration": "https://example.com/.well-known/openid-configuration",
    }
    with pytest.raises(sasl.TokenRefused):
        mechanism.receive(sasl.Response(b"\x01"))


@pytest.mark.parametrize(
    "message",
    [
        b"n,,\x01auth=Bearer abc\x01",
        b"n,,auth=Bearer abc\x01\x01",
        b"p=tls-unique,,\x01auth=Bearer abc\x01\x01",
        b"n,,\x01auth=Basic abc\x01\x01",
        b"n,,\x01auth=Bearer a b\x01\x01",
        b"n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
        b"n,x=1,\x01auth=Bearer a\x01\x01",
    ],
)
def test_bearer_messages_that_are_refused(message: bytes) -> None:
    with pytest.raises(sasl.SaslFault):
        sasl.OAuthBearer("https://x").receive(sasl.Response(message))


def test_what_is_offered() -> None:
    assert sasl.Offer().names == ("SCRAM-SHA-256", "PLAIN", "LOGIN")
    assert sasl.Offer(BINDINGS, "https://x").names == (
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-256",
        "OAUTHBEARER",
        "XOAUTH2",
        "PLAIN",
        "LOGIN",
    )
    for name in ("SCRAM-SHA-256-PLUS", "OAUTHBEARER", "CRAM-MD5", ""):
        with pytest.raises(sasl.UnknownMechanism):
            sasl.Offer().mechanism(name, "")


@pytest.mark.parametrize(
    ("given", "prepared"),
    # RFC 4013 §3; the last is §2.1's mapping of spaces
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_saslprep_as_in_rfc_4013(given: str, prepared: str) -> None:
    assert sasl.saslprep(given) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "a\u0627", "\ud800", "\ue000"])
def test_what_saslprep_forbids(text: str) -> None:
    with pytest.raises(sasl.SaslFault):
        sasl.saslprep(text)


def test_unassigned_characters_may_be_asked_for_but_not_stored() -> None:
    assert sasl.saslprep("\u0221") == "\u0221"
    with pytest.raises(sasl.SaslFault):
        sasl.saslprep("\u0221", stored=True)


@given(st.lists(st.binary(max_size=60) | st.sampled_from([CLIENT_FIRST, CLIENT_FINAL, b64decode(BEARER)]), max_size=4))
def test_any_octets_give_a_step_or_a_fault(messages: list[bytes]) -> None:
    offer = sasl.Offer(BINDINGS, "https://x")
    for name in offer.names:
        mechanism = offer.mechanism(name, SERVER_NONCE)
        try:
            for message in messages:
                match mechanism.receive(sasl.Response(message)):
                    case sasl.ScramStarted():
                        mechanism.receive(sasl.Salt(SALT, 1))
                    case sasl.ProofGiven():
                        mechanism.receive(sasl.Signature(bytes(32)))
                    case sasl.TokenGiven():
                        mechanism.receive(sasl.Refused())
                    case sasl.PasswordGiven() | sasl.Finished():
                        break
        except sasl.SaslFault:
            continue
