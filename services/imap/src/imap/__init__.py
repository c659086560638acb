"""Postroom's IMAP service (RFC 3501 and the extensions that `capabilities` names).

The way of the data: `server` (sockets) → `connection` (the only I/O with the client) → `session` (what is known of
the client) → `commands` (one module per family) → the store. Grammar and view are in `mail_proto.imap`.
"""

__version__ = "0.1.0"
