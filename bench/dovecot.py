"""Dovecot as Debian packages it, in a directory of its own: what figures of POP3, IMAP and SMTP are compared with."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from postroom_cli.launcher.config import free_port

START_TIMEOUT_S: Final = 20.0

# Everything not said here is the package's default: processes per connection, Maildir, its index and cache files.
_CONFIG: Final = """
protocols = {protocols}
listen = 127.0.0.1
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = 10M
postmaster_address = postmaster@localhost
mail_location = maildir:{root}/mail/%u
passdb {{
  driver = passwd-file
  args = scheme={scheme} {root}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/mail/%u
}}
service {protocol}-login {{
  {login_service}
  inet_listener {protocol} {{
    port = {port}
  }}
  inet_listener {protocol}s {{
    port = 0
  }}
}}
{lmtp_service}
{privileges}
"""
_LMTP: Final = "service lmtp {{\n  unix_listener {root}/lmtp {{\n    mode = 0666\n  }}\n}}"

_OWN_USER: Final = "default_login_user = {user}\ndefault_internal_user = {user}"


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running one. `root` holds all that is its own, the socket `lmtp` too; `port` is for the protocol asked for."""

    root: Path
    port: int
    pid: int
    uid: int
    gid: int

    def fill(self, user: str, messages: Sequence[bytes]) -> None:
        """Deliver as its own delivery agent would: files with bare LF in `new`."""
        maildir = self.root / "mail" / user
        shutil.rmtree(maildir, ignore_errors=True)
        for folder in (maildir.parent, maildir, *(maildir / name for name in ("cur", "new", "tmp"))):
            folder.mkdir(exist_ok=True)
            os.chown(folder, self.uid, self.gid)
        stamp = int(time.time())
        for number, octets in enumerate(messages):
            path = maildir / "new" / f"{stamp}.M{number:06d}P1.bench"
            path.write_bytes(octets.replace(b"\r\n", b"\n"))
            os.chown(path, self.uid, self.gid)


def program() -> str | None:
    """Where dovecot is, if it is."""
    return shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def running(
    root: Path,
    users: Sequence[str],
    password: str,
    scheme: str,
    *,
    protocol: str = "pop3",
    reuses_login: bool,
    takes_mail: bool = False,
) -> Iterator[Dovecot]:
    """Run it while the block runs. `reuses_login`: its "high-performance" login processes; `takes_mail`: LMTP too.

    Raises RuntimeError: it doesn't start.
    """
    dovecot = program()
    assert dovecot is not None, "ask program() first"
    is_root = os.geteuid() == 0
    owner = pwd.getpwnam("nobody") if is_root else pwd.getpwuid(os.geteuid())
    for folder in (root, root / "mail", root / "state"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    hashed = _hashed(scheme, password)
    (root / "users").write_text("".join(f"{user}:{hashed}\n" for user in users))
    (root / "users").chmod(0o644)
    port = free_port()
    (root / "dovecot.conf").write_text(
        _CONFIG.format(
            root=root,
            protocol=protocol,
            protocols=f"{protocol} lmtp" if takes_mail else protocol,
            lmtp_service=_LMTP.format(root=root) if takes_mail else "",
            scheme=scheme,
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            port=port,
            login_service="service_count = 0\n  process_min_avail = 2" if reuses_login else "",
            privileges=""
            if is_root
            else f"default_login_user = {owner.pw_name}\ndefault_internal_user = {owner.pw_name}",
        )
    )
    process = subprocess.Popen([dovecot, "-F", "-c", str(root / "dovecot.conf")])
    try:
        _wait(port, process, root)
        yield Dovecot(root, port, process.pid, owner.pw_uid, owner.pw_gid)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def _hashed(scheme: str, password: str) -> str:
    return subprocess.run(
        ["doveadm", "pw", "-s", scheme, "-p", password], check=True, capture_output=True, text=True
    ).stdout.strip()


def _wait(port: int, process: subprocess.Popen[bytes], root: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    log = root / "dovecot.log"
    raise RuntimeError(f"Dovecot doesn't start: {log.read_text() if log.exists() else process.poll()}")
