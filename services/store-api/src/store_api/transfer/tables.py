"""Which tables a backup has, what makes a row the same row, and in which order they can be restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Table:
    """`key`: the primary key. `rows`: the clauses after `FROM name t` that choose what is exported, in its order.

    `leaves_out`: columns that the importing system gives itself.
    """

    name: str
    key: tuple[str, ...]
    rows: str
    leaves_out: tuple[str, ...] = ()


_OF_A_LIVING_ACCOUNT: Final = (
    "WHERE (t.account_id IS NULL OR EXISTS (SELECT FROM account a WHERE a.id = t.account_id AND a.deleted_at IS NULL))"
    " ORDER BY t.id"
)

# Who has mail here, where addresses lead, who may log in; then what has been.
DIRECTORY: Final = (
    Table("domain", ("id",), "ORDER BY t.alias_of IS NOT NULL, t.name"),
    Table("account", ("id",), "WHERE t.deleted_at IS NULL ORDER BY t.address"),
    Table("app_password", ("id",), _OF_A_LIVING_ACCOUNT),
    Table("api_token", ("id",), _OF_A_LIVING_ACCOUNT),
    Table("alias", ("id",), "ORDER BY t.address"),
    Table("alias_target", ("alias_id", "target"), "ORDER BY t.alias_id, t.target"),
    Table("suppression", ("domain_id", "address"), "ORDER BY t.domain_id, t.address"),
    Table("dkim_key", ("id",), "ORDER BY t.domain_id, t.selector"),
    Table("remote_domain", ("name",), "ORDER BY t.name"),
    Table("webhook", ("id",), _OF_A_LIVING_ACCOUNT),
    Table("statistic", ("domain_id", "day", "type"), "ORDER BY t.day, t.domain_id, t.type"),
    Table("audit", ("id",), "ORDER BY t.id"),
)

# Of one account (`:account_id`). Octets of messages go by the ids of blobs; text for search is made anew from them.
ACCOUNT: Final = (
    Table(
        "mailbox",
        ("account_id", "id"),
        "WHERE t.account_id = :account_id ORDER BY t.name",
        leaves_out=("messages", "unseen", "octets"),
    ),
    Table(
        "mailbox_right",
        ("account_id", "mailbox_id", "subject_id", "is_negative"),
        "WHERE t.account_id = :account_id ORDER BY t.mailbox_id, t.subject_id, t.is_negative",
    ),
    Table(
        "annotation",
        ("account_id", "mailbox_id", "writer_id", "entry"),
        "WHERE t.account_id = :account_id ORDER BY t.mailbox_id, t.writer_id, t.entry",
    ),
    Table("subscription_elsewhere", ("account_id", "name"), "WHERE t.account_id = :account_id ORDER BY t.name"),
    Table("former_mailbox", ("account_id", "name"), "WHERE t.account_id = :account_id ORDER BY t.name"),
    Table("thread_reference", ("account_id", "reference"), "WHERE t.account_id = :account_id"),
    Table(
        "message", ("account_id", "mailbox_id", "uid"), "WHERE t.account_id = :account_id ORDER BY t.mailbox_id, t.uid"
    ),
    Table(
        "expunged", ("account_id", "mailbox_id", "uid"), "WHERE t.account_id = :account_id ORDER BY t.mailbox_id, t.uid"
    ),
)

# Mail that waits to be sent. It comes back as held: who restores says when it goes.
QUEUE: Final = (
    Table(
        "transmission",
        ("id",),
        "WHERE EXISTS (SELECT FROM delivery d WHERE d.transmission_id = t.id AND d.state IN ('queued', 'held'))"
        " ORDER BY t.id",
    ),
    Table(
        "delivery",
        ("id",),
        "WHERE t.state IN ('queued', 'held') ORDER BY t.id",
        leaves_out=("state", "lease", "lease_until"),
    ),
    Table(
        "delivery_attempt",
        ("delivery_id", "lease"),
        "WHERE EXISTS (SELECT FROM delivery d WHERE d.id = t.delivery_id AND d.state IN ('queued', 'held'))"
        " ORDER BY t.delivery_id, t.at",
    ),
)

TABLES: Final = {table.name: table for table in (*DIRECTORY, *ACCOUNT, *QUEUE)}
