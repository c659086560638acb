"""Lanes of the queue: what is published of each domain, and which domains rest."""

from alembic import op

revision = "0013"
down_revision = "0012"

STATEMENTS = (
    # Published, and neither ended nor deferred since.
    "ALTER TABLE delivery ADD COLUMN in_flight boolean NOT NULL DEFAULT false",
    "CREATE INDEX delivery_lane ON delivery (domain, publish_after) WHERE state = 'queued' AND NOT in_flight",
    "CREATE INDEX delivery_in_flight ON delivery (domain, publish_after) WHERE state = 'queued' AND in_flight",
    "CREATE INDEX delivery_of_account ON delivery (account_id, id) WHERE account_id IS NOT NULL",
    "CREATE INDEX transmission_sender ON transmission (lower(reverse_path))",
    # Domains of which no server could be reached: nothing goes there before `until`, then one message to see.
    """CREATE TABLE down_domain (
        name text PRIMARY KEY,
        failures integer NOT NULL,
        until timestamptz NOT NULL
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
