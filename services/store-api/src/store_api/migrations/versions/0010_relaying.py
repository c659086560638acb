"""What senders ask about notifications, delay notices, how other domains are tried, details of attempts."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = (
    # RFC 3461 §4.3, §4.4: RET ('full', 'hdrs', or '' where nothing was said) and ENVID.
    """ALTER TABLE transmission
        ADD COLUMN ret text NOT NULL DEFAULT '',
        ADD COLUMN envid text NOT NULL DEFAULT ''""",
    # RFC 3461 §4.1, §4.2. notify NULL: nothing was said, the sender hears of failures and delays.
    # delay_at: when the sender is told that it takes longer; NULL: it was told, or there is nothing to tell.
    """ALTER TABLE delivery
        ADD COLUMN notify text[],
        ADD COLUMN orcpt text NOT NULL DEFAULT '',
        ADD COLUMN delay_at timestamptz""",
    """ALTER TABLE delivery_attempt
        ADD COLUMN address text NOT NULL DEFAULT '',
        ADD COLUMN tls text NOT NULL DEFAULT ''""",
    # How deliveries to one domain are tried, where it differs from the settings.
    """CREATE TABLE remote_domain (
        name text PRIMARY KEY,
        retry_first_s double precision,
        retry_longest_s double precision,
        lifetime_s double precision,
        delay_notice_s double precision,
        defer_permanent boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
    "CREATE INDEX delivery_delay ON delivery (delay_at) WHERE state = 'queued' AND delay_at IS NOT NULL",
    "CREATE INDEX delivery_expiry ON delivery (expires_at) WHERE state = 'queued'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
