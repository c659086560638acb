"""Threads, tombstones from which messages can be restored, the usage that quotas are compared with, retention."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    # Whoever writes messages holds their mailbox's row: a check for each row found nothing and took a quarter of the
    # time of a copy (docs/decisions/0011-message-without-a-foreign-key-to-its-mailbox.md).
    "ALTER TABLE message DROP CONSTRAINT message_account_id_mailbox_id_fkey",
    "ALTER TABLE message ADD COLUMN thread_id uuid",
    "CREATE INDEX message_thread ON message (account_id, thread_id)",
    # Which thread a Message-ID belongs to; `reference` is the first half of its SHA-256.
    """CREATE TABLE thread_reference (
        account_id uuid NOT NULL,
        reference bytea NOT NULL,
        thread_id uuid NOT NULL,
        PRIMARY KEY (account_id, reference)
    )""",
    # While `blob_id` stands, the message can be restored; the collector clears it after the undelete window.
    """ALTER TABLE expunged
        ADD COLUMN blob_id uuid,
        ADD COLUMN flags text[],
        ADD COLUMN internal_date bigint,
        ADD COLUMN email_id uuid,
        ADD COLUMN thread_id uuid,
        ADD COLUMN octets bigint,
        ADD COLUMN mailbox_name text,
        ADD COLUMN expunged_at timestamptz NOT NULL DEFAULT now()""",
    "CREATE INDEX expunged_blob ON expunged (blob_id) WHERE blob_id IS NOT NULL",
    "CREATE INDEX expunged_restorable ON expunged (expunged_at) WHERE blob_id IS NOT NULL",
    "CREATE INDEX expunged_email ON expunged (account_id, email_id) WHERE blob_id IS NOT NULL",
    """CREATE INDEX expunged_of_account ON expunged (account_id, expunged_at, mailbox_id, uid)
        WHERE blob_id IS NOT NULL""",
    "CREATE INDEX expunged_purgeable ON expunged (expunged_at) WHERE blob_id IS NULL",
    # `retention_days` NULL: as the domain says for its special use; 0: kept for ever. Of tombstones up to
    # `purged_modseq` some are gone: who knows the mailbox as it was before has to read it anew.
    """ALTER TABLE mailbox
        ADD COLUMN retention_days integer CHECK (retention_days >= 0),
        ADD COLUMN purged_modseq bigint NOT NULL DEFAULT 0""",
    """CREATE INDEX mailbox_retained ON mailbox (account_id, id)
        WHERE retention_days IS NOT NULL OR special_use IN ('\\Trash', '\\Junk')""",
    # Names that had a mailbox: subscriptions outlive it (RFC 9051 §6.3.7), and a mailbox that gets the name later
    # has a greater UIDVALIDITY (§2.3.1.1). Kept by a trigger, so that yesterday's code doesn't forget it either.
    """CREATE TABLE former_mailbox (
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        name text NOT NULL,
        uid_validity bigint NOT NULL,
        subscribed boolean NOT NULL,
        PRIMARY KEY (account_id, name)
    )""",
    """CREATE FUNCTION former_mailbox_of_mailbox() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO former_mailbox AS f (account_id, name, uid_validity, subscribed)
        VALUES (OLD.account_id, OLD.name, OLD.uid_validity, OLD.subscribed)
        ON CONFLICT (account_id, name) DO UPDATE
        SET uid_validity = greatest(f.uid_validity, excluded.uid_validity), subscribed = excluded.subscribed;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER mailbox_gone AFTER DELETE ON mailbox
        FOR EACH ROW EXECUTE FUNCTION former_mailbox_of_mailbox()""",
    """CREATE TRIGGER mailbox_renamed AFTER UPDATE OF name ON mailbox
        FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION former_mailbox_of_mailbox()""",
    # Kept by a trigger on the counters of mailboxes: no path can forget it, not even yesterday's code.
    """CREATE TABLE account_usage (
        account_id uuid PRIMARY KEY REFERENCES account ON DELETE CASCADE,
        messages bigint NOT NULL DEFAULT 0,
        octets bigint NOT NULL DEFAULT 0
    )""",
    """INSERT INTO account_usage (account_id, messages, octets)
        SELECT a.id, coalesce(sum(m.messages), 0), coalesce(sum(m.octets), 0)
        FROM account a LEFT JOIN mailbox m ON m.account_id = a.id GROUP BY a.id""",
    """CREATE FUNCTION account_usage_of_mailboxes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            INSERT INTO account_usage (account_id) SELECT DISTINCT account_id FROM after ON CONFLICT DO NOTHING;
            UPDATE account_usage u SET messages = u.messages + d.messages, octets = u.octets + d.octets
            FROM (SELECT account_id, sum(messages) AS messages, sum(octets) AS octets FROM after
                  GROUP BY account_id HAVING sum(messages) <> 0 OR sum(octets) <> 0) d
            WHERE u.account_id = d.account_id;
        ELSIF TG_OP = 'DELETE' THEN
            UPDATE account_usage u SET messages = u.messages - d.messages, octets = u.octets - d.octets
            FROM (SELECT account_id, sum(messages) AS messages, sum(octets) AS octets FROM before
                  GROUP BY account_id HAVING sum(messages) <> 0 OR sum(octets) <> 0) d
            WHERE u.account_id = d.account_id;
        ELSE
            UPDATE account_usage u SET messages = u.messages + d.messages, octets = u.octets + d.octets
            FROM (SELECT account_id, sum(a.messages - b.messages) AS messages, sum(a.octets - b.octets) AS octets
                  FROM after a JOIN before b USING (account_id, id)
                  GROUP BY account_id HAVING sum(a.messages - b.messages) <> 0 OR sum(a.octets - b.octets) <> 0) d
            WHERE u.account_id = d.account_id;
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER mailbox_inserted AFTER INSERT ON mailbox
        REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION account_usage_of_mailboxes()""",
    """CREATE TRIGGER mailbox_updated AFTER UPDATE ON mailbox
        REFERENCING OLD TABLE AS before NEW TABLE AS after
        FOR EACH STATEMENT EXECUTE FUNCTION account_usage_of_mailboxes()""",
    """CREATE TRIGGER mailbox_deleted AFTER DELETE ON mailbox
        REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION account_usage_of_mailboxes()""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
