"""The trace that a queued message belongs to: later attempts to send it go on with it."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    # W3C Trace Context; none in what releases before stored.
    op.execute("ALTER TABLE transmission ADD COLUMN traceparent text")
