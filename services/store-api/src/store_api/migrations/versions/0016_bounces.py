"""Recipients that bounced for good, counted until the suppression list has them."""

from alembic import op

revision = "0016"
down_revision = "0015"

STATEMENTS = (
    # NULL: bounces are never too many.
    "ALTER TABLE domain ADD COLUMN suppress_after integer DEFAULT 3 CHECK (suppress_after > 0)",
    """CREATE TABLE hard_bounce (
        domain_id uuid NOT NULL REFERENCES domain ON DELETE CASCADE,
        address text NOT NULL,
        bounces integer NOT NULL DEFAULT 1,
        last_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (domain_id, address)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
