"""Up to which uid a session was told of the messages of a mailbox: those above are \\Recent (RFC 3501 §2.3.2)."""

from alembic import op

revision = "0026"
down_revision = "0025"

STATEMENTS = (
    "ALTER TABLE mailbox ADD COLUMN recent_uid bigint NOT NULL DEFAULT 0",
    # What is there was told of long ago.
    "UPDATE mailbox SET recent_uid = uid_next - 1",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
