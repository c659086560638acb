"""Which messages of a mailbox changed, by blocks of uids: the index on modseq made each change of a flag dear."""

from alembic import op

revision = "0025"
down_revision = "0024"

STATEMENTS = (
    # Of each block of 128 uids the highest modseq to which a message in it was changed (mailboxes/changes.py). What is
    # only appended isn't here: it has the highest uids. Messages that come in below, with modseqs of their own (an
    # import), have to be written here too. No foreign key to the mailbox: to make one waits for who changes mailboxes.
    """CREATE TABLE changed_block (
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        mailbox_id uuid NOT NULL,
        block bigint NOT NULL,
        modseq bigint NOT NULL,
        PRIMARY KEY (account_id, mailbox_id, block)
    ) WITH (fillfactor = 50)""",
    # Before anything else is asked of the messages, so that nobody who reads them waits for us while we wait for him.
    # With `modseq` in no index, a change of flags leaves all of them alone (a HOT update), where the page has room.
    "DROP INDEX message_modseq",
    "ALTER TABLE message SET (fillfactor = 90)",
    """INSERT INTO changed_block (account_id, mailbox_id, block, modseq)
        SELECT account_id, mailbox_id, uid >> 7, max(modseq) FROM message GROUP BY 1, 2, 3""",
    # Kept by a trigger: no path can forget it, not even yesterday's code.
    """CREATE FUNCTION changed_block_of_messages() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO changed_block AS b (account_id, mailbox_id, block, modseq)
        SELECT account_id, mailbox_id, uid >> 7, max(modseq) FROM after GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (account_id, mailbox_id, block) DO UPDATE SET modseq = greatest(b.modseq, excluded.modseq);
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER message_changed AFTER UPDATE ON message
        REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION changed_block_of_messages()""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
