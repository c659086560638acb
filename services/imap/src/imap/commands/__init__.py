"""One module per family of commands: each takes the session and a parsed command, and says how it ended."""
