"""IMAP without I/O (RFC 3501): framing, grammar, replies, sequence sets, search, the view of a selected mailbox."""
