"""The first schema: directory, mailboxes, messages, outbound queue."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    "CREATE SEQUENCE uid_validity AS bigint MINVALUE 1 MAXVALUE 4294967295",
    """CREATE TABLE domain (
        id uuid PRIMARY KEY,
        name text NOT NULL UNIQUE,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """CREATE TABLE account (
        id uuid PRIMARY KEY,
        domain_id uuid NOT NULL REFERENCES domain,
        address text NOT NULL UNIQUE,
        password_hash text NOT NULL,
        state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """CREATE TABLE mailbox (
        account_id uuid NOT NULL REFERENCES account,
        id uuid NOT NULL,
        name text NOT NULL,
        uid_validity bigint NOT NULL DEFAULT nextval('uid_validity'),
        uid_next bigint NOT NULL DEFAULT 1,
        highest_modseq bigint NOT NULL DEFAULT 1,
        messages bigint NOT NULL DEFAULT 0,
        unseen bigint NOT NULL DEFAULT 0,
        octets bigint NOT NULL DEFAULT 0,
        special_use text,
        subscribed boolean NOT NULL DEFAULT true,
        PRIMARY KEY (account_id, id),
        UNIQUE (account_id, name)
    )""",
    """CREATE TABLE blob (
        id uuid PRIMARY KEY,
        object_key text NOT NULL,
        object_offset bigint NOT NULL,
        length bigint NOT NULL,
        encoding text NOT NULL DEFAULT 'identity',
        sha256 bytea NOT NULL,
        summary bytea NOT NULL
    )""",
    """CREATE TABLE message (
        account_id uuid NOT NULL,
        mailbox_id uuid NOT NULL,
        uid bigint NOT NULL,
        blob_id uuid NOT NULL REFERENCES blob,
        modseq bigint NOT NULL,
        flags text[] NOT NULL,
        internal_date bigint NOT NULL,
        saved_date bigint NOT NULL DEFAULT extract(epoch FROM now()),
        email_id uuid NOT NULL,
        octets bigint NOT NULL,
        PRIMARY KEY (account_id, mailbox_id, uid),
        FOREIGN KEY (account_id, mailbox_id) REFERENCES mailbox
    )""",
    "CREATE INDEX message_modseq ON message (account_id, mailbox_id, modseq)",
    "CREATE INDEX message_blob ON message (blob_id)",
    "CREATE INDEX message_email ON message (account_id, email_id)",
    """CREATE TABLE expunged (
        account_id uuid NOT NULL,
        mailbox_id uuid NOT NULL,
        uid bigint NOT NULL,
        modseq bigint NOT NULL,
        PRIMARY KEY (account_id, mailbox_id, uid)
    )""",
    "CREATE INDEX expunged_modseq ON expunged (account_id, mailbox_id, modseq)",
    """CREATE TABLE maildrop_lock (
        account_id uuid PRIMARY KEY REFERENCES account,
        owner uuid NOT NULL,
        lease_until timestamptz NOT NULL
    )""",
    """CREATE TABLE transmission (
        id uuid PRIMARY KEY,
        account_id uuid,
        reverse_path text NOT NULL,
        blob_id uuid NOT NULL REFERENCES blob,
        octets bigint NOT NULL,
        smtputf8 boolean NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    "CREATE INDEX transmission_blob ON transmission (blob_id)",
    """CREATE TABLE delivery (
        id uuid PRIMARY KEY,
        transmission_id uuid NOT NULL REFERENCES transmission,
        recipient text NOT NULL,
        domain text NOT NULL,
        state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'delivered', 'failed')),
        attempts integer NOT NULL DEFAULT 0,
        next_attempt_at timestamptz NOT NULL DEFAULT now(),
        published integer NOT NULL DEFAULT 0,
        publish_after timestamptz NOT NULL DEFAULT now(),
        lease uuid,
        lease_until timestamptz,
        last_reply text NOT NULL DEFAULT '',
        last_status text NOT NULL DEFAULT '',
        last_remote text NOT NULL DEFAULT '',
        expires_at timestamptz NOT NULL
    )""",
    "CREATE INDEX delivery_due ON delivery (publish_after) WHERE state = 'queued'",
    "CREATE INDEX delivery_transmission ON delivery (transmission_id)",
    """CREATE TABLE delivery_attempt (
        delivery_id uuid NOT NULL REFERENCES delivery,
        lease uuid NOT NULL,
        at timestamptz NOT NULL DEFAULT now(),
        result text NOT NULL,
        reply text NOT NULL,
        status text NOT NULL,
        remote text NOT NULL,
        PRIMARY KEY (delivery_id, lease)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
