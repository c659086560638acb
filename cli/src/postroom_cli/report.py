"""What people see: progress while it starts, then where everything is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from postroom_cli.launcher.config import HOST
from postroom_cli.launcher.postroom import Running

_LISTENERS = (
    ("POSTROOM_SMTP_PORT", "SMTP", "mail from other servers", "STARTTLS"),
    ("POSTROOM_SUBMISSION_PORT", "SMTP", "mail from clients", "STARTTLS"),
    ("POSTROOM_SUBMISSIONS_PORT", "SMTP", "mail from clients", "TLS"),
    ("POSTROOM_LMTP_PORT", "LMTP", "mail from a front server", "STARTTLS"),
    ("POSTROOM_POP3_PORT", "POP3", "reading", "STARTTLS"),
    ("POSTROOM_POP3S_PORT", "POP3", "reading", "TLS"),
    ("POSTROOM_IMAP_PORT", "IMAP", "reading", "STARTTLS"),
    ("POSTROOM_IMAPS_PORT", "IMAP", "reading", "TLS"),
    ("POSTROOM_API_PORT", "HTTP", "REST API", "none"),
)


def show(console: Console, running: Running) -> None:
    """The table of listeners, and how to point a client and a script at them."""
    config, plan = running.config, running.plan
    table = Table(
        "port", "protocol", "for", "security", "change with", title=f"Postroom listens on {HOST}", title_justify="left"
    )
    for name, protocol, purpose, security in _LISTENERS:
        table.add_row(str(config.ports[name]), protocol, purpose, security, name)
    console.print(table)
    ports = config.ports
    users = " or ".join(f"{user}@{config.domain}" for user in config.users)
    login = f"{users}, password {config.dev_password}" if users else "as `postroom accounts create` makes it"
    console.print(
        f"Mail client   IMAP {HOST}:{ports['POSTROOM_IMAPS_PORT']},"
        f" SMTP {HOST}:{ports['POSTROOM_SUBMISSIONS_PORT']}, both SSL/TLS, normal password",
        f"              {login}",
        f"Certificate   self-signed, {plan.certificate}: the client asks once whether to trust it",
        f"REST API      {plan.api_url}/docs, token in {config.data / 'admin-token'}",
        f"Data, logs    {config.data}, {config.data / 'logs'}",
        "Ctrl-C stops it; the mail stays.",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )
    console.print("postroom is ready", style="bold green")
