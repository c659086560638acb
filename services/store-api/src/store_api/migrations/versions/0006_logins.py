"""SCRAM verifiers, app passwords, API tokens, failed logins, idempotency keys, the audit log."""

from alembic import op

revision = "0006"
down_revision = "0005"

STATEMENTS = (
    # One salt for all passwords of an account, so that SCRAM can be tried against each (RFC 5802 §3).
    """ALTER TABLE account
        ADD COLUMN scram_salt bytea,
        ADD COLUMN scram_iterations integer,
        ADD COLUMN scram_stored_key bytea,
        ADD COLUMN scram_server_key bytea""",
    # Made by us at random, so one round of SHA-256 keeps them.
    """CREATE TABLE app_password (
        id uuid PRIMARY KEY,
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        name text NOT NULL,
        hash bytea NOT NULL,
        scram_stored_key bytea NOT NULL,
        scram_server_key bytea NOT NULL,
        scopes text[] NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        last_used_at timestamptz
    )""",
    "CREATE INDEX app_password_account ON app_password (account_id)",
    """CREATE TABLE api_token (
        id uuid PRIMARY KEY,
        name text NOT NULL,
        hash bytea NOT NULL UNIQUE,
        scope text NOT NULL CHECK (scope IN ('admin', 'domain', 'account')),
        domain_id uuid REFERENCES domain ON DELETE CASCADE,
        account_id uuid REFERENCES account ON DELETE CASCADE,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz,
        last_used_at timestamptz
    )""",
    # Failures of one account from one network, of one network (account ''), and of one account from networks that it
    # doesn't know (network ''). `before_at` is the last failure but one.
    """CREATE UNLOGGED TABLE login_failure (
        account text NOT NULL,
        network text NOT NULL,
        failures integer NOT NULL,
        before_at timestamptz,
        last_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (account, network)
    )""",
    "CREATE INDEX login_failure_last ON login_failure (last_at)",
    # Networks that an account has logged in from.
    """CREATE TABLE login_network (
        account_id uuid NOT NULL REFERENCES account ON DELETE CASCADE,
        network text NOT NULL,
        last_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (account_id, network)
    )""",
    # `id`: under which the request creates. `held_until`: until then somebody works on it. The rest is its answer.
    """CREATE TABLE idempotency_key (
        actor text NOT NULL,
        key text NOT NULL,
        id uuid NOT NULL,
        request_hash bytea NOT NULL,
        held_until timestamptz NOT NULL,
        status integer,
        headers jsonb,
        body bytea,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (actor, key)
    )""",
    "CREATE INDEX idempotency_key_created ON idempotency_key (created_at)",
    """CREATE TABLE audit (
        id uuid PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT now(),
        actor text NOT NULL,
        action text NOT NULL,
        object text NOT NULL,
        domain_id uuid,
        detail jsonb NOT NULL DEFAULT '{}'
    )""",
    "CREATE INDEX audit_domain ON audit (domain_id, id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
