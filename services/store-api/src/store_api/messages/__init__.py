"""Contents of messages: summaries, bodies, listings."""
