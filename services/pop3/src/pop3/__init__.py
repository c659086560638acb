"""Postroom's POP3 service (RFC 1939).

The way of the data: `server` (sockets) → `connection` (the only I/O with the client) →
`mail_proto.pop3.session` (state) → the store. The maildrop is INBOX, locked for one session at a time.
"""

__version__ = "0.1.0"
