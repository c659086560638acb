"""IMAP clients that people use, as programs of their own: each is told what to do by its settings, in `task.place`.

What they keep is Maildir: a message is a file, and its flags are letters behind `:2,` in the file's name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import uuid4

from mail_testkit.pop3_clients import HOST, Task, on_terminal, run, settings

INBOX: Final = "INBOX"


class Maildir:
    """One of Maildir's folders as another program would change it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> list[Path]:
        return sorted(path for name in ("cur", "new") for path in (self.path / name).iterdir())

    def contents(self) -> list[bytes]:
        return [path.read_bytes() for path in self.files()]

    def find(self, octets: bytes) -> Path:
        """The file of the message that has these octets in it."""
        [found] = [path for path in self.files() if octets in path.read_bytes()]
        return found

    def flags(self, octets: bytes) -> set[str]:
        """Letters: Seen, Replied, Flagged, Trashed."""
        return set(self.find(octets).name.partition(":2,")[2])

    def set_flags(self, octets: bytes, letters: str) -> None:
        found = self.find(octets)
        found.rename(self.path / "cur" / f"{found.name.partition(':2,')[0]}:2,{letters}")

    def remove(self, octets: bytes) -> None:
        self.find(octets).unlink()

    def add(self, octets: bytes) -> None:
        (self.path / "new" / f"1700000000.{uuid4().hex}.here").write_bytes(octets)


def mbsync(task: Task) -> Maildir:
    """Make INBOX here and there the same, in both directions; it has been that before, or is empty here."""
    place = task.place
    (place / "mail").mkdir(exist_ok=True)
    text = (
        f"IMAPAccount there\nHost {HOST}\nPort {task.port}\nUser {task.user.address}\nPass {task.user.password}\n"
        f"SSLType IMAPS\nCertificateFile {task.certificate}\nAuthMechs LOGIN\nTimeout 100\n\n"
        "IMAPStore there\nAccount there\n\n"
        f"MaildirStore here\nInbox {place}/mail/INBOX\nPath {place}/mail/\nSubFolders Verbatim\n\n"
        "Channel all\nFar :there:\nNear :here:\nPatterns INBOX\nCreate Near\nSync All\nExpunge Both\nSyncState *\n"
    )
    run(["mbsync", "-c", settings(task, "mbsyncrc", text), "-q", "all"], task)
    return Maildir(place / "mail" / INBOX)


def offlineimap(task: Task) -> Maildir:
    """The same by OfflineIMAP, once."""
    place = task.place
    text = (
        f"[general]\naccounts = one\nmetadata = {place}/offlineimap\nmaxsyncaccounts = 1\n"
        "[Account one]\nlocalrepository = here\nremoterepository = there\n"
        f"[Repository here]\ntype = Maildir\nlocalfolders = {place}/mail\n"
        f"[Repository there]\ntype = IMAP\nremotehost = {HOST}\nremoteport = {task.port}\n"
        f"remoteuser = {task.user.address}\nremotepass = {task.user.password}\nauth_mechanisms = LOGIN\n"
        f"ssl = yes\nsslcacertfile = {task.certificate}\nmaxconnections = 1\n"
        "folderfilter = lambda name: name == 'INBOX'\n"
    )
    run(["offlineimap", "-c", settings(task, "offlineimaprc", text), "-o", "-u", "quiet"], task)
    return Maildir(place / "mail" / INBOX)


def mutt(task: Task, keys: str) -> None:
    """Open INBOX and press keys, as `push` has them; it quits then."""
    user = task.user.address.replace("@", "%40")
    text = (
        f"set imap_user='{task.user.address}' imap_pass='{task.user.password}' imap_authenticators=login\n"
        f"set ssl_force_tls=yes certificate_file='{task.certificate}' ssl_verify_host=yes net_inc=0\n"
        f"set folder='{task.place}' mbox_type=Maildir quit=yes delete=yes wait_key=no confirmappend=no\n"
        "set confirmcreate=no move=no mark_old=no sleep_time=0 pager_stop=yes resolve=no sort=mailbox-order\n"
    )
    arguments = ["-f", f"imaps://{user}@{HOST}:{task.port}/INBOX", "-e", f"push '{keys}<quit>'"]
    on_terminal(["mutt", "-n", "-F", settings(task, "muttrc", text), *arguments], task)


def curl(task: Task, *arguments: str) -> bytes:
    """What it writes. Arguments: the path behind the server's name, then options."""
    path, *options = arguments
    login = f"{task.user.address}:{task.user.password}"
    url = f"imaps://{HOST}:{task.port}/{path}"
    return run(["curl", "-sS", "--cacert", str(task.certificate), "--user", login, *options, url], task)
