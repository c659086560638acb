"""What an IMAP server says that it can (RFC 3501 §6.1.1): only what is true now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Of every state: the document, and what it is good for. README.md shows them (`mail_testkit.extensions`).
ALWAYS: Final[dict[str, tuple[str, str]]] = {
    "IMAP4rev1": ("RFC 3501", "the protocol since 2003"),
    "IMAP4rev2": ("RFC 9051", "the protocol since 2021, after `ENABLE IMAP4rev2`"),
    "LITERAL+": ("RFC 7888", "literals that needn't wait"),
    "SASL-IR": ("RFC 4959", "login in one turn"),
    "INPROGRESS": ("RFC 9585", "a word now and then while a command takes long"),
    "ID": ("RFC 2971", "who is who"),
    "ENABLE": ("RFC 5161", "what changes the protocol is switched on"),
    "IDLE": ("RFC 2177", "news as they happen"),
    "NOTIFY": ("RFC 5465", "news of all mailboxes, at any time"),
    "NAMESPACE": ("RFC 2342", "where mailboxes are"),
    "UIDPLUS": ("RFC 4315", "uids of what was appended and copied"),
    "MOVE": ("RFC 6851", "copy and remove at once"),
    "UNAUTHENTICATE": ("RFC 8437", "one connection, several logins"),
    "UNSELECT": ("RFC 3691", "close without expunging"),
    "CHILDREN": ("RFC 3348", "which mailboxes have inferiors"),
    "LIST-EXTENDED": ("RFC 5258", "selection and return options"),
    "LIST-STATUS": ("RFC 5819", "STATUS of all that is listed"),
    "SPECIAL-USE": ("RFC 6154", "which mailbox is for what"),
    "CREATE-SPECIAL-USE": ("RFC 6154", "… chosen by the client"),
    "STATUS=SIZE": ("RFC 8438", "octets of a mailbox"),
    "ESEARCH": ("RFC 4731", "minimum, maximum, count, all as a set"),
    "SEARCHRES": ("RFC 5182", "`$`, the last result"),
    "CONTEXT=SEARCH": ("RFC 5267", "results that are kept up to date"),
    "CONTEXT=SORT": ("RFC 5267", "… in their order"),
    "MULTISEARCH": ("RFC 7377", "searching in many mailboxes"),
    "PARTIAL": ("RFC 9394", "results and messages by the page"),
    "WITHIN": ("RFC 5032", "YOUNGER, OLDER"),
    "I18NLEVEL=1": ("RFC 5255", "all scripts compared without regard to case"),
    "SORT": ("RFC 5256", "sorted by the server"),
    "SORT=DISPLAY": ("RFC 5957", "… by the names that people see"),
    "ESORT": ("RFC 5267", "SORT with RETURN"),
    "THREAD=ORDEREDSUBJECT": ("RFC 5256", "threads by subject"),
    "THREAD=REFERENCES": ("RFC 5256", "threads by who answered whom"),
    "MULTIAPPEND": ("RFC 3502", "several messages, all or none"),
    "REPLACE": ("RFC 8508", "a new message instead of another, at once"),
    "CATENATE": ("RFC 4469", "messages made of parts of others"),
    "BINARY": ("RFC 3516", "parts without their transfer encoding"),
    "CONDSTORE": ("RFC 7162", "modseqs, and STORE on condition"),
    "QRESYNC": ("RFC 7162", "coming back in one round trip"),
    "OBJECTID": ("RFC 8474", "ids of mailboxes, messages and threads"),
    "PREVIEW": ("RFC 8970", "the beginning of the text"),
    "SAVEDATE": ("RFC 8514", "when it came into this mailbox"),
    "UTF8=ACCEPT": ("RFC 6855", "names and headers in UTF-8"),
    "ACL": ("RFC 4314", "rights on mailboxes, and mailboxes of others"),
    "RIGHTS=kxte": ("RFC 4314", "… those that RFC 2086 didn't have"),
    "LIST-MYRIGHTS": ("RFC 8440", "rights of all that is listed"),
    "METADATA": ("RFC 5464", "annotations of mailboxes and of the server"),
    "QUOTA": ("RFC 9208", "what is left"),
    "QUOTA=RES-STORAGE": ("RFC 9208", "… of octets"),
    "QUOTA=RES-MESSAGE": ("RFC 9208", "… of messages"),
}
# With a limit behind it, in some states only, or one for each mechanism.
SOMETIMES: Final[dict[str, tuple[str, str]]] = {
    "APPENDLIMIT=": ("RFC 7889", "how large a message may be"),
    "QUOTASET": ("RFC 9208", "… set by accounts that may"),
    "COMPRESS=DEFLATE": ("RFC 4978", "less on the wire"),
    "STARTTLS": ("RFC 9051", "TLS on an open connection"),
    "AUTH=": ("RFC 4422", "SASL: PLAIN, LOGIN, SCRAM-SHA-256(-PLUS), OAUTHBEARER, XOAUTH2"),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What this server offers to every client.

    `mechanisms`: those of SASL as the connection is now; TLS may bring more. `append_limit`: octets (RFC 7889).
    """

    hostname: str
    tls: bool
    mechanisms: tuple[str, ...]
    append_limit: int


def capabilities(
    offer: Offer,
    *,
    is_secure: bool,
    login_allowed: bool,
    is_logged_in: bool,
    is_compressed: bool,
    sets_quotas: bool = False,
) -> str:
    """The words, separated by spaces."""
    words = [*ALWAYS, f"APPENDLIMIT={offer.append_limit}"]
    if sets_quotas:
        words.append("QUOTASET")
    if not is_compressed:
        words.append("COMPRESS=DEFLATE")
    if not is_logged_in:
        if offer.tls and not is_secure:
            words.append("STARTTLS")
        names = offer.mechanisms if login_allowed else ()
        words += [f"AUTH={name}" for name in names] or ["LOGINDISABLED"]
    return " ".join(words)
