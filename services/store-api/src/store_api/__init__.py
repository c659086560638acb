"""Postroom store: REST API, directory, mailboxes, messages, outbound queue."""

__version__ = "0.1.0"
