"""Annotations of mailboxes, and of the server (RFC 5464)."""

from alembic import op

revision = "0020"
down_revision = "0019"

STATEMENTS = (
    # `writer_id`: whose it is alone; only zeros: it is shared by all who may use the mailbox. `mailbox_id` only zeros:
    # it is an annotation of the server, for this account.
    """CREATE TABLE annotation (
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        mailbox_id uuid NOT NULL,
        writer_id uuid NOT NULL,
        entry text COLLATE "C" NOT NULL,
        value bytea NOT NULL,
        PRIMARY KEY (account_id, mailbox_id, writer_id, entry)
    )""",
    "CREATE INDEX annotation_of_writer ON annotation (writer_id, account_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
