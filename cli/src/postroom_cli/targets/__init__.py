"""What mail is exported to: Maildirs and mbox files."""
