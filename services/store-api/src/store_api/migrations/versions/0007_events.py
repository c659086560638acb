"""The outbox of events, webhooks, statistics."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    # Rows live from the commit until their event is in the stream, in the order of their numbers.
    """CREATE TABLE event (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id uuid NOT NULL,
        type text NOT NULL,
        domain_id uuid,
        account_id uuid,
        content jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """CREATE TABLE webhook (
        id uuid PRIMARY KEY,
        domain_id uuid REFERENCES domain ON DELETE CASCADE,
        account_id uuid REFERENCES account ON DELETE CASCADE,
        url text NOT NULL,
        secret text NOT NULL,
        types text[] NOT NULL,
        active boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    """CREATE TABLE webhook_delivery (
        webhook_id uuid NOT NULL REFERENCES webhook ON DELETE CASCADE,
        event_id uuid NOT NULL,
        body bytea NOT NULL,
        state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
        attempts integer NOT NULL DEFAULT 0,
        next_attempt_at timestamptz NOT NULL DEFAULT now(),
        last_answer text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (webhook_id, event_id)
    )""",
    "CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook_id, next_attempt_at) WHERE state = 'waiting'",
    "CREATE INDEX webhook_delivery_done ON webhook_delivery (created_at) WHERE state <> 'waiting'",
    """CREATE TABLE statistic (
        domain_id uuid NOT NULL,
        day date NOT NULL,
        type text NOT NULL,
        events bigint NOT NULL,
        octets bigint NOT NULL,
        PRIMARY KEY (domain_id, day, type)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
