"""What the index for search keeps of each message, as code of several releases fills it."""

from alembic import op

revision = "0024"
down_revision = "0023"

STATEMENTS = (
    # See search/parsing.py: VERSION. Lower ones are done anew by the walk of the indexer; 1 is what code inserts that
    # knows no versions.
    "ALTER TABLE message_text ADD COLUMN version smallint NOT NULL DEFAULT 1",
    "CREATE INDEX message_text_version ON message_text (account_id, version)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
