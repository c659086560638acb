"""Which messages leave again that came from outside: they are sealed with ARC."""

from alembic import op

revision = "0018"
down_revision = "0017"

STATEMENTS = ("ALTER TABLE transmission ADD COLUMN is_forwarded boolean NOT NULL DEFAULT false",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
