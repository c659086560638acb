"""The clients that people use, over each way to TLS and each mechanism they know; other servers: `test_relays`."""

from __future__ import annotations

import shutil
import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest

from mail_testkit.clients import HOST, Rest, User
from mail_testkit.running import RunningPostroom, temporary_directory

TIMEOUT_S = 60
LETTER = b"From: {0}\r\nTo: {0}\r\nSubject: interop\r\n\r\n.dot\r\nbody\r\n"


@pytest.fixture
def user(postroom: RunningPostroom) -> User:
    return Rest(postroom).make_user()


def run(program: str, *words: str, given: bytes = b"") -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} isn't installed (apt install {program})")
    done = subprocess.run([program, *words], input=given, capture_output=True, timeout=TIMEOUT_S, check=False)
    if b"requires Net::SSLeay" in done.stderr:
        pytest.skip("swaks needs Net::SSLeay for TLS (apt install libnet-ssleay-perl)")
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")[-3000:]


def came(postroom: RunningPostroom, user: User) -> bytes:
    rest = Rest(postroom)
    (message,) = rest.messages(user)
    return rest.raw(user, message["id"])


SWAKS_TLS = {
    "clear": (),
    "starttls": ("--tls",),
    "starttls-if-it-can": ("--tls-optional",),
    "starttls-if-offered": ("--tls-optional-strict",),
    "tls": ("--tls-on-connect",),
}


def swaks(postroom: RunningPostroom, door: str, user: User, *words: str) -> None:
    run("swaks", "--server", f"{HOST}:{postroom.ports[door]}", "--from", user.address, "--to", user.address, *words)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("mode", SWAKS_TLS)
def test_swaks(postroom: RunningPostroom, user: User, mechanism: str, mode: str) -> None:
    door = "submissions" if mode == "tls" else "submission"
    login = ("--auth-user", user.address, "--auth-password", user.password)
    swaks(postroom, door, user, *SWAKS_TLS[mode], "--auth", mechanism, *login)
    keyword = b"ESMTPA" if mode == "clear" else b"ESMTPSA"
    assert b" with %b id " % keyword in came(postroom, user)


@pytest.mark.parametrize("how", ["--auth", "--auth-optional", "--auth-optional-strict"])
def test_swaks_takes_a_mechanism_that_is_offered(postroom: RunningPostroom, user: User, how: str) -> None:
    """It knows CRAM-MD5, DIGEST-MD5, NTLM and others, which aren't."""
    swaks(postroom, "submission", user, "--tls", how, "--auth-user", user.address, "--auth-password", user.password)
    assert b" with ESMTPSA id " in came(postroom, user)


@pytest.mark.parametrize(
    ("door", "words", "keyword"),
    [
        ("smtp", ("--protocol", "SMTP"), b"SMTP"),
        ("smtp", ("--protocol", "ESMTP"), b"ESMTP"),
        ("smtp", ("--protocol", "ESMTPS"), b"ESMTPS"),
        ("smtp", ("--pipeline",), b"ESMTP"),
        ("lmtp", ("--protocol", "LMTP"), b"LMTP"),
        ("lmtp", ("--protocol", "LMTPS"), b"LMTPS"),
    ],
)
def test_swaks_from_outside(
    postroom: RunningPostroom, user: User, door: str, words: tuple[str, ...], keyword: bytes
) -> None:
    swaks(postroom, door, user, *words)
    assert b" with %b id " % keyword in came(postroom, user)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_curl(postroom: RunningPostroom, user: User, mechanism: str, mode: str) -> None:
    scheme, name = ("smtps", "submissions") if mode == "tls" else ("smtp", "submission")
    url = f"{scheme}://{HOST}:{postroom.ports[name]}"
    letter = LETTER.replace(b"{0}", user.address.encode())
    run("curl", "-sS", "--ssl-reqd", "--insecure", "--url", url, "--user", f"{user.address}:{user.password}",
        "--login-options", f"AUTH={mechanism}", "--mail-from", user.address, "--mail-rcpt", user.address,
        "--upload-file", "-", given=letter)  # fmt: skip
    assert came(postroom, user).endswith(b"\r\n\r\n.dot\r\nbody\r\n")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("mode", ["clear", "starttls", "tls"])
def test_smtplib(postroom: RunningPostroom, user: User, mechanism: str, mode: str) -> None:
    context = ssl.create_default_context(cafile=str(postroom.certificate))
    with (
        smtplib.SMTP_SSL(HOST, postroom.ports["submissions"], timeout=TIMEOUT_S, context=context)
        if mode == "tls"
        else smtplib.SMTP(HOST, postroom.ports["submission"], timeout=TIMEOUT_S)
    ) as client:
        if mode == "starttls":
            client.starttls(context=context)
        client.ehlo()
        client.user, client.password = user.address, user.password  # type: ignore[attr-defined]
        client.auth(mechanism, client.auth_plain if mechanism == "PLAIN" else client.auth_login)
        letter = LETTER.replace(b"{0}", user.address.encode())
        assert client.sendmail(user.address, [user.address], letter) == {}
    assert came(postroom, user).endswith(b"\r\n\r\n.dot\r\nbody\r\n")


@pytest.mark.parametrize("mechanism", ["plain", "login", "scram-sha-256"])
@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_msmtp(postroom: RunningPostroom, user: User, mechanism: str, mode: str) -> None:
    port = postroom.ports["submissions" if mode == "tls" else "submission"]
    with temporary_directory() as directory:
        config = Path(directory) / "msmtprc"
        config.write_text(
            f"account default\nhost {HOST}\nport {port}\ntls on\ntls_certcheck off\ntls_starttls "
            f"{'off' if mode == 'tls' else 'on'}\nauth {mechanism}\nuser {user.address}\n"
            f"password {user.password}\nfrom {user.address}\n"
        )
        config.chmod(0o600)
        letter = LETTER.replace(b"{0}", user.address.encode()).replace(b"\r\n", b"\n")
        run("msmtp", "--file", str(config), user.address, given=letter)
    assert came(postroom, user).endswith(b"\r\n\r\n.dot\r\nbody\r\n")
