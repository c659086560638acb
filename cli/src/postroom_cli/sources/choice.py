"""Which source a path or URL names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from postroom_cli.sources.eml import EmlSource
from postroom_cli.sources.imap import ImapSource, Server
from postroom_cli.sources.maildir import MaildirSource, is_maildir
from postroom_cli.sources.mbox import MboxSource, find_mboxes, is_mbox
from postroom_cli.sources.source import Source, SourceFault


class Format(StrEnum):
    """How mail is kept at the source."""

    AUTO = "auto"
    MBOX = "mbox"
    MAILDIR = "maildir"
    EML = "eml"
    IMAP = "imap"


def guess_format(place: str) -> Format:
    """Raises SourceFault: nothing is there."""
    if place.startswith(("imap://", "imaps://")):
        return Format.IMAP
    path = Path(place)
    if not path.exists():
        raise SourceFault(f"{place}: no such file, folder or imaps:// URL")
    if is_maildir(path):
        return Format.MAILDIR
    if path.is_file():
        return Format.MBOX if is_mbox(path) else Format.EML
    return Format.EML if next(path.rglob("*.[eE][mM][lL]"), None) else Format.MBOX


@contextmanager
def opened(place: str, kind: Format, into: str, password: str, trusted: str | None) -> Iterator[Source]:
    """The source while the block runs; `into` is the mailbox of messages that come without one.

    Raises SourceFault: it can't be read.
    """
    kind = guess_format(place) if kind is Format.AUTO else kind
    if kind is Format.IMAP:
        with ImapSource(Server.parse(place, password, trusted)) as server:
            yield server
    elif kind is Format.MAILDIR:
        yield MaildirSource(Path(place), into)
    elif kind is Format.EML:
        yield EmlSource(Path(place), into)
    else:
        with MboxSource(find_mboxes(Path(place), into)) as source:
            yield source
