"""Postroom's IMAP service (RFC 3501 and the extensions that `mail_proto.imap.capabilities` names).

The way of the data: `server` (sockets) → `connection` (the only I/O with the client) → `mail_proto.imap.session` (what
the octets mean, and what is allowed) → `dispatch` → `commands` (one module per family) → the store. Grammar, replies
and views are in `mail_proto.imap`; `session` keeps what is known of one client between its commands.
"""

__version__ = "0.1.0"
