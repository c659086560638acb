"""Which words of a message stand side by side, and which are in some fields of its header: for search."""

from alembic import op

revision = "0023"
down_revision = "0022"

STATEMENTS = (
    # See search/marks.py. NULL: indexed by code that knew no marks; the walk of the indexer does it anew.
    "ALTER TABLE message_text ADD COLUMN marks bigint[]",
    "CREATE INDEX message_text_marks ON message_text USING gin (marks) WHERE marks IS NOT NULL",
    "CREATE INDEX message_text_unmarked ON message_text (account_id) WHERE marks IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
