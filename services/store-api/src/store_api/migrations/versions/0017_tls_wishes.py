"""What senders want of TLS on the way of their messages (RFC 8689)."""

from alembic import op

revision = "0017"
down_revision = "0016"

STATEMENTS = (
    # 'required' (REQUIRETLS), 'optional' (TLS-Required: No), or '' where nothing was said.
    "ALTER TABLE transmission ADD COLUMN tls_wish text NOT NULL DEFAULT ''",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
