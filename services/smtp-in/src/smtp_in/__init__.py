"""Postroom inbound SMTP: MX, submission, LMTP."""

__version__ = "0.1.0"
