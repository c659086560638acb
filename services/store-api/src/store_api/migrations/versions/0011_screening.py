"""What smtp-in's replicas must know together about strangers and senders: the greylist, and how much was sent."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS = (
    # A crash empties both: senders are made to wait once more, or may send once more. Nothing is logged for that.
    """CREATE UNLOGGED TABLE greylist (
        triplet bytea PRIMARY KEY,
        network text NOT NULL,
        first_at timestamptz NOT NULL DEFAULT now(),
        last_at timestamptz NOT NULL DEFAULT now(),
        passed boolean NOT NULL DEFAULT false
    )""",
    "CREATE INDEX greylist_network ON greylist (network) WHERE passed",
    "CREATE INDEX greylist_age ON greylist (last_at)",
    """CREATE UNLOGGED TABLE allowance (
        name text PRIMARY KEY,
        used double precision NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
