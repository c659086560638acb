"""Aliases, lists, domain aliases, forwarding, quotas."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """ALTER TABLE domain
        ADD COLUMN alias_of uuid REFERENCES domain,
        ADD COLUMN quota_octets bigint,
        ADD COLUMN quota_messages bigint,
        ADD COLUMN account_quota_octets bigint,
        ADD COLUMN account_quota_messages bigint,
        ADD COLUMN trash_days integer,
        ADD COLUMN junk_days integer""",
    """ALTER TABLE account
        ADD COLUMN display_name text NOT NULL DEFAULT '',
        ADD COLUMN quota_octets bigint,
        ADD COLUMN quota_messages bigint,
        ADD COLUMN forward_to text[] NOT NULL DEFAULT '{}',
        ADD COLUMN forward_keeps_copy boolean NOT NULL DEFAULT true,
        ADD COLUMN detail_to_mailbox boolean NOT NULL DEFAULT false""",
    "CREATE INDEX account_domain ON account (domain_id)",
    # A catch-all has the address `@domain`.
    """CREATE TABLE alias (
        id uuid PRIMARY KEY,
        domain_id uuid NOT NULL REFERENCES domain,
        address text NOT NULL UNIQUE,
        kind text NOT NULL DEFAULT 'alias' CHECK (kind IN ('alias', 'list', 'catch_all')),
        name text NOT NULL DEFAULT '',
        who_may_post text NOT NULL DEFAULT 'anyone' CHECK (who_may_post IN ('anyone', 'members', 'domain')),
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    "CREATE INDEX alias_domain ON alias (domain_id)",
    """CREATE TABLE alias_target (
        alias_id uuid NOT NULL REFERENCES alias ON DELETE CASCADE,
        target text NOT NULL,
        PRIMARY KEY (alias_id, target)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
