"""Up to which uid all messages of a mailbox are in the index for search."""

from alembic import op

revision = "0022"
down_revision = "0021"

STATEMENTS = (
    # Written by searches that looked. `epoch` grows when messages came in below (an import), so that a search that
    # didn't see them can't write what it found. No foreign key to the mailbox: it would wait for deliveries.
    """CREATE TABLE indexed_mailbox (
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        mailbox_id uuid NOT NULL,
        uid bigint NOT NULL,
        epoch bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (account_id, mailbox_id)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
