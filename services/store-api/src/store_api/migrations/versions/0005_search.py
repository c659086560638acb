"""Decoded text of messages, for search."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    # Case-folded. One row for an account and a blob, however many mailboxes the message is in.
    """CREATE TABLE message_text (
        account_id uuid NOT NULL,
        blob_id uuid NOT NULL REFERENCES blob ON DELETE CASCADE,
        header text NOT NULL,
        body text NOT NULL,
        PRIMARY KEY (account_id, blob_id)
    )""",
    "CREATE INDEX message_text_blob ON message_text (blob_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
