"""Mail protocol cores without I/O: IMAP, POP3, SMTP, MIME."""

__version__ = "0.1.0"
