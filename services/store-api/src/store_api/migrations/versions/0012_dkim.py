"""Keys that outgoing mail is signed with."""

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS = (
    # `data_key`, wrapped by the master key `key_id`, encrypts `private_key`; NULL: it is in clear.
    """CREATE TABLE dkim_key (
        id uuid PRIMARY KEY,
        domain_id uuid NOT NULL REFERENCES domain ON DELETE CASCADE,
        selector text NOT NULL,
        algorithm text NOT NULL CHECK (algorithm IN ('rsa-sha256', 'ed25519-sha256')),
        state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'active', 'retired')),
        public_key bytea NOT NULL,
        private_key bytea NOT NULL,
        data_key bytea,
        key_id text,
        created_at timestamptz NOT NULL DEFAULT now(),
        activated_at timestamptz,
        retired_at timestamptz,
        UNIQUE (domain_id, selector)
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
