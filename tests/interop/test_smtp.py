"""Submission by the clients that people use, over each way to TLS and each mechanism they know."""

from __future__ import annotations

import shutil
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


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("mode", ["clear", "starttls", "tls"])
def test_swaks(postroom: RunningPostroom, user: User, mechanism: str, mode: str) -> None:
    port = postroom.ports["submissions" if mode == "tls" else "submission"]
    how = {"clear": (), "starttls": ("--tls",), "tls": ("--tls-on-connect",)}[mode]
    run("swaks", "--server", f"{HOST}:{port}", *how, "--from", user.address, "--to", user.address,
        "--auth", mechanism, "--auth-user", user.address, "--auth-password", user.password)  # fmt: skip
    keyword = b"ESMTPA" if mode == "clear" else b"ESMTPSA"
    assert b" with %b id " % keyword in came(postroom, user)


@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_curl(postroom: RunningPostroom, user: User, mode: str) -> None:
    scheme, name = ("smtps", "submissions") if mode == "tls" else ("smtp", "submission")
    url = f"{scheme}://{HOST}:{postroom.ports[name]}"
    letter = LETTER.replace(b"{0}", user.address.encode())
    run("curl", "-sS", "--ssl-reqd", "--insecure", "--url", url, "--user", f"{user.address}:{user.password}",
        "--mail-from", user.address, "--mail-rcpt", user.address, "--upload-file", "-", given=letter)  # fmt: skip
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
