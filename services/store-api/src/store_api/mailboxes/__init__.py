"""Mailboxes, their messages, flags and modseqs."""
