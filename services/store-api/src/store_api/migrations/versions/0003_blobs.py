"""Packs with their live share, compressed and encrypted bodies."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    # `stored_length` NULL: the octets stand as they are, `length` of them. `data_key` is wrapped by the key `key_id`.
    """ALTER TABLE blob
        ADD COLUMN stored_length bigint,
        ADD COLUMN data_key bytea,
        ADD COLUMN key_id text,
        ADD COLUMN created_at timestamptz NOT NULL DEFAULT now()""",
    # How many parts are to be saved rather than read, as in `summary`; NULL: stored by an earlier version.
    "ALTER TABLE blob ADD COLUMN attachments integer",
    "CREATE INDEX blob_object ON blob (object_key)",
    # Octets of an object in all, and of those that a blob still claims.
    """CREATE TABLE pack (
        object_key text PRIMARY KEY,
        octets bigint NOT NULL,
        live_octets bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        superseded_at timestamptz
    )""",
    """INSERT INTO pack (object_key, octets, live_octets)
        SELECT object_key, sum(length), sum(length) FROM blob GROUP BY object_key""",
    "CREATE INDEX pack_share ON pack (created_at) WHERE live_octets * 2 < octets",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
