"""POP3 without I/O (RFC 1939, RFC 2449): grammar, replies, maildrop, session."""
