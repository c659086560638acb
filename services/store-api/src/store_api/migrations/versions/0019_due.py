"""The queue's index from before there were lanes: Postgres took it for them, and read past what waited elsewhere."""

from alembic import op

revision = "0019"
down_revision = "0018"

STATEMENTS = ("DROP INDEX IF EXISTS delivery_due",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
