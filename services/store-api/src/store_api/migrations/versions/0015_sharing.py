"""Who may use mailboxes of others (RFC 4314), and which domain shows whose mailboxes to all."""

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = (
    # `subject_id`: an account, or the owner's domain for "anyone": all of its accounts. `rights`: the bits of
    # `mailboxes.rights.Right`; where `is_negative` they are taken away. Owners have all rights, and no row.
    """CREATE TABLE mailbox_right (
        account_id uuid NOT NULL,
        mailbox_id uuid NOT NULL,
        subject_id uuid NOT NULL,
        is_negative boolean NOT NULL,
        rights integer NOT NULL CHECK (rights > 0),
        PRIMARY KEY (account_id, mailbox_id, subject_id, is_negative),
        FOREIGN KEY (account_id, mailbox_id) REFERENCES mailbox ON DELETE CASCADE
    )""",
    "CREATE INDEX mailbox_right_of_subject ON mailbox_right (subject_id, mailbox_id)",
    # Names of others' mailboxes, as the subscriber sees them; they outlive the right to see the mailbox.
    """CREATE TABLE subscription_elsewhere (
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        name text NOT NULL,
        PRIMARY KEY (account_id, name)
    )""",
    # The account whose mailboxes are under `Public/` for the others of the domain.
    "ALTER TABLE domain ADD COLUMN public_account_id uuid",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
