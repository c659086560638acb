"""The maildrop lock: who holds it by process, when the account logged in last."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    # Rows stay after a session; owner NULL: nobody has it. Nothing in it outlives a crash, so nothing is logged.
    """ALTER TABLE maildrop_lock
        ALTER COLUMN owner DROP NOT NULL,
        ADD COLUMN holder uuid,
        ADD COLUMN logged_in_at timestamptz""",
    """ALTER TABLE maildrop_lock
        DROP CONSTRAINT maildrop_lock_account_id_fkey,
        ADD FOREIGN KEY (account_id) REFERENCES account ON DELETE CASCADE""",
    "ALTER TABLE maildrop_lock SET (fillfactor = 50)",
    "ALTER TABLE maildrop_lock SET UNLOGGED",
    "CREATE INDEX maildrop_lock_holder ON maildrop_lock (holder) WHERE holder IS NOT NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
