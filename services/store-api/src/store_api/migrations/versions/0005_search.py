"""Decoded text of messages and what is sorted by, for search."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    # Both come with Postgres and are "trusted": the owner of a database may install them.
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE EXTENSION IF NOT EXISTS btree_gin",
    # Words that occur in an account's messages; an id belongs to one account only.
    """CREATE TABLE search_word (
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        word text COLLATE "C" NOT NULL,
        id bigint GENERATED ALWAYS AS IDENTITY,
        PRIMARY KEY (account_id, word) INCLUDE (id)
    )""",
    "CREATE INDEX search_word_part ON search_word USING gin (account_id, word gin_trgm_ops)",
    # Case-folded. One row for an account and a blob, however many mailboxes the message is in. `words` has the ids of
    # the words of the body, and negated those of the header; NULL: there are too many. Texts and words lie outside of
    # the row, so that finding the rows of many hits reads few pages.
    """CREATE TABLE message_text (
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        blob_id uuid NOT NULL REFERENCES blob ON DELETE CASCADE,
        header text NOT NULL,
        parts text NOT NULL,
        opaque text NOT NULL,
        body text NOT NULL,
        words bigint[],
        PRIMARY KEY (account_id, blob_id)
    ) WITH (toast_tuple_target = 128)""",
    "CREATE INDEX message_text_blob ON message_text (blob_id)",
    "CREATE INDEX message_text_words ON message_text USING gin (words)",
    "CREATE INDEX message_text_unworded ON message_text (account_id) WHERE words IS NULL",
    # What is short and often looked at: a row says that the message is indexed. Folded; all fields of a name, a line
    # each, NULL where there is none. `sent_day` is the day as the Date field says it, in its own zone.
    """CREATE TABLE message_field (
        account_id uuid NOT NULL,
        blob_id uuid NOT NULL,
        "subject" text,
        "from" text,
        "to" text,
        "cc" text,
        "bcc" text,
        base_subject text NOT NULL,
        is_reply boolean NOT NULL,
        from_mailbox text NOT NULL,
        to_mailbox text NOT NULL,
        cc_mailbox text NOT NULL,
        from_display text NOT NULL,
        to_display text NOT NULL,
        sent_date bigint,
        sent_day date,
        message_id text NOT NULL,
        refs text[] NOT NULL,
        header_pairs bytea NOT NULL,
        body_pairs bytea NOT NULL,
        PRIMARY KEY (account_id, blob_id),
        FOREIGN KEY (account_id, blob_id) REFERENCES message_text ON DELETE CASCADE
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
