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
    # Its own pglz took a third of what a message costs the database (docs/decisions/0012-what-a-message-costs.md).
    """DO $$
    BEGIN
        IF 'lz4' = ANY (SELECT unnest(enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
            ALTER TABLE blob ALTER COLUMN summary SET COMPRESSION lz4;
        ELSE
            ALTER TABLE blob ALTER COLUMN summary SET STORAGE EXTERNAL;
        END IF;
    END $$""",
    "CREATE INDEX blob_key ON blob (key_id, id) WHERE key_id IS NOT NULL",
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
    "CREATE INDEX pack_share ON pack (created_at) WHERE live_octets * 2 < octets AND superseded_at IS NULL",
    "CREATE INDEX pack_superseded ON pack (superseded_at) WHERE superseded_at IS NOT NULL",
    "CREATE INDEX transmission_created ON transmission (created_at, id)",
    # How far the walks of the collector have come.
    """CREATE TABLE collector_position (
        walk text PRIMARY KEY,
        position text NOT NULL,
        moved_at timestamptz NOT NULL DEFAULT now()
    )""",
    # Orphans are looked for among objects that are younger than this database: `blobs.keys.first_key` of now.
    """INSERT INTO collector_position (walk, position)
        SELECT 'objects', substr(h, 1, 6) || '/' || substr(h, 7, 3) || '/' || rpad(h, 32, '0')
        FROM (SELECT lpad(to_hex(CAST(extract(epoch FROM now()) * 1000 AS bigint)), 12, '0') AS h) AS moment""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
