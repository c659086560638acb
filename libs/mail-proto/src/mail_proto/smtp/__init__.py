"""The SMTP cores without I/O (RFC 5321)."""
