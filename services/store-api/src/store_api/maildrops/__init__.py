"""Maildrops: a mailbox as one POP3 session has it, locked (RFC 1939 §4, §8)."""
