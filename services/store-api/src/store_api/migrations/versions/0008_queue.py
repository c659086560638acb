"""Deliveries that are held or cancelled, who they belong to, the suppression list; accounts that are being removed."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    "ALTER TABLE delivery DROP CONSTRAINT delivery_state_check",
    """ALTER TABLE delivery
        ADD CONSTRAINT delivery_state_check CHECK (state IN ('queued', 'held', 'delivered', 'failed', 'cancelled')),
        ADD COLUMN account_id uuid,
        ADD COLUMN domain_id uuid,
        ADD COLUMN ended_at timestamptz""",
    "UPDATE delivery SET account_id = t.account_id FROM transmission t WHERE t.id = delivery.transmission_id",
    "UPDATE delivery SET domain_id = a.domain_id FROM account a WHERE a.id = delivery.account_id",
    "UPDATE delivery SET ended_at = now() WHERE state IN ('delivered', 'failed')",
    "CREATE INDEX delivery_of_domain ON delivery (domain_id, id)",
    "CREATE INDEX delivery_to_domain ON delivery (domain, id)",
    "CREATE INDEX delivery_waiting ON delivery (state, id) WHERE state IN ('queued', 'held')",
    "CREATE INDEX delivery_ended ON delivery (ended_at) WHERE ended_at IS NOT NULL",
    "ALTER TABLE account ADD COLUMN deleted_at timestamptz",
    "CREATE INDEX account_deleted ON account (deleted_at) WHERE deleted_at IS NOT NULL",
    "CREATE INDEX alias_target_target ON alias_target (target)",
    # Recipients that a remote says don't exist are added to the list by themselves.
    "ALTER TABLE domain ADD COLUMN suppress_bounced boolean NOT NULL DEFAULT false",
    # Recipients to whom a domain of ours doesn't send.
    """CREATE TABLE suppression (
        domain_id uuid NOT NULL REFERENCES domain ON DELETE CASCADE,
        address text NOT NULL,
        reason text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (domain_id, address)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
