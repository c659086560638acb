"""Accounts that may set the quotas of their domain's accounts over IMAP (RFC 9208 §4.1.3)."""

from alembic import op

revision = "0021"
down_revision = "0020"

STATEMENTS = ("ALTER TABLE account ADD COLUMN sets_quotas boolean NOT NULL DEFAULT false",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
