"""Messages on their way in: written, scanned, committed together."""
